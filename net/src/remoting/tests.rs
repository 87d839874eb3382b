use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use protocol::Outgoing;
use protocol::remoting::{Command, Encoding};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::*;

/// Answers 1 with what it was sent, 2 with a megabyte, 3 never, 4 by asking back, 5 when a test does, and says that it
/// keeps that; remembers what it was told.
#[derive(Default)]
struct Toy {
    held: Mutex<Vec<(Arc<Connection>, Command)>>,
    told: Mutex<Vec<Command>>,
    closed: Mutex<Vec<u64>>,
}

/// What a request 5 counts for.
const KEPT: usize = 1024;

impl Toy {
    fn keeps(&self) -> usize {
        self.held.lock().len()
    }

    /// Answers so many requests 5, the oldest first.
    fn answer(&self, count: usize) {
        let some: Vec<_> = self.held.lock().drain(..count).collect();
        for (conn, request) in some {
            conn.reply(request.reply(0));
            conn.let_go(KEPT);
        }
    }
}

impl Handler for Toy {
    fn request(&self, from: &Arc<Connection>, request: Command) {
        match request.code {
            1 => {
                let reply = Command { body: request.body.clone(), ..request.reply(0) };
                from.reply(reply);
            }
            2 => from.reply_with(request.reply(0), &vec![Bytes::from(vec![7; 64 * 1024]); 16]),
            3 => self.held.lock().push((from.clone(), request)),
            4 => {
                let conn = from.clone();
                from.ask_then(Command::request(1).body("back"), soon(), move |answer| {
                    let body = answer.map(|answer| answer.body).unwrap_or_default();
                    conn.reply(request.reply(0).body(body));
                });
            }
            5 => {
                from.keep(KEPT);
                self.held.lock().push((from.clone(), request));
            }
            _ => {
                from.reply(request.reply(3));
                self.told.lock().push(request);
            }
        }
    }

    fn closed(&self, connection: &Arc<Connection>) {
        self.closed.lock().push(connection.id());
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

async fn served(settings: Settings) -> (Arc<Toy>, Server, Listening, String) {
    let toy = Arc::new(Toy::default());
    let server = Server::new(toy.clone(), settings);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listening = server.listen(listener).unwrap();
    let address = listening.address().to_string();
    (toy, server, listening, address)
}

fn bytes(command: &Command) -> Bytes {
    let mut out = Outgoing::default();
    command.encode(&mut out);
    out.copy_to_bytes(out.remaining())
}

async fn ended(socket: &mut TcpStream) -> bool {
    let mut sink = [0; 4096];
    timeout(Duration::from_secs(5), async {
        while !matches!(socket.read(&mut sink).await, Ok(0) | Err(_)) {}
    })
    .await
    .is_ok()
}

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn requests_are_answered_in_their_encoding_and_one_way_ones_not_at_all() {
    let (toy, _server, _listening, address) = served(Settings::default()).await;
    let client = Client::new(toy.clone(), Settings::default());
    for encoding in [Encoding::Json, Encoding::Binary] {
        let ask = Command { encoding, ..Command::request(1).body("hello") };
        let reply = client.ask(&address, ask, PATIENCE).await.unwrap();
        assert_eq!((reply.code, reply.encoding, &reply.body[..]), (0, encoding, &b"hello"[..]));
    }
    client.tell(&address, Command::one_way(9)).await.unwrap();
    let reply = client.ask(&address, Command::request(2), PATIENCE).await.unwrap();
    assert_eq!(reply.body.len(), 1 << 20);
    assert_eq!(toy.told.lock().len(), 1);
    assert_eq!(client.connected(&address).unwrap().asked(), 0);
}

#[tokio::test]
async fn a_server_asks_its_client() {
    let (toy, _server, _listening, address) = served(Settings::default()).await;
    let client = Client::new(toy, Settings::default());
    let reply = client.ask(&address, Command::request(4), PATIENCE).await.unwrap();
    assert_eq!(&reply.body[..], b"back");
}

#[tokio::test]
async fn many_requests_in_one_write_are_answered_in_order() {
    let (_toy, _server, _listening, address) = served(Settings::default()).await;
    let mut socket = TcpStream::connect(&address).await.unwrap();
    let mut all = Vec::new();
    for opaque in 0..1000 {
        let request = Command { opaque, ..Command::request(1).body(vec![1; 100]) };
        all.extend_from_slice(&bytes(&request));
    }
    socket.write_all(&all).await.unwrap();
    let mut received = bytes::BytesMut::new();
    let mut seen = 0;
    while seen < 1000 {
        assert!(socket.read_buf(&mut received).await.unwrap() > 0);
        while let Some(frame) = protocol::frame::split(&mut received, 1 << 20).unwrap() {
            assert_eq!(Command::decode(frame).unwrap().opaque, seen);
            seen += 1;
        }
    }
}

#[tokio::test]
async fn a_request_fails_when_its_time_is_over_or_its_connection_gone() {
    let (toy, _server, listening, address) = served(Settings::default()).await;
    let client = Client::new(toy.clone(), Settings::default());
    let late = client.ask(&address, Command::request(3), Duration::from_millis(50)).await;
    assert_eq!(late, Err(Unanswered::TimedOut));
    let (conn, held) = toy.held.lock().pop().unwrap();
    conn.reply(held.reply(0));
    let conn = client.connection(&address).await.unwrap();
    let asked = tokio::spawn(async move { conn.ask(Command::request(3), PATIENCE).await });
    while toy.held.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(listening);
    assert_eq!(asked.await.unwrap(), Err(Unanswered::Closed));
    let gone = client.ask(&address, Command::request(1), PATIENCE).await.unwrap_err();
    assert!(matches!(gone, Unanswered::Unreachable { .. } | Unanswered::Closed), "{gone}");
}

#[tokio::test]
async fn a_closing_listener_lets_what_was_asked_be_answered() {
    let (toy, _server, listening, address) = served(Settings::default()).await;
    let client = Client::new(Arc::new(Toy::default()), Settings::default());
    let conn = client.connection(&address).await.unwrap();
    let asking = conn.clone();
    let asked = tokio::spawn(async move { asking.ask(Command::request(3), PATIENCE).await });
    while toy.held.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    // What needs no answer pays nobody else's debt.
    conn.tell(Command::one_way(9));
    while toy.told.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    let closing = tokio::spawn(listening.close(PATIENCE));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (conn, held) = toy.held.lock().pop().unwrap();
    conn.reply(held.reply(19));
    drop(conn);
    assert_eq!(asked.await.unwrap().unwrap().code, 19);
    closing.await.unwrap();
    assert_eq!(toy.closed.lock().len(), 1);
}

#[tokio::test]
async fn garbage_closes_its_connection_and_no_other() {
    let (toy, server, _listening, address) = served(Settings::default()).await;
    let client = Client::new(toy.clone(), Settings::default());
    client.ask(&address, Command::request(1), PATIENCE).await.unwrap();
    let bad: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\xff\xff\xff\xff\0\0\0\0",
        b"\0\0\0\x04\0\0\0\0",
        b"\0\0\0\x00",
        b"\0\0\0\x06\0\0\0\x09{}",
        b"\0\0\0\x06\x02\0\0\x02{}",
        b"\0\0\0\x08\x01\0\0\x04\0\0\0\0",
    ];
    for bad in bad {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        socket.write_all(bad).await.unwrap();
        assert!(ended(&mut socket).await, "{bad:?}");
    }
    client.ask(&address, Command::request(1), PATIENCE).await.unwrap();
    while server.connections() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(toy.closed.lock().len(), 8);
}

#[tokio::test]
async fn a_frame_that_never_ends_is_not_waited_for_and_holds_no_more_than_came() {
    let settings = Settings { half_frame: Duration::from_millis(100), ..Settings::default() };
    let (_toy, server, _listening, address) = served(settings).await;
    let mut socket = TcpStream::connect(&address).await.unwrap();
    socket.write_all(&(16u32 << 20).to_be_bytes()[..3]).await.unwrap();
    assert!(ended(&mut socket).await);
    let mut socket = TcpStream::connect(&address).await.unwrap();
    let announced = (15u32 << 20).to_be_bytes();
    socket.write_all(&[&announced[..], &[0; 5000]].concat()).await.unwrap();
    assert!(ended(&mut socket).await);
    while server.connections() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.held(), 0);
}

#[tokio::test]
async fn a_silent_connection_is_closed_and_a_talking_one_is_not() {
    let settings = Settings { idle: Duration::from_millis(300), ..Settings::default() };
    let (toy, server, _listening, address) = served(settings).await;
    let client = Client::new(toy.clone(), Settings::default());
    let talking = client.connection(&address).await.unwrap();
    let mut silent = TcpStream::connect(&address).await.unwrap();
    for _ in 0..8 {
        talking.ask(Command::request(1), PATIENCE).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(ended(&mut silent).await);
    assert!(talking.is_open());
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_is_only_told_things_is_not_silent() {
    let settings = Settings { idle: Duration::from_millis(300), ..Settings::default() };
    let (toy, _server, _listening, address) = served(settings).await;
    let client = Client::new(Arc::new(Toy::default()), Settings::default());
    client.tell(&address, Command::one_way(3)).await.unwrap();
    while toy.held.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    let (conn, _) = toy.held.lock().pop().unwrap();
    for _ in 0..8 {
        assert!(conn.tell(Command::one_way(40)));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(conn.is_open());
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_not_read_on_and_then_cut_off() {
    let settings =
        Settings { much_unsent: 2 << 20, slow_reader: Duration::from_millis(400), ..Settings::default() };
    let (toy, server, _listening, address) = served(settings).await;
    let mut socket = TcpStream::connect(&address).await.unwrap();
    let request = bytes(&Command::request(2));
    let flood: Vec<u8> = std::iter::repeat_n(&request[..], 2000).flatten().copied().collect();
    // 2,000 megabytes are asked for and none are read.
    let _ = timeout(Duration::from_secs(1), socket.write_all(&flood)).await;
    assert!(server.held() < 16 << 20, "{}", server.held());
    let client = Client::new(toy.clone(), Settings::default());
    client.ask(&address, Command::request(1), PATIENCE).await.unwrap();
    while toy.closed.lock().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.held(), 0);
}

#[tokio::test]
async fn a_slow_but_honest_reader_gets_all() {
    let settings = Settings { much_unsent: 2 << 20, ..Settings::default() };
    let (_toy, _server, _listening, address) = served(settings).await;
    let mut socket = TcpStream::connect(&address).await.unwrap();
    let request = bytes(&Command::request(2));
    let flood: Vec<u8> = std::iter::repeat_n(&request[..], 64).flatten().copied().collect();
    socket.write_all(&flood).await.unwrap();
    let (mut got, mut buffer) = (0, vec![0; 256 * 1024]);
    while got < 64 << 20 {
        got += socket.read(&mut buffer).await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_has_much_to_say_can_wait_until_the_peer_has_taken_it() {
    let settings = Settings { much_unsent: 1 << 20, ..Settings::default() };
    let (toy, _server, _listening, address) = served(settings).await;
    let mut socket = TcpStream::connect(&address).await.unwrap();
    socket.write_all(&bytes(&Command::request(3))).await.unwrap();
    let conn = loop {
        if let Some((conn, _)) = toy.held.lock().first() {
            break conn.clone();
        }
        tokio::task::yield_now().await;
    };
    assert!(conn.has_room().await);
    while conn.unsent() < 1 << 20 {
        assert!(conn.tell(Command::request(9).body(vec![7; 1 << 20])));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let waits = timeout(Duration::from_millis(50), conn.has_room()).await;
    assert!(waits.is_err(), "there is room with {} bytes unsent", conn.unsent());
    let (has_room, _) = tokio::join!(timeout(PATIENCE, conn.has_room()), async {
        let mut sink = vec![0; 1 << 20];
        while conn.unsent() > 0 {
            assert!(socket.read(&mut sink).await.unwrap() > 0);
        }
    });
    assert_eq!(has_room, Ok(true));
    drop(socket);
    while conn.has_room().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// So many requests 5 in one piece.
fn flood(count: usize) -> Vec<u8> {
    let request = bytes(&Command::request(5));
    std::iter::repeat_n(&request[..], count).flatten().copied().collect()
}

async fn until(mut holds: impl FnMut() -> bool) {
    timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("it does not come to that");
}

#[tokio::test]
async fn who_has_much_to_be_answered_is_not_read_on_until_it_is() {
    const MUCH: usize = 100;
    const ASKED: usize = 5_000;
    let settings = Settings { much_unanswered: MUCH * KEPT, ..Settings::default() };
    let (toy, server, _listening, address) = served(settings).await;
    let mut socket = TcpStream::connect(&address).await.unwrap();
    socket.write_all(&flood(ASKED)).await.unwrap();
    let mut answered = 0;
    while answered < ASKED {
        until(|| toy.keeps() == MUCH.min(ASKED - answered)).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(toy.keeps() <= MUCH, "{} are kept", toy.keeps());
        let some = toy.keeps().min(37);
        toy.answer(some);
        answered += some;
    }
    until(|| server.held() == 0).await;
}

#[tokio::test]
async fn while_all_wait_for_much_each_has_one_request_after_the_other_answered() {
    const MOST: usize = 64;
    let settings = Settings { memory: 4 * MOST * KEPT, ..Settings::default() };
    let (toy, server, _listening, address) = served(settings).await;
    let mut floods = Vec::new();
    for _ in 0..20 {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        socket.write_all(&flood(100)).await.unwrap();
        floods.push(socket);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let kept = toy.keeps();
    assert!((MOST..=MOST + 20).contains(&kept), "{kept} are kept");
    let client = Client::new(toy.clone(), Settings::default());
    for _ in 0..10 {
        client.ask(&address, Command::request(1), PATIENCE).await.unwrap();
    }
    for _ in 0..20 * 100 {
        until(|| toy.keeps() > 0).await;
        assert!(toy.keeps() <= MOST + 20);
        toy.answer(1);
    }
    until(|| server.held() == 0).await;
}

#[tokio::test]
async fn who_asks_very_much_at_once_still_gets_all_answers() {
    let settings = Settings { much_unsent: 64 * 1024, ..Settings::default() };
    let (toy, _server, _listening, address) = served(settings.clone()).await;
    let client = Client::new(toy, settings);
    let conn = client.connection(&address).await.unwrap();
    let (answered, mut answers) = mpsc::unbounded_channel();
    const ASKED: usize = 20_000;
    crate::gather(|| {
        for _ in 0..ASKED {
            let answered = answered.clone();
            let request = Command::request(1).body(vec![1; 1024]);
            conn.ask_then(request, soon() + PATIENCE, move |answer| {
                let _ = answered.send(answer.is_ok());
            });
        }
    });
    for _ in 0..ASKED {
        assert_eq!(timeout(PATIENCE * 2, answers.recv()).await, Ok(Some(true)));
    }
}

#[tokio::test]
async fn what_is_told_without_end_to_a_peer_that_does_not_read_is_bounded() {
    let settings = Settings { most_unsent: 8 << 20, ..Settings::default() };
    let (toy, server, _listening, address) = served(settings).await;
    let mut socket = TcpStream::connect(&address).await.unwrap();
    socket.write_all(&bytes(&Command::request(3))).await.unwrap();
    while toy.held.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    let (conn, _) = toy.held.lock().pop().unwrap();
    let mut told = 0;
    while conn.tell(Command::one_way(40).body(vec![1; 1 << 20])) {
        told += 1;
        assert!(told < 100);
        tokio::task::yield_now().await;
    }
    assert!(server.held() <= 9 << 20);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused() {
    let settings = Settings { max_connections: 3, ..Settings::default() };
    let (_toy, server, _listening, address) = served(settings).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(TcpStream::connect(&address).await.unwrap());
    }
    let mut refused = TcpStream::connect(&address).await.unwrap();
    assert!(ended(&mut refused).await);
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn thousands_of_idle_connections_hold_nothing() {
    let (toy, server, _listening, address) = served(Settings::default()).await;
    let mut open = Vec::new();
    for _ in 0..500 {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        socket.write_all(&bytes(&Command::one_way(9))).await.unwrap();
        open.push(socket);
    }
    while toy.told.lock().len() < 500 {
        tokio::task::yield_now().await;
    }
    assert_eq!((server.connections(), server.held()), (500, 0));
}

#[tokio::test]
async fn a_connection_without_a_socket_says_all_to_its_listener() {
    let (said, mut heard) = mpsc::unbounded_channel();
    let end: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let conn = Connection::without_socket(1, (end, end), Arc::new(Toy::default()), move |command| {
        let _ = said.send(command);
    });
    conn.reply_with(Command::request(1).reply(0).body("a"), &[Bytes::from("b")]);
    assert_eq!(&heard.recv().await.unwrap().body[..], b"ab");
    let asked = {
        let conn = conn.clone();
        tokio::spawn(async move { conn.ask(Command::request(220), PATIENCE).await })
    };
    let request = heard.recv().await.unwrap();
    conn.answered(request.reply(0).body("c"));
    assert_eq!(&asked.await.unwrap().unwrap().body[..], b"c");
    conn.ask_then(Command::request(1), Instant::now(), |answer| {
        assert_eq!(answer, Err(Unanswered::TimedOut))
    });
    assert_eq!(conn.expire(Instant::now()), None);
}

#[tokio::test]
async fn servers_of_one_process_share_its_memory() {
    let (memory, toy) = (Memory::new(64 << 20), Arc::<Toy>::default());
    let mut open = Vec::new();
    for _ in 0..3 {
        let server = Server::within(toy.clone(), Settings::default(), &memory);
        let listening = server.listen(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
        let mut socket = TcpStream::connect(listening.address()).await.unwrap();
        let half = [&(2u32 << 20).to_be_bytes()[..], &vec![0; 1 << 20]].concat();
        socket.write_all(&half).await.unwrap();
        open.push((server, listening, socket));
    }
    while memory.held() < 3 << 20 {
        tokio::task::yield_now().await;
    }
    assert!(open.iter().all(|(server, ..)| server.held() == memory.held()));
    open.clear();
    while memory.held() > 0 {
        tokio::task::yield_now().await;
    }
}
