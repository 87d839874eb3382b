//! The file `identity` on each disk of a bookie: whose disk it is, and how far its bookie had come.
//!
//! Two places of 4,096 bytes, written in turn, so that a full disk does not hinder a start and a torn write leaves the
//! other one. The valid one with the higher epoch counts. Each holds, padded with zeroes:
//!
//! ```text
//! stratamq identity 1
//! bookie: bookie-1:3181
//! cluster: 4f3c…            the value of {scope}/instanceid
//! disk: 9a1e…               this disk
//! disks: 9a1e… 77b0…        all disks of this bookie when this was written
//! incarnation: 12           starts of this bookie
//! epoch: 340                grows with every start, and while the bookie is written to
//! crc32c: 0badcafe          of all lines above, line ends included
//! ```

use std::io::{self, IoSlice};

use disk::{Disk, File};
use protocol::BookieId;
use uuid::Uuid;

pub const FILE: &str = "identity";
/// While the first one is made.
const NEW: &str = "identity.new";
const HEAD: &str = "stratamq identity 1";
/// Some hundred disks fit.
const PLACE: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub bookie: BookieId,
    pub cluster: String,
    pub disk: Uuid,
    pub disks: Vec<Uuid>,
    pub incarnation: u64,
    pub epoch: u64,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unreadable {
    #[error("it has version '{0}', this release knows version 1: upgrade, or run the release that wrote it")]
    Version(String),
    #[error("its checksum is wrong: the disk has damaged it")]
    Damaged,
    #[error("its line '{0}' is missing or makes no sense")]
    Line(&'static str),
}

impl Identity {
    pub fn encode(&self) -> String {
        let disks: Vec<String> = self.disks.iter().map(Uuid::to_string).collect();
        let lines = format!(
            "{HEAD}\nbookie: {}\ncluster: {}\ndisk: {}\ndisks: {}\nincarnation: {}\nepoch: {}\n",
            self.bookie,
            self.cluster,
            self.disk,
            disks.join(" "),
            self.incarnation,
            self.epoch
        );
        let crc = crc32c::crc32c(lines.as_bytes());
        format!("{lines}crc32c: {crc:08x}\n")
    }

    pub fn decode(bytes: &[u8]) -> Result<Identity, Unreadable> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Damaged)?;
        let head = text.lines().next().unwrap_or_default();
        if head != HEAD {
            return Err(Unreadable::Version(head.chars().take(40).collect()));
        }
        let (body, crc) = text.rsplit_once("crc32c: ").ok_or(Unreadable::Damaged)?;
        if crc != format!("{:08x}\n", crc32c::crc32c(body.as_bytes())) {
            return Err(Unreadable::Damaged);
        }
        let line = |name: &'static str| {
            let found = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            found.ok_or(Unreadable::Line(name))
        };
        let number = |name| line(name)?.parse().map_err(|_| Unreadable::Line(name));
        let uuid = |text: &str, name| Uuid::try_parse(text).map_err(|_| Unreadable::Line(name));
        Ok(Identity {
            bookie: line("bookie")?.parse().map_err(|_| Unreadable::Line("bookie"))?,
            cluster: line("cluster")?.into(),
            disk: uuid(line("disk")?, "disk")?,
            disks: line("disks")?.split(' ').map(|disk| uuid(disk, "disks")).collect::<Result<_, _>>()?,
            incarnation: number("incarnation")?,
            epoch: number("epoch")?,
        })
    }

    /// Puts this in place of the older of the two that are there. Once it returns, it is what the disk says.
    pub fn store(&self, disk: &dyn Disk) -> io::Result<()> {
        let text = self.encode();
        if text.len() > PLACE {
            return Err(io::Error::other("so many disks do not fit into the identity of one bookie"));
        }
        let mut place = [0; PLACE];
        place[..text.len()].copy_from_slice(text.as_bytes());
        // A file-system check may have cut it.
        if !disk.list()?.iter().any(|(name, size)| name == FILE && *size == 2 * PLACE as u64) {
            return create(disk, &place);
        }
        let file = disk.open(FILE)?;
        let [first, second] = read_places(&*file)?;
        let epoch = |place: &Result<Identity, Unreadable>| place.as_ref().map(|identity| identity.epoch).ok();
        let older = if epoch(&first) <= epoch(&second) { 0 } else { PLACE as u64 };
        file.write_at(older, &[IoSlice::new(&place)])?;
        file.sync()
    }

    /// What the disk says it is; `None` if it says nothing.
    pub fn load(disk: &dyn Disk) -> io::Result<Option<Result<Identity, Unreadable>>> {
        if !disk.list()?.iter().any(|(name, _)| name == FILE) {
            return Ok(None);
        }
        Ok(Some(match read_places(&*disk.open(FILE)?)? {
            [Ok(first), Ok(second)] => Ok(if first.epoch > second.epoch { first } else { second }),
            [Ok(only), Err(_)] | [Err(_), Ok(only)] => Ok(only),
            // A version that is not known tells more than a place that was never written.
            [Err(Unreadable::Version(version)), _] if !version.is_empty() => {
                Err(Unreadable::Version(version))
            }
            [_, Err(error)] => Err(error),
        }))
    }
}

fn create(disk: &dyn Disk, place: &[u8]) -> io::Result<()> {
    if disk.list()?.iter().any(|(name, _)| name == NEW) {
        disk.remove(NEW)?;
    }
    let file = disk.create(NEW, 2 * PLACE as u64)?;
    file.write_at(0, &[IoSlice::new(place)])?;
    file.sync()?;
    disk.rename(NEW, FILE)?;
    disk.sync_folder()
}

fn read_places(file: &dyn File) -> io::Result<[Result<Identity, Unreadable>; 2]> {
    let mut places = [0; 2 * PLACE];
    let read = file.read_at(0, &mut places)?;
    let decode = |place: &[u8]| {
        let end = place.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Identity::decode(place.get(..end).unwrap_or_default())
    };
    let (first, second) = places.split_at(PLACE);
    let first = first.get(..read.min(PLACE)).unwrap_or_default();
    Ok([decode(first), decode(second)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity() -> Identity {
        let disk = Uuid::from_u128(1);
        Identity {
            bookie: "bookie-1:3181".parse().unwrap_or_else(|error| unreachable!("{error}")),
            cluster: "c0ffee".into(),
            disk,
            disks: vec![disk, Uuid::from_u128(2)],
            incarnation: 12,
            epoch: 340,
        }
    }

    #[test]
    fn an_identity_is_what_the_golden_file_says() {
        let golden = include_bytes!("../../../tests/golden/identity-1");
        assert_eq!(String::from_utf8_lossy(golden), identity().encode());
        assert_eq!(Identity::decode(golden), Ok(identity()));
    }

    #[test]
    fn a_damaged_identity_is_not_believed() {
        let good = identity().encode().into_bytes();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Identity::decode(&bad).is_err(), "bit {bit}");
        }
        for end in 0..good.len() {
            assert!(Identity::decode(&good[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn power_loss_leaves_the_old_or_the_new_identity() -> io::Result<()> {
        for seed in 0..200 {
            let device = disk::simulated::Device::new(seed, 1 << 20);
            for epoch in 0..4 {
                let old = Identity::load(&*device.mount())?;
                let new = Identity { epoch, ..identity() };
                device.fail(disk::simulated::Call::Any, seed % 9, disk::simulated::Fault::Power);
                let stored = new.store(&*device.mount());
                device.heal();
                device.lose_power();
                let found = Identity::load(&*device.mount())?;
                assert!(found == Some(Ok(new.clone())) || (found == old && stored.is_err()), "{found:?}");
                new.store(&*device.mount())?;
            }
        }
        Ok(())
    }

    #[test]
    fn a_full_disk_takes_a_new_epoch() -> io::Result<()> {
        let device = disk::simulated::Device::new(1, 1 << 20);
        identity().store(&*device.mount())?;
        device.set_capacity(0);
        let new = Identity { epoch: 341, ..identity() };
        new.store(&*device.mount())?;
        assert_eq!(Identity::load(&*device.mount())?, Some(Ok(new)));
        Ok(())
    }

    #[test]
    fn a_file_that_was_cut_is_made_again() -> io::Result<()> {
        let device = disk::simulated::Device::new(1, 1 << 20);
        identity().store(&*device.mount())?;
        device.truncate(FILE, 5000);
        for epoch in 341..344 {
            let new = Identity { epoch, ..identity() };
            new.store(&*device.mount())?;
            device.lose_power();
            assert_eq!(Identity::load(&*device.mount())?, Some(Ok(new)));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn fuzz_any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Identity::decode(&bytes);
        }
    }
}
