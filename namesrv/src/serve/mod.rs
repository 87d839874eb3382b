//! A request's way: dispatched here, answered by one function of its own.

mod keys;
mod lists;
mod register;
mod route;
mod settings;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use net::remoting::{Connection, Handler};
use protocol::body::json;
use protocol::remoting::Command;
use protocol::remoting::code::{self, request as ask, response};
use serde::Serialize;

use crate::registry::Channel;
use crate::{Error, NameServer, count};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    pub channel: Channel,
    pub address: SocketAddr,
}

impl Asker {
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }
}

/// A change of what is kept over a restart.
pub enum Change {
    Put { namespace: String, key: String, value: String },
    Delete { namespace: String, key: String },
    Set(Vec<(String, String)>),
}

/// What becomes of a request.
pub enum Answer {
    Now(Command),
    /// Given once this is durable.
    Once(Change, Command),
}

impl Handler for NameServerHandler {
    fn request(&self, from: &Arc<Connection>, request: Command) {
        let asker = Asker { channel: Channel(from.id()), address: from.peer() };
        let (from, server) = (from.clone(), self.0.clone());
        match server.answer(asker, &request) {
            Ok(Answer::Now(reply)) => from.reply(reply),
            Err(error) => from.reply(refusal(&request, &error)),
            Ok(Answer::Once(change, reply)) => {
                tokio::spawn(async move {
                    let kept = server.keep(|kept| settings::apply(kept, change)).await;
                    let kept = kept.inspect_err(|error| tracing::error!("nothing can be kept: {error}"));
                    from.reply(match kept {
                        Ok(()) => reply,
                        Err(error) => refusal(&request, &error),
                    });
                });
            }
        }
    }

    fn closed(&self, connection: &Arc<Connection>) {
        self.0.lost(Channel(connection.id()));
    }
}

/// A name server behind its connections.
pub struct NameServerHandler(pub Arc<NameServer>);

fn refusal(request: &Command, error: &Error) -> Command {
    request.reply(error.code()).remark(error.to_string())
}

fn with_body<T: Serialize>(request: &Command, body: &T) -> Answer {
    Answer::Now(request.reply(response::SUCCESS).body(json::write(body)))
}

fn done(request: &Command) -> Answer {
    Answer::Now(request.reply(response::SUCCESS))
}

impl NameServer {
    pub fn answer(&self, asker: Asker, request: &Command) -> Result<Answer, Error> {
        count(&self.counts.requests);
        match request.code {
            ask::GET_ROUTEINFO_BY_TOPIC => self.route(asker, request),
            ask::REGISTER_BROKER => self.register(asker, request),
            ask::UNREGISTER_BROKER => self.unregister(request),
            ask::BROKER_HEARTBEAT => self.heartbeat(asker, request),
            ask::QUERY_DATA_VERSION => self.query_version(asker, request),
            ask::GET_BROKER_MEMBER_GROUP => self.member_group(asker, request),
            ask::GET_BROKER_CLUSTER_INFO => self.cluster_info(asker, request),
            ask::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => self.all_topics(request),
            ask::GET_TOPICS_BY_CLUSTER => self.topics_of(request),
            ask::GET_SYSTEM_TOPIC_LIST_FROM_NS => self.system_topics(asker, request),
            ask::GET_UNIT_TOPIC_LIST
            | ask::GET_HAS_UNIT_SUB_TOPIC_LIST
            | ask::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => self.unit_topics(request),
            ask::DELETE_TOPIC_IN_NAMESRV => self.delete_topic(request),
            ask::REGISTER_TOPIC_IN_NAMESRV => self.add_topic(request),
            ask::WIPE_WRITE_PERM_OF_BROKER => self.set_read_only(request, true),
            ask::ADD_WRITE_PERM_OF_BROKER => self.set_read_only(request, false),
            ask::PUT_KV_CONFIG => keys::put(request),
            ask::GET_KV_CONFIG => self.get_key(request),
            ask::DELETE_KV_CONFIG => keys::delete(request),
            ask::GET_KVLIST_BY_NAMESPACE => self.list_keys(request),
            ask::UPDATE_NAMESRV_CONFIG => settings::update(request),
            ask::GET_NAMESRV_CONFIG => self.show_settings(request),
            unknown => {
                let name = code::request::name(unknown).unwrap_or("an unknown request");
                let remark = format!("a name server does not serve code {unknown} ({name})");
                Ok(Answer::Now(request.reply(response::REQUEST_CODE_NOT_SUPPORTED).remark(remark)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
