//! A bookie's registration: kept alive, switched between writable and read-only, made again when its lease is lost.

use std::sync::Arc;
use std::time::Duration;

use protocol::BookieId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::schema::Published;
use crate::{Compare, Error, Lease, LeaseId, Scope, Store, Txn, TxnOutcome, commit};

/// Whether the store knows of us now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationState {
    Registered {
        writable: bool,
    },
    /// Not registered: why. It is tried again.
    Trying(String),
}

enum Order {
    Switch { writable: bool },
    Publish(Box<Published>),
    Withdraw(oneshot::Sender<()>),
}

/// Keeps one bookie registered for as long as it lives.
pub struct Registration {
    orders: mpsc::UnboundedSender<Order>,
    state: watch::Receiver<RegistrationState>,
    task: JoinHandle<()>,
}

impl Registration {
    /// Registers `bookie` and keeps it so. Returns once it is registered; an older registration under the same id is
    /// waited for, up to twice its lease.
    pub async fn start(
        store: Arc<dyn Store>,
        scope: Scope,
        bookie: BookieId,
        published: Published,
        writable: bool,
        ttl: Duration,
    ) -> Result<Registration, Error> {
        let mut keeper = Keeper { store, scope, bookie, published, writable, ttl, lease: None };
        let until = Instant::now() + ttl * 2;
        while let Err(error) = keeper.register().await {
            if Instant::now() >= until {
                return Err(error);
            }
            sleep(ttl / 10).await;
        }
        let (orders, inbox) = mpsc::unbounded_channel();
        let (tell, state) = watch::channel(RegistrationState::Registered { writable });
        let task = tokio::spawn(keeper.keep(inbox, tell));
        Ok(Registration { orders, state, task })
    }

    /// Read-only and back. Takes effect soon; see [`Registration::state`].
    pub fn set_writable(&self, writable: bool) {
        let _ = self.orders.send(Order::Switch { writable });
    }

    /// Says something new of itself: another address, other free space.
    pub fn publish(&self, published: Published) {
        let _ = self.orders.send(Order::Publish(Box::new(published)));
    }

    pub fn state(&self) -> watch::Receiver<RegistrationState> {
        self.state.clone()
    }

    /// Gives the registration up: nobody chooses this bookie from now on. Waits no longer than a second.
    pub async fn withdraw(self) {
        let (done, gone) = oneshot::channel();
        let _ = self.orders.send(Order::Withdraw(done));
        let _ = timeout(Duration::from_secs(1), gone).await;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Keeper {
    store: Arc<dyn Store>,
    scope: Scope,
    bookie: BookieId,
    published: Published,
    writable: bool,
    ttl: Duration,
    lease: Option<Lease>,
}

impl Keeper {
    async fn keep(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Order>,
        tell: watch::Sender<RegistrationState>,
    ) {
        let mut tick = Instant::now() + self.ttl / 3;
        loop {
            let order = tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => Some(order),
                    None => return,
                },
                () = gone(self.lease.as_ref()) => {
                    self.lease = None;
                    None
                }
                () = sleep_until(tick) => None,
            };
            match order {
                Some(Order::Withdraw(done)) => {
                    self.withdraw().await;
                    let _ = done.send(());
                    return;
                }
                Some(Order::Switch { writable }) => self.writable = writable,
                Some(Order::Publish(published)) => self.published = *published,
                None => {}
            }
            // All of it, whatever was ordered: what is not there is put back, and only then it is registered.
            let state = match self.register().await {
                Ok(()) => RegistrationState::Registered { writable: self.writable },
                Err(error) => {
                    tracing::warn!(bookie = %self.bookie, %error, "the registration is not as it should be; trying again");
                    RegistrationState::Trying(error.to_string())
                }
            };
            let failed = matches!(state, RegistrationState::Trying(_));
            tick = Instant::now() + if failed { self.ttl / 10 } else { self.ttl / 3 };
            tell.send_if_modified(|current| std::mem::replace(current, state.clone()) != state);
        }
    }

    /// Makes the store say what we are: one key on our lease, the other one gone, and what we publish.
    async fn register(&mut self) -> Result<(), Error> {
        let lease = self.lease().await?;
        let (writable, readonly) = (self.scope.writable(&self.bookie), self.scope.readonly(&self.bookie));
        let (wanted, unwanted) = if self.writable { (writable, readonly) } else { (readonly, writable) };
        let there = self.store.get(&wanted).await?;
        let other = self.store.get(&unwanted).await?;
        for found in [&there, &other].into_iter().flatten() {
            if found.lease != Some(lease) {
                return Err(Error::Unavailable(format!(
                    "bookie {} is still registered, on another lease: either it restarted a moment ago, or another \
                     process runs under the same id",
                    self.bookie
                )));
            }
        }
        let mut txn = Txn::default();
        if there.is_none() {
            txn = txn.compare(Compare::Absent(wanted.clone())).put_leased(wanted, "", lease);
        }
        if let Some(other) = other {
            txn = txn.compare(Compare::Unchanged(unwanted.clone(), other.modified)).delete(unwanted);
        }
        if !txn.ops.is_empty() {
            match commit(&*self.store, txn).await {
                Ok(TxnOutcome::Done(_)) => {}
                Ok(TxnOutcome::Conflict(_)) => {
                    return Err(Error::Unavailable("the registration changed at the same time".into()));
                }
                Err(error) => {
                    if error == Error::LeaseGone {
                        self.lease = None;
                    }
                    return Err(error);
                }
            }
        }
        self.publish().await
    }

    /// Nobody else writes this key, so the last one to write is right.
    async fn publish(&mut self) -> Result<(), Error> {
        let key = self.scope.published(&self.bookie);
        let value = self.published.encode();
        let compare = match self.store.get(&key).await? {
            Some(now) if now.value == value => return Ok(()),
            Some(now) => Compare::Unchanged(key.clone(), now.modified),
            None => Compare::Absent(key.clone()),
        };
        match commit(&*self.store, Txn::default().compare(compare).put(key, value)).await? {
            TxnOutcome::Done(_) => Ok(()),
            TxnOutcome::Conflict(_) => {
                Err(Error::Unavailable("another process publishes under our id".into()))
            }
        }
    }

    async fn lease(&mut self) -> Result<LeaseId, Error> {
        let lease = match self.lease.take() {
            Some(lease) => lease,
            None => Lease::grant(&self.store, self.ttl).await?,
        };
        Ok(self.lease.insert(lease).id())
    }

    async fn withdraw(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end().await;
        }
    }
}

async fn gone(lease: Option<&Lease>) {
    match lease {
        Some(lease) => lease.gone().await,
        None => std::future::pending().await,
    }
}
