use bytes::{Buf, Bytes, BytesMut};
use protocol::bookie::{Answer, Auth, Outgoing, Refusal, Request, codes, frame, v2, v3};
use protocol::entry::MAX_PAYLOAD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::toy::{Toy, add, read};

const PATIENCE: Duration = Duration::from_secs(30);

fn settings() -> Settings {
    Settings {
        half_frame: Duration::from_secs(10),
        slow_reader: Duration::from_millis(300),
        ..Settings::new("b:1".into(), 1, 8 << 20)
    }
}

async fn start(settings: Settings) -> (Arc<Toy>, Server) {
    let toy = Arc::new(Toy::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = serve(listener, toy.clone(), settings).unwrap();
    (toy, server)
}

/// A client that is free to misbehave.
struct Raw(TcpStream, BytesMut);

impl Raw {
    async fn connect(server: &Server) -> Raw {
        Raw(TcpStream::connect(server.address()).await.unwrap(), BytesMut::new())
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    async fn ask(&mut self, request: &Request) {
        let bytes = encoded(request);
        self.say(&bytes).await;
    }

    /// The next frame; `None` if the connection was closed.
    async fn frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = frame::split(&mut self.1, usize::MAX).unwrap() {
                return Some(frame);
            }
            let read =
                timeout(PATIENCE, self.0.read_buf(&mut self.1)).await.expect("neither a reply nor the end");
            if !read.is_ok_and(|read| read > 0) {
                return None;
            }
        }
    }

    async fn code(&mut self) -> Option<u32> {
        let mut frame = self.frame().await?;
        frame.advance(4);
        Some(frame.get_u32())
    }
}

fn encoded(request: &Request) -> Bytes {
    let mut out = Outgoing::default();
    v2::encode_request(request, 1, &mut out).unwrap();
    out.copy_to_bytes(out.remaining())
}

#[tokio::test]
async fn garbage_closes_its_connection_and_no_other() {
    let (_toy, server) = start(settings()).await;
    let mut good = Raw::connect(&server).await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\0\0\0\0",
        b"\0\0\0\x02\x02\x01",
        b"\0\0\0\x04\x99\0\0\0",
        b"\xff\xff\xff\xff\x02\x01\0\0",
        b"\0\0\0\x03\x0a\x7f\xff",
    ] {
        let mut bad = Raw::connect(&server).await;
        bad.say(garbage).await;
        assert_eq!(bad.frame().await, None, "{garbage:?}");
    }
    good.ask(&add(1, 0, 5)).await;
    assert_eq!(good.code().await, Some(codes::OK));
}

#[tokio::test]
async fn an_oversized_add_is_refused_by_name_and_the_connection_goes_on() {
    let (_toy, server) = start(settings()).await;
    let mut raw = Raw::connect(&server).await;
    let mut bytes = BytesMut::from(&encoded(&add(1, 0, MAX_PAYLOAD - 100))[..]);
    let announced = bytes.len() as u32 - 4 + 1000;
    bytes[..4].copy_from_slice(&announced.to_be_bytes());
    bytes.extend_from_slice(&[0; 1000]);
    // The head comes in pieces.
    raw.say(&bytes[..30]).await;
    tokio::task::yield_now().await;
    raw.say(&bytes[30..]).await;
    assert_eq!(raw.code().await, Some(codes::code(Refusal::BadRequest)));
    raw.ask(&add(1, 0, 5)).await;
    assert_eq!(raw.code().await, Some(codes::OK));
}

#[tokio::test]
async fn half_a_frame_is_waited_for_only_so_long_but_an_idle_connection_for_ever() {
    let (_toy, server) = start(Settings { half_frame: Duration::from_millis(200), ..settings() }).await;
    let mut idle = Raw::connect(&server).await;
    let mut half = Raw::connect(&server).await;
    half.say(&encoded(&add(1, 0, 500))[..100]).await;
    let since = std::time::Instant::now();
    assert_eq!(half.frame().await, None);
    assert!(since.elapsed() >= Duration::from_millis(190), "{:?}", since.elapsed());
    idle.ask(&add(1, 0, 5)).await;
    assert_eq!(idle.code().await, Some(codes::OK));
}

#[tokio::test]
async fn start_tls_is_refused_and_v2_may_follow() {
    let (_toy, server) = start(settings()).await;
    let mut raw = Raw::connect(&server).await;
    // Header {3, START_TLS, 1}, an empty startTLSRequest.
    raw.say(b"\0\0\0\x0b\x0a\x06\x08\x03\x10\x09\x18\x01\xd2\x06\x00").await;
    let refusal = raw.frame().await.unwrap();
    assert_eq!(&refusal[..], b"\x0a\x06\x08\x03\x10\x09\x18\x01\x10\x94\x03");
    raw.ask(&add(1, 0, 5)).await;
    assert_eq!(raw.code().await, Some(codes::OK));
}

/// Java's v2 client lists entries in v3, on the same connection.
#[tokio::test]
async fn each_frame_is_answered_in_its_own_wire() {
    let (_toy, server) = start(settings()).await;
    let mut raw = Raw::connect(&server).await;
    raw.ask(&add(1, 0, 100)).await;
    assert_eq!(raw.code().await, Some(codes::OK));
    let mut out = Outgoing::default();
    let ledger = protocol::LedgerId(1);
    v3::encode_request(&Request::ListEntries { ledger }, 77, &mut out).unwrap();
    raw.say(&out.copy_to_bytes(out.remaining())).await;
    let (id, outcome) = v3::decode_reply(raw.frame().await.expect("a reply")).unwrap();
    let first = protocol::EntryId(0);
    assert_eq!((id, outcome), (77, Ok(Answer::List([(first, first)].into_iter().collect()))));
    raw.ask(&read(1, 0)).await;
    assert_eq!(raw.code().await, Some(codes::OK));
}

#[tokio::test]
async fn a_foreign_greeting_is_answered_as_bookkeeper_does() {
    let (_toy, server) = start(settings()).await;
    let mut raw = Raw::connect(&server).await;
    let mut out = Outgoing::default();
    v2::encode_auth(&Auth { plugin: "else".into(), payload: Bytes::new() }, &mut out);
    raw.say(&out.copy_to_bytes(out.remaining())).await;
    let answer = v2::decode_reply(raw.frame().await.unwrap()).unwrap();
    assert_eq!(answer, v2::FromBookie::Auth(Auth::disabled()));
}

#[tokio::test]
async fn who_takes_no_replies_costs_bounded_memory_and_is_cut_off() {
    let (_toy, server) = start(settings()).await;
    let mut raw = Raw::connect(&server).await;
    raw.ask(&add(1, 0, 1 << 20)).await;
    assert_eq!(raw.code().await, Some(codes::OK));
    let reads = encoded(&read(1, 0)).repeat(4000);
    let mut most = 0;
    let flood = async {
        while raw.0.write_all(&reads).await.is_ok() {}
        std::future::pending::<()>().await
    };
    let watch = async {
        let since = std::time::Instant::now();
        while server.connections() > 0 {
            assert!(since.elapsed() < PATIENCE, "it was not cut off");
            most = most.max(server.shared.budget.used());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! { () = flood => {}, () = watch => {} }
    assert!(most < 9 << 20, "{most} bytes were held");
    assert_eq!(server.shared.budget.used(), 0);
}

#[tokio::test]
async fn a_flood_of_half_frames_stays_within_the_memory_and_keeps_nobody_out() {
    let (_toy, server) = start(Settings { half_frame: Duration::from_secs(1000), ..settings() }).await;
    let mut flood = Vec::new();
    let part = encoded(&add(1, 0, 3 << 20)).slice(..2 << 20);
    for _ in 0..16 {
        let mut raw = Raw::connect(&server).await;
        let part = part.clone();
        flood.push(tokio::spawn(async move {
            let _ = raw.0.write_all(&part).await;
            // Never a word more.
            std::future::pending::<()>().await;
        }));
    }
    let mut most = 0;
    let since = std::time::Instant::now();
    while !server.shared.budget.is_clogged() {
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Small requests pass at once, larger ones as soon as the flood is cut off.
    let mut good = Raw::connect(&server).await;
    good.ask(&add(1, 0, 100)).await;
    assert_eq!(good.code().await, Some(codes::OK));
    for entry in 0..20 {
        good.ask(&add(1, entry, 100_000)).await;
        most = most.max(server.shared.budget.used());
        assert_eq!(good.code().await, Some(codes::OK));
    }
    assert!(most <= 10 << 20, "{most} bytes were held");
    flood.iter().for_each(|raw| raw.abort());
}

#[tokio::test]
async fn what_was_asked_is_answered_before_a_graceful_stop() {
    let (toy, server) = start(settings()).await;
    let mut raw = Raw::connect(&server).await;
    let _idle = Raw::connect(&server).await;
    toy.hold();
    raw.ask(&add(1, 0, 5)).await;
    while toy.held.lock().as_ref().is_some_and(Vec::is_empty) {
        tokio::task::yield_now().await;
    }
    let address = server.address();
    let stopping = tokio::spawn(server.stop(PATIENCE));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!stopping.is_finished());
    toy.release();
    assert_eq!(raw.code().await, Some(codes::OK));
    assert_eq!(raw.frame().await, None);
    timeout(PATIENCE, stopping).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_dropped_server_cuts_all_connections() {
    let (toy, server) = start(settings()).await;
    let mut raw = Raw::connect(&server).await;
    toy.hold();
    raw.ask(&add(1, 0, 5)).await;
    drop(server);
    assert_eq!(raw.frame().await, None);
    toy.release();
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed() {
    let (_toy, server) = start(Settings { max_connections: 2, ..settings() }).await;
    let mut raws = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw::connect(&server).await;
        raw.say(&encoded(&add(1, 0, 5))).await;
        raws.push(raw);
    }
    assert_eq!(raws[0].code().await, Some(codes::OK));
    assert_eq!(raws[1].code().await, Some(codes::OK));
    assert_eq!(raws[2].frame().await, None);
}

/// Frames that are good, cut, flipped or noise, sent in pieces: the connection may end, the server may not.
#[test]
fn fuzz_any_bytes_on_a_connection_are_survived() {
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_toy, server) = runtime.block_on(start(settings()));
    let good = prop::sample::select(vec![encoded(&add(1, 0, 100)), encoded(&read(1, 0)), hello()]);
    let piece = (good, 0usize..200, 0usize..200, any::<u8>(), prop::collection::vec(any::<u8>(), 0..20));
    let pieces = prop::collection::vec(piece, 1..8);
    let survived = TestRunner::default().run(&pieces, |pieces| {
        runtime.block_on(async {
            let mut bad = Raw::connect(&server).await;
            for (frame, cut, flip, bits, noise) in pieces {
                let mut frame = frame.to_vec();
                frame.truncate(frame.len().saturating_sub(cut.saturating_sub(150)));
                if let Some(byte) = frame.get_mut(flip) {
                    *byte ^= bits;
                }
                frame.extend(noise);
                if bad.0.write_all(&frame).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let mut good = Raw::connect(&server).await;
            good.ask(&add(2, 0, 5)).await;
            prop_assert_eq!(good.code().await, Some(codes::OK));
            Ok(())
        })
    });
    survived.unwrap();
    runtime.block_on(server.stop(PATIENCE));
}

fn hello() -> Bytes {
    let mut out = Outgoing::default();
    v2::encode_auth(&protocol::bookie::extension::Hello { bookie: String::new() }.encode(), &mut out);
    out.copy_to_bytes(out.remaining())
}
