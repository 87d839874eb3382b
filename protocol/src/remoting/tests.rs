use bytes::{Buf, Bytes, BytesMut};
use proptest::prelude::*;

use super::code::{request, response};
use super::header::{Pull, PullReply, Send, SendReply, Suspend};
use super::*;
use crate::{Garbage, Outgoing, frame};

/// The frame of a command, without its length field.
fn framed(command: &Command) -> Bytes {
    let mut out = Outgoing::default();
    command.encode(&mut out);
    let mut bytes = BytesMut::from(&out.copy_to_bytes(out.remaining())[..]);
    let frame = frame::split(&mut bytes, MAX_FRAME).unwrap().unwrap();
    assert!(bytes.is_empty());
    frame
}

/// A frame of a header in JSON, or in binary.
fn made(kind: u8, header: &[u8], body: &[u8]) -> Bytes {
    let mark = u32::from(kind) << 24 | header.len() as u32;
    [&mark.to_be_bytes(), header, body].concat().into()
}

fn decoded(header: &str) -> Command {
    Command::decode(made(0, header.as_bytes(), b"")).unwrap()
}

#[test]
fn a_header_of_the_java_client_is_understood() {
    let java = r#"{"code":310,"extFields":{"a":"g","b":"T\"x","i":"KEYS\u0001k\u0002UNIQ_KEY\u00017F\u0002","e":"3"},"flag":0,"language":"JAVA","opaque":7,"serializeTypeCurrentRPC":"JSON","version":401}"#;
    let command = Command::decode(made(0, java.as_bytes(), b"body")).unwrap();
    assert_eq!((command.code, command.opaque, command.version), (310, 7, 401));
    assert_eq!(command.language, Language::JAVA);
    assert_eq!(command.fields.get("b"), Some("T\"x"));
    assert_eq!(command.fields.get("i"), Some("KEYS\u{1}k\u{2}UNIQ_KEY\u{1}7F\u{2}"));
    assert_eq!(&command.body[..], b"body");
}

#[test]
fn a_header_of_the_cpp_client_has_numbers_booleans_null_and_spaces() {
    let cpp = "{\"code\" : 11,\n\"extFields\" : { \"queueId\" : 3, \"queueOffset\":-1, \"commit\" : true, \
               \"none\":null, \"odd\":{\"a\":[1,2]} },\"flag\":0,\"language\":\"CPP\",\"opaque\":-5,\"remark\":\"\", \
               \"version\":121,\"new\":[{},[]]}\n";
    let command = decoded(cpp);
    assert_eq!(command.language, Language::CPP);
    assert_eq!(command.opaque, -5);
    let fields: Vec<_> = command.fields.iter().collect();
    let wanted = [("queueId", "3"), ("queueOffset", "-1"), ("commit", "true"), ("odd", "{\"a\":[1,2]}")];
    assert_eq!(fields, wanted);
}

#[test]
fn unknown_languages_and_missing_parts_are_taken() {
    assert_eq!(decoded(r#"{"code":1,"language":"KLINGON"}"#).language, Language::OTHER);
    assert_eq!(decoded(r#"{"code":1,"language":12}"#).language, Language::RUST);
    assert_eq!(decoded(r#"{"code":"34","extFields":null}"#).code, 34);
    assert_eq!(Language::from_code(200), Language::OTHER);
}

#[test]
fn text_is_unescaped_as_java_wrote_it() {
    let command =
        decoded(r#"{"code":1,"remark":"\u00e4\ud83d\ude00 \ud83d \n\/\\ü","extFields":{"\u0041":"\t"}}"#);
    assert_eq!(command.remark.as_deref(), Some("ä😀 \u{fffd} \n/\\ü"));
    assert_eq!(command.fields.get("A"), Some("\t"));
}

#[test]
fn what_needs_an_escape_is_found_wherever_it_stands() {
    for length in 0..80 {
        for at in 0..length {
            for odd in ["\"", "\\", "\u{1}", "\u{1f}", " ", "\u{7f}", "ä", "!", "#", "[", "]"] {
                let text = format!("{}{odd}{}", "a".repeat(at), "b".repeat(length - at));
                let command = Command::request(1).with(&text, &text).with("last", &text).remark(&text);
                assert_eq!(Command::decode(framed(&command)).as_ref(), Ok(&command), "{text}");
            }
        }
    }
}

#[test]
fn garbage_is_told_from_commands() {
    let broken = [
        "",
        "{",
        "[]",
        "{}",
        "{\"code\":}",
        "{\"code\":1",
        "{\"code\":1,}",
        "{\"code\":99999999999}",
        "{\"code\":1,\"extFields\":[]}",
        "{\"code\":1,\"extFields\":{},\"extFields\":{}}",
        "{\"code\":1,\"extFields\":{\"a\"}}",
        "{\"code\":1,\"remark\":\"\\u12\"}",
        "{\"code\":1,\"remark\":\"\\\"}",
        "null",
        "{\"code\":1,\"a\":}",
    ];
    for header in broken {
        assert!(Command::decode(made(0, header.as_bytes(), b"")).is_err(), "{header}");
    }
    let deep = format!("{{\"code\":1,\"a\":{}", "[".repeat(100_000));
    assert!(Command::decode(made(0, deep.as_bytes(), b"")).is_err());
    let many: String = (0..2000).map(|i| format!("\"f{i}\":1,")).collect();
    let many = format!("{{\"code\":1,\"extFields\":{{{many}\"z\":1}}}}");
    assert!(Command::decode(made(0, many.as_bytes(), b"")).is_err());
    assert!(Command::decode(made(2, b"{\"code\":1}", b"")).is_err());
    assert_eq!(
        Command::decode(Bytes::from_static(b"\0\0\0\x09{}")),
        Err(Garbage("a header that is longer than its frame"))
    );
    assert!(Command::decode(Bytes::from_static(b"\0\0\0")).is_err());
}

#[test]
fn an_empty_binary_value_is_none() {
    let mut command = Command::request(request::HEART_BEAT).with("a", "").with("b", 1);
    command.encoding = Encoding::Binary;
    let fields: Vec<_> = Command::decode(framed(&command)).unwrap().fields.iter().map(|_| ()).collect();
    assert_eq!(fields.len(), 1);
}

#[test]
fn a_binary_code_has_sixteen_bits() {
    let mut command = Command::request(request::POP_MESSAGE);
    command.encoding = Encoding::Binary;
    assert_eq!(Command::decode(framed(&command)).unwrap().code, 3442);
    command.encoding = Encoding::Json;
    assert_eq!(Command::decode(framed(&command)).unwrap().code, 200050);
}

#[test]
fn a_reply_speaks_as_its_request_did() {
    for encoding in [Encoding::Json, Encoding::Binary] {
        let request = Command { opaque: 77, encoding, ..Command::request(request::SEND_MESSAGE) };
        let reply = request.reply(response::SUCCESS);
        assert!(reply.is_reply() && !reply.is_one_way());
        assert_eq!((reply.opaque, reply.encoding), (77, encoding));
        assert_eq!(Command::decode(framed(&reply)).unwrap(), reply);
    }
}

#[test]
fn a_reply_is_written_as_fastjson_writes_it() {
    let request = Command { opaque: 3, ..Command::request(request::GET_MAX_OFFSET) };
    let reply = request.reply(response::SUCCESS).with("offset", 12).remark("a\"\u{1}ä");
    let frame = framed(&reply);
    let wanted = "{\"code\":0,\"extFields\":{\"offset\":\"12\"},\"flag\":1,\"language\":\"JAVA\",\"opaque\":3,\
                  \"remark\":\"a\\\"\\u0001ä\",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":513}";
    assert_eq!(std::str::from_utf8(&frame[4..]), Ok(wanted));
}

#[test]
fn a_body_in_pieces_is_one_body() {
    let mut out = Outgoing::default();
    let pieces = [Bytes::from(vec![1; 3]), Bytes::from(vec![2; 3000])];
    Command::request(1).body("x").encode_with(&pieces, &mut out);
    Command::request(2).encode(&mut out);
    let mut bytes = BytesMut::from(&out.copy_to_bytes(out.remaining())[..]);
    let first = Command::decode(frame::split(&mut bytes, MAX_FRAME).unwrap().unwrap()).unwrap();
    assert_eq!(first.body.len(), 3004);
    let second = Command::decode(frame::split(&mut bytes, MAX_FRAME).unwrap().unwrap()).unwrap();
    assert_eq!(second.code, 2);
}

#[test]
fn fields_are_read_by_type_and_errors_name_them() {
    let fields: Fields =
        [("n", "12"), ("t", "True"), ("e", ""), ("x", "12a"), ("n", "13")].into_iter().collect();
    assert_eq!(fields.number("n"), Ok(13));
    assert_eq!(fields.maybe::<i32>("e"), Ok(None));
    assert_eq!(fields.number_or("none", 5), Ok(5));
    assert!(fields.is_true("t") && !fields.is_true("x") && !fields.is_true("none"));
    let missing = fields.number::<i32>("none").unwrap_err();
    assert_eq!(missing.to_string(), "the request lacks the field 'none'");
    let odd = fields.number::<i32>("x").unwrap_err();
    assert_eq!(odd.to_string(), "the field 'x' is '12a', which is not a number that fits");
    assert!(fields.number::<i8>("n").is_ok() && fields.number::<i32>("e").is_err());
}

#[test]
fn a_send_is_read_with_letters_and_with_long_names() {
    let send = Send {
        group: "g",
        topic: "T",
        default_topic: "TBW102",
        default_queues: 4,
        queue: -1,
        sys_flag: 1,
        born_timestamp: 1_700_000_000_000,
        flag: 9,
        properties: "a\u{1}b\u{2}",
        reconsume_times: 2,
        unit_mode: false,
        max_reconsume_times: Some(16),
        batch: false,
        broker: Some("broker-0"),
    };
    let letters = send.write();
    assert_eq!(letters.code, request::SEND_MESSAGE_V2);
    assert_eq!(Send::read(&Command::decode(framed(&letters)).unwrap()), Ok(send.clone()));
    let names = ["producerGroup", "topic", "defaultTopic", "defaultTopicQueueNums", "queueId", "sysFlag"];
    let names =
        names.into_iter().chain(["bornTimestamp", "flag", "properties", "reconsumeTimes", "unitMode"]);
    let names = names.chain(["maxReconsumeTimes", "batch", "bname"]);
    let mut long = Command::request(request::SEND_MESSAGE);
    names.zip(letters.fields.iter()).for_each(|(name, (_, value))| long.fields.push_text(name, value));
    assert_eq!(Send::read(&long), Ok(send));
    let lacking = Command::request(request::SEND_MESSAGE_V2).with("a", "g");
    assert_eq!(Send::read(&lacking), Err(BadField::Missing("b")));
}

#[test]
fn pulls_and_replies_survive_the_wire() {
    let pull = Pull {
        group: "g",
        topic: "T",
        queue: 3,
        offset: 100,
        max_messages: 32,
        commit: Some(90),
        suspend: Suspend::For(15_000),
        subscription: Some("a || b"),
        sub_version: 5,
        expression_type: Some("TAG"),
        ..Pull::default()
    };
    assert_eq!(Pull::read(&pull.write()), Ok(pull));
    let mut fields = Fields::default();
    let reply = PullReply { next: 5, min: 0, max: 9 };
    reply.write(&mut fields);
    assert_eq!(PullReply::read(&fields), Ok(reply));
    let sent = SendReply { message_id: "7F", queue: 1, queue_offset: 2, ..SendReply::default() };
    let mut fields = Fields::default();
    sent.write(&mut fields);
    assert_eq!(SendReply::read(&fields), Ok(sent));
}

#[test]
fn codes_have_names() {
    assert_eq!(request::name(310), Some("SEND_MESSAGE_V2"));
    assert_eq!(response::name(17), Some("TOPIC_NOT_EXIST"));
    assert_eq!(request::name(9), None);
}

const GOLDEN: &str = include_str!("../../../tests/golden/wire/remoting.hex");

/// A frame as RocketMQ's own classes write it.
fn golden(name: &str) -> Command {
    let mut bytes = BytesMut::from(&crate::bookie::golden::vector(GOLDEN, name)[..]);
    let frame = frame::split(&mut bytes, MAX_FRAME).unwrap().unwrap();
    assert!(bytes.is_empty());
    Command::decode(frame).unwrap()
}

#[test]
fn frames_of_rocketmqs_own_classes_are_read() {
    for (kind, encoding) in [("json", Encoding::Json), ("binary", Encoding::Binary)] {
        for name in ["send_v2", "send_v1"] {
            let command = golden(&format!("{name}_{kind}"));
            assert_eq!((command.opaque, command.version, command.encoding), (77, 513, encoding));
            assert_eq!((command.language, &command.body[..]), (Language::JAVA, &b"hello"[..]));
            let send = Send::read(&command).unwrap();
            assert_eq!((send.group, send.topic, send.default_topic), ("group", "topic", "TBW102"));
            assert_eq!((send.default_queues, send.queue, send.flag), (4, 3, 5));
            assert_eq!((send.born_timestamp, send.batch), (1_700_000_000_123, false));
            assert_eq!(send.properties, "KEYS\u{1}a b\u{2}UNIQ_KEY\u{1}7F\u{2}TAGS\u{1}\u{fc}ml\u{2}");
            assert_eq!(send.broker, Some("broker-0"));
        }
        let command = golden(&format!("pull_{kind}"));
        let pull = Pull::read(&command).unwrap();
        assert_eq!((pull.queue, pull.offset, pull.max_messages), (3, 100, 32));
        assert_eq!((pull.commit, pull.suspend), (Some(90), Suspend::For(15_000)));
        assert_eq!((pull.subscription, pull.expression_type), (None, Some("TAG")));
        let reply = golden(&format!("send_reply_{kind}"));
        assert!(reply.is_reply());
        assert_eq!(reply.remark.as_deref(), Some("a \"remark\""));
        let sent = SendReply::read(&reply.fields).unwrap();
        assert_eq!((sent.message_id, sent.queue_offset), ("C0A8010200002A9F0000000200000000", 12));
        assert!(golden(&format!("one_way_{kind}")).is_one_way());
    }
}

#[test]
fn frames_are_written_as_rocketmqs_own_classes_write_them() {
    for name in ["send_v2", "send_v1", "pull", "send_reply", "one_way"] {
        for kind in ["json", "binary"] {
            let bytes = crate::bookie::golden::vector(GOLDEN, &format!("{name}_{kind}"));
            assert_eq!(framed(&golden(&format!("{name}_{kind}"))), bytes.slice(4..), "{name} {kind}");
        }
    }
}

fn any_command() -> impl Strategy<Value = Command> {
    let fields = prop::collection::vec((".{0,12}", ".{1,40}"), 0..12);
    let numbers = (any::<i16>(), any::<i16>(), any::<i32>(), 0..4i32, 0..14u8, any::<bool>());
    (numbers, prop::option::of(".{1,40}"), fields, prop::collection::vec(any::<u8>(), 0..1200)).prop_map(
        |((code, version, opaque, flag, language, json), remark, fields, body)| Command {
            code: code.into(),
            language: Language::from_code(language),
            version: version.into(),
            opaque,
            flag,
            remark,
            fields: fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            body: body.into(),
            encoding: if json { Encoding::Json } else { Encoding::Binary },
        },
    )
}

proptest! {
    #[test]
    fn commands_survive_the_wire(command in any_command()) {
        prop_assert_eq!(Command::decode(framed(&command)), Ok(command));
    }

    #[test]
    fn fuzz_commands(kind in 0..3u8, header in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Command::decode(made(kind, &header, b""));
    }

    #[test]
    fn fuzz_json_headers(header in "[{}\\[\\]:,\"\\\\u0-9a-fnltr -]{0,60}") {
        let _ = Command::decode(made(0, header.as_bytes(), b""));
        let inside = format!("{{\"code\":1,\"extFields\":{{\"a\":{header}}}}}");
        let _ = Command::decode(made(0, inside.as_bytes(), b""));
    }

    #[test]
    fn fuzz_damaged_commands(command in any_command(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut frame = framed(&command).to_vec();
        let at = at.index(frame.len());
        frame[at] = byte;
        let _ = Command::decode(frame.into());
    }
}
