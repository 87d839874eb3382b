use bytes::{Bytes, BytesMut};
use protocol::bookie::{Answer, Auth, FromClient, Outgoing, ReadOptions, Refusal, frame, v2};
use protocol::{EntryId, LedgerId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::conformance::tcp;
use crate::toy::{Toy, add, key, read};
use crate::{Dns, Failure, Inbox, Replies, Reply, ask, server};

fn settings() -> Settings {
    Settings {
        timeout: Duration::from_millis(200),
        back_off: Duration::from_millis(10),
        ..Settings::default()
    }
}

fn added() -> Reply {
    Ok(Answer::Added)
}

#[tokio::test]
async fn an_unanswered_request_times_out_and_its_late_reply_harms_nobody() {
    for wire in [Wire::Negotiate, Wire::V2, Wire::V3] {
        let (toy, tcp, bookie, _server) = tcp(wire, settings()).await;
        assert_eq!(ask(&*tcp, &bookie, add(7, 0, 5)).await, added());
        toy.hold();
        let inbox = Inbox::new();
        tcp.send(&bookie, add(7, 1, 5), inbox.expect(1));
        // Something else is answered meanwhile: the connection is not silent.
        let mut late = inbox.take().await;
        assert_eq!(late.pop_front(), Some((1, Err(Failure::TimedOut))), "{wire:?}");
        toy.release();
        let again = ask(&*tcp, &bookie, add(7, 2, 5)).await;
        assert!(again == added() || again == Err(Failure::Unreachable), "{wire:?} {again:?}");
        assert!(inbox.take_now().is_empty());
    }
}

#[tokio::test]
async fn a_late_plain_read_is_not_taken_for_a_fencing_one() {
    // On v2 their replies look alike.
    let patient = Settings { timeout: Duration::from_secs(10), ..settings() };
    let (toy, tcp, bookie, _server) = tcp(Wire::V2, patient).await;
    assert_eq!(ask(&*tcp, &bookie, add(7, 0, 5)).await, added());
    toy.hold();
    let inbox = Inbox::new();
    tcp.send(&bookie, read(7, 0), inbox.expect(1));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let fence = ReadOptions { fence: Some(key()), ..ReadOptions::default() };
    let fencing = protocol::bookie::Request::Read { ledger: LedgerId(7), entry: EntryId(0), options: fence };
    tcp.send(&bookie, fencing, inbox.expect(2));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(toy.held.lock().as_ref().map(Vec::len), Some(1), "the fencing read has to wait");
    toy.release();
    let mut replies = Vec::new();
    while replies.len() < 2 {
        replies.extend(inbox.take().await);
    }
    assert!(replies.iter().all(|(_, reply)| reply.is_ok()), "{replies:?}");
    assert_eq!(ask(&*tcp, &bookie, add(7, 1, 5)).await, Err(Failure::Refused(Refusal::Fenced)));
}

#[tokio::test]
async fn a_bookie_that_comes_back_is_found_again() {
    let (toy, tcp, bookie, server) = tcp(Wire::Negotiate, settings()).await;
    assert_eq!(ask(&*tcp, &bookie, add(7, 0, 5)).await, added());
    toy.hold();
    let inbox = Inbox::new();
    tcp.send(&bookie, add(7, 1, 5), inbox.expect(1));
    let address = server.address();
    drop(server);
    assert_eq!(inbox.take().await, [(1, Err(Failure::Unreachable))]);
    toy.release();
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let theirs = server::Settings::new(bookie.to_string(), 2, 1 << 20);
    let _server = server::serve(listener, toy, theirs).unwrap();
    while ask(&*tcp, &bookie, add(7, 2, 5)).await != added() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn another_bookie_at_the_address_is_not_talked_to() {
    let toy = Arc::new(Toy::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bookie: BookieId = listener.local_addr().unwrap().to_string().parse().unwrap();
    let theirs = server::Settings::new("somebody-else:3181".into(), 1, 1 << 20);
    let _server = server::serve(listener, toy.clone(), theirs).unwrap();
    let tcp = Tcp::new(Arc::new(Dns), settings());
    assert_eq!(ask(&tcp, &bookie, add(7, 0, 5)).await, Err(Failure::Unreachable));
    assert!(toy.adds.lock().is_empty());
}

/// Speaks v2 as Apache's bookies do, as far as this test needs it.
async fn apache(mut socket: TcpStream) {
    let mut received = BytesMut::new();
    loop {
        while let Ok(Some(frame)) = frame::split(&mut received, 1 << 20) {
            let mut out = Outgoing::default();
            match v2::decode_request(frame).unwrap() {
                FromClient::Auth { .. } => v2::encode_auth(&Auth::disabled(), &mut out),
                FromClient::Ask(echo, _) => v2::encode_reply(&echo, Ok(Answer::Added), &mut out),
                FromClient::Refuse(..) => return,
            }
            socket.write_all_buf(&mut out).await.unwrap();
        }
        if socket.read_buf(&mut received).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

#[tokio::test]
async fn a_bookie_without_our_extension_is_spoken_to_in_v2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bookie: BookieId = listener.local_addr().unwrap().to_string().parse().unwrap();
    tokio::spawn(async move { apache(listener.accept().await.unwrap().0).await });
    let tcp = Tcp::new(Arc::new(Dns), settings());
    assert_eq!(ask(&tcp, &bookie, add(7, 0, 5)).await, added());
    assert_eq!(ask(&tcp, &bookie, add(7, 1, 2000)).await, added());
}

#[tokio::test]
async fn a_silent_peer_is_given_up() {
    for wire in [Wire::Negotiate, Wire::V2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bookie: BookieId = listener.local_addr().unwrap().to_string().parse().unwrap();
        let connect_timeout = Duration::from_millis(100);
        let tcp = Tcp::new(Arc::new(Dns), Settings { wire, connect_timeout, ..settings() });
        let reply = ask(&tcp, &bookie, add(7, 0, 5)).await;
        assert!(matches!(reply, Err(Failure::TimedOut | Failure::Unreachable)), "{reply:?}");
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(30), socket.read_to_end(&mut all)).await;
        assert!(closed.is_ok(), "{wire:?}: the connection is still open");
    }
}

#[tokio::test]
async fn what_is_unanswered_is_bounded() {
    let bounded = Settings { max_unanswered: 100_000, ..settings() };
    let (toy, tcp, bookie, _server) = tcp(Wire::Negotiate, bounded).await;
    toy.hold();
    let inbox = Inbox::new();
    for entry in 0..100 {
        tcp.send(&bookie, add(7, entry, 10_000), inbox.expect(entry as u64));
    }
    assert_eq!(inbox.take_now().len(), 91);
    toy.release();
}

#[tokio::test]
async fn a_dropped_client_answers_everything() {
    let (toy, tcp, bookie, _server) = tcp(Wire::Negotiate, settings()).await;
    toy.hold();
    let inbox = Inbox::new();
    for token in 0..10 {
        tcp.send(&bookie, add(7, token, 10), inbox.expect(token as u64));
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(tcp);
    let wanted: Vec<(u64, Reply)> = (0..10).map(|token| (token, Err(Failure::Unreachable))).collect();
    let mut replies = Vec::from(inbox.take_now());
    replies.sort_by_key(|(token, _)| *token);
    assert_eq!(replies, wanted);
    toy.release();
}

/// Sends the next add from inside the answer to the one before, as the ledger's writer does.
struct Chain {
    tcp: Arc<Tcp>,
    bookie: BookieId,
    left: parking_lot::Mutex<u64>,
    done: tokio::sync::Notify,
    me: std::sync::Weak<Chain>,
}

impl Replies for Chain {
    fn answer(&self, token: u64, reply: Reply) {
        assert_eq!(reply, added());
        let mut left = self.left.lock();
        *left -= 1;
        if *left == 0 {
            self.done.notify_one();
        } else if let Some(me) = self.me.upgrade() {
            drop(left);
            self.tcp.send(&self.bookie, add(7, token as i64 + 1, 100), ReplyTo::new(me, token + 1));
        }
    }
}

#[tokio::test]
async fn one_may_send_from_inside_an_answer() {
    for wire in [Wire::Negotiate, Wire::V2, Wire::V3] {
        let (_toy, tcp, bookie, _server) = tcp(wire, settings()).await;
        let chain = Arc::new_cyclic(|me| Chain {
            tcp: tcp.clone(),
            bookie: bookie.clone(),
            left: parking_lot::Mutex::new(100),
            done: Default::default(),
            me: me.clone(),
        });
        tcp.send(&bookie, add(7, 0, 100), ReplyTo::new(chain.clone(), 0));
        tokio::time::timeout(Duration::from_secs(30), chain.done.notified()).await.unwrap();
    }
}

#[tokio::test]
async fn garbage_from_a_bookie_fails_what_is_under_way() {
    for garbage in [
        &b"\0\0\0\x01\x99"[..],
        b"\xff\xff\xff\xff",
        b"\0\0\0\x18\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\0",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bookie: BookieId = listener.local_addr().unwrap().to_string().parse().unwrap();
        let garbage = Bytes::from_static(garbage);
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(&garbage).await.unwrap();
            std::future::pending::<()>().await;
        });
        let tcp = Tcp::new(Arc::new(Dns), Settings { wire: Wire::V2, ..settings() });
        assert_eq!(ask(&tcp, &bookie, add(7, 0, 5)).await, Err(Failure::Unreachable));
    }
}
