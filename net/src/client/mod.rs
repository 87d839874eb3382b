//! Bookies over TCP: one connection each, on which requests are pipelined.
//!
//! * [`link`] — one bookie: what waits, what is under way, and who writes it.
//! * [`serve`] — the task of a link: connects, greets, reads replies, minds deadlines.
//! * [`dialect`] — how requests and replies are matched on our extension, on v3 and on v2.

mod dialect;
mod link;
mod pending;
mod serve;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use protocol::BookieId;
use protocol::bookie::Request;
use tokio::runtime::Handle;

use crate::{Bookies, ReplyTo, Resolve};
use link::Link;
#[cfg(test)]
pub(crate) use pending::cut;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Our extension if the bookie has it; otherwise v2, with v3 beside it for what v2 cannot say.
    Negotiate,
    /// v2 without a greeting, with v3 beside it.
    V2,
    V3,
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub wire: Wire,
    /// Within this time a request is answered, [`crate::Failure::TimedOut`] at worst. A long poll has its own wait
    /// on top of it.
    pub timeout: Duration,
    /// For connecting and greeting.
    pub connect_timeout: Duration,
    /// After a failed attempt requests fail at once for this long; doubled with each further one up to
    /// `most_back_off`.
    pub back_off: Duration,
    pub most_back_off: Duration,
    /// Bytes of requests to one bookie that may be unanswered; beyond, requests fail at once.
    pub max_unanswered: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            wire: Wire::Negotiate,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            back_off: Duration::from_millis(50),
            most_back_off: Duration::from_secs(2),
            max_unanswered: 64 << 20,
        }
    }
}

/// Bookies over TCP. Dropped, it closes all connections and fails what is under way.
pub struct Tcp {
    links: RwLock<HashMap<BookieId, Arc<Link>>>,
    surroundings: Arc<Surroundings>,
}

/// What all links share.
struct Surroundings {
    settings: Settings,
    resolve: Arc<dyn Resolve>,
    /// Sends come from any thread, also from such as know no runtime.
    runtime: Handle,
}

impl Tcp {
    /// Connections are served on the runtime that this is called on.
    pub fn new(resolve: Arc<dyn Resolve>, settings: Settings) -> Tcp {
        let surroundings = Surroundings { settings, resolve, runtime: Handle::current() };
        Tcp { links: RwLock::default(), surroundings: Arc::new(surroundings) }
    }

    fn link(&self, bookie: &BookieId) -> Arc<Link> {
        if let Some(link) = self.links.read().get(bookie) {
            return link.clone();
        }
        let mut links = self.links.write();
        let new = || Link::new(bookie.clone(), self.surroundings.settings.wire, self.surroundings.clone());
        links.entry(bookie.clone()).or_insert_with(new).clone()
    }
}

impl Bookies for Tcp {
    fn send(&self, bookie: &BookieId, request: Request, reply: ReplyTo) {
        self.link(bookie).send(request, reply);
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.links.get_mut().values().for_each(|link| link.close());
    }
}

#[cfg(test)]
mod tests;
