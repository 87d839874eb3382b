//! Brokers that come, live and go: 103, 104, 904, 322, 901.

use std::time::Duration;

use protocol::body::advertise;
use protocol::body::cluster::MemberGroupAnswer;
use protocol::body::json;
use protocol::body::register::{Registration, WHOLE_FIELD, body_crc};
use protocol::body::topic::DataVersion;
use protocol::remoting::Command;
use protocol::remoting::code::response;

use super::settings::DELETES_TOPICS;
use super::{Answer, Asker, done, with_body};
use crate::kept::ORDERED;
use crate::registry::Announced;
use crate::{Error, NameServer, count};

impl NameServer {
    /// Answered with the configuration of ordered topics, and for a slave with its master.
    pub(super) fn register(&self, asker: Asker, request: &Command) -> Result<Answer, Error> {
        count(&self.counts.registrations);
        let kept = self.kept();
        let mut told = announced(request)?;
        told.whole |= kept.is_on(DELETES_TOPICS);
        let registered = self.registry.lock().register(told, asker.channel, self.now());
        let master = registered.inspect_err(|refused| {
            count(&self.counts.refused);
            tracing::warn!("a registration from {} is refused: {refused}", asker.address);
        })?;
        let mut reply = request.reply(response::SUCCESS);
        reply.fields.push_some("masterAddr", master.address);
        reply.fields.push_some("haServerAddr", master.ha_address);
        if let Some(ordered) = kept.list(ORDERED) {
            reply.body = json::write(&ordered);
        }
        Ok(Answer::Now(reply))
    }

    pub(super) fn unregister(&self, request: &Command) -> Result<Answer, Error> {
        let fields = &request.fields;
        let (name, address) = (fields.text("brokerName")?, fields.text("brokerAddr")?);
        if self.registry.lock().unregister(name, fields.number("brokerId")?, address) {
            tracing::info!("{name} at {address} has unregistered");
        }
        Ok(done(request))
    }

    pub(super) fn heartbeat(&self, asker: Asker, request: &Command) -> Result<Answer, Error> {
        let fields = &request.fields;
        let address = fields.text("brokerAddr")?;
        self.registry.lock().heartbeat(fields.get("brokerName"), address, asker.channel, self.now());
        Ok(done(request))
    }

    /// Whether the broker has to register again; if not, it has been heard of.
    pub(super) fn query_version(&self, asker: Asker, request: &Command) -> Result<Answer, Error> {
        let fields = &request.fields;
        let (name, address) = (fields.text("brokerName")?, fields.text("brokerAddr")?);
        let offered: DataVersion = json::read(&request.body)?;
        let mut registry = self.registry.lock();
        let known = registry.version(name, address);
        let changed = known != Some(offered);
        if !changed {
            registry.heartbeat(Some(name), address, asker.channel, self.now());
        }
        let reply = request.reply(response::SUCCESS).with("changed", changed);
        Ok(Answer::Now(match known {
            Some(known) => reply.body(json::write(&known)),
            None => reply,
        }))
    }

    pub(super) fn member_group(&self, asker: Asker, request: &Command) -> Result<Answer, Error> {
        let (cluster, name) = (request.fields.text("clusterName")?, request.fields.text("brokerName")?);
        let broker_member_group = self.registry.lock().member_group(cluster, name, asker.ip());
        Ok(with_body(request, &MemberGroupAnswer { broker_member_group }))
    }
}

fn announced(request: &Command) -> Result<Announced, Error> {
    let fields = &request.fields;
    let crc: i32 = fields.number_or("bodyCrc32", 0)?;
    if crc != 0 && crc != body_crc(&request.body) {
        return Err(Error::Crc);
    }
    let body = Registration::decode(&request.body, fields.is_true("compressed"))?;
    let topics = body.topic_config_serialize_wrapper;
    let silence: Option<u64> = fields.maybe("heartbeatTimeoutMillis")?;
    Ok(Announced {
        cluster: fields.text("clusterName")?.into(),
        name: fields.text("brokerName")?.into(),
        id: fields.number("brokerId")?,
        address: fields.text("brokerAddr")?.into(),
        ha_address: fields.get("haServerAddr").unwrap_or_default().into(),
        zone: fields.get("__ZONE_NAME").map(Into::into),
        acting_master: fields.is_true("enableActingMaster"),
        silence: silence.map(Duration::from_millis),
        rules: fields.get(advertise::FIELD).unwrap_or_default().parse()?,
        version: topics.data_version,
        topics: topics.topic_config_table.into_values().collect(),
        whole: fields.is_true(WHOLE_FIELD),
    })
}
