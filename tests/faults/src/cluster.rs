//! etcd and bookies as real processes in one folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use metadata::{Ledgers, Scope, Store};
use protocol::BookieId;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::http;
use crate::network::Network;
use crate::ports::free_port;
use crate::process::{Process, command, run};

/// How long a bookie may take from its start until it is ready, and etcd too.
const START: Duration = Duration::from_secs(30);
const SCOPE: &str = "/ledgers";

/// Bytes of a segment of the bookies under test: small, so that a short test fills several.
pub const SEGMENT: u64 = 16 << 20;

/// What a bookie is started with.
#[derive(Clone, Debug)]
pub struct Member {
    /// What it is registered as: where it listens.
    pub id: BookieId,
    pub data: PathBuf,
    http: String,
    namespace: Option<String>,
    settings: PathBuf,
    log: PathBuf,
}

pub struct Cluster {
    /// Dropped in this order: processes before what they stand on.
    running: BTreeMap<BookieId, Process>,
    pub members: BTreeMap<BookieId, Member>,
    etcd: Option<Process>,
    etcd_address: String,
    pub network: Option<Network>,
    pub binary: PathBuf,
    pub store: Arc<dyn Store>,
    pub scope: Scope,
    pub folder: TempDir,
}

impl Cluster {
    /// etcd, formatted, and `count` bookies, ready.
    pub async fn start(count: usize) -> Result<Cluster> {
        Cluster::start_on(None, count).await
    }

    /// The same with each bookie in a network namespace of its own.
    pub async fn start_networked(count: usize) -> Result<Cluster> {
        Cluster::start_on(Some(Network::new()?), count).await
    }

    async fn start_on(network: Option<Network>, count: usize) -> Result<Cluster> {
        let binary = std::env::var_os("STRATAMQ").context("STRATAMQ does not name the binary under test")?;
        let folder = tempfile::Builder::new().prefix("strata-faults-").tempdir()?;
        let host = network.as_ref().map_or("127.0.0.1".to_owned(), Network::gateway);
        let etcd_address = format!("{host}:{}", free_port()?);
        let etcd = start_etcd(&etcd_address, folder.path())?;
        let uri = format!("etcd://{etcd_address}{SCOPE}");
        let (store, scope) = reach(&uri).await?;
        let mut cluster = Cluster {
            running: BTreeMap::new(),
            members: BTreeMap::new(),
            etcd: Some(etcd),
            etcd_address,
            network,
            binary: binary.into(),
            store,
            scope,
            folder,
        };
        run(Command::new(&cluster.binary).args(["admin", "--metadata", &uri, "cluster", "init"]))?;
        for _ in 0..count {
            let member = cluster.new_member("")?;
            cluster.start_bookie(&member.id).await?;
        }
        Ok(cluster)
    }

    pub fn uri(&self) -> String {
        format!("etcd://{}{SCOPE}", self.etcd_address)
    }

    pub fn ledgers(&self) -> Ledgers {
        Ledgers::new(self.store.clone(), self.scope.clone(), rand::random())
    }

    /// A bookie that may be started: its folder, its address, its settings (TOML, besides the usual ones).
    pub fn new_member(&mut self, settings: &str) -> Result<Member> {
        let n = self.members.len();
        let home = self.folder.path().join(format!("bookie{n}"));
        fs::create_dir_all(home.join("data"))?;
        let (namespace, host) = match &mut self.network {
            Some(network) => {
                let (namespace, address) = network.add()?;
                (Some(namespace), address)
            }
            None => (None, "127.0.0.1".to_owned()),
        };
        let file = home.join("bookie.toml");
        fs::write(
            &file,
            format!(
                "segment_size = \"{}MB\"\nreserve = \"2MB\"\nindex_reserve = \"8MB\"\nlease = \"5s\"\n{settings}\n",
                SEGMENT >> 20
            ),
        )?;
        let member = Member {
            id: format!("{host}:{}", free_port()?)
                .parse()
                .map_err(|e| anyhow::anyhow!("a bookie id: {e}"))?,
            data: home.join("data"),
            http: format!("{host}:{}", free_port()?),
            namespace,
            settings: file,
            log: home.join("log"),
        };
        self.members.insert(member.id.clone(), member.clone());
        Ok(member)
    }

    fn member(&self, id: &BookieId) -> Result<&Member> {
        self.members.get(id).with_context(|| format!("{id} is no bookie of this cluster"))
    }

    /// The namespace that a bookie lives in.
    pub fn namespace(&self, id: &BookieId) -> Result<&str> {
        self.member(id)?.namespace.as_deref().context("the cluster has no namespaces")
    }

    pub fn etcd_port(&self) -> Result<u16> {
        Ok(self.etcd_address.rsplit(':').next().unwrap_or_default().parse()?)
    }

    /// The command line of a bookie on `data`.
    pub fn bookie_command(&self, member: &Member, data: &Path, metadata: &str) -> Command {
        let mut command = command(&self.binary, member.namespace.as_deref());
        command.args(["bookie", "--metadata", metadata, "--listen", member.id.as_str()]);
        command.arg("--data").arg(data).args(["--http", &member.http]).arg("--config").arg(&member.settings);
        command
    }

    /// Starts a bookie, and returns when it is ready.
    pub async fn start_bookie(&mut self, id: &BookieId) -> Result<()> {
        self.launch_bookie(id)?;
        self.ready(id, START).await
    }

    /// Starts a bookie, and returns at once.
    pub fn launch_bookie(&mut self, id: &BookieId) -> Result<()> {
        let member = self.member(id)?.clone();
        let mut command = self.bookie_command(&member, &member.data, &self.uri());
        let process = Process::start(&format!("bookie {id}"), &mut command, &member.log)?;
        self.running.insert(id.clone(), process);
        Ok(())
    }

    pub async fn ready(&mut self, id: &BookieId, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        let address = self.member(id)?.http.clone();
        loop {
            if http::status(&address, "/ready").await == Some(200) {
                return Ok(());
            }
            let process = self.bookie(id)?;
            if let Some(status) = process.exited()? {
                bail!("bookie {id} ended ({status}):\n{}", process.last_words());
            }
            if Instant::now() > deadline {
                bail!("bookie {id} is not ready after {within:?}:\n{}", process.last_words());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The running process of a bookie.
    pub fn bookie(&mut self, id: &BookieId) -> Result<&mut Process> {
        self.running.get_mut(id).with_context(|| format!("bookie {id} is not running"))
    }

    pub fn kill_bookie(&mut self, id: &BookieId) -> Result<()> {
        self.running.remove(id).with_context(|| format!("bookie {id} is not running"))?.kill()
    }

    pub fn etcd(&mut self) -> Result<&mut Process> {
        self.etcd.as_mut().context("etcd is not running")
    }

    /// By SIGKILL, or by SIGTERM, on which it leaves in order.
    pub async fn end_etcd(&mut self, by: Signal) -> Result<()> {
        let mut etcd = self.etcd.take().context("etcd is not running")?;
        etcd.signal(by)?;
        etcd.ended(START).await.map(|_| ())
    }

    /// Starts etcd again on its folder.
    pub async fn start_etcd(&mut self) -> Result<()> {
        self.etcd = Some(start_etcd(&self.etcd_address, self.folder.path())?);
        reach(&self.uri()).await.map(|_| ())
    }

    /// Ends all processes at once.
    pub fn kill_all(&mut self) -> Result<()> {
        let mut all: Vec<Process> = std::mem::take(&mut self.running).into_values().collect();
        all.extend(self.etcd.take());
        for process in &all {
            process.signal(Signal::KILL)?;
        }
        all.iter_mut().try_for_each(Process::kill)
    }

    /// Our command line, with this cluster's metadata address.
    pub fn admin(&self, arguments: &[&str]) -> Result<String> {
        run(Command::new(&self.binary).args(["admin", "--metadata", &self.uri()]).args(arguments))
    }
}

fn start_etcd(address: &str, folder: &Path) -> Result<Process> {
    let peer = format!("http://127.0.0.1:{}", free_port()?);
    let client = format!("http://{address}");
    let mut command = command("etcd", None);
    command.args(["--name", "one", "--data-dir"]).arg(folder.join("etcd"));
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("one={peer}"), "--log-level", "error"]);
    Process::start("etcd", &mut command, &folder.join("etcd.log"))
}

async fn reach(uri: &str) -> Result<(Arc<dyn Store>, Scope)> {
    let deadline = Instant::now() + START;
    loop {
        let opened = metadata::cluster::open(uri).await;
        match opened {
            Ok((store, scope)) if store.get(&scope.layout()).await.is_ok() => return Ok((store, scope)),
            _ if Instant::now() > deadline => bail!("etcd at {uri} does not answer after {START:?}"),
            _ => sleep(Duration::from_millis(100)).await,
        }
    }
}
