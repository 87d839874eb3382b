//! What a send costs in here: `cargo run --release -p protocol --example command_cost`.

use std::hint::black_box;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use protocol::Outgoing;
use protocol::remoting::header::{Send, SendReply};
use protocol::remoting::{Command, Encoding};

const ROUNDS: u32 = 300_000;

fn request(encoding: Encoding) -> Command {
    let send = Send {
        group: "stratamq_bench",
        topic: "stratamq_bench",
        default_topic: "TBW102",
        default_queues: 4,
        queue: 3,
        born_timestamp: 1_700_000_000_123,
        properties: "UNIQ_KEY\u{1}7F0000010007000000099032103E80000\u{2}WAIT\u{1}true\u{2}",
        broker: Some("broker-0"),
        ..Send::default()
    };
    Command { encoding, ..send.write().body(vec![7; 1024]) }
}

fn encoded(command: &Command) -> Bytes {
    let mut out = Outgoing::default();
    command.encode(&mut out);
    let mut bytes = BytesMut::from(&out.copy_to_bytes(out.remaining())[..]);
    bytes.advance(4);
    bytes.freeze()
}

fn time(what: &str, mut run: impl FnMut()) {
    let started = Instant::now();
    (0..ROUNDS).for_each(|_| run());
    println!("{what}: {:.0} ns", started.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
}

fn main() {
    for encoding in [Encoding::Json, Encoding::Binary] {
        println!("{encoding:?}");
        let request = request(encoding);
        let frame = encoded(&request);
        let mut out = Outgoing::default();
        time("  request encoded", || {
            black_box(&request).encode(&mut out);
            out = Outgoing::default();
        });
        time("  request decoded", || drop(black_box(Command::decode(frame.clone()))));
        let decoded = Command::decode(frame.clone()).unwrap_or_else(|_| Command::request(0));
        time("  send header read", || drop(black_box(Send::read(&decoded))));
        time("  reply made and encoded", || {
            let mut reply = decoded.reply(0);
            let header = SendReply {
                message_id: "C0A8010200002A9F0000000200000000",
                queue: 3,
                queue_offset: 1234,
                region: Some("DefaultRegion"),
                ..SendReply::default()
            };
            header.write(&mut reply.fields);
            reply.encode(&mut out);
            if out.len() > 10_000 {
                out = Outgoing::default();
            }
        });
    }
}
