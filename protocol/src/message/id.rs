//! Names of messages.
//!
//! An [`OffsetId`] says where a message is stored: `ip | port i32 | physical offset i64`, in upper hex; clients make it
//! themselves from what they read. A unique key ([`UniqueKeys`]) is given by the client that sends:
//! `ip | pid u16 | i32 | ms of the month u32 | counter u16`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// offsetMsgId.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OffsetId {
    pub host: SocketAddr,
    pub offset: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a message id of 32 or 56 hexadecimal digits")]
pub struct NotAnId(String);

impl OffsetId {
    pub fn write(&self, out: &mut String) {
        hex_ip(self.host.ip(), out);
        hex(&i32::from(self.host.port()).to_be_bytes(), out);
        hex(&self.offset.to_be_bytes(), out);
    }
}

impl fmt::Display for OffsetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(56);
        self.write(&mut text);
        f.write_str(&text)
    }
}

impl FromStr for OffsetId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<OffsetId, NotAnId> {
        let wrong = || NotAnId(text.chars().take(80).collect());
        let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let at = match text.len() {
            32 => 8,
            56 => 32,
            _ => return Err(wrong()),
        };
        let (ip, rest) = text.split_at_checked(at).filter(|_| hex).ok_or_else(wrong)?;
        let (port, offset) = rest.split_at_checked(8).ok_or_else(wrong)?;
        let number = |digits: &str| u128::from_str_radix(digits, 16).map_err(|_| wrong());
        let ip = match u32::try_from(number(ip)?) {
            Ok(v4) if at == 8 => IpAddr::from(v4.to_be_bytes()),
            _ => IpAddr::from(number(ip)?.to_be_bytes()),
        };
        let port = u16::try_from(number(port)?).map_err(|_| wrong())?;
        let offset = u64::try_from(number(offset)?).map_err(|_| wrong())?.cast_signed();
        Ok(OffsetId { host: SocketAddr::new(ip, port), offset })
    }
}

/// Gives out unique keys. Others with the same address are told apart by `pid` and `salt`.
#[derive(Clone, Debug)]
pub struct UniqueKeys {
    prefix: String,
    counter: u16,
}

impl UniqueKeys {
    pub fn new(ip: IpAddr, pid: u16, salt: u32) -> UniqueKeys {
        let mut prefix = String::with_capacity(56);
        hex_ip(ip, &mut prefix);
        hex(&pid.to_be_bytes(), &mut prefix);
        hex(&salt.to_be_bytes(), &mut prefix);
        UniqueKeys { prefix, counter: 0 }
    }

    /// The next key, at `now` in ms since 1970.
    pub fn next(&mut self, now: u64) -> String {
        let mut key = String::with_capacity(self.prefix.len() + 12);
        self.write(now, &mut key);
        key
    }

    /// As [`UniqueKeys::next`], appended to `out`.
    pub fn write(&mut self, now: u64, out: &mut String) {
        out.push_str(&self.prefix);
        let ms = u32::try_from(now - month(now)).unwrap_or(u32::MAX);
        hex(&ms.to_be_bytes(), out);
        hex(&self.counter.to_be_bytes(), out);
        self.counter = self.counter.wrapping_add(1);
    }
}

const DAY: u64 = 86_400_000;

/// The start of the month that `now` is in, both in ms since 1970, by the Gregorian calendar.
fn month(now: u64) -> u64 {
    // Days since 1 March of year 0, and from there the day of the month: years that begin in March have their leap
    // day at the end, and their months 153 days in five.
    let days = now / DAY;
    let of_era = (days + 719_468) % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5;
    (days - of_month) * DAY
}

fn hex_ip(ip: IpAddr, out: &mut String) {
    match ip {
        IpAddr::V4(ip) => hex(&ip.octets(), out),
        IpAddr::V6(ip) => hex(&ip.octets(), out),
    }
}

fn hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from(if digit < 10 { b'0' + digit } else { b'A' + digit - 10 }));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_those_that_clients_make() {
        let id = OffsetId { host: "192.168.1.2:10911".parse().unwrap(), offset: 1 << 33 };
        assert_eq!(id.to_string(), "C0A8010200002A9F0000000200000000");
        assert_eq!("c0a8010200002a9f0000000200000000".parse(), Ok(id));
        let id = OffsetId { host: "[::1]:1".parse().unwrap(), offset: 7 };
        assert_eq!(id.to_string().len(), 56);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let long = "7F".repeat(16);
        assert_eq!(long.parse::<OffsetId>(), Err(NotAnId(long)));
        for text in
            ["", "x", "C0A8010200002A9F000000020000000", "+0A8010200002A9F0000000200000000", &"ä".repeat(16)]
        {
            assert!(text.parse::<OffsetId>().is_err(), "{text}");
        }
    }

    #[test]
    fn unique_keys_count_and_carry_the_time_of_the_month() {
        let mut keys = UniqueKeys::new("127.0.0.1".parse().unwrap(), 7, 9);
        // 2024-02-29 00:00:01 UTC
        let now = 1_709_164_801_000;
        assert_eq!(keys.next(now), "7F000001000700000009903213E80000");
        assert_eq!(&keys.next(now)[28..], "0001");
        assert_eq!(month(now), 1_706_745_600_000);
        assert_eq!(month(0), 0);
        assert_eq!(month(951_782_400_000), 949_363_200_000);
    }

    proptest! {
        #[test]
        fn fuzz_any_text_is_an_id_or_refused(text in ".{0,60}") {
            let _ = text.parse::<OffsetId>();
        }

        #[test]
        fn ids_survive(ip: u32, port: u16, offset: i64) {
            let id = OffsetId { host: SocketAddr::new(IpAddr::from(ip.to_be_bytes()), port), offset };
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
