//! The name server as a process, spoken to in raw frames, as an old client would.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(folder: &std::path::Path) -> Process {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Process::spawn(address, |command| command.args(["--data", folder.to_str().unwrap()]))
    }

    /// One of a user with this home, who gives no folder.
    fn at_home(address: SocketAddr, home: &std::path::Path) -> Process {
        Process::spawn(address, |command| command.env("HOME", home))
    }

    fn spawn(address: SocketAddr, with: impl FnOnce(&mut Command) -> &mut Command) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stratamq"));
        command.args(["namesrv", "--listen", &address.to_string()]).env_clear().stderr(Stdio::null());
        Process { child: with(&mut command).spawn().unwrap(), address }
    }

    fn connect(&self) -> TcpStream {
        let began = Instant::now();
        loop {
            match TcpStream::connect(self.address) {
                Ok(socket) => {
                    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    return socket;
                }
                Err(error) => assert!(began.elapsed() < Duration::from_secs(10), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn terminate(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn frame(header: &str, body: &[u8]) -> Vec<u8> {
    let length = (4 + header.len() + body.len()) as u32;
    [&length.to_be_bytes()[..], &(header.len() as u32).to_be_bytes(), header.as_bytes(), body].concat()
}

/// Header and body of the reply to one request.
fn ask(socket: &mut TcpStream, header: &str, body: &[u8]) -> (serde_json::Value, Vec<u8>) {
    socket.write_all(&frame(header, body)).unwrap();
    let mut length = [0; 4];
    socket.read_exact(&mut length).unwrap();
    let mut reply = vec![0; u32::from_be_bytes(length) as usize];
    socket.read_exact(&mut reply).unwrap();
    let (mark, rest) = reply.split_at(4);
    let header = u32::from_be_bytes(mark.try_into().unwrap()) as usize;
    assert_eq!(header >> 24, 0, "a JSON request has a JSON reply");
    let (header, body) = rest.split_at(header);
    (serde_json::from_slice(header).unwrap(), body.to_vec())
}

const REGISTER: &str = r#"{"code":103,"language":"JAVA","version":513,"opaque":7,"flag":0,"serializeTypeCurrentRPC":"JSON","extFields":{"brokerName":"b","brokerAddr":"10.0.0.1:10911","clusterName":"C","haServerAddr":"10.0.0.1:10912","brokerId":"0","compressed":"false","bodyCrc32":"0"}}"#;
const TOPICS: &[u8] = br#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":1},"topicConfigTable":{"T":{"attributes":{},"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":4}},"topicQueueMappingInfoMap":{"S":{"currIdMap":{0:0}}}}}"#;
const ROUTE: &str =
    r#"{"code":105,"language":"GO","version":317,"opaque":8,"flag":0,"extFields":{"topic":"T"}}"#;

fn kv(code: u32, value: &str) -> String {
    format!(
        r#"{{"code":{code},"language":"JAVA","version":1,"opaque":9,"flag":0,"extFields":{{"namespace":"n","key":"k","value":"{value}"}}}}"#
    )
}

#[test]
fn a_name_server_routes_what_is_registered_and_keeps_its_keys_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let namesrv = Process::start(folder.path());
    let mut broker = namesrv.connect();
    let (reply, _) = ask(&mut broker, REGISTER, TOPICS);
    assert_eq!(
        (reply["code"].as_i64(), reply["opaque"].as_i64(), reply["flag"].as_i64()),
        (Some(0), Some(7), Some(1))
    );

    let mut client = namesrv.connect();
    let (_, route) = ask(&mut client, ROUTE, b"");
    assert_eq!(
        String::from_utf8(route).unwrap(),
        r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"b","cluster":"C","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#
    );
    drop(broker);
    let began = Instant::now();
    while ask(&mut client, ROUTE, b"").0["code"] != 17 {
        assert!(began.elapsed() < Duration::from_secs(5), "a closed connection ends a registration");
    }

    assert_eq!(ask(&mut client, &kv(100, "v"), b"").0["code"], 0);
    namesrv.terminate();
    let namesrv = Process::start(folder.path());
    let mut client = namesrv.connect();
    assert_eq!(ask(&mut client, &kv(101, ""), b"").0["extFields"]["value"], "v");
    assert_eq!(ask(&mut client, &kv(10, ""), b"").0["code"], 3);
    // Garbage ends a connection, and nothing else.
    client.write_all(&[0xff; 64]).unwrap();
    assert!(matches!(client.read(&mut [0; 64]), Ok(0) | Err(_)));
    assert_eq!(ask(&mut namesrv.connect(), &kv(102, ""), b"").0["code"], 0);
}

#[test]
fn a_name_server_without_a_folder_keeps_its_keys_at_home_and_beside_others() {
    let home = tempfile::tempdir().unwrap();
    let [first, second] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [first, second] = [first, second].map(|listener| listener.local_addr().unwrap());
    for value in ["1", "2"] {
        let servers = [first, second].map(|address| Process::at_home(address, home.path()));
        for (server, name) in servers.iter().zip(["a", "b"]) {
            let mut client = server.connect();
            if value == "2" {
                let kept = ask(&mut client, &kv(101, ""), b"").0;
                assert_eq!(kept["extFields"]["value"], format!("{name}1"), "as before the restart");
            }
            assert_eq!(ask(&mut client, &kv(100, &format!("{name}{value}")), b"").0["code"], 0);
        }
        servers.into_iter().for_each(Process::terminate);
    }
}

#[test]
fn a_name_server_that_can_keep_nothing_does_not_start() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".local"), "no folder").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stratamq"));
    let started = command.args(["namesrv", "--listen", "127.0.0.1:0"]).env_clear().env("HOME", home.path());
    let ended = started.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(1) && said.contains("--data"), "{said}");
}
