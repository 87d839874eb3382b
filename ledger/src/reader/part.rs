//! Parts of entries, where bookies can read them (an extension of ours). All of this saves reading and proves nothing:
//! what it cannot do, [`LedgerReader::read`] can.

use bytes::Bytes;
use net::{Failure, Inbox};
use protocol::EntryId;
use protocol::bookie::{Answer, Refusal, Request};
use tokio::time::{Instant, timeout_at};

use super::LedgerReader;

impl LedgerReader {
    /// `len` bytes of an entry's payload. Nothing says that they are what was written: the caller has to know them.
    /// `None`: read the whole entry.
    pub async fn part(&self, entry: EntryId, from: usize, len: usize) -> Option<Bytes> {
        let from = u32::try_from(from + self.overhead()).ok()?;
        let request = Request::ReadRange { ledger: self.ledger, entry, from, len: u32::try_from(len).ok()? };
        let part = |answer| match answer {
            Answer::Range(bytes) if bytes.len() == len => Some(bytes),
            _ => None,
        };
        self.first_of(entry, &request, part).await
    }

    /// The lengths of the payloads of consecutive entries from `first` on, some or all of `count`; unproved like parts.
    /// `None`: they are not to be had.
    pub async fn lengths(&self, first: EntryId, count: u32) -> Option<Vec<u32>> {
        {
            let view = self.view.lock();
            let whole = view.layout.quorums.ensemble() == view.layout.quorums.write();
            if !view.parts || !whole || first > view.confirmed {
                return None;
            }
        }
        let overhead = self.overhead() as u32;
        let request = Request::Lengths { ledger: self.ledger, first, max_count: count };
        let payloads = |answer| match answer {
            Answer::Lengths(lengths) if !lengths.is_empty() => {
                lengths.iter().map(|length| length.checked_sub(overhead)).collect()
            }
            _ => None,
        };
        self.first_of(first, &request, payloads).await
    }

    /// What precedes the payload in an encoded entry.
    fn overhead(&self) -> usize {
        self.view.lock().layout.digest.overhead()
    }

    /// What `accept` makes of the first answer that it takes, of those who have `entry`, asked one after the other.
    async fn first_of<T>(
        &self,
        entry: EntryId,
        request: &Request,
        accept: impl Fn(Answer) -> Option<T>,
    ) -> Option<T> {
        let (layout, favourite) = {
            let view = self.view.lock();
            (view.layout.clone(), view.favourite)
        };
        let ensemble = &layout.segment_of(entry).ensemble;
        let mut members: Vec<usize> = layout.quorums.write_set(entry).collect();
        members.sort_by_key(|member| *member != favourite);
        let inbox = Inbox::new();
        for member in members {
            let Some(bookie) = ensemble.get(member) else { continue };
            self.cluster.bookies.send(bookie, request.clone(), inbox.expect(member as u64));
            let Ok(replies) = timeout_at(Instant::now() + self.patience.hedge_after, inbox.take()).await
            else {
                continue;
            };
            for (_, reply) in replies {
                match reply {
                    Ok(answer) => match accept(answer) {
                        Some(accepted) => return Some(accepted),
                        None => continue,
                    },
                    Err(Failure::Refused(Refusal::BadVersion | Refusal::BadRequest)) => {
                        self.view.lock().parts = false;
                        return None;
                    }
                    Err(_) => {}
                }
            }
        }
        None
    }
}
