//! Which messages of a queue a group wants, judged by the hash of their tags. Clients compare the tags themselves.

use std::sync::Arc;

use protocol::body::heartbeat::Subscription;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    All,
    /// Sorted hashes.
    Tags(Arc<[i32]>),
}

impl Filter {
    pub fn of(subscription: &Subscription) -> Filter {
        if subscription.is_all() {
            return Filter::All;
        }
        let mut hashes = subscription.code_set.clone();
        hashes.sort_unstable();
        Filter::Tags(hashes.into())
    }

    /// Whether a row of the index is wanted.
    pub fn takes(&self, tag: i64) -> bool {
        match self {
            Filter::All => true,
            Filter::Tags(hashes) => i32::try_from(tag).is_ok_and(|tag| hashes.binary_search(&tag).is_ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::body::heartbeat::java_hash;

    #[test]
    fn tags_are_compared_by_their_hash() {
        let filter = Filter::of(&Subscription::by_tags("t", "b || a").unwrap_or_default());
        assert!(filter.takes(java_hash("a").into()) && filter.takes(java_hash("b").into()));
        assert!(!filter.takes(java_hash("c").into()) && !filter.takes(0) && !filter.takes(i64::MAX));
        assert_eq!(Filter::of(&Subscription::by_tags("t", "*").unwrap_or_default()), Filter::All);
    }
}
