//! The store on etcd. Every call has a deadline; what came of it when it passed is classified, never guessed.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{
    Client, Compare as EtcdCompare, CompareOp, ConnectOptions, Error as EtcdError, EventType, GetOptions,
    GetResponse, KvClient, PutOptions, Txn as EtcdTxn, TxnOp, TxnOpResponse, TxnResponse, WatchOptions,
    WatchStream, Watcher,
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

/// One client per endpoint: a client over several would go on sending to those that are dead.
pub struct Etcd {
    clients: Vec<Client>,
    /// The endpoint in use. The next one takes over when it does not answer.
    current: AtomicUsize,
    endpoints: String,
}

impl Etcd {
    /// Connects to `endpoints` (each `host:port`), and makes sure that one of them answers.
    pub async fn connect(endpoints: &[String]) -> Result<Etcd, Error> {
        let named = endpoints.join(", ");
        let mut clients = Vec::new();
        for endpoint in endpoints {
            let options = ConnectOptions::new()
                .with_connect_timeout(CONNECT)
                .with_keep_alive(PING, PING)
                .with_keep_alive_while_idle(true)
                .with_require_leader(true);
            let client = Client::connect([format!("http://{endpoint}")], Some(options)).await;
            clients.push(client.map_err(|error| {
                Error::Invalid(format!("'{endpoint}' is not an etcd endpoint (host:port): {error}"))
            })?);
        }
        let etcd = Etcd { clients, current: AtomicUsize::new(0), endpoints: named };
        etcd.get("/").await.map_err(|error| match error {
            Error::Unavailable(why) => Error::Unavailable(format!(
                "no answer from etcd at {}: {why}. Is it running, has it a leader, and may this machine reach it?",
                etcd.endpoints
            )),
            other => other,
        })?;
        Ok(etcd)
    }

    fn client(&self) -> Result<(usize, Client), Error> {
        let at = self.current.load(Ordering::Relaxed);
        let client = self.clients.get(at).cloned();
        client.map(|client| (at, client)).ok_or_else(|| Error::Invalid("no etcd endpoint was given".into()))
    }

    /// Goes over to the next endpoint, unless somebody did so already.
    fn leave(&self, at: usize) {
        let next = (at + 1) % self.clients.len().max(1);
        let _ = self.current.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Runs a call that changes nothing, on one endpoint after the other: whatever went wrong, nothing happened.
    async fn read<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, EtcdError>>,
    {
        let mut told = Error::Unavailable(String::new());
        for _ in &self.clients {
            let (at, client) = self.client()?;
            told = match timeout(DEADLINE, call(client)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => match Failure::of(&error) {
                    Failure::Refused => return Err(Error::Invalid(format!("etcd refused: {error}"))),
                    Failure::LeaseGone => return Err(Error::LeaseGone),
                    Failure::NotDone | Failure::NotSent | Failure::Unclear => {
                        Error::Unavailable(self.named(&error))
                    }
                },
                Err(_) => Error::Unavailable(self.late()),
            };
            self.leave(at);
        }
        Err(told)
    }

    /// Runs a call that changes something: unless the answer is certain, the outcome is not. Another endpoint is
    /// asked only if the first one certainly got nothing.
    async fn write<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, EtcdError>>,
    {
        let mut told = Error::Unavailable(String::new());
        for _ in &self.clients {
            let (at, client) = self.client()?;
            let answer = timeout(DEADLINE, call(client)).await;
            if !matches!(answer, Ok(Ok(_))) {
                self.leave(at);
            }
            told = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Err(_) => return Err(Error::Ambiguous(self.late())),
                Ok(Err(error)) => match Failure::of(&error) {
                    Failure::Refused => return Err(Error::Invalid(format!("etcd refused: {error}"))),
                    Failure::LeaseGone => return Err(Error::LeaseGone),
                    Failure::Unclear => return Err(Error::Ambiguous(self.named(&error))),
                    Failure::NotDone => return Err(Error::Unavailable(self.named(&error))),
                    Failure::NotSent => Error::Unavailable(self.named(&error)),
                },
            };
        }
        Err(told)
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
        let answer = self.write(|client| run(kv(client), request.clone())).await?;
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
        let mut answer = self.read(|client| get(kv(client), start.clone(), Some(options.clone()))).await?;
        let entries = answer.take_kvs().into_iter().map(key_value).collect::<Result<Vec<_>, _>>()?;
        Ok(Page { entries, more: answer.more(), revision: revision(answer.header()) })
    }

    async fn keep(&self, lease: LeaseId) -> Result<(), Error> {
        let kept =
            self.read(|client| async move { Ok(client.lease_client().keep_alive(lease.0).await) }).await?;
        let Err(error) = kept else { return Ok(()) };
        // The client says the same of a lease that is gone, and of a stream that would not take the request.
        let left = self
            .read(|client| async move { client.lease_client().time_to_live(lease.0, None).await })
            .await?;
        match left.ttl() > 0 {
            true => {
                self.leave(self.client()?.0);
                Err(Error::Unavailable(self.named(&error)))
            }
            false => Err(Error::LeaseGone),
        }
    }

    async fn start_watch(&self, prefix: &str, from: Revision) -> Result<Box<dyn Watch>, Error> {
        let options = WatchOptions::new().with_range(end_of(prefix)).with_start_revision(from.0 + 1);
        let started = self.read(|client| start_watch(client, prefix.to_owned(), options.clone())).await?;
        Ok(Box::new(EtcdWatch { stream: Some(started), arrived: VecDeque::new(), last: from.0 }))
    }
}

fn kv(client: Client) -> KvClient {
    client.kv_client().max_decoding_message_size(LARGEST_REPLY)
}

async fn run(mut kv: KvClient, txn: EtcdTxn) -> Result<TxnResponse, EtcdError> {
    kv.txn(txn).await
}

async fn get(mut kv: KvClient, key: String, options: Option<GetOptions>) -> Result<GetResponse, EtcdError> {
    kv.get(key, options).await
}

/// In a task of its own: the client asserts that the first answer is of the expected kind.
async fn start_watch(
    client: Client,
    prefix: String,
    options: WatchOptions,
) -> Result<(Watcher, WatchStream), EtcdError> {
    let mut client = client.watch_client();
    let mut starting = Aborting(tokio::spawn(async move { client.watch(prefix, Some(options)).await }));
    match (&mut starting.0).await {
        Ok(started) => started,
        Err(_) => Err(EtcdError::WatchError("etcd did not start a watch".into())),
    }
}

/// A task that ends with whoever waits for it.
struct Aborting<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Store for Etcd {
    fn get<'a>(&'a self, key: &'a str) -> Doing<'a, Option<KeyValue>> {
        Box::pin(async move {
            let mut answer = self.read(|client| get(kv(client), key.to_owned(), None)).await?;
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
            let grant = |client: Client| async move { client.lease_client().grant(seconds, None).await };
            let answer = self.read(grant).await?;
            Ok(LeaseId(answer.id()))
        })
    }

    fn renew(&self, lease: LeaseId) -> Doing<'_, ()> {
        Box::pin(self.keep(lease))
    }

    fn revoke(&self, lease: LeaseId) -> Doing<'_, ()> {
        Box::pin(async move {
            let revoke = |client: Client| async move { client.lease_client().revoke(lease.0).await };
            match self.write(revoke).await {
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
    /// It got the request, and certainly did not do it.
    NotDone,
    /// Nobody was there to get it.
    NotSent,
    Unclear,
}

impl Failure {
    fn of(error: &EtcdError) -> Failure {
        let EtcdError::GRpcStatus(status) = error else { return Failure::Unclear };
        if was_refused(status) {
            return Failure::NotSent;
        }
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

/// Whether there was no connection to send on: nobody listens there. An error of a connection that was made is never
/// of this kind.
fn was_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(now) = error {
        let io = now.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            return true;
        }
        error = now.source();
    }
    false
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
