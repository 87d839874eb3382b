//! Bookies in network namespaces of their own, behind one bridge, so that the network between any two can be cut.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;

use crate::lanes::lane;
use crate::process::run;

/// How a bookie is cut off.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// Nothing goes in or out, and nobody is told.
    Silent,
    /// What it is sent arrives; what it answers does not.
    Outgoing,
    /// New and old connections are reset.
    Reset,
    /// Only what it says to, and hears from, the metadata store is lost.
    Metadata,
}

/// One bridge with an address for this process and etcd, and a namespace for each bookie. Dropped, all is gone.
pub struct Network {
    tag: String,
    subnet: String,
    namespaces: Vec<String>,
}

fn ip(arguments: &str) -> Result<()> {
    run(Command::new("ip").args(arguments.split(' '))).map(|_| ())
}

impl Network {
    pub fn new() -> Result<Network> {
        // A namespace goes some time after it is deleted: its names are not used again.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let (pid, n) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let network = Network {
            tag: format!("st{}x{n}", pid % 100_000),
            subnet: format!("10.{}.{}", 213 + lane(), (pid + n) % 250 + 1),
            namespaces: vec![],
        };
        ip(&format!("link add {0}br type bridge", network.tag))?;
        ip(&format!("addr add {}.1/24 dev {}br", network.subnet, network.tag))?;
        ip(&format!("link set {}br up", network.tag))?;
        Ok(network)
    }

    /// The address of this process in the network.
    pub fn gateway(&self) -> String {
        format!("{}.1", self.subnet)
    }

    /// A new namespace, and the address of what runs in it.
    pub fn add(&mut self) -> Result<(String, String)> {
        let n = self.namespaces.len() + 2;
        let (name, address) = (format!("{}n{n}", self.tag), format!("{}.{n}", self.subnet));
        ip(&format!("netns add {name}"))?;
        self.namespaces.push(name.clone());
        ip(&format!("link add {0}v{n} type veth peer name eth0 netns {name}", self.tag))?;
        ip(&format!("link set {0}v{n} master {0}br up", self.tag))?;
        ip(&format!("-n {name} addr add {address}/24 dev eth0"))?;
        ip(&format!("-n {name} link set eth0 up"))?;
        ip(&format!("-n {name} link set lo up"))?;
        Ok((name, address))
    }

    pub fn cut(&self, namespace: &str, how: Cut, metadata_port: u16) -> Result<()> {
        let rules: &[String] = match how {
            Cut::Silent => &["INPUT -j DROP".into(), "OUTPUT -j DROP".into()],
            Cut::Outgoing => &["OUTPUT -j DROP".into()],
            Cut::Reset => &[
                "INPUT -p tcp -j REJECT --reject-with tcp-reset".into(),
                "OUTPUT -p tcp -j REJECT --reject-with tcp-reset".into(),
            ],
            Cut::Metadata => &[
                format!("INPUT -p tcp --sport {metadata_port} -j DROP"),
                format!("OUTPUT -p tcp --dport {metadata_port} -j DROP"),
            ],
        };
        rules.iter().try_for_each(|rule| self.iptables(namespace, &format!("-A {rule}")))
    }

    pub fn heal(&self, namespace: &str) -> Result<()> {
        self.iptables(namespace, "-F")
    }

    fn iptables(&self, namespace: &str, arguments: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, "iptables", "-w", "5"]).args(arguments.split(' '));
        run(&mut command).map(|_| ())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What cannot be removed was not made.
        for name in &self.namespaces {
            let _ = ip(&format!("netns del {name}"));
        }
        let _ = ip(&format!("link del {}br", self.tag));
    }
}
