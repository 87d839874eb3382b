//! One virtual broker in this process, from its claim to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::announce::Offer;
use super::doors::{Bound, Doors};
use super::{END, Leave, Serving, Shared};
use crate::error::Error;
use crate::serve::Served;

/// Requests that are under way when it is given up have so long.
const PATIENCE: Duration = Duration::from_millis(400);
/// After a failure others may try first.
const PAUSE: Duration = Duration::from_millis(500);

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

    pub async fn run(self) -> (u32, Left) {
        let left = match self.begin().await {
            Ok((served, doors)) => {
                let _ends_with_it = Leaving { shared: &self.shared, vb: self.vb, served: &served };
                self.serve(&served, doors).await
            }
            Err(error) => {
                sleep(PAUSE).await;
                Left::Failed(error)
            }
        };
        (self.vb, left)
    }

    /// Binds, takes over, serves, and tells name servers, in this order.
    async fn begin(&self) -> Result<(Arc<Served>, Doors), Error> {
        let Shared { settings, logs, clock, announcer, serving, changed, .. } = &*self.shared;
        let bound = Bound::bind(&settings.host, settings.port(self.vb)).await?;
        let port = bound.port;
        let vb = settings.vb(self.vb, port)?;
        let served = Served::open(settings.cluster.clone(), vb, &**logs, clock.clone()).await?;
        let doors = bound.serve(served.door(), settings.net.clone(), &self.shared.memory)?;
        serving.lock().insert(self.vb, Serving { served: served.clone(), port });
        announcer.offer(self.vb, Offer::new(settings, port, served.clone()));
        changed.notify_one();
        tracing::info!(vb = self.vb, port, epoch = served.vb.epoch(), "serving");
        Ok((served, doors))
    }

    async fn serve(&self, served: &Arc<Served>, doors: Doors) -> Left {
        let mut ended = served.ended();
        let mut topics = served.topics_changed();
        let mut leave = self.shared.leave.subscribe();
        let announcer = &self.shared.announcer;
        loop {
            tokio::select! {
                biased;
                // The log has ended: held requests are answered by now.
                () = until(&mut ended) => {
                    announcer.withdraw(self.vb, false);
                    doors.close(Duration::ZERO).await;
                    return Left::Lost;
                }
                why = why_leave(&mut leave, self.vb) => return self.end(served, doors, why).await,
                Ok(()) = topics.changed() => announcer.news(),
            }
        }
    }

    /// Gives it up while it is still ours, or steps down.
    async fn end(&self, served: &Arc<Served>, doors: Doors, why: Why) -> Left {
        self.shared.announcer.withdraw(self.vb, why == Why::All);
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
