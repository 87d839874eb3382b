use proptest::prelude::*;

use super::super::golden::{LEDGER, body, entry, key, vector, written};
use super::*;
use crate::EntryId;
use crate::bookie::{AddOptions, Answer, Body, Outgoing, ReadOptions, Refusal, Request, Unsendable, v2};

const GOLDEN: &str = include_str!("../../../../tests/golden/wire/extension.hex");

fn golden(name: &str) -> Bytes {
    vector(GOLDEN, name)
}

fn add(body: Body, options: AddOptions) -> Request {
    Request::Add { ledger: LEDGER, entry: EntryId(0), key: key(), body, options }
}

fn requests() -> Vec<(&'static str, Request)> {
    let fence = ReadOptions { fence: Some(key()), high_priority: true, ..ReadOptions::default() };
    let poll = ReadOptions {
        piggyback_lac: true,
        previous_lac: Some(EntryId(4)),
        wait_ms: 1000,
        ..ReadOptions::default()
    };
    let deferred = AddOptions { deferred_sync: true, ..AddOptions::default() };
    vec![
        ("add", add(entry().into(), AddOptions::default())),
        ("deferred-add", add(entry().into(), deferred)),
        ("read", Request::Read { ledger: LEDGER, entry: EntryId(3), options: ReadOptions::default() }),
        ("fencing-read-last", Request::Read { ledger: LEDGER, entry: EntryId::NONE, options: fence }),
        ("long-poll", Request::Read { ledger: LEDGER, entry: EntryId::NONE, options: poll }),
        (
            "batch-read",
            Request::BatchRead {
                ledger: LEDGER,
                first: EntryId(3),
                max_count: 100,
                max_bytes: 65536,
                options: ReadOptions::default(),
            },
        ),
        ("read-range", Request::ReadRange { ledger: LEDGER, entry: EntryId(3), from: 10, len: 20 }),
        (
            "write-lac",
            Request::WriteLac {
                ledger: LEDGER,
                lac: EntryId(2),
                key: key(),
                packet: Bytes::from_static(b"packet"),
            },
        ),
        ("read-lac", Request::ReadLac { ledger: LEDGER }),
        ("force", Request::Force { ledger: LEDGER }),
        ("info", Request::Info),
        ("list", Request::ListEntries { ledger: LEDGER }),
        ("lengths-of", Request::Lengths { ledger: LEDGER, first: EntryId(3), max_count: 100 }),
    ]
}

fn decoded(frame: Bytes) -> Vec<(u64, Result<Request, Refusal>)> {
    let mut all = Vec::new();
    decode_requests(frame, |id, request| all.push((id, request))).unwrap();
    all
}

#[test]
fn requests_match_the_golden_vectors() {
    for (name, request) in requests() {
        let bytes = written(|out| {
            let mut batch = Batch::default();
            batch.push(5, request.clone(), out).unwrap();
            batch.finish(out);
        });
        assert_eq!(bytes, golden(name), "{name}");
        assert_eq!(decoded(body(bytes)), [(5, Ok(request))], "{name}");
    }
}

fn answers() -> Vec<(&'static str, Answer)> {
    let list = [(EntryId(0), EntryId(2)), (EntryId(5), EntryId(5))].into_iter().collect();
    vec![
        ("entry", Answer::Entry { body: entry(), max_lac: None }),
        ("entry-with-lac", Answer::Entry { body: Bytes::new(), max_lac: Some(EntryId(9)) }),
        ("entries", Answer::Entries(vec![entry(), entry()])),
        ("range", Answer::Range(Bytes::from_static(b"ell"))),
        ("lac", Answer::Lac { packet: Some(Bytes::from_static(b"packet")), last_entry: Some(entry()) }),
        ("no-lac", Answer::Lac { packet: None, last_entry: None }),
        ("space", Answer::Info { free: 1, total: 2 }),
        ("entry-list", Answer::List(list)),
        ("lengths", Answer::Lengths(vec![5, 1 << 20])),
    ]
}

fn replies(frame: Bytes) -> Vec<FromBookie> {
    let mut all = Vec::new();
    decode_reply(frame, |reply| all.push(reply)).unwrap();
    all
}

#[test]
fn answers_match_the_golden_vectors() {
    for (name, answer) in answers() {
        let bytes = written(|out| encode_answer(6, Ok(answer.clone()), &mut Statuses::default(), out));
        assert_eq!(bytes, golden(name), "{name}");
        assert_eq!(replies(body(bytes)), [FromBookie::Answer { id: 6, answer }], "{name}");
    }
}

#[test]
fn bare_answers_travel_as_runs() {
    let bytes = written(|out| {
        let mut statuses = Statuses::default();
        for id in 10..20 {
            encode_answer(id, Ok(Answer::Added), &mut statuses, out);
        }
        encode_answer(20, Err(Refusal::Unknown), &mut statuses, out);
        encode_answer(30, Ok(Answer::Forced), &mut statuses, out);
        statuses.encode(out);
    });
    assert_eq!(bytes, golden("statuses"));
    let status = |first, count, result| FromBookie::Status { first, count, result };
    let wanted = [status(10, 10, Ok(())), status(20, 1, Err(Refusal::Unknown)), status(30, 1, Ok(()))];
    assert_eq!(replies(body(bytes)), wanted);
}

#[test]
fn greetings_match_the_golden_vectors() {
    let hello = Hello { bookie: "b-1:3181".into() };
    let welcome =
        Welcome { capabilities: CAPABILITIES & !LENGTHS, incarnation: 3, bookie: "b-1:3181".into() };
    assert_eq!(written(|out| v2::encode_auth(&hello.encode(), out)), golden("hello"));
    assert_eq!(written(|out| v2::encode_auth(&welcome.encode(), out)), golden("welcome"));
    assert_eq!(Hello::decode(hello.encode().payload), Ok(hello));
    assert_eq!(Welcome::decode(welcome.encode().payload), Ok(welcome));
}

#[test]
fn neighbouring_adds_share_frames_of_bounded_size() {
    let mut batch = Batch::default();
    let mut received = BytesMut::from(
        &written(|out| {
            for id in 0..1000u64 {
                let head = entry();
                let payload = Bytes::from(vec![id as u8; 1024]);
                batch.push(id, add(Body { head, payload }, AddOptions::default()), out).unwrap();
            }
            batch.finish(out);
        })[..],
    );
    let mut next = 0;
    let mut frames = 0;
    while let Ok(Some(frame)) = super::super::frame::split(&mut received, 70 * 1024) {
        frames += 1;
        for (id, request) in decoded(frame) {
            assert_eq!(id, next);
            let Ok(Request::Add { body, .. }) = request else { panic!("{request:?}") };
            assert_eq!(body.joined()[41..], [id as u8; 1024]);
            next += 1;
        }
    }
    assert_eq!((next, frames), (1000, 17));
}

#[test]
fn entries_too_large_for_v2_are_refused_on_both_sides() {
    let of = |len: usize| add(Bytes::from(vec![0; len]).into(), AddOptions::default());
    let mut out = Outgoing::default();
    assert_eq!(
        Batch::default().push(0, of(MAX_ENTRY + 1), &mut out),
        Err(Unsendable::TooLarge(MAX_ENTRY + 1))
    );
    assert_eq!(Batch::default().push(0, of(MAX_ENTRY), &mut out), Ok(()));
    let short = body(written(|out| {
        let mut batch = Batch::default();
        batch.push(0, of(31), out).unwrap();
        batch.finish(out);
    }));
    assert_eq!(decoded(short), [(0, Err(Refusal::BadRequest))]);
}

#[test]
fn an_operation_of_a_later_version_is_refused_by_its_id() {
    let frame = [&[0x33][..], &5u64.to_be_bytes(), &[0; 8]].concat();
    assert_eq!(decoded(frame.into()), [(5, Err(Refusal::BadVersion))]);
}

proptest! {
    #[test]
    fn fuzz_any_frame_from_a_client_decodes_or_is_refused(kind in 0u8..12, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_requests(bytes.clone().into(), |_, _| {});
        let _ = decode_requests([&[kind][..], &bytes].concat().into(), |_, _| {});
    }

    #[test]
    fn fuzz_any_frame_from_a_bookie_decodes_or_is_refused(kind in 0x80u8..0x8c, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_reply(bytes.clone().into(), |_| {});
        let _ = decode_reply([&[kind][..], &bytes].concat().into(), |_| {});
        let _ = Hello::decode(bytes.clone().into());
        let _ = Welcome::decode(bytes.into());
    }

    #[test]
    fn fuzz_cut_and_flipped_requests_decode_or_are_refused(which in 0usize..12, cut in 0usize..100, flip in 0usize..100, bits in any::<u8>()) {
        let (name, _) = requests().remove(which);
        let mut bytes = body(golden(name)).to_vec();
        bytes.truncate(bytes.len().saturating_sub(cut));
        if let Some(byte) = bytes.get_mut(flip) {
            *byte ^= bits;
        }
        let _ = decode_requests(bytes.into(), |_, _| {});
    }
}
