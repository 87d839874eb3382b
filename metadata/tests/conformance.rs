//! The one suite for metadata stores, on each of them.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use disk::simulated::Device;
use metadata::Store;
use metadata::embedded::{Embedded, Sizes, open_folder};
use metadata::etcd::Etcd;
use metadata::suite::{self, Subject};
use rustix::process::{Pid, Signal, kill_process};

/// An etcd of our own, killed at the end.
struct Server {
    process: Child,
    endpoint: String,
    _folder: tempfile::TempDir,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

impl Server {
    fn start() -> Server {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (client, peer) = (free_port(), free_port());
        let [client, peer] = [client, peer].map(|port| format!("127.0.0.1:{port}"));
        let process = Command::new("etcd")
            .arg("--data-dir")
            .arg(folder.path())
            .args(["--listen-client-urls", &format!("http://{client}")])
            .args(["--advertise-client-urls", &format!("http://{client}")])
            .args(["--listen-peer-urls", &format!("http://{peer}")])
            .args(["--initial-advertise-peer-urls", &format!("http://{peer}")])
            .args(["--initial-cluster", &format!("default=http://{peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test needs etcd: install the package etcd-server");
        Server { process, endpoint: client, _folder: folder }
    }

    async fn connect(&self) -> Arc<Etcd> {
        for _ in 0..100 {
            if let Ok(store) = Etcd::connect(std::slice::from_ref(&self.endpoint)).await {
                return Arc::new(store);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("etcd does not start");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("a signal");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd: ./test conformance"]
async fn conformance_of_etcd() {
    let server = Server::start();
    let store = server.connect().await;
    let compacting = etcd_client::Client::connect([&server.endpoint], None).await.expect("etcd answers");
    let reading = store.clone();
    let compact = move || -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let (mut client, store) = (compacting.clone(), reading.clone());
        Box::pin(async move {
            let now = store.range("/", None, 1).await.expect("a range").revision;
            client.compact(now.0, None).await.expect("a compaction");
        })
    };
    let subject = Subject {
        store,
        ttl: Duration::from_secs(3),
        late: Duration::from_secs(10),
        compact: Box::new(compact),
    };
    suite::run(&subject).await.expect("the suite");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd: ./test conformance"]
async fn conformance_of_etcd_that_is_slow_or_gone() {
    let server = Server::start();
    let store = server.connect().await;
    let put = || metadata::Txn::default().put("/slow", "1");
    store.txn(put()).await.expect("it works");
    let mut watch = store.watch("/", metadata::Revision(0)).await.expect("a watch");
    assert!(matches!(watch.next().await, metadata::store::Change::Put(_)));
    // It hangs: a change may or may not come about; a read certainly did nothing.
    server.signal(Signal::STOP);
    assert!(matches!(store.txn(put()).await, Err(metadata::Error::Ambiguous(_))));
    let read = store.get("/slow").await;
    assert!(
        matches!(&read, Err(metadata::Error::Unavailable(text)) if text.contains(&server.endpoint)),
        "{read:?}"
    );
    // The broken connection is seen, and a watch on it says so.
    let lost = tokio::time::timeout(Duration::from_secs(60), watch.next()).await;
    assert_eq!(lost, Ok(metadata::store::Change::Lost));
    server.signal(Signal::CONT);
    for _ in 0..100 {
        if store.get("/slow").await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(store.get("/slow").await.expect("it is back").is_some());
    drop(server);
    let gone = store.txn(put()).await;
    assert!(matches!(gone, Err(metadata::Error::Ambiguous(_) | metadata::Error::Unavailable(_))), "{gone:?}");
    let nobody = Etcd::connect(&[format!("127.0.0.1:{}", free_port())]).await.err();
    assert!(
        matches!(&nobody, Some(metadata::Error::Unavailable(text)) if text.contains("Is it running")),
        "{nobody:?}"
    );
}

fn embedded_subject(store: Arc<Embedded>) -> Subject {
    let forgetting = store.clone();
    Subject {
        store,
        ttl: Duration::from_secs(3),
        late: Duration::from_secs(6),
        compact: Box::new(move || {
            forgetting.forget_history();
            Box::pin(async {})
        }),
    }
}

#[tokio::test(start_paused = true)]
async fn conformance_of_the_embedded_store_on_a_simulated_disk() {
    let device = Device::new(1, 64 << 20);
    // Small, so that the suite rolls it over many times.
    let sizes = Sizes { log: 1 << 20, history: 1000 };
    let store = Embedded::open(device.mount(), sizes).expect("it opens");
    suite::run(&embedded_subject(store)).await.expect("the suite");
}

#[tokio::test]
async fn conformance_of_the_embedded_store_in_a_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open_folder(folder.path()).expect("it opens");
    let again = open_folder(folder.path()).err().map(|error| error.to_string());
    assert!(again.is_some_and(|text| text.contains("another process has the metadata folder")));
    suite::run(&embedded_subject(store)).await.expect("the suite");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd: ./test conformance"]
async fn conformance_of_etcd_with_an_endpoint_that_is_dead() {
    let server = Server::start();
    server.connect().await;
    let endpoints = [format!("127.0.0.1:{}", free_port()), server.endpoint.clone()];
    let store = Etcd::connect(&endpoints).await.expect("one endpoint is enough");
    let mut failed = 0;
    for n in 0..200 {
        failed += usize::from(store.txn(metadata::Txn::default().put("/k", n.to_string())).await.is_err());
        failed += usize::from(store.get("/k").await.is_err());
    }
    assert_eq!(failed, 0);
}
