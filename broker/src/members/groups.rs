//! Members of groups. A member is a connection: a client that has two of them is in its group twice, and leaves it
//! with the last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::body::heartbeat::{ConsumerData, Subscription};
use protocol::remoting::Language;

/// A connection, by the number that it has in this process.
pub type Channel = u64;

/// A client at one of its connections.
#[derive(Clone, Debug)]
pub struct Member<C> {
    pub client: Arc<str>,
    pub language: Language,
    pub version: i32,
    /// How it is reached.
    pub handle: C,
    pub seen: Duration,
}

/// What the members of a consumer group say they do, as the last of them said it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub consume_type: String,
    pub message_model: String,
    pub from_where: String,
}

#[derive(Debug)]
pub struct Consumers<C> {
    pub members: BTreeMap<Channel, Member<C>>,
    pub facts: Facts,
    pub subscriptions: BTreeMap<Arc<str>, Arc<Subscription>>,
    /// The fingerprint of the last full heartbeat: one that leaves its subscriptions out must have the same.
    fingerprint: i32,
}

impl<C> Default for Consumers<C> {
    fn default() -> Consumers<C> {
        Consumers {
            members: BTreeMap::new(),
            facts: Facts::default(),
            subscriptions: BTreeMap::new(),
            fingerprint: 0,
        }
    }
}

impl<C> Consumers<C> {
    pub fn has_client(&self, client: &str) -> bool {
        self.members.values().any(|member| &*member.client == client)
    }

    /// Clients, each once.
    pub fn clients(&self) -> BTreeSet<Arc<str>> {
        self.members.values().map(|member| member.client.clone()).collect()
    }

    pub fn is_broadcast(&self) -> bool {
        self.facts.message_model == "BROADCASTING"
    }
}

/// What an event did to a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub group: Arc<str>,
    pub left: Option<Arc<str>>,
    /// Whether its members have to look again at who has which queue.
    pub rebalance: bool,
}

#[derive(Debug)]
pub struct Members<C> {
    consumers: BTreeMap<Arc<str>, Consumers<C>>,
    producers: BTreeMap<Arc<str>, BTreeMap<Channel, Member<C>>>,
    /// The groups in which a connection is, to leave them all with it.
    of_channel: BTreeMap<Channel, Joined>,
    /// Counts questions to producers, so that each of them is asked in turn.
    asked: u64,
}

#[derive(Debug, Default)]
struct Joined {
    client: Option<Arc<str>>,
    consumers: BTreeSet<Arc<str>>,
    producers: BTreeSet<Arc<str>>,
}

impl<C> Default for Members<C> {
    fn default() -> Members<C> {
        Members {
            consumers: BTreeMap::new(),
            producers: BTreeMap::new(),
            of_channel: BTreeMap::new(),
            asked: 0,
        }
    }
}

impl<C: Clone> Members<C> {
    pub fn consumers(&self, group: &str) -> Option<&Consumers<C>> {
        self.consumers.get(group)
    }

    pub fn all_consumers(&self) -> impl Iterator<Item = (&Arc<str>, &Consumers<C>)> {
        self.consumers.iter()
    }

    pub fn producers(&self, group: &str) -> Option<&BTreeMap<Channel, Member<C>>> {
        self.producers.get(group)
    }

    pub fn all_producers(&self) -> impl Iterator<Item = (&Arc<str>, &BTreeMap<Channel, Member<C>>)> {
        self.producers.iter()
    }

    /// The client behind a connection, if it ever said who it is.
    pub fn client_of(&self, channel: Channel) -> Option<&Arc<str>> {
        self.of_channel.get(&channel)?.client.as_ref()
    }

    /// A member of a producer group, each in its turn.
    pub fn producer_to_ask(&mut self, group: &str) -> Option<Member<C>> {
        let members = self.producers.get(group)?;
        self.asked = self.asked.wrapping_add(1);
        let turn = (self.asked % members.len().max(1) as u64) as usize;
        members.values().nth(turn).cloned()
    }

    pub fn heard_producer(&mut self, channel: Channel, group: &str, member: Member<C>) {
        let joined = self.of_channel.entry(channel).or_default();
        joined.client = Some(member.client.clone());
        let group: Arc<str> = group.into();
        joined.producers.insert(group.clone());
        self.producers.entry(group).or_default().insert(channel, member);
    }

    /// Whether a heartbeat without subscriptions says enough, these being known already.
    pub fn knows(&self, channel: Channel, group: &str, fingerprint: i32) -> bool {
        self.consumers
            .get(group)
            .is_some_and(|group| group.members.contains_key(&channel) && group.fingerprint == fingerprint)
    }

    /// A consumer's heartbeat that leaves its subscriptions out.
    pub fn heard_again(&mut self, channel: Channel, group: &str, now: Duration) {
        if let Some(member) = self.consumers.get_mut(group).and_then(|g| g.members.get_mut(&channel)) {
            member.seen = now;
        }
    }

    /// A consumer's whole heartbeat.
    pub fn heard_consumer(
        &mut self,
        channel: Channel,
        data: &ConsumerData,
        fingerprint: i32,
        member: Member<C>,
    ) -> Changed {
        let group: Arc<str> = data.group_name.as_str().into();
        let joined = self.of_channel.entry(channel).or_default();
        joined.client = Some(member.client.clone());
        joined.consumers.insert(group.clone());
        let consumers = self.consumers.entry(group.clone()).or_default();
        let new_client = !consumers.has_client(&member.client);
        let new_channel = consumers.members.insert(channel, member).is_none();
        consumers.fingerprint = fingerprint;
        consumers.facts = Facts {
            consume_type: data.consume_type.clone(),
            message_model: data.message_model.clone(),
            from_where: data.consume_from_where.clone(),
        };
        let subscribed = consumers.subscribe(&data.subscription_data_set);
        Changed { group, left: None, rebalance: new_client || new_channel || subscribed }
    }

    pub fn unregister(
        &mut self,
        channel: Channel,
        consumer: Option<&str>,
        producer: Option<&str>,
    ) -> Option<Changed> {
        if let Some(group) = producer {
            self.leave_producers(channel, group);
        }
        let changed = consumer.and_then(|group| self.leave_consumers(channel, group));
        if let Some(joined) = self.of_channel.get_mut(&channel) {
            joined.consumers.retain(|name| Some(&**name) != consumer);
            joined.producers.retain(|name| Some(&**name) != producer);
        }
        changed
    }

    /// A connection is gone, and with it everything that its client was in by it.
    pub fn closed(&mut self, channel: Channel) -> Vec<Changed> {
        let Some(joined) = self.of_channel.remove(&channel) else { return Vec::new() };
        for group in &joined.producers {
            self.leave_producers(channel, group);
        }
        joined.consumers.iter().filter_map(|group| self.leave_consumers(channel, group)).collect()
    }

    /// Connections that said nothing since `before`; their owner closes them.
    pub fn silent(&self, before: Duration) -> Vec<(Channel, C)> {
        let mut last: BTreeMap<Channel, (Duration, &C)> = BTreeMap::new();
        let consumers = self.consumers.values().flat_map(|group| &group.members);
        for (channel, member) in consumers.chain(self.producers.values().flatten()) {
            let seen = last.entry(*channel).or_insert((member.seen, &member.handle));
            seen.0 = seen.0.max(member.seen);
        }
        let silent = last.into_iter().filter(|(_, (seen, _))| *seen < before);
        silent.map(|(channel, (_, handle))| (channel, handle.clone())).collect()
    }

    fn leave_producers(&mut self, channel: Channel, group: &str) {
        if let Some(members) = self.producers.get_mut(group) {
            members.remove(&channel);
            if members.is_empty() {
                self.producers.remove(group);
            }
        }
    }

    fn leave_consumers(&mut self, channel: Channel, group: &str) -> Option<Changed> {
        let (name, _) = self.consumers.get_key_value(group)?;
        let name = name.clone();
        let consumers = self.consumers.get_mut(group)?;
        let gone = consumers.members.remove(&channel)?;
        let left = (!consumers.has_client(&gone.client)).then_some(gone.client);
        if consumers.members.is_empty() {
            self.consumers.remove(group);
        }
        Some(Changed { group: name, rebalance: left.is_some(), left })
    }
}

impl<C> Consumers<C> {
    /// Takes what a member subscribes to; newer versions replace older ones, and topics that the last heartbeat does
    /// not name are not subscribed any more. Returns whether that changes who reads what.
    fn subscribe(&mut self, told: &[Subscription]) -> bool {
        let mut changed = false;
        for subscription in told {
            match self.subscriptions.get_mut(subscription.topic.as_str()) {
                None => {
                    changed = true;
                    self.subscriptions
                        .insert(subscription.topic.as_str().into(), Arc::new(subscription.clone()));
                }
                Some(known) if known.sub_version < subscription.sub_version => {
                    changed |= known.sub_string != subscription.sub_string;
                    *known = Arc::new(subscription.clone());
                }
                Some(_) => {}
            }
        }
        let before = self.subscriptions.len();
        self.subscriptions.retain(|topic, _| told.iter().any(|subscription| *subscription.topic == **topic));
        changed || self.subscriptions.len() != before
    }
}

#[cfg(test)]
mod tests;
