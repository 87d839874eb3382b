//! What a name server remembers over a restart: keys and values by namespace, and its own settings. Format version 1
//! (docs/formats.md): one JSON object, replaced as a whole.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;

use disk::Disk;
use protocol::body::topic::KvTable;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The namespace whose values go into routes and to brokers.
pub const ORDERED: &str = "ORDER_TOPIC_CONFIG";

const FILE: &str = "kept.json";
const NEW: &str = "kept.json.new";
const VERSION: u32 = 1;
/// All keys and values together.
pub const MAX_BYTES: usize = 8 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    settings: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    v: u32,
    #[serde(flatten)]
    kept: &'a Kept,
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

impl Kept {
    pub fn get(&self, namespace: &str, key: &str) -> Option<&str> {
        self.namespaces.get(namespace)?.get(key).map(String::as_str)
    }

    /// `None` if the namespace has nothing in it.
    pub fn list(&self, namespace: &str) -> Option<KvTable> {
        self.namespaces.get(namespace).map(|table| KvTable { table: table.clone() })
    }

    pub fn put(&mut self, namespace: &str, key: &str, value: &str) {
        self.namespaces.entry(namespace.into()).or_default().insert(key.into(), value.into());
    }

    pub fn delete(&mut self, namespace: &str, key: &str) {
        if let Some(table) = self.namespaces.get_mut(namespace) {
            table.remove(key);
            if table.is_empty() {
                self.namespaces.remove(namespace);
            }
        }
    }

    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.into(), value.into());
    }

    pub fn encode(&self) -> Vec<u8> {
        // Maps with string keys: there is nothing that JSON cannot express.
        serde_json::to_vec_pretty(&Envelope { v: VERSION, kept: self }).unwrap_or_default()
    }

    pub fn decode(text: &[u8]) -> Result<Kept, Error> {
        let wrong = |why: String| Error::Kept(format!("{FILE} cannot be read: {why}"));
        let head: Versioned = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
        if head.v != VERSION {
            return Err(wrong(format!(
                "it has version {}, this release knows version {VERSION}: upgrade",
                head.v
            )));
        }
        serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))
    }
}

/// The folder in which it is kept; without one, as in tests alone, nothing outlives the process.
#[derive(Clone, Default)]
pub struct Shelf(pub Option<Arc<dyn Disk>>);

impl Shelf {
    pub fn load(&self) -> Result<Kept, Error> {
        let Some(disk) = &self.0 else { return Ok(Kept::default()) };
        match read(&**disk) {
            Ok(Some(text)) => Kept::decode(&text),
            Ok(None) => Ok(Kept::default()),
            Err(error) => Err(Error::Kept(format!("{FILE} cannot be read: {error}"))),
        }
    }

    /// On return it is durable, whole.
    pub fn save(&self, kept: &Kept) -> Result<(), Error> {
        let Some(disk) = &self.0 else { return Ok(()) };
        let text = kept.encode();
        if text.len() > MAX_BYTES {
            return Err(Error::TooMuch(text.len()));
        }
        replace(&**disk, &text).map_err(|error| Error::Kept(format!("{FILE} cannot be written: {error}")))
    }
}

fn read(disk: &dyn Disk) -> io::Result<Option<Vec<u8>>> {
    if !has(disk, FILE)? {
        return Ok(None);
    }
    let file = disk.open(FILE)?;
    let size = usize::try_from(file.size()?).unwrap_or(usize::MAX);
    let mut text = vec![0; size.min(MAX_BYTES)];
    let read = file.read_at(0, &mut text)?;
    text.truncate(read);
    Ok(Some(text))
}

fn replace(disk: &dyn Disk, text: &[u8]) -> io::Result<()> {
    if has(disk, NEW)? {
        disk.remove(NEW)?;
    }
    let file = disk.create(NEW, text.len() as u64)?;
    file.write_at(0, &[IoSlice::new(text)])?;
    file.sync()?;
    disk.rename(NEW, FILE)?;
    disk.sync_folder()
}

fn has(disk: &dyn Disk, name: &str) -> io::Result<bool> {
    Ok(disk.list()?.iter().any(|(there, _)| there == name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some() -> Kept {
        let mut kept = Kept::default();
        kept.put(ORDERED, "T", "broker-0:8;broker-1:8");
        kept.put("ns", "k", "v");
        kept.set("orderMessageEnable", "false");
        kept
    }

    /// A later release must read it: never edit the file.
    #[test]
    fn the_golden_file_is_read() {
        assert_eq!(Kept::decode(include_bytes!("../../tests/golden/namesrv_kept.v1.json")), Ok(some()));
    }

    #[test]
    fn a_later_version_is_refused() {
        let refused = Kept::decode(br#"{"v":2}"#).unwrap_err().to_string();
        assert!(refused.contains("version 2") && refused.contains("upgrade"), "{refused}");
    }

    #[test]
    fn a_namespace_without_keys_is_none() {
        let mut kept = some();
        kept.delete("ns", "k");
        kept.delete("ns", "k");
        assert_eq!(kept.list("ns"), None);
        assert_eq!(kept.get(ORDERED, "T"), Some("broker-0:8;broker-1:8"));
    }

    #[test]
    fn what_is_saved_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = || Shelf(Some(Arc::new(disk::real::Folder::open(folder.path()).unwrap())));
        assert_eq!(shelf().load(), Ok(Kept::default()));
        shelf().save(&some()).unwrap();
        let mut more = some();
        more.put("ns", "k2", &"v".repeat(100));
        shelf().save(&more).unwrap();
        shelf().save(&some()).unwrap();
        assert_eq!(shelf().load(), Ok(some()));
        let none = Shelf::default();
        assert_eq!(none.save(&some()).and(none.load()), Ok(Kept::default()));
    }

    proptest! {
        #[test]
        fn fuzz_any_file_is_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Kept::decode(&text);
        }
    }
}
