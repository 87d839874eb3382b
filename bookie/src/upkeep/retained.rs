//! Why segments are still there: what is live in each, and which ledgers hold it.

use protocol::LedgerId;
use serde::Serialize;

use crate::Error;
use crate::service::Bookie;

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retained {
    pub shelf: usize,
    pub segment: u32,
    pub written: u64,
    pub live: u64,
    pub sealed: bool,
    /// Those with the most bytes first.
    pub holders: Vec<Holder>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    pub ledger: i64,
    pub bytes: u64,
    pub standing: Standing,
}

/// What metadata says of a ledger that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It belongs here.
    Named,
    /// It is elsewhere now: deleted here at the next look for such ledgers.
    Elsewhere,
    /// Metadata does not know it: an orphan, deleted at the next look for deleted ledgers.
    Orphan,
    /// Metadata cannot be asked, or not be read.
    NotKnown,
}

impl Bookie {
    /// Walks the whole index: for an operator's question, not for a metric.
    pub async fn why_retained(&self) -> Result<Vec<Retained>, Error> {
        let mut report = Vec::new();
        for (shelf, reader) in self.core.placement.readers().enumerate() {
            for segment in self.core.segments(shelf).await {
                let mut holders = Vec::new();
                for (ledger, bytes) in reader.holders(segment.segment)? {
                    holders.push(Holder { ledger: ledger.0, bytes, standing: self.standing(ledger).await });
                }
                holders.sort_by_key(|holder| (std::cmp::Reverse(holder.bytes), holder.ledger));
                report.push(Retained {
                    shelf,
                    segment: segment.segment.0,
                    written: segment.written,
                    live: segment.live,
                    sealed: segment.sealed,
                    holders,
                });
            }
        }
        Ok(report)
    }

    async fn standing(&self, ledger: LedgerId) -> Standing {
        match self.core.ledgers.read(ledger).await {
            Ok(None) => Standing::Orphan,
            Ok(Some(stored)) if stored.metadata.names(&self.core.id) => Standing::Named,
            Ok(Some(_)) => Standing::Elsewhere,
            Err(_) => Standing::NotKnown,
        }
    }
}
