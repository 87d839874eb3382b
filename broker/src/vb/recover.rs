//! What the logs of a virtual broker say it is: the newest checkpoint, then everything behind it.

use std::sync::Arc;

use ledger::log::Log;

use super::VbSettings;
use super::replay::Replay;
use crate::checkpoint::{Cold, Manifest, Store, table};
use crate::error::Error;
use crate::index::Index;
use crate::state::State;

pub struct Recovered {
    pub cold: Cold,
    pub replay: Replay,
}

pub async fn recover(
    settings: &VbSettings,
    log: Arc<dyn Log>,
    checkpoints: Arc<dyn Log>,
) -> Result<Recovered, Error> {
    let first = log.links().await?.first().map_or(0, |link| link.base.0);
    let end = log.progress().borrow().acknowledged.0;
    let (store, manifest) = Store::open(checkpoints, settings.id, settings.limits.block_bytes).await?;
    let manifest = match manifest {
        Some(manifest) => Manifest::decode(&manifest)?,
        None if first > 0 => {
            let why = format!("its log begins at {first}, and it has no checkpoint of what was before");
            return Err(Error::Corrupt(why));
        }
        None => Manifest::default(),
    };
    if manifest.covered < first || manifest.covered > end {
        let why = format!(
            "its checkpoint covers {}, where its log has {first} to {end}: the log's end was lost",
            manifest.covered
        );
        return Err(Error::Corrupt(why));
    }
    let (next, last_time) = (manifest.covered, manifest.last_time);
    let cold = Cold::new(store, manifest);
    let (state_blocks, parts) = cold.small().await?;
    let mut state = State::new(settings.settings.clone());
    for block in state_blocks {
        state.restore(&block).map_err(|why| Error::Corrupt(format!("a block of the state: {why}")))?;
    }
    let mut index = Index::default();
    for (part, bytes) in parts {
        index.restore(part, &table::decode(&bytes)?);
    }
    index.restored();
    let mut replay = Replay { vb: settings.id, state, index, last_time, next };
    replay.read(&*log).await?;
    replay.index.forget_unknown(&replay.state);
    Ok(Recovered { cold, replay })
}
