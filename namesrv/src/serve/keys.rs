//! Keys and values by namespace: 100, 101, 102, 219.

use protocol::remoting::Command;
use protocol::remoting::code::response;

use super::{Answer, Change, with_body};
use crate::{Error, NameServer};

pub(super) fn put(request: &Command) -> Result<Answer, Error> {
    let (namespace, key) = names(request)?;
    let change = Change::Put { namespace, key, value: request.fields.text("value")?.into() };
    Ok(Answer::Once(change, request.reply(response::SUCCESS)))
}

pub(super) fn delete(request: &Command) -> Result<Answer, Error> {
    let (namespace, key) = names(request)?;
    Ok(Answer::Once(Change::Delete { namespace, key }, request.reply(response::SUCCESS)))
}

fn names(request: &Command) -> Result<(String, String), Error> {
    Ok((request.fields.text("namespace")?.into(), request.fields.text("key")?.into()))
}

impl NameServer {
    pub(super) fn get_key(&self, request: &Command) -> Result<Answer, Error> {
        let (namespace, key) = names(request)?;
        match self.kept().get(&namespace, &key) {
            Some(value) => Ok(Answer::Now(request.reply(response::SUCCESS).with("value", value))),
            None => Err(Error::NotFound(format!("No config item, Namespace: {namespace} Key: {key}"))),
        }
    }

    pub(super) fn list_keys(&self, request: &Command) -> Result<Answer, Error> {
        let namespace = request.fields.text("namespace")?;
        match self.kept().list(namespace) {
            Some(table) => Ok(with_body(request, &table)),
            None => Err(Error::NotFound(format!("No config item, Namespace: {namespace}"))),
        }
    }
}
