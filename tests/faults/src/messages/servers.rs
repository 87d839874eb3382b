//! Name servers and brokers as real processes, on a cluster of bookies.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use metadata::schema::{Claim, Owner};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::http;
use crate::ports::{free_port, free_ports};
use crate::process::{Process, command};

pub const VBS: u32 = 8;
/// Virtual broker *i* listens 10 *i* above a broker's port, and two below that.
const SPAN: u16 = 10 * VBS as u16;
const START: Duration = Duration::from_secs(30);

/// Who serves a virtual broker, and how often it has changed hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    pub broker: String,
    pub epoch: u64,
}

struct Server {
    arguments: Vec<String>,
    http: String,
    process: Option<Process>,
}

pub struct Servers {
    /// By address; dropped before what they stand on.
    brokers: BTreeMap<String, Server>,
    namesrvs: BTreeMap<String, Server>,
    pub cluster: Cluster,
}

impl Servers {
    /// etcd, three bookies, two name servers, two brokers, of which the first owns everything.
    pub async fn start() -> Result<Servers> {
        Servers::of(3).await
    }

    pub async fn of(bookies: usize) -> Result<Servers> {
        Servers::over(Cluster::start(bookies).await?).await
    }

    /// The same on bookies that run already.
    pub async fn over(cluster: Cluster) -> Result<Servers> {
        let mut servers = Servers { brokers: BTreeMap::new(), namesrvs: BTreeMap::new(), cluster };
        for _ in 0..2 {
            let address = format!("127.0.0.1:{}", free_port()?);
            let data = servers.cluster.folder.path().join(format!("namesrv-{address}"));
            let arguments =
                ["namesrv", "--listen", &address, "--data", &data.to_string_lossy()].map(str::to_owned);
            servers.namesrvs.insert(address.clone(), Server::new(&arguments)?);
            servers.start_one(&address).await?;
        }
        for _ in 0..2 {
            let address = format!("127.0.0.1:{}", broker_port()?);
            let (uri, namesrvs) = (servers.cluster.uri(), servers.addresses());
            let arguments = ["broker", "--metadata", &uri, "--namesrv", &namesrvs, "--listen", &address]
                .map(str::to_owned);
            servers.brokers.insert(address.clone(), Server::new(&arguments)?);
            servers.start_one(&address).await?;
            servers.must_all_be_owned(START).await?;
        }
        Ok(servers)
    }

    /// What clients are told: all name servers.
    pub fn addresses(&self) -> String {
        let all: Vec<&str> = self.namesrvs.keys().map(String::as_str).collect();
        all.join(";")
    }

    pub fn namesrv(&self) -> Result<String> {
        self.namesrvs.keys().next().cloned().context("a name server")
    }

    fn server(&mut self, address: &str) -> Result<&mut Server> {
        let server = self.brokers.get_mut(address).or_else(|| self.namesrvs.get_mut(address));
        server.with_context(|| format!("{address} is no server of this cluster"))
    }

    /// The process of a broker or name server.
    pub fn process(&mut self, address: &str) -> Result<&mut Process> {
        self.server(address)?.process.as_mut().with_context(|| format!("{address} is not running"))
    }

    /// Starts a broker or name server, and waits until it is ready.
    pub async fn start_one(&mut self, address: &str) -> Result<()> {
        let (binary, log) =
            (self.cluster.binary.clone(), self.cluster.folder.path().join(format!("{address}.log")));
        let server = self.server(address)?;
        let mut command = command(binary, None);
        command.args(&server.arguments).args(["--http", &server.http]);
        server.process = Some(Process::start(address, &mut command, &log)?);
        let (deadline, http) = (Instant::now() + START, server.http.clone());
        while http::status(&http, "/ready").await != Some(200) {
            let process = self.process(address)?;
            ensure!(process.exited()?.is_none(), "{address} ended:\n{}", process.last_words());
            ensure!(Instant::now() < deadline, "{address} is not ready:\n{}", process.last_words());
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub fn kill(&mut self, address: &str) -> Result<()> {
        self.process(address)?.kill()
    }

    /// SIGTERM, until it is gone.
    pub async fn stop(&mut self, address: &str) -> Result<Duration> {
        let asked = Instant::now();
        let process = self.process(address)?;
        process.signal(Signal::TERM)?;
        let status = process.ended(Duration::from_secs(10)).await?;
        ensure!(
            status.success(),
            "a graceful stop of {address} ended with {status}:\n{}",
            process.last_words()
        );
        Ok(asked.elapsed())
    }

    /// Who owns what, by what metadata says.
    pub async fn owners(&self) -> Result<BTreeMap<u32, Ownership>> {
        let (store, scope) = (&self.cluster.store, &self.cluster.scope);
        let mut owners = BTreeMap::new();
        for vb in 0..VBS {
            let log = format!("vb-{vb}");
            let (Some(claim), Some(owner)) =
                (store.get(&scope.claim(vb)).await?, store.get(&scope.vb_owner(&log)).await?)
            else {
                continue;
            };
            let (claim, owner) = (Claim::decode(vb, &claim.value)?, Owner::decode(&log, &owner.value)?);
            owners.insert(vb, Ownership { broker: claim.broker, epoch: owner.epoch });
        }
        Ok(owners)
    }

    /// The broker that serves the virtual broker with most of the load; all have the same.
    pub async fn owner(&self) -> Result<String> {
        Ok(self.owners().await?.remove(&0).context("nobody owns virtual broker 0")?.broker)
    }

    async fn must_all_be_owned(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let owners = self.owners().await?;
            if owners.len() == VBS as usize {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "of {VBS} virtual brokers only these are owned: {owners:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Fails unless everything that `victim` had is another's, in a later epoch. How long it took.
    pub async fn must_have_moved(
        &self,
        before: &BTreeMap<u32, Ownership>,
        victim: &str,
        within: Duration,
    ) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let now = self.owners().await?;
            let moved = |(vb, had): (&u32, &Ownership)| {
                had.broker != victim
                    || now.get(vb).is_some_and(|now| now.broker != victim && now.epoch > had.epoch)
            };
            if before.iter().all(moved) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > within {
                bail!(
                    "after {within:?} not everything that {victim} had is another's: {before:?} became {now:?}"
                );
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Server {
    fn new(arguments: &[String]) -> Result<Server> {
        Ok(Server {
            arguments: arguments.to_vec(),
            http: format!("127.0.0.1:{}", free_port()?),
            process: None,
        })
    }
}

/// A port that is free, and so are all that a broker listens on beside it.
fn broker_port() -> Result<u16> {
    let beside: Vec<u16> = (0..VBS as u16).flat_map(|vb| [10 * vb, 10 * vb + 2]).collect();
    Ok(free_ports(SPAN, &beside)? + 2)
}
