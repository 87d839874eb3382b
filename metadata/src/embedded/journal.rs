//! The file under an embedded store: opened, appended to, rolled over into the next generation.

use std::io::{self, IoSlice};
use std::sync::Arc;

use disk::{Disk, File};
use planted::Bug;

use super::format::{self, BLOCK, BlockHead, HEAD, Header, Kind};
use super::tree::{Item, Tree};
use super::{OpenError, Sizes};

const PREFIX: &str = "meta-";
const UNFINISHED: &str = ".new";
/// Snapshot blocks are about this large.
const CHUNK: usize = 256 << 10;

pub struct Journal {
    disk: Arc<dyn Disk>,
    sizes: Sizes,
    file: Arc<dyn File>,
    generation: u64,
    /// Where the next block goes. All before it is synced.
    end: u64,
    size: u64,
}

#[derive(Debug)]
pub enum RollError {
    /// There is no room for the next file: nothing was changed.
    NoRoom(io::Error),
    /// What was written cannot be relied on.
    Broken(io::Error),
}

impl Journal {
    /// Reads what is on `disk`, or begins anew on an empty one. Leases did not outlive the process that served them:
    /// the keys on them are deleted. Every opening begins a generation of its own.
    pub fn open(disk: Arc<dyn Disk>, sizes: Sizes) -> Result<(Journal, Tree), OpenError> {
        let mut newest = None;
        for (name, size) in disk.list()? {
            if name.ends_with(UNFINISHED) {
                disk.remove(&name)?;
            } else if let Some(generation) = generation_of(&name) {
                newest = newest.max(Some((generation, name, size)));
            }
        }
        let (generation, mut tree) = match newest {
            None => (0, Tree::default()),
            Some((generation, name, size)) => {
                let file = disk.open(&name)?;
                (generation, Reader { name, file: &*file, size, generation }.load()?)
            }
        };
        let orphans: Vec<String> = tree.leased().cloned().collect();
        let at = crate::Revision(tree.revision().0 + 1);
        for key in orphans {
            tree.apply(Item::Delete { key, at });
        }
        let begun = begin(&*disk, sizes, generation + 1, &tree);
        let (file, end, size) = begun.map_err(|error| match error {
            RollError::NoRoom(error) => OpenError::NoRoom(error),
            RollError::Broken(error) => OpenError::Io(error),
        })?;
        Ok((Journal { disk, sizes, file, generation: generation + 1, end, size }, tree))
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether `items` still fit behind what is there.
    pub fn has_room_for(&self, payload: usize) -> bool {
        self.end + (HEAD + payload) as u64 + BLOCK <= self.size
    }

    /// Appends one group and syncs it. After an error the file must not be used again.
    pub fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let block = format::block(Kind::Log, self.generation, self.end, payload);
        self.file.write_at(self.end, &[IoSlice::new(&block)])?;
        if !planted::on(Bug::StoreAnswersBeforeSync) {
            self.file.sync()?;
        }
        self.end += block.len() as u64;
        Ok(())
    }

    /// Goes on in a new file that begins with all of `tree`.
    pub fn roll(&mut self, tree: &Tree) -> Result<(), RollError> {
        let (file, end, size) = begin(&*self.disk, self.sizes, self.generation + 1, tree)?;
        self.generation += 1;
        (self.file, self.end, self.size) = (file, end, size);
        Ok(())
    }
}

fn name_of(generation: u64) -> String {
    format!("{PREFIX}{generation:016x}")
}

fn generation_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// Makes the file of `generation`: complete and synced under a name of its own, then renamed, then the older ones go.
fn begin(
    disk: &dyn Disk,
    sizes: Sizes,
    generation: u64,
    tree: &Tree,
) -> Result<(Arc<dyn File>, u64, u64), RollError> {
    let blocks = snapshot(generation, tree);
    let log_start = BLOCK + blocks.iter().map(|block| block.len() as u64).sum::<u64>();
    let size = log_start + sizes.log.max(log_start).div_ceil(BLOCK) * BLOCK;
    let name = name_of(generation);
    let unfinished = name.clone() + UNFINISHED;
    let file = disk.create(&unfinished, size).map_err(RollError::NoRoom)?;
    let header = Header { revision: tree.revision(), entries: tree.len() as u64, log_start };
    let write = || {
        file.write_at(0, &[IoSlice::new(&format::block(Kind::Header, generation, 0, &header.encode()))])?;
        let mut at = BLOCK;
        for block in &blocks {
            file.write_at(at, &[IoSlice::new(block)])?;
            at += block.len() as u64;
        }
        file.sync()?;
        disk.rename(&unfinished, &name)?;
        disk.sync_folder()?;
        for (old, _) in disk.list()? {
            if generation_of(&old).is_some_and(|old| old < generation) {
                disk.remove(&old)?;
            }
        }
        disk.sync_folder()
    };
    write().map_err(RollError::Broken)?;
    Ok((file, log_start, size))
}

fn snapshot(generation: u64, tree: &Tree) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    let mut payload = Vec::new();
    for (key, record) in tree.iter() {
        format::put_item(&mut payload, &Item::Put { key: key.clone(), record: record.clone() });
        if payload.len() >= CHUNK {
            blocks.push(format::block(Kind::Snapshot, generation, 0, &payload));
            payload.clear();
        }
    }
    if !payload.is_empty() {
        blocks.push(format::block(Kind::Snapshot, generation, 0, &payload));
    }
    blocks
}

struct Reader<'a> {
    name: String,
    file: &'a dyn File,
    size: u64,
    generation: u64,
}

impl Reader<'_> {
    fn load(&self) -> Result<Tree, OpenError> {
        let (head, payload) = self.block(0)?.ok_or_else(|| self.damaged(0))?;
        if head.kind != Kind::Header {
            return Err(self.damaged(0));
        }
        let header =
            Header::decode(&payload).map_err(|why| OpenError::Unknown { file: self.name.clone(), why })?;
        let mut tree = Tree::at(header.revision);
        let mut at = BLOCK;
        while at < header.log_start {
            at = self.apply(at, Kind::Snapshot, &mut tree)?.ok_or_else(|| self.damaged(at))?;
        }
        if at != header.log_start || tree.len() as u64 != header.entries {
            return Err(self.damaged(at));
        }
        while let Some(next) = self.apply(at, Kind::Log, &mut tree)? {
            at = next;
        }
        self.check_torn(at)?;
        Ok(tree)
    }

    /// Applies the block at `at`, and says where the next one begins; none if there is no whole block of this kind.
    fn apply(&self, at: u64, kind: Kind, tree: &mut Tree) -> Result<Option<u64>, OpenError> {
        let Some((head, payload)) = self.block(at)? else { return Ok(None) };
        if head.kind != kind || (kind == Kind::Log && head.settled != at) {
            return Ok(None);
        }
        for item in format::items(payload).map_err(|_| self.damaged(at))? {
            tree.apply(item);
        }
        Ok(Some(at + head.padded()))
    }

    fn block(&self, at: u64) -> Result<Option<(BlockHead, Vec<u8>)>, OpenError> {
        let mut head = [0; HEAD];
        if self.file.read_at(at, &mut head)? < HEAD {
            return Ok(None);
        }
        let Some(head) = BlockHead::decode(&head, self.generation) else { return Ok(None) };
        // Never more than the file has.
        if at + head.padded() > self.size {
            return Ok(None);
        }
        let mut payload = vec![0; head.payload];
        let filled = self.file.read_at(at + HEAD as u64, &mut payload)?;
        Ok((filled == payload.len() && head.fits(&payload)).then_some((head, payload)))
    }

    /// What ends at `end` ends rightly unless a later block says that more had been synced.
    fn check_torn(&self, end: u64) -> Result<(), OpenError> {
        let mut at = end + BLOCK;
        while at < self.size {
            if let Some((head, _)) = self.block(at)?
                && head.settled > end
            {
                return Err(self.damaged(end));
            }
            at += BLOCK;
        }
        Ok(())
    }

    fn damaged(&self, at: u64) -> OpenError {
        OpenError::Damaged { file: self.name.clone(), at }
    }
}
