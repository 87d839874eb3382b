//! A disk in memory that can lose power, fail and decay, all from one seed.
//!
//! [`Device`] is the hardware: it outlives processes, and tests hold it. [`Device::mount`] gives a [`Disk`] that is
//! good until the next [`Device::lose_power`] or [`Device::kill`]; after that every call on it, or on a file opened
//! through it, is an error, whoever still holds it.

mod content;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::{Disk, File, Space};
use content::Content;
pub use content::SECTOR;
use plan::Plan;
pub use plan::{Call, Fault};

type Shared = Arc<Mutex<Content>>;
type Names = BTreeMap<String, Shared>;

/// The hardware: what remains when processes and power go. Cloned, it is the same device.
#[derive(Clone)]
pub struct Device {
    state: Arc<Mutex<State>>,
}

struct State {
    rng: SmallRng,
    /// Mounts of earlier lives are dead.
    life: u64,
    calls: u64,
    capacity: u64,
    names: Names,
    durable: Names,
    unsynced: Vec<NameChange>,
    plan: Plan,
}

#[derive(Clone)]
enum NameChange {
    Created(String, Shared),
    Renamed(String, String),
    Removed(String),
}

impl NameChange {
    fn apply(self, names: &mut Names) {
        match self {
            NameChange::Created(name, content) => drop(names.insert(name, content)),
            NameChange::Removed(name) => drop(names.remove(&name)),
            NameChange::Renamed(from, to) => {
                if let Some(content) = names.remove(&from) {
                    names.insert(to, content);
                }
            }
        }
    }
}

/// A whole disk as it was.
#[derive(Clone)]
pub struct Snapshot {
    files: BTreeMap<String, Content>,
}

/// A place in a file: where a disk changed its content by itself, or where something was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decay {
    pub file: String,
    pub position: u64,
}

impl Device {
    pub fn new(seed: u64, capacity: u64) -> Device {
        let state = State {
            rng: SmallRng::seed_from_u64(seed),
            life: 0,
            calls: 0,
            capacity,
            names: Names::new(),
            durable: Names::new(),
            unsynced: Vec::new(),
            plan: Plan::default(),
        };
        Device { state: Arc::new(Mutex::new(state)) }
    }

    /// The disk as a process sees it, until the next power loss or kill.
    pub fn mount(&self) -> Arc<Mounted> {
        let life = self.state.lock().life;
        Arc::new(Mounted { device: self.clone(), life })
    }

    /// Every unsynced sector and name decides for itself whether it has reached the disk. Ends all mounts.
    pub fn lose_power(&self) {
        self.state.lock().lose_power();
    }

    /// The process dies, the machine does not: nothing is lost, all mounts end.
    pub fn kill(&self) {
        self.state.lock().life += 1;
    }

    /// Lets a `call` fail: the next one, or the one after `after` others.
    pub fn fail(&self, call: Call, after: u64, fault: Fault) {
        self.state.lock().plan.add(call, after, fault);
    }

    /// Forgets all faults to come.
    pub fn heal(&self) {
        self.state.lock().plan.clear();
    }

    /// How many calls there have been.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    pub fn set_capacity(&self, bytes: u64) {
        self.state.lock().capacity = bytes;
    }

    /// A new, empty disk. Ends all mounts.
    pub fn wipe(&self) {
        self.restore(&Snapshot { files: BTreeMap::new() });
    }

    pub fn snapshot(&self) -> Snapshot {
        let state = self.state.lock();
        let files = state.names.iter().map(|(name, content)| (name.clone(), content.lock().clone()));
        let mut files: BTreeMap<String, Content> = files.collect();
        files.values_mut().for_each(Content::settle);
        Snapshot { files }
    }

    /// Puts a snapshot's content, of this or another disk, in place of all there is. Ends all mounts.
    pub fn restore(&self, snapshot: &Snapshot) {
        let mut state = self.state.lock();
        state.life += 1;
        state.unsynced.clear();
        let files = snapshot.files.iter();
        state.names =
            files.map(|(name, content)| (name.clone(), Arc::new(Mutex::new(content.clone())))).collect();
        state.durable = state.names.clone();
    }

    /// Flips a bit that had been written, in a file and at a place that `which` picks.
    pub fn flip_bit(&self, which: impl Fn(&str, u64) -> bool) -> Option<Decay> {
        self.decay(which, Content::flip_bit)
    }

    /// Flips a bit of the byte at `position`.
    pub fn flip_bit_at(&self, file: &str, position: u64) {
        if let Some(content) = self.state.lock().names.get(file) {
            content.lock().flip_bit_at(position, 3);
        }
    }

    /// Some bytes are as if they had never been written.
    pub fn lose_writes(&self, file: &str, position: u64, len: usize) {
        if let Some(content) = self.state.lock().names.get(file) {
            content.lock().clear(position, len);
        }
    }

    /// Lets a durable sector go back to what it held before its last write, in a file and at a place that `which` picks.
    pub fn make_stale(&self, which: impl Fn(&str, u64) -> bool) -> Option<Decay> {
        self.decay(which, Content::make_stale)
    }

    /// Where a file holds these bytes: for damage that hits something certain.
    pub fn find(&self, bytes: &[u8]) -> Vec<Decay> {
        let state = self.state.lock();
        let mut found = Vec::new();
        for (name, content) in &state.names {
            let content = content.lock();
            let mut all = vec![0; content.size() as usize];
            content.read(0, &mut all);
            let places = all.windows(bytes.len().max(1)).enumerate().filter(|(_, window)| *window == bytes);
            found.extend(places.map(|(at, _)| Decay { file: name.clone(), position: at as u64 }));
        }
        found
    }

    /// Cuts a file: what a file-system check may do to it.
    pub fn truncate(&self, file: &str, size: u64) {
        if let Some(content) = self.state.lock().names.get(file) {
            content.lock().truncate(size);
        }
    }

    pub fn is(&self, other: &Device) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }

    /// Where a file's last byte that is not zero ends; 0 for none, or no such file.
    pub fn written(&self, file: &str) -> u64 {
        self.state.lock().names.get(file).map_or(0, |content| content.lock().written())
    }

    /// Names and sizes as they are now; counts as no call and meets no fault.
    pub fn files(&self) -> Vec<(String, u64)> {
        let state = self.state.lock();
        state.names.iter().map(|(name, content)| (name.clone(), content.lock().size())).collect()
    }

    fn decay(
        &self,
        which: impl Fn(&str, u64) -> bool,
        how: impl Fn(&mut Content, &mut SmallRng, &dyn Fn(u64) -> bool) -> Option<u64>,
    ) -> Option<Decay> {
        let mut state = self.state.lock();
        let files: Vec<(String, Shared)> = state.names.iter().map(|(n, c)| (n.clone(), c.clone())).collect();
        if files.is_empty() {
            return None;
        }
        let (file, content) = &files[state.rng.random_range(0..files.len())];
        let position = how(&mut content.lock(), &mut state.rng, &|position| which(file, position))?;
        Some(Decay { file: file.clone(), position })
    }
}

impl State {
    fn lose_power(&mut self) {
        self.life += 1;
        let subset = self.rng.random_bool(0.5);
        let until = self.rng.random_range(0..=self.unsynced.len());
        for (i, change) in std::mem::take(&mut self.unsynced).into_iter().enumerate() {
            let kept = if subset { self.rng.random_bool(0.5) } else { i < until };
            if kept {
                change.apply(&mut self.durable);
            }
        }
        self.names = self.durable.clone();
        for content in self.names.values() {
            content.lock().lose_power(&mut self.rng);
        }
    }

    fn change(&mut self, change: NameChange) {
        change.clone().apply(&mut self.names);
        self.unsynced.push(change);
    }

    fn used(&self) -> u64 {
        self.names.values().map(|content| content.lock().size()).sum()
    }

    fn find(&self, name: &str) -> io::Result<Shared> {
        crate::checked_name(name)?;
        let missing = || io::Error::new(ErrorKind::NotFound, format!("simulated: there is no file '{name}'"));
        self.names.get(name).cloned().ok_or_else(missing)
    }
}

/// A [`Disk`] for one life of one process.
pub struct Mounted {
    device: Device,
    life: u64,
}

impl Mounted {
    /// Does `work`, unless this mount has ended or the call meets a fault.
    fn call<T>(&self, call: Call, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.device.state.lock();
        let fault = begin(&mut state, self.life, call)?;
        match fault {
            None | Some(Fault::Misdirected) => work(&mut state),
            Some(Fault::Power) => {
                // Half done or not: the change is volatile until a sync, so losing power decides.
                let _ = work(&mut state);
                state.lose_power();
                Err(Fault::Power.error())
            }
            Some(fault) => Err(fault.error()),
        }
    }

    fn handle(&self, content: Shared) -> Arc<dyn File> {
        Arc::new(Open { device: self.device.clone(), life: self.life, content })
    }
}

fn begin(state: &mut State, life: u64, call: Call) -> io::Result<Option<Fault>> {
    if state.life != life {
        return Err(plan::power_is_off());
    }
    state.calls += 1;
    Ok(state.plan.count(call))
}

impl Disk for Mounted {
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn File>> {
        let content = self.call(Call::Create, |state| {
            crate::checked_name(name)?;
            if state.names.contains_key(name) {
                let text = format!("simulated: there is a file '{name}' already");
                return Err(io::Error::new(ErrorKind::AlreadyExists, text));
            }
            if state.used().saturating_add(size) > state.capacity {
                return Err(Fault::Full.error());
            }
            let content = Arc::new(Mutex::new(Content::new(size)));
            state.change(NameChange::Created(name.into(), content.clone()));
            Ok(content)
        })?;
        Ok(self.handle(content))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let content = self.call(Call::Open, |state| state.find(name))?;
        Ok(self.handle(content))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.call(Call::List, |state| {
            Ok(state.names.iter().map(|(name, content)| (name.clone(), content.lock().size())).collect())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(Call::Rename, |state| {
            state.find(from)?;
            crate::checked_name(to)?;
            state.change(NameChange::Renamed(from.into(), to.into()));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(Call::Remove, |state| {
            state.find(name)?;
            state.change(NameChange::Removed(name.into()));
            Ok(())
        })
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.device.state.lock();
        match begin(&mut state, self.life, Call::SyncFolder)? {
            None | Some(Fault::Misdirected) => {
                state.unsynced.clear();
                state.durable = state.names.clone();
                Ok(())
            }
            Some(Fault::Power) => {
                state.lose_power();
                Err(Fault::Power.error())
            }
            Some(fault) => Err(fault.error()),
        }
    }

    fn space(&self) -> io::Result<Space> {
        self.call(Call::List, |state| {
            Ok(Space { free: state.capacity.saturating_sub(state.used()), total: state.capacity })
        })
    }
}

struct Open {
    device: Device,
    life: u64,
    content: Shared,
}

impl File for Open {
    fn write_at(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut state = self.device.state.lock();
        let fault = begin(&mut state, self.life, Call::Write)?;
        let mut content = self.content.lock();
        crate::checked_range(position, parts, content.size())?;
        let len = parts.iter().map(|part| part.len()).sum();
        let Some(fault) = fault else {
            content.write(position, parts, len);
            return Ok(());
        };
        match fault {
            Fault::Power => {
                content.write(position, parts, len);
                drop(content);
                state.lose_power();
            }
            Fault::Misdirected => {
                let elsewhere = state.rng.random_range(0..=content.size() - len as u64);
                content.write(elsewhere, parts, len);
                return Ok(());
            }
            Fault::Io | Fault::Full | Fault::Short => {
                let some = state.rng.random_range(0..=len);
                content.write(position, parts, some);
            }
        }
        Err(fault.error())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.device.state.lock();
        let fault = begin(&mut state, self.life, Call::Sync)?;
        match fault {
            None | Some(Fault::Misdirected) => {
                self.content.lock().sync();
                Ok(())
            }
            Some(Fault::Power) => {
                state.lose_power();
                Err(Fault::Power.error())
            }
            Some(fault) => {
                self.content.lock().fail_sync();
                Err(fault.error())
            }
        }
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.device.state.lock();
        match begin(&mut state, self.life, Call::Read)? {
            None | Some(Fault::Misdirected) => Ok(self.content.lock().read(position, buffer)),
            Some(fault) => {
                if fault == Fault::Power {
                    state.lose_power();
                }
                Err(fault.error())
            }
        }
    }

    fn try_read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let cold = self.device.state.lock().rng.random_ratio(1, 4);
        if cold { Ok(None) } else { self.read_at(position, buffer).map(Some) }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.content.lock().size())
    }
}
