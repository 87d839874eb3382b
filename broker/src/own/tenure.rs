//! One virtual broker in this process, from its claim to its end.

use std::sync::Arc;
use std::time::Duration;

use planted::Bug;
use rustc_hash::FxHashMap;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use super::front::{Bound, Doors};
use super::{END, Leave, Serving, Shared};
use crate::error::Error;
use crate::serve::Served;

/// Requests that are under way when it is given up have so long.
const PATIENCE: Duration = Duration::from_millis(400);
/// After a failure others may try first.
const PAUSE: Duration = Duration::from_millis(500);

/// The tenures of this process. Dropped, all of them are.
#[derive(Default)]
pub(super) struct Tenures {
    tasks: JoinSet<Left>,
    /// Whose each task is, known without it: one that has panicked says nothing.
    vbs: FxHashMap<Id, u32>,
}

impl Tenures {
    pub fn begin(&mut self, tenure: Tenure, bound: Box<dyn Bound>) {
        self.spawn(tenure.vb, tenure.run(bound));
    }

    fn spawn(&mut self, vb: u32, task: impl Future<Output = Left> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.vbs.insert(id, vb);
    }

    /// The next one that has ended; `None` if there are none.
    pub async fn ended(&mut self) -> Option<(u32, Left)> {
        loop {
            match self.tasks.join_next_with_id().await? {
                Ok((id, left)) => {
                    if let Some(vb) = self.vbs.remove(&id) {
                        return Some((vb, left));
                    }
                }
                Err(panicked) => self.fail(panicked),
            }
        }
    }

    /// One has panicked: it has failed, a little later, as others do.
    fn fail(&mut self, panicked: JoinError) {
        let Some(vb) = self.vbs.remove(&panicked.id()) else { return };
        self.spawn(vb, async move {
            sleep(PAUSE).await;
            Left::Failed(Error::Bug(panicked.to_string()))
        });
    }
}

pub(super) struct Tenure {
    shared: Arc<Shared>,
    vb: u32,
}

/// How it ended.
pub(super) enum Left {
    /// In order: whoever is next has nothing to recover.
    GivenUp,
    /// Another owns it.
    Lost,
    Failed(Error),
    /// Not in order, for lack of time: whoever is next recovers it.
    Slow,
}

impl Tenure {
    pub fn new(shared: Arc<Shared>, vb: u32) -> Tenure {
        Tenure { shared, vb }
    }

    async fn run(self, bound: Box<dyn Bound>) -> Left {
        match self.begin(bound).await {
            Ok((served, doors)) => {
                let _ends_with_it = Leaving { shared: &self.shared, vb: self.vb, served: &served };
                self.serve(&served, doors).await
            }
            Err(error) => {
                sleep(PAUSE).await;
                Left::Failed(error)
            }
        }
    }

    /// Takes over, serves, and tells name servers, in this order.
    async fn begin(&self, bound: Box<dyn Bound>) -> Result<(Arc<Served>, Box<dyn Doors>), Error> {
        let Shared { settings, logs, clock, front, serving, changed, .. } = &*self.shared;
        let port = bound.port();
        let vb = settings.vb(self.vb, port)?;
        let served = Served::open(settings.cluster.clone(), vb, &**logs, clock.clone()).await?;
        let doors = bound.open(&served)?;
        serving.lock().insert(self.vb, Serving { served: served.clone(), port });
        front.offer(self.vb, port, &served);
        changed.notify_one();
        tracing::info!(vb = self.vb, port, epoch = served.vb.epoch(), "serving");
        Ok((served, doors))
    }

    async fn serve(&self, served: &Arc<Served>, doors: Box<dyn Doors>) -> Left {
        let mut ended = served.ended();
        let mut topics = served.topics_changed();
        let mut leave = self.shared.leave.subscribe();
        let front = &self.shared.front;
        loop {
            tokio::select! {
                biased;
                // The log has ended: held requests are answered by now.
                () = until(&mut ended), if !planted::on(Bug::DoorsStayOpen) => {
                    front.withdraw(self.vb, false);
                    doors.close(Duration::ZERO).await;
                    return Left::Lost;
                }
                why = why_leave(&mut leave, self.vb) => return self.end(served, doors, why).await,
                Ok(()) = topics.changed() => front.news(),
            }
        }
    }

    /// Gives it up while it is still ours, or steps down.
    async fn end(&self, served: &Arc<Served>, doors: Box<dyn Doors>, why: Why) -> Left {
        self.shared.front.withdraw(self.vb, why == Why::All);
        let (closed, ()) = tokio::join!(timeout(END, served.close()), doors.close(PATIENCE));
        match (closed, why) {
            (_, Why::Lost) => Left::Lost,
            (Ok(Ok(())), Why::All) => Left::GivenUp,
            (Ok(Err(error)), Why::All) => Left::Failed(error),
            (Err(_), Why::All) => Left::Slow,
        }
    }
}

/// However a tenure ends, its virtual broker does nothing more in this process.
struct Leaving<'a> {
    shared: &'a Shared,
    vb: u32,
    served: &'a Arc<Served>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.served.abandon();
        self.shared.front.withdraw(self.vb, false);
        self.shared.serving.lock().remove(&self.vb);
    }
}

async fn until(ended: &mut tokio::sync::watch::Receiver<bool>) {
    // A sender that is gone ends it as well.
    let _ = ended.wait_for(|ended| *ended).await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    All,
    Lost,
}

async fn why_leave(leave: &mut tokio::sync::watch::Receiver<Leave>, vb: u32) -> Why {
    match leave.wait_for(|leave| leave.all || leave.lost.contains(&vb)).await {
        Ok(leave) if leave.lost.contains(&vb) => Why::Lost,
        // A broker that is gone leaves, too.
        _ => Why::All,
    }
}
