//! Who is there, and what they serve. Pure: requests go in with the time, answers come out.
//!
//! A broker's *name* owns queues; its *members* are processes at addresses, by id (0 takes writes). For ours there is
//! one member, and the epoch of the virtual broker is its `state_version`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use protocol::body::advertise::Rules;
use protocol::body::route::MASTER;
use protocol::body::topic::{DataVersion, TopicConfig};

/// A connection, as the shell numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(pub u64);

/// How long a member may be silent, unless it says otherwise.
pub const SILENCE: Duration = Duration::from_secs(120);
/// What a name server holds at most; more is refused.
pub const MAX_MEMBERS: usize = 16 << 10;
/// Topics of brokers.
pub const MAX_ROWS: usize = 4 << 20;

/// What a broker says of itself.
#[derive(Clone, Debug, Default)]
pub struct Announced {
    pub cluster: String,
    pub name: String,
    pub id: i64,
    pub address: String,
    pub ha_address: String,
    pub zone: Option<String>,
    pub acting_master: bool,
    /// Instead of [`SILENCE`].
    pub silence: Option<Duration>,
    pub rules: Rules,
    pub version: DataVersion,
    pub topics: Vec<TopicConfig>,
    /// `topics` are all that there are: others of this broker are gone. Apache's brokers register changes alone, too.
    pub whole: bool,
}

/// Why a registration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "{name} is registered at {address} with epoch {registered}, which is newer than epoch {offered}: this is no \
         longer its owner"
    )]
    Older { name: String, address: String, registered: i64, offered: i64 },
    #[error("this name server holds {0} already, which is as many as it takes")]
    TooMany(String),
}

/// What a member other than the master is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Master {
    pub address: Option<String>,
    pub ha_address: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub address: String,
    ha_address: String,
    version: DataVersion,
    channel: Channel,
    seen: Duration,
    silence: Duration,
    rules: Rules,
}

impl Member {
    pub(crate) fn address_for(&self, asker: IpAddr) -> String {
        self.rules.address_for(asker).unwrap_or(&self.address).to_string()
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Broker {
    pub cluster: String,
    pub zone: Option<String>,
    pub acting_master: bool,
    /// An operator took the write permission away from all its topics.
    pub read_only: bool,
    pub members: BTreeMap<i64, Member>,
}

/// A topic's queues on one broker.
#[derive(Clone, Debug)]
pub(crate) struct Queues {
    pub read: i32,
    pub write: i32,
    pub perm: i32,
    pub sys_flag: i32,
    /// What it was told with: older news change nothing.
    version: DataVersion,
}

pub struct Registry {
    pub(crate) brokers: BTreeMap<String, Broker>,
    /// By topic, then by broker.
    pub(crate) topics: BTreeMap<String, BTreeMap<String, Queues>>,
    rows: usize,
    max_rows: usize,
    members: usize,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::within(MAX_ROWS)
    }
}

impl Registry {
    fn within(max_rows: usize) -> Registry {
        Registry { brokers: BTreeMap::new(), topics: BTreeMap::new(), rows: 0, max_rows, members: 0 }
    }

    pub fn register(&mut self, told: Announced, from: Channel, now: Duration) -> Result<Master, Refused> {
        self.admit(&told)?;
        let broker = self.brokers.entry(told.name.clone()).or_default();
        broker.cluster.clone_from(&told.cluster);
        broker.zone.clone_from(&told.zone);
        broker.acting_master = told.acting_master;
        // A process that changes its id leaves the old one.
        let before = broker.members.len();
        broker.members.retain(|id, member| *id == told.id || member.address != told.address);
        let known = broker.members.get(&told.id);
        // News of the same epoch may overtake each other; what is older says only that the broker lives.
        let version = known.map_or(told.version, |known| known.version.max(told.version));
        let member = Member {
            address: told.address.clone(),
            ha_address: told.ha_address.clone(),
            version,
            channel: from,
            seen: now,
            silence: told.silence.unwrap_or(SILENCE),
            rules: told.rules.clone(),
        };
        if broker.members.insert(told.id, member).is_none() {
            tracing::info!(name = told.name, id = told.id, address = told.address, "registered");
        }
        self.members = self.members + broker.members.len() - before;
        let master = match broker.members.get(&MASTER) {
            Some(master) if told.id != MASTER => {
                Master { address: Some(master.address.clone()), ha_address: Some(master.ha_address.clone()) }
            }
            _ => Master::default(),
        };
        if told.id == MASTER {
            self.learn_topics(told);
        }
        Ok(master)
    }

    fn admit(&self, told: &Announced) -> Result<(), Refused> {
        if let Some(member) = self.brokers.get(&told.name).and_then(|broker| broker.members.get(&told.id)) {
            let (registered, offered) = (member.version.state_version, told.version.state_version);
            if registered > offered {
                let (name, address) = (told.name.clone(), member.address.clone());
                return Err(Refused::Older { name, address, registered, offered });
            }
        } else if self.members >= MAX_MEMBERS {
            return Err(Refused::TooMany(format!("{} brokers", self.members)));
        }
        // Only a master's topics are learned.
        let topics = told.topics.iter().filter(|_| told.id == MASTER);
        self.room_for(topics.map(|topic| (topic.topic_name.as_str(), told.name.as_str())))
    }

    /// Whether these topics of brokers can be held, beside those that are: what is known already takes no room.
    fn room_for<'a>(&self, rows: impl Iterator<Item = (&'a str, &'a str)>) -> Result<(), Refused> {
        let known =
            |topic: &str, broker: &str| self.topics.get(topic).is_some_and(|rows| rows.contains_key(broker));
        let new = rows.filter(|(topic, broker)| !known(topic, broker)).count();
        if new > 0 && self.rows + new > self.max_rows {
            return Err(Refused::TooMany(format!("{} topics of brokers", self.rows)));
        }
        Ok(())
    }

    fn learn_topics(&mut self, told: Announced) {
        let Announced { name, version, topics, whole, .. } = told;
        if whole {
            let listed: std::collections::BTreeSet<&str> =
                topics.iter().map(|topic| topic.topic_name.as_str()).collect();
            self.drop_rows(|topic, broker, row| {
                broker == name && row.version <= version && !listed.contains(topic)
            });
        }
        for topic in topics {
            let rows = self.topics.entry(topic.topic_name.clone()).or_default();
            let row = Queues {
                read: topic.read_queue_nums,
                write: topic.write_queue_nums,
                perm: topic.perm,
                sys_flag: topic.topic_sys_flag,
                version,
            };
            match rows.get_mut(&name) {
                Some(known) if known.version >= version => {}
                Some(known) => *known = row,
                None => {
                    rows.insert(name.clone(), row);
                    self.rows += 1;
                }
            }
        }
    }

    /// Counts only if this address is the one that is registered.
    pub fn unregister(&mut self, name: &str, id: i64, address: &str) -> bool {
        let gone = self.drop_members(|broker, member_id, member| {
            broker == name && member_id == id && member.address == address
        });
        !gone.is_empty()
    }

    /// A connection is closed: whoever registered through it last is gone, too.
    pub fn closed(&mut self, channel: Channel) -> Vec<String> {
        self.drop_members(|_, _, member| member.channel == channel)
    }

    /// Drops whoever has been silent for too long, and says who.
    pub fn expire(&mut self, now: Duration) -> Vec<String> {
        self.drop_members(|_, _, member| now.saturating_sub(member.seen) > member.silence)
    }

    /// A member lives; it has nothing new to tell, but perhaps a new connection.
    pub fn heartbeat(&mut self, name: Option<&str>, address: &str, from: Channel, now: Duration) {
        let named = |broker: &str| name.is_none_or(|name| name == broker);
        for (_, broker) in self.brokers.iter_mut().filter(|(broker, _)| named(broker)) {
            for member in broker.members.values_mut().filter(|member| member.address == address) {
                (member.seen, member.channel) = (now, from);
            }
        }
    }

    /// What a member was last registered with.
    pub fn version(&self, name: &str, address: &str) -> Option<DataVersion> {
        let members = &self.brokers.get(name)?.members;
        members.values().find(|member| member.address == address).map(|member| member.version)
    }

    /// Takes the write permission from all topics of a broker, or gives it back; returns how many those are.
    pub fn set_read_only(&mut self, name: &str, read_only: bool) -> usize {
        match self.brokers.get_mut(name) {
            None => 0,
            Some(broker) => {
                broker.read_only = read_only;
                self.topics.values().filter(|rows| rows.contains_key(name)).count()
            }
        }
    }

    /// Forgets a topic, in one cluster or in all; the next registration that has it brings it back.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let brokers = &self.brokers;
        let Some(rows) = self.topics.get_mut(topic) else { return };
        let before = rows.len();
        rows.retain(|name, _| {
            cluster.is_some_and(|cluster| brokers.get(name).is_none_or(|broker| broker.cluster != cluster))
        });
        self.rows -= before - rows.len();
        if rows.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// Adds a topic's queues on brokers that are registered and do not have it yet.
    pub fn add_topic(
        &mut self,
        topic: &str,
        queues: Vec<protocol::body::route::QueueData>,
    ) -> Result<(), Refused> {
        let mut queues = queues;
        queues.retain(|data| self.brokers.contains_key(&data.broker_name));
        self.room_for(queues.iter().map(|data| (topic, data.broker_name.as_str())))?;
        for data in queues {
            let row = Queues {
                read: data.read_queue_nums,
                write: data.write_queue_nums,
                perm: data.perm,
                sys_flag: data.topic_sys_flag,
                version: DataVersion::default(),
            };
            let rows = self.topics.entry(topic.into()).or_default();
            if let std::collections::btree_map::Entry::Vacant(place) = rows.entry(data.broker_name) {
                place.insert(row);
                self.rows += 1;
            }
        }
        Ok(())
    }

    pub fn counts(&self) -> (usize, usize) {
        (self.brokers.len(), self.topics.len())
    }

    fn drop_members(&mut self, gone: impl Fn(&str, i64, &Member) -> bool) -> Vec<String> {
        let mut told = Vec::new();
        let mut empty = Vec::new();
        for (name, broker) in &mut self.brokers {
            broker.members.retain(|id, member| {
                let gone = gone(name, *id, member);
                if gone {
                    told.push(format!("{name} at {}", member.address));
                }
                !gone
            });
            if broker.members.is_empty() {
                empty.push(name.clone());
            }
        }
        self.members -= told.len();
        if !empty.is_empty() {
            self.brokers.retain(|name, _| !empty.contains(name));
            self.drop_rows(|_, broker, _| empty.iter().any(|name| name == broker));
        }
        told
    }

    fn drop_rows(&mut self, gone: impl Fn(&str, &str, &Queues) -> bool) {
        let dropped = &mut self.rows;
        self.topics.retain(|topic, rows| {
            let before = rows.len();
            rows.retain(|broker, row| !gone(topic, broker, row));
            *dropped -= before - rows.len();
            !rows.is_empty()
        });
    }
}

#[cfg(test)]
mod tests;
