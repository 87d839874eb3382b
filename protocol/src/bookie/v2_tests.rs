use proptest::prelude::*;

use super::super::golden::{LEDGER, body, entry, key, vector, written};
use super::*;

const GOLDEN: &str = include_str!("../../../tests/golden/wire/v2.hex");

fn golden(name: &str) -> Bytes {
    vector(GOLDEN, name)
}

fn add(options: AddOptions) -> Request {
    Request::Add { ledger: LEDGER, entry: EntryId(0), key: key(), body: entry().into(), options }
}

fn read(entry: EntryId, options: ReadOptions) -> Request {
    Request::Read { ledger: LEDGER, entry, options }
}

fn batch() -> Request {
    let options = ReadOptions::default();
    Request::BatchRead {
        ledger: LEDGER,
        first: EntryId(0),
        max_count: 10,
        max_bytes: 4096 - BATCH_HEADS,
        options,
    }
}

#[test]
fn requests_match_the_golden_vectors() {
    let fence = ReadOptions { fence: Some(key()), ..ReadOptions::default() };
    let recovery = AddOptions { recovery: true, high_priority: true, deferred_sync: false };
    let requests = [
        ("add-request", add(AddOptions::default()), 0),
        ("recovery-add-request", add(recovery), 0),
        ("read-request", read(EntryId(0), ReadOptions::default()), 0),
        ("read-last-request", read(EntryId::NONE, ReadOptions::default()), 0),
        ("fencing-read-last-request", read(EntryId::NONE, fence), 0),
        ("recovery-read-request", read(EntryId(0), ReadOptions { high_priority: true, ..fence }), 0),
        ("batch-read-request", batch(), 99),
    ];
    for (name, request, id) in requests {
        let bytes = written(|out| {
            assert_eq!(encode_request(&request, id, out), Ok(request.echo(id)));
        });
        assert_eq!(bytes, golden(name), "{name}");
        assert_eq!(decode_request(body(bytes)), Ok(FromClient::Ask(request.echo(id), request)), "{name}");
    }
}

#[test]
fn replies_match_the_golden_vectors() {
    let add = add(AddOptions::default()).echo(0);
    let read_0 = read(EntryId(0), ReadOptions::default()).echo(0);
    let read_last = read(EntryId::NONE, ReadOptions::default()).echo(0);
    let batch = batch().echo(99);
    let body_of = |body| Answer::Entry { body, max_lac: None };
    let replies = [
        ("add-reply", add, Ok(Answer::Added)),
        ("add-reply-fenced", add, Err(Refusal::Fenced)),
        ("read-reply", read_0, Ok(body_of(entry()))),
        ("read-last-reply", read_last, Ok(body_of(entry()))),
        ("read-last-reply-no-ledger", read_last, Err(Refusal::NoLedger)),
        ("batch-read-reply", batch, Ok(Answer::Entries(vec![entry()]))),
        ("batch-read-reply-no-entry", batch, Err(Refusal::NoEntry)),
    ];
    for (name, echo, outcome) in replies {
        let bytes = written(|out| encode_reply(&echo, outcome.clone(), out));
        assert_eq!(bytes, golden(name), "{name}");
        assert_eq!(decode_reply(body(bytes)), Ok(FromBookie::Reply(echo, outcome)), "{name}");
    }
}

#[test]
fn limbo_is_told_as_an_io_error() {
    let echo = add(AddOptions::default()).echo(0);
    let bytes = written(|out| encode_reply(&echo, Err(Refusal::Unknown), out));
    assert_eq!(bytes, golden("add-reply-limbo"));
}

#[test]
fn auth_without_a_plug_in_is_answered_as_bookkeeper_does() {
    let bytes = written(|out| encode_auth(&Auth::disabled(), out));
    assert_eq!(bytes, golden("auth-disabled"));
    assert_eq!(decode_request(body(bytes.clone())), Ok(FromClient::Auth { id: 0, auth: Auth::disabled() }));
    assert_eq!(decode_reply(body(bytes)), Ok(FromBookie::Auth(Auth::disabled())));
}

#[test]
fn an_operation_that_v2_does_not_have_is_refused_by_its_number() {
    let Ok(FromClient::Refuse(echo, refusal)) = decode_request(Bytes::from_static(&[2, 9, 0, 0])) else {
        panic!("not refused")
    };
    assert_eq!(written(|out| encode_reply(&echo, Err(refusal), out)), golden("unknown-operation-reply"));
}

#[test]
fn what_is_wrong_with_a_request_is_told() {
    let refused = |bytes: Bytes| match decode_request(bytes) {
        Ok(FromClient::Refuse(_, refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let request = |name: &str| body(golden(name));
    let fence_without_key = request("fencing-read-last-request").slice(..20);
    assert_eq!(refused(fence_without_key), Refusal::Unauthorized);
    assert_eq!(refused(request("add-request").slice(..44)), Refusal::BadRequest);
    let mut other_version = request("read-request").to_vec();
    other_version[0] = 1;
    assert_eq!(refused(other_version.into()), Refusal::BadVersion);
}

#[test]
fn too_large_an_add_is_refused_before_it_is_sent() {
    let of = |len: usize| {
        let body = Bytes::from(vec![0; len]).into();
        let request = Request::Add {
            ledger: LEDGER,
            entry: EntryId(0),
            key: key(),
            body,
            options: AddOptions::default(),
        };
        encode_request(&request, 0, &mut Outgoing::default())
    };
    let largest = entry::HEADER_LEN + 4 + entry::MAX_PAYLOAD;
    assert!(of(largest).is_ok());
    assert_eq!(of(largest + 1), Err(Unsendable::TooLarge(24 + largest + 1)));
}

#[test]
fn an_oversized_add_is_known_by_its_name() {
    let mut bytes = golden("add-request").to_vec();
    bytes[0] = 0x7f;
    assert_eq!(oversized_add(&bytes), Some(add(AddOptions::default()).echo(0)));
    assert_eq!(oversized_add(&bytes[..43]), None);
    assert_eq!(oversized_add(&golden("read-request")), None);
}

#[test]
fn a_batch_of_entries_never_outgrows_a_frame() {
    let entries = vec![Bytes::from(vec![0; 100]); 100_000];
    let bytes = written(|out| encode_reply(&batch().echo(1), Ok(Answer::Entries(entries)), out));
    assert!(bytes.len() <= MAX_FRAME && bytes.len() > MAX_FRAME - 200, "{}", bytes.len());
}

proptest! {
    #[test]
    fn fuzz_any_frame_from_a_client_decodes_or_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), op in 0u8..9) {
        let _ = decode_request(bytes.clone().into());
        let headed: Vec<u8> = [&[2, op, 0][..], &bytes].concat();
        let _ = decode_request(headed.into());
        let _ = oversized_add(&bytes);
    }

    #[test]
    fn fuzz_any_frame_from_a_bookie_decodes_or_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), op in 0u8..9) {
        let _ = decode_reply(bytes.clone().into());
        let headed: Vec<u8> = [&[2, op, 0, 0, 0, 0, 0, 0][..], &bytes].concat();
        let _ = decode_reply(headed.into());
    }
}
