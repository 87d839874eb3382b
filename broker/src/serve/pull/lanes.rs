//! Places and turns for pulls that have to be read from bookies. A place is taken before anything is kept for a pull,
//! and a turn only while its client takes what it is sent: whoever asks for more than he takes costs little memory and
//! holds up nobody else.

use std::sync::Arc;

use net::remoting::Connection;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::members::Channel;

/// How many such pulls of a virtual broker are read at a time, and how many of one connection.
const READ: usize = 64;
const READ_FOR_ONE: usize = 8;
/// How many may wait for that.
const WAITING: usize = 16_384;
const WAITING_FOR_ONE: usize = 2_048;

#[derive(Debug)]
pub(in crate::serve) struct Lanes {
    turns: Semaphore,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    places: usize,
    lanes: FxHashMap<Channel, Lane>,
}

#[derive(Debug)]
struct Lane {
    places: usize,
    turns: Arc<Semaphore>,
}

impl Default for Lanes {
    fn default() -> Lanes {
        Lanes { turns: Semaphore::new(READ), open: Mutex::default() }
    }
}

impl Lanes {
    /// A place behind the other pulls of this connection; `None` if too many wait already.
    pub(super) fn place(self: &Arc<Lanes>, connection: &Connection) -> Option<Place> {
        let mut open = self.open.lock();
        let Open { places, lanes } = &mut *open;
        if *places >= WAITING {
            return None;
        }
        let channel = connection.id();
        let new = || Lane { places: 0, turns: Arc::new(Semaphore::new(READ_FOR_ONE)) };
        let lane = lanes.entry(channel).or_insert_with(new);
        if lane.places >= WAITING_FOR_ONE {
            return None;
        }
        *places += 1;
        lane.places += 1;
        let turns = lane.turns.clone();
        drop(open);
        Some(Place { lanes: self.clone(), channel, turns })
    }
}

/// A place in a connection's lane, until it is dropped.
pub(super) struct Place {
    lanes: Arc<Lanes>,
    channel: Channel,
    turns: Arc<Semaphore>,
}

/// The right to read now.
pub(super) struct Turn<'a> {
    _own: SemaphorePermit<'a>,
    _common: SemaphorePermit<'a>,
}

impl Place {
    /// Waits until those before it were read and the client has taken most of what it was sent. `None`: there is nobody
    /// to read for any more.
    pub async fn turn(&self, connection: &Connection) -> Option<Turn<'_>> {
        let own = self.turns.acquire().await.ok()?;
        if !connection.has_room().await {
            return None;
        }
        let common = self.lanes.turns.acquire().await.ok()?;
        Some(Turn { _own: own, _common: common })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.lanes.open.lock();
        open.places -= 1;
        if let Some(lane) = open.lanes.get_mut(&self.channel) {
            lane.places -= 1;
            if lane.places == 0 {
                open.lanes.remove(&self.channel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use net::remoting::Handler;
    use protocol::remoting::Command;

    struct Nobody;

    impl Handler for Nobody {
        fn request(&self, _from: &Arc<Connection>, _request: Command) {}

        fn closed(&self, _connection: &Arc<Connection>) {}
    }

    fn connection(id: u64) -> Arc<Connection> {
        let here = ([127, 0, 0, 1], 1).into();
        Connection::without_socket(id, (here, here), Arc::new(Nobody), |_| {})
    }

    #[test]
    fn one_connection_does_not_take_all_places_and_all_are_given_back() {
        let lanes = Arc::new(Lanes::default());
        let connections: Vec<_> = (0..9).map(connection).collect();
        let mut taken: Vec<Place> = Vec::new();
        for connection in &connections[..8] {
            taken.extend((0..WAITING_FOR_ONE + 5).map_while(|_| lanes.place(connection)));
        }
        assert_eq!(taken.len(), 8 * WAITING_FOR_ONE);
        assert!(lanes.place(&connections[8]).is_none(), "there are more than {WAITING} places");
        taken.clear();
        assert!(lanes.place(&connections[8]).is_some());
        let open = lanes.open.lock();
        assert_eq!((open.places, open.lanes.len()), (0, 0));
    }

    #[tokio::test]
    async fn turns_are_shared_and_nobody_reads_for_a_connection_that_is_gone() {
        let lanes = Arc::new(Lanes::default());
        let (greedy, other) = (connection(1), connection(2));
        let places: Vec<Place> = (0..100).map_while(|_| lanes.place(&greedy)).collect();
        let mut turns = Vec::new();
        for place in &places[..READ_FOR_ONE] {
            turns.push(place.turn(&greedy).await);
        }
        assert!(turns.iter().all(Option::is_some));
        let waits = tokio::time::timeout(std::time::Duration::from_millis(1), places[50].turn(&greedy)).await;
        assert!(waits.is_err(), "one connection has more turns than its own");
        let Some(place) = lanes.place(&other) else { panic!("no place for another connection") };
        assert!(place.turn(&other).await.is_some());
        greedy.close();
        turns.clear();
        assert!(places[50].turn(&greedy).await.is_none());
    }
}
