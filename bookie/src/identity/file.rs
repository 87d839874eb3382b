//! The file `identity` on each disk of a bookie: whose disk it is, and how far its bookie had come.
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

use disk::Disk;
use protocol::BookieId;
use uuid::Uuid;

pub const FILE: &str = "identity";
const NEW: &str = "identity.new";
const HEAD: &str = "stratamq identity 1";
/// No identity is larger: a bookie with hundreds of disks fits.
const MAX: u64 = 64 << 10;

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

    /// Puts this in place of the identity on `disk`. Once it returns, the old one cannot come back.
    pub fn store(&self, disk: &dyn Disk) -> io::Result<()> {
        let text = self.encode();
        if disk.list()?.iter().any(|(name, _)| name == NEW) {
            disk.remove(NEW)?;
        }
        let file = disk.create(NEW, text.len() as u64)?;
        file.write_at(0, &[IoSlice::new(text.as_bytes())])?;
        file.sync()?;
        disk.rename(NEW, FILE)?;
        disk.sync_folder()
    }

    /// What the disk says it is; `None` if it says nothing.
    pub fn load(disk: &dyn Disk) -> io::Result<Option<Result<Identity, Unreadable>>> {
        let Some((_, size)) = disk.list()?.into_iter().find(|(name, _)| name == FILE) else {
            return Ok(None);
        };
        if size > MAX {
            return Ok(Some(Err(Unreadable::Damaged)));
        }
        let mut bytes = vec![0; size as usize];
        let read = disk.open(FILE)?.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(Some(Identity::decode(&bytes)))
    }
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
        for seed in 0..50 {
            let device = disk::simulated::Device::new(seed, 1 << 20);
            let old = identity();
            old.store(&*device.mount())?;
            let new = Identity { epoch: 341, ..identity() };
            let after = device.calls() + seed % 6;
            device.fail(disk::simulated::Call::Any, after, disk::simulated::Fault::Io);
            let _ = new.store(&*device.mount());
            device.heal();
            device.lose_power();
            let found = Identity::load(&*device.mount())?;
            assert!(found == Some(Ok(old)) || found == Some(Ok(new)), "{found:?}");
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
