//! Integers in seven bits a byte, the lowest first; signed ones in zigzag order.

pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, (value << 1 ^ value >> 63) as u64);
}

/// Takes one off the front; `None` if there is none, or if it has more than 64 bits.
pub fn take(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

pub fn take_signed(from: &mut &[u8]) -> Option<i64> {
    take(from).map(|bits| (bits >> 1) as i64 ^ -((bits & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken(value: u64, signed: i64) {
            let mut out = Vec::new();
            put(&mut out, value);
            put_signed(&mut out, signed);
            let mut from = &out[..];
            prop_assert_eq!((take(&mut from), take_signed(&mut from)), (Some(value), Some(signed)));
            prop_assert!(from.is_empty());
        }

        #[test]
        fn fuzz_any_bytes_are_a_number_or_none(bytes: Vec<u8>) {
            let _ = take(&mut &bytes[..]);
        }
    }
}
