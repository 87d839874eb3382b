use bytes::Bytes;
use proptest::prelude::*;

use super::super::golden::{LEDGER, body, entry, key, vector, written};
use super::*;
use crate::EntryId;
use crate::bookie::{
    AddOptions, Answer, Auth, FromClient, Op, Outcome, Outgoing, ReadOptions, Refusal, Request, Unsendable,
};

const GOLDEN: &str = include_str!("../../../../tests/golden/wire/v3.hex");
const TXN: u64 = 9;

fn golden(name: &str) -> Bytes {
    vector(GOLDEN, name)
}

fn requests() -> Vec<(&'static str, Request)> {
    let add = |options| Request::Add {
        ledger: LEDGER,
        entry: EntryId(0),
        key: key(),
        body: entry().into(),
        options,
    };
    let read = |entry, options| Request::Read { ledger: LEDGER, entry, options };
    let fence = ReadOptions { fence: Some(key()), ..ReadOptions::default() };
    let plain = ReadOptions { piggyback_lac: true, ..ReadOptions::default() };
    let poll = ReadOptions { previous_lac: Some(EntryId(4)), wait_ms: 1000, ..plain };
    let packet = Bytes::from_static(b"packet");
    vec![
        ("add", add(AddOptions::default())),
        (
            "deferred-recovery-add",
            add(AddOptions { recovery: true, high_priority: true, deferred_sync: true }),
        ),
        ("read", read(EntryId(0), plain)),
        ("fencing-read-last", read(EntryId::NONE, fence)),
        ("long-poll", read(EntryId::NONE, poll)),
        ("write-lac", Request::WriteLac { ledger: LEDGER, lac: EntryId(2), key: key(), packet }),
        ("read-lac", Request::ReadLac { ledger: LEDGER }),
        ("info", Request::Info),
        ("force", Request::Force { ledger: LEDGER }),
        ("list", Request::ListEntries { ledger: LEDGER }),
    ]
}

#[test]
fn requests_match_the_golden_vectors() {
    for (name, request) in requests() {
        let bytes = written(|out| assert_eq!(encode_request(&request, TXN, out), Ok(())));
        assert_eq!(bytes, golden(name), "{name}");
        let Ok(FromClient::Ask(echo, decoded)) = decode_request(body(bytes)) else { panic!("{name}") };
        assert_eq!((decoded, echo.id), (request, TXN), "{name}");
    }
}

fn replies() -> Vec<(&'static str, &'static str, Outcome)> {
    let read = |body, lac| Ok(Answer::Entry { body, max_lac: Some(EntryId(lac)) });
    let packet = Some(Bytes::from_static(b"packet"));
    vec![
        ("add-reply", "add", Ok(Answer::Added)),
        ("add-reply-limbo", "add", Err(Refusal::Unknown)),
        ("read-reply", "read", read(entry(), -1)),
        ("read-reply-no-entry", "read", Err(Refusal::NoEntry)),
        ("long-poll-reply", "long-poll", read(entry(), 8)),
        ("long-poll-reply-nothing", "long-poll", read(Bytes::new(), 4)),
        ("write-lac-reply", "write-lac", Ok(Answer::LacWritten)),
        ("read-lac-reply", "read-lac", Ok(Answer::Lac { packet, last_entry: Some(entry()) })),
        ("info-reply", "info", Ok(Answer::Info { free: 100, total: 200 })),
        ("force-reply", "force", Ok(Answer::Forced)),
        ("list-reply", "list", Ok(Answer::List([(EntryId(0), EntryId(2))].into_iter().collect()))),
    ]
}

#[test]
fn replies_match_the_golden_vectors() {
    for (name, asked, outcome) in replies() {
        let Ok(FromClient::Ask(echo, _)) = decode_request(body(golden(asked))) else { panic!("{asked}") };
        let bytes = written(|out| encode_reply(&echo, outcome.clone(), out));
        assert_eq!(bytes, golden(name), "{name}");
        assert_eq!(decode_reply(body(bytes)), Ok((TXN, outcome)), "{name}");
    }
}

#[test]
fn start_tls_and_auth_are_refused_by_name() {
    let Ok(FromClient::Refuse(echo, refusal)) = decode_request(body(golden("start-tls"))) else { panic!() };
    assert_eq!(written(|out| encode_reply(&echo, Err(refusal), out)), golden("start-tls-reply"));
    let Ok(FromClient::Auth { id, auth }) = decode_request(body(golden("auth"))) else { panic!() };
    assert_eq!(auth.plugin, "some");
    assert_eq!(written(|out| encode_auth(id, Auth::disabled(), out)), golden("auth-reply"));
}

#[test]
fn what_is_wrong_with_a_request_is_told() {
    let refused = |name: &str, change: fn(&mut messages::Request)| {
        use prost::Message;
        let mut message = messages::Request::decode(body(golden(name))).unwrap();
        change(&mut message);
        match decode_request(message.encode_to_vec().into()) {
            Ok(FromClient::Refuse(_, refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused("fencing-read-last", |m| m.read.as_mut().unwrap().key = None), Refusal::Unauthorized);
    assert_eq!(refused("add", |m| m.add.as_mut().unwrap().key = Bytes::new()), Refusal::Unauthorized);
    assert_eq!(refused("add", |m| m.add.as_mut().unwrap().ledger = 8), Refusal::BadRequest);
    assert_eq!(refused("add", |m| m.header.as_mut().unwrap().version = 2), Refusal::BadVersion);
    assert_eq!(refused("add", |m| m.header.as_mut().unwrap().operation = 12), Refusal::BadRequest);
    assert_eq!(refused("long-poll", |m| m.read.as_mut().unwrap().previous_lac = None), Refusal::BadRequest);
}

#[test]
fn a_plain_read_of_the_last_entry_repeats_the_minus_one() {
    let request = Request::Read {
        ledger: LEDGER,
        entry: EntryId::NONE,
        options: ReadOptions { piggyback_lac: true, ..ReadOptions::default() },
    };
    let bytes = written(|out| encode_request(&request, TXN, out).unwrap());
    let Ok(FromClient::Ask(echo, _)) = decode_request(body(bytes)) else { panic!() };
    assert_eq!((echo.op, echo.entry), (Op::Read, EntryId::NONE));
}

#[test]
fn v3_has_no_batch_reads() {
    let request = Request::BatchRead {
        ledger: LEDGER,
        first: EntryId(0),
        max_count: 1,
        max_bytes: 1,
        options: ReadOptions::default(),
    };
    assert_eq!(encode_request(&request, TXN, &mut Outgoing::default()), Err(Unsendable::NotOnThisWire));
}

proptest! {
    #[test]
    fn fuzz_any_frame_decodes_or_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_request(bytes.clone().into());
        let _ = decode_reply(bytes.into());
    }

    #[test]
    fn fuzz_cut_and_flipped_frames_decode_or_are_refused(which in 0usize..11, cut in 0usize..60, flip in 0usize..100, bits in any::<u8>()) {
        let (reply, request, _) = replies().remove(which);
        for name in [reply, request] {
            let mut bytes = body(golden(name)).to_vec();
            bytes.truncate(bytes.len().saturating_sub(cut));
            if let Some(byte) = bytes.get_mut(flip) {
                *byte ^= bits;
            }
            let _ = decode_request(bytes.clone().into());
            let _ = decode_reply(bytes.into());
        }
    }
}
