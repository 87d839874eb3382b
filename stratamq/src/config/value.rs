//! How values are written.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use protocol::body::advertise::Rules;

use super::key::Value;
use crate::logs;

/// Bytes: `64MB`. KB, MB, GB and TB are powers of 1,024.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 5] =
    [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];

impl Value for Size {
    fn read(text: &str) -> Result<Size, String> {
        let wrong = || "must be a size such as 64MB or 1GB".to_string();
        let upper = text.trim().to_uppercase().replace("IB", "B");
        let (digits, unit) = match UNITS.iter().find(|(unit, _)| upper.ends_with(unit)) {
            Some((unit, bytes)) => (upper.trim_end_matches(unit), *bytes),
            None => (upper.as_str(), 1),
        };
        let number: u64 = digits.trim().parse().map_err(|_| wrong())?;
        number.checked_mul(unit).map(Size).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes));
        match whole {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// Bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct Rate(pub u64);

impl Value for Rate {
    fn read(text: &str) -> Result<Rate, String> {
        let wrong = || "must be a rate such as 20MB/s".to_string();
        let size = text.trim().strip_suffix("/s").ok_or_else(wrong)?;
        Size::read(size).map(|size| Rate(size.0)).map_err(|_| wrong())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Size(self.0))
    }
}

/// A length of time: `10s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct Span(pub Duration);

const SPANS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Value for Span {
    fn read(text: &str) -> Result<Span, String> {
        let wrong = || "must be a time such as 500ms, 10s, 5m, 1h or 7d".to_string();
        let text = text.trim();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = SPANS.iter().find(|(unit, _)| *unit == &text[digits.len()..]).ok_or_else(wrong)?;
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(unit.1).map(|ms| Span(Duration::from_millis(ms))).ok_or_else(wrong)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let whole = SPANS.iter().rev().find(|(_, length)| ms >= *length && ms % length == 0);
        match whole {
            Some((unit, length)) => write!(f, "{}{unit}", ms / length),
            None => write!(f, "{ms}ms"),
        }
    }
}

impl Value for String {
    fn read(text: &str) -> Result<String, String> {
        Ok(text.trim().into())
    }
}

impl Value for bool {
    fn read(text: &str) -> Result<bool, String> {
        match text.trim() {
            "true" | "on" | "yes" => Ok(true),
            "false" | "off" | "no" => Ok(false),
            _ => Err("must be true or false".into()),
        }
    }
}

impl Value for u64 {
    fn read(text: &str) -> Result<u64, String> {
        text.trim().parse().map_err(|_| "must be a whole number".into())
    }
}

/// `host:port`; empty where a role may do without.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct Address(String);

impl Address {
    pub fn get(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(self.0.as_str())
    }

    pub fn host(&self) -> &str {
        self.0.rsplit_once(':').map_or("", |(host, _)| host)
    }

    /// 0, which is any, where there is no address.
    pub fn port(&self) -> u16 {
        self.0.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
    }

    /// What to say to somebody who left the address `key` empty.
    pub fn missing(&self, key: &str) -> Option<String> {
        self.0.is_empty().then(|| format!("{key} is empty: give --{key} host:port"))
    }

    /// Bound to, it means every interface; dialled, it means nothing.
    pub fn is_wildcard(&self) -> bool {
        matches!(self.host(), "0.0.0.0" | "[::]" | "*")
    }
}

impl Value for Address {
    fn read(text: &str) -> Result<Address, String> {
        let text = text.trim();
        let wrong = || "must be host:port, as in 127.0.0.1:3181".to_string();
        if text.is_empty() {
            return Ok(Address::default());
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        if host.is_empty() || host.contains(['/', ' ']) || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        Ok(Address(text.into()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Addresses, separated by semicolons or commas.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct Addresses(pub Vec<Address>);

impl Value for Addresses {
    fn read(text: &str) -> Result<Addresses, String> {
        let texts = text.split([';', ',']).map(str::trim).filter(|text| !text.is_empty());
        texts.map(Address::read).collect::<Result<_, _>>().map(Addresses)
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(Address::to_string).collect();
        f.write_str(&texts.join(";"))
    }
}

/// A host to tell clients, and hosts for those who ask from some network: `HOST[,CIDR=HOST…]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct Advertise {
    pub host: Option<String>,
    pub rules: Rules,
}

impl Value for Advertise {
    fn read(text: &str) -> Result<Advertise, String> {
        let (rules, hosts): (Vec<&str>, Vec<&str>) = text
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .partition(|part| part.contains('='));
        let host = match hosts.as_slice() {
            [] => None,
            [host] if !host.contains(['/', ' ']) && !host.contains(':') => Some(host.to_string()),
            [host] => {
                return Err(format!(
                    "'{host}' must be a host without a port: the ports are those of `listen`"
                ));
            }
            _ => return Err("names more than one host; for networks write CIDR=HOST".into()),
        };
        let rules = rules.join(",").parse().map_err(|error: protocol::body::Malformed| error.0)?;
        Ok(Advertise { host, rules })
    }
}

impl fmt::Display for Advertise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.rules.to_string();
        let parts = [self.host.as_deref().unwrap_or_default(), &rules];
        f.write_str(&parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(","))
    }
}

/// An IP address; empty where there is another way to one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct Ip(pub Option<IpAddr>);

impl Value for Ip {
    fn read(text: &str) -> Result<Ip, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Ip::default());
        }
        text.parse().map(|ip| Ip(Some(ip))).map_err(|_| "must be an IP address such as 10.1.2.3".into())
    }
}

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|ip| ip.fmt(f))
    }
}

/// Which log lines are written: a level, or `target=level, …`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct LogFilter(String);

impl LogFilter {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for LogFilter {
    fn read(text: &str) -> Result<LogFilter, String> {
        let text = text.trim();
        logs::levels(text)?;
        Ok(LogFilter(text.into()))
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `copies,written,acknowledged`: bookies of a ledger, copies of an entry, and how many of them must be on disk.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Copies(pub u32, pub u32, pub u32);

impl Default for Copies {
    fn default() -> Copies {
        Copies(3, 3, 2)
    }
}

impl Value for Copies {
    fn read(text: &str) -> Result<Copies, String> {
        let wrong = || "must be three numbers E,Qw,Qa with E >= Qw >= Qa >= 1, as in 3,3,2".to_string();
        let numbers: Vec<u32> = text
            .split(',')
            .map(|number| number.trim().parse().map_err(|_| wrong()))
            .collect::<Result<_, _>>()?;
        match numbers.as_slice() {
            [e, w, a] if e >= w && w >= a && *a >= 1 => Ok(Copies(*e, *w, *a)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.0, self.1, self.2)
    }
}

/// Folders, separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct Folders(pub Vec<PathBuf>);

impl Value for Folders {
    fn read(text: &str) -> Result<Folders, String> {
        let folders: Vec<PathBuf> =
            text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(Into::into).collect();
        for (i, folder) in folders.iter().enumerate() {
            if folders[..i].contains(folder) {
                return Err(format!("names {} twice", folder.display()));
            }
        }
        Ok(Folders(folders))
    }
}

impl fmt::Display for Folders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|folder| folder.display().to_string()).collect();
        f.write_str(&names.join(","))
    }
}

/// A choice among words.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $first:ident = $text:literal, $other:ident = $other_text:literal }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
        pub enum $name {
            #[default]
            $first,
            $other,
        }

        impl Value for $name {
            fn read(text: &str) -> Result<$name, String> {
                match text.trim() {
                    $text => Ok($name::$first),
                    $other_text => Ok($name::$other),
                    _ => Err(concat!("must be ", $text, " or ", $other_text).into()),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $name::$first => $text,
                    $name::$other => $other_text,
                })
            }
        }
    };
}

choice! {
    /// How log lines are written.
    LogFormat { Text = "text", Json = "json" }
}
choice! {
    /// What a bookie does whose data is gone.
    OnLost { Limbo = "limbo", Refuse = "refuse" }
}

/// Where metadata lives: `etcd://host:port[,host:port…]/SCOPE`, or `embedded:///FOLDER`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct MetadataUri(String);

impl MetadataUri {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What to say to somebody who did not give it.
    pub fn missing(&self) -> Option<String> {
        self.0.is_empty().then(|| {
            "metadata is not set: give --metadata etcd://host:port/SCOPE, or 'metadata' in the file".into()
        })
    }
}

impl Value for MetadataUri {
    fn read(text: &str) -> Result<MetadataUri, String> {
        let text = text.trim();
        metadata::cluster::Address::parse(text).map_err(|error| error.to_string())?;
        Ok(MetadataUri(text.into()))
    }
}

impl fmt::Display for MetadataUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// For flags that clap reads itself.
macro_rules! from_str {
    ($($value:ty),+) => {
        $(impl std::str::FromStr for $value {
            type Err = String;

            fn from_str(text: &str) -> Result<$value, String> {
                <$value as Value>::read(text)
            }
        })+
    };
}

from_str!(Size, Rate, Span, LogFormat, MetadataUri, Address);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_back_as_the_same() {
        for text in ["64MB", "1GB", "1536MB", "7B", "0B"] {
            assert_eq!(Size::read(text).map(|s| s.to_string()), Ok(text.into()));
        }
        for text in ["500ms", "10s", "90s", "5m", "1h", "7d"] {
            assert_eq!(Span::read(text).map(|s| s.to_string()), Ok(text.into()));
        }
        for text in ["etcd://a:1/s", "etcd://a:1,b:2/bk/cluster", "embedded:///var/lib/m"] {
            assert_eq!(MetadataUri::read(text).map(|s| s.to_string()), Ok(text.into()));
        }
        assert_eq!(Rate::read("20MB/s").map(|s| s.to_string()), Ok("20MB/s".into()));
        assert_eq!(Size::read("64 MiB"), Ok(Size(64 << 20)));
        assert_eq!(Size::read("4096"), Ok(Size(4096)));
    }

    #[test]
    fn what_is_advertised_is_a_host_and_rules() {
        let read = Advertise::read("mq.example.org, 10.0.0.0/8=10.1.2.3,192.168.0.0/16=inside").unwrap();
        assert_eq!((read.host.as_deref(), read.rules.0.len()), (Some("mq.example.org"), 2));
        assert_eq!(Advertise::read(&read.to_string()), Ok(read));
        for text in ["a,b", "a:10911", "10.0.0.0/8=", "x/8=a"] {
            assert!(Advertise::read(text).is_err(), "{text}");
        }
        assert_eq!(Copies::read("3, 3,2"), Ok(Copies(3, 3, 2)));
        for text in ["", "3,3", "2,3,2", "3,2,3", "3,3,0", "a,b,c"] {
            assert!(Copies::read(text).is_err(), "{text}");
        }
        assert_eq!(Addresses::read("a:1;b:2").map(|all| all.to_string()), Ok("a:1;b:2".into()));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "MB", "-1MB", "1.5GB", "99999999999TB", "12 apples"] {
            assert!(Size::read(text).is_err(), "{text}");
        }
        for text in ["", "10", "s", "-1s", "10 parsecs"] {
            assert!(Span::read(text).is_err(), "{text}");
        }
        for text in ["", "etcd://", "etcd://h:1", "etcd://h:1/", "etcd://h/s", "http://h:1/s", "etcd:///s"] {
            assert!(MetadataUri::read(text).is_err(), "{text}");
        }
        assert!(MetadataUri::read("zk+hierarchical://h:1/ledgers").is_err_and(|e| e.contains("ZooKeeper")));
        assert!(Folders::read("/a,/b,/a").is_err());
    }
}
