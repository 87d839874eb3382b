//! The embedded store in a real folder: one process at a time, its disk calls on a thread of their own.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::Arc;

use disk::real::Folder;

use super::{Embedded, OpenError, Sizes};

/// Opens the store in `path`, which is made if it is not there. The folder is locked until the store is dropped.
pub fn open_folder(path: &Path) -> Result<Arc<Embedded>, OpenError> {
    fs::create_dir_all(path)?;
    let lock = lock(path)?;
    let data = path.join("data");
    fs::create_dir_all(&data)?;
    let (store, driver) = Embedded::new(Arc::new(Folder::open(data)?), Sizes::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name("metadata".into()).spawn(move || {
        runtime.block_on(driver.run());
        drop(lock);
    })?;
    Ok(store)
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.display().to_string())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
