//! What a writer appends: every entry's bytes follow from its writer and its number, so that a checker needs no copy.

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

/// One append of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    pub writer: u32,
    pub number: u64,
}

const NAME_LEN: usize = 12;

impl Name {
    /// The entry's bytes: its name, then noise of a length and content that follow from it.
    pub fn body(self) -> Bytes {
        let mut rng = SmallRng::seed_from_u64(
            self.number.wrapping_mul(0x9e37_79b9).wrapping_add(u64::from(self.writer)),
        );
        let len = NAME_LEN + rng.random_range(0..4000);
        let mut body = vec![0; len];
        rng.fill_bytes(&mut body);
        let (name, _) = body.split_at_mut(NAME_LEN);
        name.copy_from_slice(&[&self.writer.to_be_bytes()[..], &self.number.to_be_bytes()[..]].concat());
        body.into()
    }

    /// Whose entry this is; `None` if no writer of this test made it.
    pub fn of(body: &[u8]) -> Option<Name> {
        let (writer, rest) = body.split_first_chunk()?;
        let number = rest.first_chunk()?;
        let name = Name { writer: u32::from_be_bytes(*writer), number: u64::from_be_bytes(*number) };
        (name.body() == body).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_names_its_writer_and_a_changed_byte_is_noticed() {
        let name = Name { writer: 3, number: 77 };
        let mut body = name.body().to_vec();
        assert_eq!(Name::of(&body), Some(name));
        if let Some(last) = body.last_mut() {
            *last ^= 1;
        }
        assert_eq!(Name::of(&body), None);
        assert_eq!(Name::of(b"short"), None);
    }
}
