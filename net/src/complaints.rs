//! A flood of bad connections must not become a flood of log lines.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

const A_WHILE: Duration = Duration::from_secs(10);
const IN_A_WHILE: u32 = 10;

/// Counts what was complained of.
#[derive(Default)]
pub(crate) struct Complaints(Mutex<Option<(Instant, u32)>>);

/// What to do with one more complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Say {
    It,
    /// It, and that there are more than are worth a line each.
    ItAndThatMoreFollow,
    Nothing,
}

impl Complaints {
    /// Logs what is wrong with a peer, unless too much of the kind was logged of late.
    pub fn log(&self, peer: SocketAddr, what: impl Display) {
        match self.one_more(Instant::now()) {
            Say::It => tracing::warn!("{peer}: {what}"),
            Say::ItAndThatMoreFollow => {
                tracing::warn!("{peer}: {what}; further ones are not logged for a while")
            }
            Say::Nothing => {}
        }
    }

    fn one_more(&self, now: Instant) -> Say {
        let mut counted = self.0.lock();
        let (since, count) =
            counted.filter(|(since, _)| now.duration_since(*since) < A_WHILE).unwrap_or((now, 0));
        *counted = Some((since, count.saturating_add(1)));
        match count.cmp(&(IN_A_WHILE - 1)) {
            std::cmp::Ordering::Less => Say::It,
            std::cmp::Ordering::Equal => Say::ItAndThatMoreFollow,
            std::cmp::Ordering::Greater => Say::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_is_named_once_and_then_kept_quiet_for_a_while() {
        let complaints = Complaints::default();
        let now = Instant::now();
        let said: Vec<Say> = (0..1000).map(|_| complaints.one_more(now)).collect();
        assert_eq!(said[..9], [Say::It; 9]);
        assert_eq!(said[9], Say::ItAndThatMoreFollow);
        assert!(said[10..].iter().all(|said| *said == Say::Nothing));
        assert_eq!(complaints.one_more(now + A_WHILE), Say::It);
    }
}
