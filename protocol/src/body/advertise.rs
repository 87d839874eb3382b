//! Addresses that depend on who asks: `CIDR=address` rules that a broker registers, and that our name server applies.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::Malformed;

/// The field of a registration that carries the rules; Apache's name server does not know it.
pub const FIELD: &str = "strataAdvertise";

/// `10.0.0.0/8`; an address alone is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                same(ours.to_bits().into(), theirs.to_bits().into(), 32 - self.bits)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same(ours.to_bits(), theirs.to_bits(), 128 - self.bits),
            _ => false,
        }
    }
}

/// Whether two addresses are the same without their last `free` bits.
fn same(a: u128, b: u128, free: u8) -> bool {
    (a ^ b).checked_shr(free.into()).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Network, Malformed> {
        let wrong = || Malformed(format!("'{text}' is not a network such as 10.0.0.0/8"));
        let (address, bits) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() { most } else { bits.parse().map_err(|_| wrong())? };
        if bits > most || text.ends_with('/') {
            return Err(wrong());
        }
        Ok(Network { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Rules in the order in which they were given; the narrowest network that contains the asker decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct Rules(pub Vec<(Network, String)>);

/// A registration with more is refused.
const MAX_RULES: usize = 64;

impl Rules {
    /// The address to tell somebody who asks from `asker`; `None` is the default.
    pub fn address_for(&self, asker: IpAddr) -> Option<&str> {
        let fitting = self.0.iter().filter(|(network, _)| network.contains(asker));
        fitting.max_by_key(|(network, _)| network.bits).map(|(_, address)| address.as_str())
    }
}

/// `CIDR=address`, parted by commas or semicolons.
impl FromStr for Rules {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Rules, Malformed> {
        let mut rules = Vec::new();
        for rule in text.split([',', ';']).map(str::trim).filter(|rule| !rule.is_empty()) {
            let wrong = || Malformed(format!("'{rule}' is not a rule such as 10.0.0.0/8=10.1.2.3"));
            let (network, address) = rule.split_once('=').ok_or_else(wrong)?;
            if address.is_empty() || address.contains([' ', '/', '"']) || rules.len() == MAX_RULES {
                return Err(wrong());
            }
            rules.push((network.parse()?, address.to_string()));
        }
        Ok(Rules(rules))
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (network, address)) in self.0.iter().enumerate() {
            write!(f, "{}{network}={address}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(text: &str) -> Rules {
        text.parse().unwrap()
    }

    fn told(rules: &Rules, asker: &str) -> String {
        rules.address_for(asker.parse().unwrap()).unwrap_or("default").into()
    }

    #[test]
    fn the_narrowest_network_that_contains_the_asker_decides() {
        let rules =
            rules("10.0.0.0/8=inside:1, 10.1.0.0/16=near:1,0.0.0.0/0=outside:1,fd00::/8=six:1,10.1.2.3=me:1");
        assert_eq!(told(&rules, "10.9.9.9"), "inside:1");
        assert_eq!(told(&rules, "10.1.9.9"), "near:1");
        assert_eq!(told(&rules, "10.1.2.3"), "me:1");
        assert_eq!(told(&rules, "::ffff:10.1.9.9"), "near:1");
        assert_eq!(told(&rules, "8.8.8.8"), "outside:1");
        assert_eq!(told(&rules, "fd12::1"), "six:1");
        assert_eq!(told(&rules, "2001::1"), "default");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "10.0.0.0/33=a",
            "10.0.0.0/8",
            "x/8=a",
            "10.0.0.0/=a",
            "10.0.0.0/8=",
            "::/129=a",
            "10.0.0.0/8=a b",
        ] {
            assert!(text.parse::<Rules>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn fuzz_any_text_is_read_or_refused(text in "[0-9a-f.:/=,; ]{0,60}") {
            if let Ok(rules) = text.parse::<Rules>() {
                prop_assert_eq!(rules.to_string().parse(), Ok(rules));
            }
        }
    }
}
