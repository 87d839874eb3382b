//! Which changes of a ledger's metadata are legal (ledger rules 1.6), whoever makes them.

use super::ledger::{LedgerMetadata, Segment, State};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("a ledger is created open, this one is {0:?}")]
    BornNotOpen(State),
    #[error("{0} changed")]
    Fixed(&'static str),
    #[error("state went from {from:?} to {to:?}")]
    State { from: State, to: State },
    #[error("segments were dropped or moved")]
    SegmentsMoved,
    #[error("segment {0} changed while the state did not allow it")]
    EnsembleChanged(i64),
    #[error("segment {0} begins beyond the last entry, or before the segment that it follows")]
    SegmentOutOfOrder(i64),
    #[error("a write set of segment {0} names one bookie twice")]
    BookieTwice(i64),
}

/// Whether `old` may become `new`; `None` is "no such key". Deleting is always legal.
pub fn check_transition(old: Option<&LedgerMetadata>, new: Option<&LedgerMetadata>) -> Result<(), Violation> {
    let Some(new) = new else { return Ok(()) };
    check_ensembles(new)?;
    let Some(old) = old else {
        return match new.state {
            State::Open => Ok(()),
            other => Err(Violation::BornNotOpen(other)),
        };
    };
    check_fixed(old, new)?;
    let illegal = || Violation::State { from: old.state, to: new.state };
    match (old.state, new.state) {
        // The writer's ensemble change: the last segment may be replaced or a segment added.
        (State::Open, State::Open) => check_growth(old, new, 1),
        // Recovery's first step: nothing but the state.
        (State::Open | State::InRecovery, State::InRecovery) => same_segments(old, new),
        (State::Open, State::Closed { .. }) => same_segments(old, new),
        // Recovery may have changed the ensemble several times, in memory.
        (State::InRecovery, State::Closed { .. }) => check_growth(old, new, usize::MAX),
        (State::Closed { .. }, State::Closed { .. }) if old.state != new.state => Err(illegal()),
        (State::Closed { .. }, State::Closed { .. }) => check_replaced(old, new),
        _ => Err(illegal()),
    }
}

fn check_fixed(old: &LedgerMetadata, new: &LedgerMetadata) -> Result<(), Violation> {
    let fixed = [
        ("the ensemble size", old.ensemble_size == new.ensemble_size),
        ("the write quorum", old.write_quorum == new.write_quorum),
        ("the ack quorum", old.ack_quorum == new.ack_quorum),
        ("the digest type", old.digest == new.digest),
        ("the password", old.password == new.password),
        ("the custom metadata", old.custom == new.custom),
    ];
    match fixed.iter().find(|(_, same)| !same) {
        Some((what, _)) => Err(Violation::Fixed(what)),
        None => Ok(()),
    }
}

/// Two copies of an entry on one bookie are one copy.
fn check_ensembles(new: &LedgerMetadata) -> Result<(), Violation> {
    for segment in &new.segments {
        let mut names: Vec<_> = segment.ensemble.iter().collect();
        names.sort();
        names.dedup();
        if names.len() != segment.ensemble.len() {
            return Err(Violation::BookieTwice(segment.first.0));
        }
    }
    Ok(())
}

fn same_segments(old: &LedgerMetadata, new: &LedgerMetadata) -> Result<(), Violation> {
    match old.segments == new.segments {
        true => Ok(()),
        false => Err(Violation::SegmentsMoved),
    }
}

/// All segments but the last are as they were; the last may have another ensemble; at most `more` follow it.
fn check_growth(old: &LedgerMetadata, new: &LedgerMetadata, more: usize) -> Result<(), Violation> {
    let kept = old.segments.len();
    if new.segments.len() < kept || new.segments.len() - kept > more {
        return Err(Violation::SegmentsMoved);
    }
    for (at, (before, after)) in old.segments.iter().zip(&new.segments).enumerate() {
        if before.first != after.first {
            return Err(Violation::SegmentsMoved);
        }
        let added = new.segments.len() > kept;
        if before.ensemble != after.ensemble && (at + 1 < kept || (added && more == 1)) {
            return Err(Violation::EnsembleChanged(before.first.0));
        }
    }
    let limit = match new.state {
        State::Closed { last, .. } => last.0 + 1,
        _ => i64::MAX,
    };
    let mut at = i64::MIN;
    for Segment { first, .. } in &new.segments {
        if first.0 <= at || (first.0 > limit && at != i64::MIN) {
            return Err(Violation::SegmentOutOfOrder(first.0));
        }
        at = first.0;
    }
    Ok(())
}

/// The repairer's change: other bookies in one segment, nothing else.
fn check_replaced(old: &LedgerMetadata, new: &LedgerMetadata) -> Result<(), Violation> {
    if old.segments.len() != new.segments.len() {
        return Err(Violation::SegmentsMoved);
    }
    let mut changed = 0;
    for (before, after) in old.segments.iter().zip(&new.segments) {
        if before.first != after.first {
            return Err(Violation::SegmentsMoved);
        }
        changed += usize::from(before.ensemble != after.ensemble);
        if changed > 1 {
            return Err(Violation::EnsembleChanged(before.first.0));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::EntryId;
    use protocol::entry::DigestType;

    fn ledger(state: State, segments: &[(i64, [&str; 2])]) -> LedgerMetadata {
        let segment = |(first, names): &(i64, [&str; 2])| Segment {
            first: EntryId(*first),
            ensemble: names.iter().filter_map(|name| format!("{name}:1").parse().ok()).collect(),
        };
        LedgerMetadata {
            ensemble_size: 2,
            write_quorum: 2,
            ack_quorum: 1,
            state,
            segments: segments.iter().map(segment).collect(),
            digest: DigestType::Crc32c,
            password: Default::default(),
            created_ms: None,
            custom: Default::default(),
            token: 0,
        }
    }

    const CLOSED: State = State::Closed { last: EntryId(9), length: 10 };

    #[test]
    fn the_life_of_a_ledger_is_legal() {
        let open = ledger(State::Open, &[(0, ["a", "b"])]);
        let changed = ledger(State::Open, &[(0, ["a", "b"]), (4, ["a", "c"])]);
        let recovering = ledger(State::InRecovery, &[(0, ["a", "b"]), (4, ["a", "c"])]);
        let closed = ledger(CLOSED, &[(0, ["a", "b"]), (4, ["a", "c"]), (7, ["d", "c"]), (10, ["d", "e"])]);
        let repaired = ledger(CLOSED, &[(0, ["a", "f"]), (4, ["a", "c"]), (7, ["d", "c"]), (10, ["d", "e"])]);
        let life =
            [None, Some(&open), Some(&changed), Some(&recovering), Some(&closed), Some(&repaired), None];
        for pair in life.windows(2) {
            assert_eq!(check_transition(pair[0], pair[1]), Ok(()));
        }
    }

    #[test]
    fn a_closed_ledger_stays_as_it_is() {
        let closed = ledger(CLOSED, &[(0, ["a", "b"]), (4, ["a", "c"])]);
        let shorter =
            ledger(State::Closed { last: EntryId(8), length: 9 }, &[(0, ["a", "b"]), (4, ["a", "c"])]);
        let both = ledger(CLOSED, &[(0, ["x", "b"]), (4, ["x", "c"])]);
        let moved = ledger(CLOSED, &[(0, ["a", "b"]), (5, ["a", "c"])]);
        let open = ledger(State::Open, &[(0, ["a", "b"]), (4, ["a", "c"])]);
        for wrong in [shorter, both, moved, open] {
            assert!(check_transition(Some(&closed), Some(&wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_fixed_stays_fixed() {
        let open = ledger(State::Open, &[(0, ["a", "b"])]);
        let changes: [fn(&mut LedgerMetadata); 4] = [
            |l| l.ack_quorum = 2,
            |l| l.digest = DigestType::Crc32,
            |l| l.password = "x".into(),
            |l| l.segments.clear(),
        ];
        for change in changes {
            let mut new = open.clone();
            change(&mut new);
            assert!(check_transition(Some(&open), Some(&new)).is_err(), "{new:?}");
        }
        assert_eq!(
            check_transition(None, Some(&ledger(State::Open, &[(0, ["a", "a"])]))),
            Err(Violation::BookieTwice(0))
        );
        assert!(check_transition(None, Some(&ledger(CLOSED, &[(0, ["a", "b"])]))).is_err());
        let recovering = ledger(State::InRecovery, &[(0, ["a", "b"])]);
        assert!(check_transition(Some(&recovering), Some(&open)).is_err());
    }
}
