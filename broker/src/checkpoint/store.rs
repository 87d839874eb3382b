//! The checkpoint log: blocks and manifests, one after the other.
//!
//! Version 2 of its entries: `"SC" | version u8 | kind u8 | CRC-32C u32 | vb u32 | 0 u32 | manifest u64`, then blocks
//! or one manifest. The checksum is of the other bytes of this head; the log below has one over everything. *manifest* is the
//! position of the newest manifest before this entry, so the log's last entry leads to the checkpoint that counts: a
//! checkpoint is there once its manifest is, and a crash before that leaves the one before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use ledger::log::{Log, Position, Refused};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::block::{KeyBlock, PointerBlock, RowBlock};
use super::pace::Pace;
use crate::entry::Corrupt;
use crate::error::Error;

const MAGIC: [u8; 2] = *b"SC";
/// Rows have had checksums since version 2.
const VERSION: u8 = 2;
const OLDEST: u8 = 1;
const HEAD_LEN: usize = 24;
const NONE: u64 = u64::MAX;
/// Blocks are appended together up to about this many bytes.
const TOGETHER: usize = 64 << 10;

/// A block's bytes in the checkpoint log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    pub position: u64,
    pub len: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Blocks,
    Manifest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub kind: Kind,
    pub vb: u32,
    pub manifest: Option<u64>,
}

impl Head {
    pub fn encode(&self) -> [u8; HEAD_LEN] {
        let mut out = [0; HEAD_LEN];
        out[..2].copy_from_slice(&MAGIC);
        out[2] = VERSION;
        out[3] = u8::from(self.kind == Kind::Manifest);
        out[8..12].copy_from_slice(&self.vb.to_be_bytes());
        out[16..24].copy_from_slice(&self.manifest.unwrap_or(NONE).to_be_bytes());
        let crc = crc_of(&out);
        out[4..8].copy_from_slice(&crc.to_be_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Head, Corrupt> {
        let wrong = |why: &str| Err(Corrupt(why.into()));
        let Some(head) = bytes.first_chunk::<HEAD_LEN>() else {
            return wrong("too short for an entry of a checkpoint log");
        };
        let [m0, m1, version, kind, c0, c1, c2, c3, rest @ ..] = *head;
        if [m0, m1] != MAGIC {
            return wrong("it is not an entry of a checkpoint log");
        }
        if u32::from_be_bytes([c0, c1, c2, c3]) != crc_of(head) {
            return wrong("the checksum of its head does not match");
        }
        let kind = match (version, kind) {
            (OLDEST..=VERSION, 0) => Kind::Blocks,
            (OLDEST..=VERSION, 1) => Kind::Manifest,
            _ => return wrong("it is of a newer format than this release knows: upgrade this broker"),
        };
        let [v0, v1, v2, v3, _, _, _, _, manifest @ ..] = rest;
        let manifest = Some(u64::from_be_bytes(manifest)).filter(|position| *position != NONE);
        Ok(Head { kind, vb: u32::from_be_bytes([v0, v1, v2, v3]), manifest })
    }
}

fn crc_of(head: &[u8; HEAD_LEN]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&head[..4]), &head[8..])
}

/// A decoded block.
#[derive(Clone)]
enum Block {
    Rows(Arc<RowBlock>),
    Keys(Arc<KeyBlock>),
    Pointers(Arc<PointerBlock>),
}

/// Decoded blocks, those that were used last.
struct Cache {
    blocks: FxHashMap<u64, (Block, u64, usize)>,
    /// By use, the oldest first.
    order: BTreeMap<u64, u64>,
    uses: u64,
    bytes: usize,
    budget: usize,
}

impl Cache {
    fn get(&mut self, position: u64) -> Option<Block> {
        let (block, used, _) = self.blocks.get_mut(&position)?;
        self.order.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.order.insert(self.uses, position);
        Some(block.clone())
    }

    fn put(&mut self, position: u64, block: Block, bytes: usize) {
        self.uses += 1;
        self.order.insert(self.uses, position);
        self.bytes += bytes;
        if let Some((_, used, bytes)) = self.blocks.insert(position, (block, self.uses, bytes)) {
            self.order.remove(&used);
            self.bytes -= bytes;
        }
        while self.bytes > self.budget {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some((_, _, bytes)) = self.blocks.remove(&oldest) {
                self.bytes -= bytes;
            }
        }
    }
}

/// The checkpoint log of one virtual broker.
pub struct Store {
    log: Arc<dyn Log>,
    vb: u32,
    /// The newest manifest. Held while appending: an entry names the manifest before it.
    manifest: Mutex<Option<u64>>,
    cache: Mutex<Cache>,
    /// Where the last entry that was appended begins.
    last: AtomicU64,
    pub pace: Pace,
}

impl Store {
    /// Finds the newest manifest.
    pub async fn open(
        log: Arc<dyn Log>,
        vb: u32,
        cache_bytes: usize,
    ) -> Result<(Store, Option<Bytes>), Error> {
        let cache = Cache {
            blocks: FxHashMap::default(),
            order: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            budget: cache_bytes,
        };
        let end = log.progress().borrow().acknowledged;
        let first = log.links().await?.first().map_or(Position::START, |link| link.base);
        let store = Store {
            log,
            vb,
            manifest: Mutex::new(None),
            cache: Mutex::new(cache),
            last: AtomicU64::new(0),
            pace: Pace::default(),
        };
        if end <= first {
            return Ok((store, None));
        }
        let (position, last) = store.entry(end.0 - 1).await?;
        let head = store.head(position, &last)?;
        let newest = match head.kind {
            Kind::Manifest => Some(position),
            Kind::Blocks => head.manifest,
        };
        let Some(newest) = newest else { return Ok((store, None)) };
        let (position, body) = store.entry(newest).await?;
        if store.head(position, &body)?.kind != Kind::Manifest || position != newest {
            let why = format!("the checkpoint log has no manifest at position {newest}");
            return Err(Error::Corrupt(why));
        }
        *store.manifest.lock() = Some(newest);
        Ok((store, Some(body.slice(HEAD_LEN..))))
    }

    fn head(&self, position: u64, body: &[u8]) -> Result<Head, Error> {
        let head = Head::decode(body)
            .map_err(|why| Error::Corrupt(format!("position {position} of the checkpoint log: {why}")))?;
        match head.vb == self.vb {
            true => Ok(head),
            false => Err(Error::Corrupt(format!("the checkpoint log is that of virtual broker {}", head.vb))),
        }
    }

    async fn entry(&self, position: u64) -> Result<(u64, Bytes), Error> {
        let entry = self.log.read(Position(position), 1).await?.into_iter().next();
        let entry = entry.filter(|entry| entry.position.0 <= position && position < entry.end().0);
        let entry = entry.ok_or_else(|| {
            Error::Corrupt(format!("the checkpoint log has nothing at its position {position}"))
        })?;
        Ok((entry.position.0, entry.body))
    }

    /// Appends blocks; they are durable once anything behind them is.
    pub async fn append(&self, blocks: &[Vec<u8>]) -> Result<Vec<Address>, Error> {
        let mut addresses = Vec::with_capacity(blocks.len());
        let mut rest = blocks;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |block: &&Vec<u8>| {
                bytes += block.len();
                bytes <= TOGETHER
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (together, later) = rest.split_at(count);
            let position = self.append_entry(Kind::Blocks, together).await?;
            let mut at = position + HEAD_LEN as u64;
            for block in together {
                addresses.push(Address { position: at, len: block.len() as u32 });
                at += block.len() as u64;
            }
            rest = later;
        }
        Ok(addresses)
    }

    /// Appends a manifest, and waits until it and all before it is durable.
    pub async fn commit(&self, manifest: Vec<u8>) -> Result<u64, Error> {
        let len = HEAD_LEN + manifest.len();
        let position = self.append_entry(Kind::Manifest, &[manifest]).await?;
        ledger::log::acknowledged(&*self.log, Position(position).after(len))
            .await
            .map_err(ledger::Error::from)?;
        Ok(position)
    }

    async fn append_entry(&self, kind: Kind, parts: &[Vec<u8>]) -> Result<u64, Error> {
        let len = HEAD_LEN + parts.iter().map(Vec::len).sum::<usize>();
        let behind = self.last.load(Relaxed).saturating_sub(self.pace.in_flight());
        ledger::log::acknowledged(&*self.log, Position(behind)).await.map_err(ledger::Error::from)?;
        loop {
            let refused = match self.try_append(kind, parts, len) {
                Ok(position) => {
                    self.last.store(position, Relaxed);
                    return Ok(position);
                }
                Err(refused) => refused,
            };
            match refused {
                Refused::Full => self.log.room(len).await,
                Refused::Ended(ended) => return Err(ledger::Error::from(ended).into()),
                Refused::Size(size) => {
                    let why = format!("a block of {size} bytes does not fit the checkpoint log");
                    return Err(ledger::Error::Invalid(why).into());
                }
            }
        }
    }

    fn try_append(&self, kind: Kind, parts: &[Vec<u8>], len: usize) -> Result<u64, Refused> {
        let mut manifest = self.manifest.lock();
        let mut whole = Vec::with_capacity(len);
        whole.extend_from_slice(&Head { kind, vb: self.vb, manifest: *manifest }.encode());
        parts.iter().for_each(|part| whole.extend_from_slice(part));
        let position = self.log.append(&[whole.into()])?.0;
        if kind == Kind::Manifest {
            *manifest = Some(position);
        }
        Ok(position)
    }

    /// A block's bytes.
    pub async fn block(&self, address: Address) -> Result<Bytes, Error> {
        let (position, body) = self.entry(address.position).await?;
        let at = (address.position - position) as usize;
        match at.checked_add(address.len as usize).filter(|end| *end <= body.len()) {
            Some(end) => Ok(body.slice(at..end)),
            None => Err(damaged(address, "it is longer than its entry")),
        }
    }

    pub async fn rows(&self, address: Address) -> Result<Arc<RowBlock>, Error> {
        if let Some(Block::Rows(block)) = self.cached(address) {
            return Ok(block);
        }
        let (block, bytes) = (Arc::new(self.rows_once(address).await?), address.len as usize * 4);
        self.cache.lock().put(address.position, Block::Rows(block.clone()), bytes);
        Ok(block)
    }

    /// Rows that are not kept in memory.
    pub async fn rows_once(&self, address: Address) -> Result<RowBlock, Error> {
        RowBlock::decode(&self.block(address).await?).map_err(|why| damaged(address, why.0))
    }

    pub async fn keys(&self, address: Address) -> Result<Arc<KeyBlock>, Error> {
        if let Some(Block::Keys(block)) = self.cached(address) {
            return Ok(block);
        }
        let read = KeyBlock::decode(&self.block(address).await?).map_err(|why| damaged(address, why.0))?;
        let (block, bytes) = (Arc::new(read), address.len as usize * 3);
        self.cache.lock().put(address.position, Block::Keys(block.clone()), bytes);
        Ok(block)
    }

    pub async fn pointers(&self, address: Address) -> Result<Arc<PointerBlock>, Error> {
        if let Some(Block::Pointers(block)) = self.cached(address) {
            return Ok(block);
        }
        let read =
            PointerBlock::decode(&self.block(address).await?).map_err(|why| damaged(address, why.0))?;
        let (block, bytes) = (Arc::new(read), address.len as usize * 3);
        self.cache.lock().put(address.position, Block::Pointers(block.clone()), bytes);
        Ok(block)
    }

    fn cached(&self, address: Address) -> Option<Block> {
        self.cache.lock().get(address.position)
    }

    /// Where the next entry goes, about: what is appended meanwhile lies between.
    pub fn end(&self) -> u64 {
        self.log.progress().borrow().acknowledged.0
    }

    /// Gives up what lies before `oldest`, in whole links; begins a new link when the last one is large enough.
    pub async fn trim(&self, oldest: u64, link_bytes: u64) -> Result<(), Error> {
        self.log.trim(Position(oldest)).await?;
        let last = self.log.links().await?.last().map_or(0, |link| link.base.0);
        if self.end().saturating_sub(last) > link_bytes {
            self.log.roll().await?;
        }
        Ok(())
    }

    /// Takes nothing more, and leaves nothing to recover.
    pub async fn seal(&self) -> Result<(), Error> {
        self.log.seal().await?;
        Ok(())
    }
}

fn damaged(address: Address, why: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!("the block at position {} of the checkpoint log: {why}", address.position))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head() -> impl Strategy<Value = Head> {
        let kind = prop_oneof![Just(Kind::Blocks), Just(Kind::Manifest)];
        (kind, any::<u32>(), prop::option::of(0..NONE)).prop_map(|(kind, vb, manifest)| Head {
            kind,
            vb,
            manifest,
        })
    }

    proptest! {
        #[test]
        fn a_head_that_is_encoded_is_read(head in head(), payload: Vec<u8>) {
            prop_assert_eq!(Head::decode(&[&head.encode(), &payload[..]].concat()), Ok(head));
        }

        #[test]
        fn a_flipped_bit_or_a_missing_byte_is_noticed(head in head(), bit in 0..HEAD_LEN * 8, len in 0..HEAD_LEN) {
            let mut bytes = head.encode();
            prop_assert!(Head::decode(&bytes[..len]).is_err());
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Head::decode(&bytes).is_err());
        }

        #[test]
        fn fuzz_a_head_is_read_or_refused(mut bytes: [u8; HEAD_LEN]) {
            let _ = Head::decode(&bytes);
            // With the right magic and checksum.
            bytes[..2].copy_from_slice(&MAGIC);
            let crc = crc_of(&bytes);
            bytes[4..8].copy_from_slice(&crc.to_be_bytes());
            let _ = Head::decode(&bytes);
        }
    }
}
