//! The store on etcd. Every call has a deadline; what came of it when it passed is classified, never guessed.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{
    Client, Compare as EtcdCompare, CompareOp, ConnectOptions, Error as EtcdError, EventType, GetOptions,
    KvClient, PutOptions, Txn as EtcdTxn, TxnOp, TxnOpResponse, WatchOptions, WatchStream, Watcher,
};
use tokio::time::timeout;

use crate::store::{Change, Doing, Page, Watch};
use crate::{Compare, Error, KeyValue, LeaseId, Op, Revision, Store, Txn, TxnOutcome};

/// How long any call may take. etcd itself gives up on a proposal after about seven seconds; the caller of this store
/// would rather know earlier that it does not know.
const DEADLINE: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(2);
/// A connection without an answer to a ping for this long is broken: watches on it are told so.
const PING: Duration = Duration::from_secs(5);
/// No page is asked to hold more than this, so that none is larger than [`LARGEST_REPLY`].
const LARGEST_PAGE: usize = 1000;
const LARGEST_REPLY: usize = 64 << 20;

pub struct Etcd {
    client: Client,
    endpoints: String,
}

impl Etcd {
    /// Connects to `endpoints` (each `host:port`), and makes sure that they answer.
    pub async fn connect(endpoints: &[String]) -> Result<Etcd, Error> {
        let named = endpoints.join(", ");
        let urls: Vec<String> = endpoints.iter().map(|endpoint| format!("http://{endpoint}")).collect();
        let options = ConnectOptions::new()
            .with_connect_timeout(CONNECT)
            .with_keep_alive(PING, PING)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        let client = Client::connect(urls, Some(options)).await.map_err(|error| {
            Error::Invalid(format!("'{named}' are not etcd endpoints (host:port): {error}"))
        })?;
        let etcd = Etcd { client, endpoints: named };
        etcd.get("/").await.map_err(|error| match error {
            Error::Unavailable(why) => Error::Unavailable(format!(
                "no answer from etcd at {}: {why}. Is it running, has it a leader, and may this machine reach it?",
                etcd.endpoints
            )),
            other => other,
        })?;
        Ok(etcd)
    }

    fn kv(&self) -> KvClient {
        self.client.kv_client().max_decoding_message_size(LARGEST_REPLY)
    }

    /// Runs a call that changes nothing: whatever went wrong, nothing happened.
    async fn read<T>(&self, call: impl Future<Output = Result<T, EtcdError>>) -> Result<T, Error> {
        match timeout(DEADLINE, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(match Failure::of(&error) {
                Failure::Refused => Error::Invalid(format!("etcd refused: {error}")),
                Failure::LeaseGone => Error::LeaseGone,
                Failure::NotDone | Failure::Unclear => Error::Unavailable(self.named(&error)),
            }),
            Err(_) => Err(Error::Unavailable(self.late())),
        }
    }

    /// Runs a call that changes something: unless the answer is certain, the outcome is not.
    async fn write<T>(&self, call: impl Future<Output = Result<T, EtcdError>>) -> Result<T, Error> {
        match timeout(DEADLINE, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(match Failure::of(&error) {
                Failure::Refused => Error::Invalid(format!("etcd refused: {error}")),
                Failure::LeaseGone => Error::LeaseGone,
                Failure::NotDone => Error::Unavailable(self.named(&error)),
                Failure::Unclear => Error::Ambiguous(self.named(&error)),
            }),
            Err(_) => Err(Error::Ambiguous(self.late())),
        }
    }

    fn named(&self, error: &EtcdError) -> String {
        format!("etcd at {}: {error}", self.endpoints)
    }

    fn late(&self) -> String {
        format!("etcd at {} gave no answer within {DEADLINE:?}", self.endpoints)
    }

    async fn run(&self, txn: Txn) -> Result<TxnOutcome, Error> {
        txn.check()?;
        let when: Vec<EtcdCompare> = txn.compares.iter().map(compare).collect();
        let reads: Vec<TxnOp> = txn.compares.iter().map(|c| TxnOp::get(c.key(), None)).collect();
        let ops: Vec<TxnOp> = txn.ops.into_iter().map(operation).collect();
        let request = EtcdTxn::new().when(when).and_then(ops).or_else(reads);
        let answer = self.write(self.kv().txn(request)).await?;
        if answer.succeeded() {
            return Ok(TxnOutcome::Done(revision(answer.header())));
        }
        let mut now = Vec::with_capacity(txn.compares.len());
        for response in answer.op_responses() {
            if let TxnOpResponse::Get(mut found) = response {
                now.push(found.take_kvs().into_iter().next().map(key_value).transpose()?);
            }
        }
        Ok(TxnOutcome::Conflict(now))
    }

    async fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, Error> {
        // The smallest key above `after` is `after` with a zero byte.
        let start =
            after.filter(|after| *after >= prefix).map_or(prefix.to_owned(), |after| format!("{after}\0"));
        let limit = i64::try_from(limit.clamp(1, LARGEST_PAGE)).unwrap_or(1);
        let options = GetOptions::new().with_range(end_of(prefix)).with_limit(limit);
        let mut answer = self.read(self.kv().get(start, Some(options))).await?;
        let entries = answer.take_kvs().into_iter().map(key_value).collect::<Result<Vec<_>, _>>()?;
        Ok(Page { entries, more: answer.more(), revision: revision(answer.header()) })
    }

    async fn keep(&self, lease: LeaseId) -> Result<(), Error> {
        match timeout(DEADLINE, self.client.lease_client().keep_alive(lease.0)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(EtcdError::LeaseKeepAliveError(_))) => {
                // The client says this of a lease that is gone, and of a stream that would not take the request.
                let left = self.read(self.client.lease_client().time_to_live(lease.0, None)).await?;
                match left.ttl() > 0 {
                    true => Err(Error::Unavailable("etcd did not take the renewal of a lease".into())),
                    false => Err(Error::LeaseGone),
                }
            }
            Ok(Err(error)) => Err(Error::Unavailable(self.named(&error))),
            Err(_) => Err(Error::Unavailable(self.late())),
        }
    }

    async fn start_watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn Watch>, Error> {
        let options = WatchOptions::new().with_range(end_of(prefix)).with_start_revision(from.0 + 1);
        let mut client = self.client.watch_client();
        let prefix = prefix.to_owned();
        // In a task of its own: the client asserts that the first answer is of the expected kind.
        let mut starting = tokio::spawn(async move { client.watch(prefix, Some(options)).await });
        let Ok(started) = timeout(DEADLINE, &mut starting).await else {
            starting.abort();
            return Err(Error::Unavailable(self.late()));
        };
        match started {
            Ok(Ok((watcher, stream))) => Ok(Box::new(EtcdWatch {
                stream: Some((watcher, stream)),
                arrived: VecDeque::new(),
                last: from.0,
            })),
            Ok(Err(error)) => Err(Error::Unavailable(self.named(&error))),
            Err(_) => Err(Error::Unavailable(format!("etcd at {} did not start a watch", self.endpoints))),
        }
    }
}

impl Store for Etcd {
    fn get<'a>(&'a self, key: &'a str) -> Doing<'a, Option<KeyValue>> {
        Box::pin(async move {
            let mut answer = self.read(self.kv().get(key, None)).await?;
            answer.take_kvs().into_iter().next().map(key_value).transpose()
        })
    }

    fn range<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Doing<'a, Page> {
        Box::pin(self.page(prefix, after, limit))
    }

    fn txn(&self, txn: Txn) -> Doing<'_, TxnOutcome> {
        Box::pin(self.run(txn))
    }

    fn grant(&self, ttl: Duration) -> Doing<'_, LeaseId> {
        Box::pin(async move {
            // Whole seconds, rounded up: a lease must not be shorter than asked for.
            let seconds = i64::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(i64::MAX).max(1);
            // A lease that was granted without our knowing holds nothing and expires.
            let answer = self.read(self.client.lease_client().grant(seconds, None)).await?;
            Ok(LeaseId(answer.id()))
        })
    }

    fn renew(&self, lease: LeaseId) -> Doing<'_, ()> {
        Box::pin(self.keep(lease))
    }

    fn revoke(&self, lease: LeaseId) -> Doing<'_, ()> {
        Box::pin(async move {
            match self.write(self.client.lease_client().revoke(lease.0)).await {
                Ok(_) | Err(Error::LeaseGone) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str, from: Revision) -> Doing<'a, Box<dyn Watch>> {
        Box::pin(self.start_watch(prefix, from))
    }
}

struct EtcdWatch {
    /// None once something was lost. The watcher keeps the stream open.
    stream: Option<(Watcher, WatchStream)>,
    arrived: VecDeque<Change>,
    /// etcd has been seen to repeat events after a partition: what is older than this was told before.
    last: i64,
}

impl EtcdWatch {
    async fn receive(&mut self) -> Change {
        loop {
            if let Some(change) = self.arrived.pop_front() {
                return change;
            }
            let Some((_, stream)) = &mut self.stream else { return Change::Lost };
            match stream.message().await {
                Ok(Some(answer)) if !answer.canceled() && answer.compact_revision() == 0 => {
                    for event in answer.events() {
                        self.take(event.event_type(), event.kv());
                    }
                }
                _ => self.stream = None,
            }
        }
    }

    fn take(&mut self, kind: EventType, found: Option<&etcd_client::KeyValue>) {
        let Some(found) = found else { return };
        let at = found.mod_revision();
        if at < self.last {
            return;
        }
        self.last = at;
        let change = match (kind, key_value(found.clone())) {
            (EventType::Put, Ok(entry)) => Change::Put(entry),
            (EventType::Delete, Ok(entry)) => Change::Deleted { key: entry.key, at: Revision(at) },
            // Not a key of ours: ours are text.
            (_, Err(_)) => return,
        };
        self.arrived.push_back(change);
    }
}

impl Watch for EtcdWatch {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Change> + Send + '_>> {
        Box::pin(self.receive())
    }
}

/// What an error of etcd says about the request.
enum Failure {
    /// It can never succeed.
    Refused,
    LeaseGone,
    /// Certainly not done.
    NotDone,
    Unclear,
}

impl Failure {
    fn of(error: &EtcdError) -> Failure {
        let EtcdError::GRpcStatus(status) = error else { return Failure::Unclear };
        let by_server = status.message().starts_with("etcdserver:");
        // Numbers of gRPC's codes.
        match i32::from(status.code()) {
            5 if status.message().contains("lease") => Failure::LeaseGone,
            // Invalid argument, permission denied, unimplemented, unauthenticated.
            3 | 7 | 12 | 16 => Failure::Refused,
            // Resource exhausted (no space, too many requests), failed precondition, out of range: said by the server.
            8 | 9 | 11 if by_server => Failure::NotDone,
            _ => Failure::Unclear,
        }
    }
}

fn compare(compare: &Compare) -> EtcdCompare {
    match compare {
        Compare::Absent(key) => EtcdCompare::create_revision(key.as_str(), CompareOp::Equal, 0),
        Compare::Unchanged(key, at) => EtcdCompare::mod_revision(key.as_str(), CompareOp::Equal, at.0),
    }
}

fn operation(op: Op) -> TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            TxnOp::put(key, value, lease.map(|lease| PutOptions::new().with_lease(lease.0)))
        }
        Op::Delete { key } => TxnOp::delete(key, None),
    }
}

fn revision(header: Option<&etcd_client::ResponseHeader>) -> Revision {
    Revision(header.map_or(0, |header| header.revision()))
}

fn key_value(found: etcd_client::KeyValue) -> Result<KeyValue, Error> {
    let (created, modified) = (Revision(found.create_revision()), Revision(found.mod_revision()));
    let (version, lease) = (found.version(), found.lease());
    let (key, value) = found.into_key_value();
    let key = String::from_utf8(key).map_err(|error| {
        Error::Corrupt(format!(
            "key '{}' is not text",
            String::from_utf8_lossy(error.as_bytes()).escape_debug()
        ))
    })?;
    let lease = (lease != 0).then_some(LeaseId(lease));
    Ok(KeyValue { key, value: Bytes::from(value), created, modified, version, lease })
}

/// The first key after all that begin with `prefix`; a zero byte, which means "no end", after the last possible one.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_its_successor() {
        assert_eq!(end_of("/a/"), b"/a0");
        assert_eq!(end_of(""), [0]);
    }
}
