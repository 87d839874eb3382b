//! What nobody should send to a broker: a code or a closed connection, bounded memory, and others are served.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Buf;
use client::{Client, Message, SendStatus, TopicSettings};
use net::remoting::{self, Connection, Handler};
use protocol::remoting::header::Pull;
use protocol::remoting::{Command, MAX_FRAME, code};
use rand::RngCore;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::servers::Servers;

const PATIENCE: Duration = Duration::from_secs(10);
const TOPIC: &str = "canary";

/// Servers with a topic, and the address of virtual broker 0.
async fn start() -> Result<(Servers, String)> {
    let servers = Servers::start().await?;
    Client::new(&servers.addresses())?.admin().create_topic(TOPIC, &TopicSettings::default()).await?;
    must_serve(&servers).await?;
    let owner = servers.owner().await?;
    Ok((servers, owner))
}

/// Requests of every code with nothing in them, wrong types, and numbers that nobody means.
pub async fn requests() -> Result<()> {
    let (mut servers, owner) = start().await?;
    let client = remoting::Client::new(Arc::new(Deaf), remoting::Settings::default());
    let mut answered = 0;
    for code in (1..=1010).filter(|code| code::request::name(*code).is_some()) {
        // 24 and 34 and the like have a body that must be read; a reader of nonsense may close the connection.
        for request in wrong(code) {
            let asked = client.ask(&owner, request, PATIENCE).await;
            match asked {
                Ok(_) => answered += 1,
                Err(remoting::Unanswered::Closed) => {}
                Err(error) => bail!("request {code} with nonsense in it: {error}"),
            }
        }
    }
    ensure!(answered > 300, "only {answered} answers");
    for (number, value) in
        [("readQueueNums", "2000000000"), ("writeQueueNums", "-7"), ("perm", "99999999999")]
    {
        let request = Command::request(code::request::UPDATE_AND_CREATE_TOPIC)
            .with("topic", "absurd")
            .with("defaultTopic", "TBW102")
            .with("readQueueNums", 4)
            .with("writeQueueNums", 4)
            .with("perm", 6)
            .with("topicFilterType", "SINGLE_TAG");
        let request = replace(request, number, value);
        let reply = client.ask(&owner, request, PATIENCE).await.context("an absurd topic")?;
        ensure!(reply.code != 0, "a topic with {number} = {value} was taken");
    }
    must_serve(&servers).await?;
    ensure!(servers.process(&owner)?.exited()?.is_none(), "nonsense ended the broker");
    Ok(())
}

fn wrong(code: i32) -> [Command; 4] {
    let fields = [
        "topic",
        "queueId",
        "queueOffset",
        "consumerGroup",
        "group",
        "offset",
        "maxMsgNums",
        "sysFlag",
        "timestamp",
        "a",
        "e",
        "i",
    ];
    let all =
        |value: &str| fields.iter().fold(Command::request(code), |request, field| request.with(field, value));
    [
        Command::request(code),
        Command::request(code).body(vec![0xfe; 300]),
        all("nonsense").body(&b"{\"half\":"[..]),
        all("-9223372036854775808").body(&b"[]"[..]),
    ]
}

fn replace(request: Command, name: &str, value: &str) -> Command {
    let fields: Vec<(String, String)> =
        request.fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let others = fields.iter().filter(|(other, _)| other != name);
    others
        .fold(Command::request(request.code), |request, (name, value)| request.with(name, value))
        .with(name, value)
}

/// Garbage, and frames that are announced and never come.
pub async fn bytes() -> Result<()> {
    const HALVES: usize = 400;
    let (mut servers, owner) = start().await?;
    let before = servers.process(&owner)?.memory()?;
    for round in 0..200u32 {
        let mut noise = vec![0; 600];
        rand::rng().fill_bytes(&mut noise);
        // Every other time as a whole frame, with the first byte of JSON or of the binary head.
        if round % 2 == 0 {
            noise.splice(..8, [0, 0, 2, 84, if round % 4 == 0 { 0 } else { 1 }, 0, 0, 40]);
        }
        let mut stream = connect(&owner).await?;
        // The broker may have closed already.
        let _ = stream.write_all(&noise).await;
    }
    for huge in [i32::MAX as u32, u32::MAX, MAX_FRAME as u32 + 1] {
        let mut stream = connect(&owner).await?;
        stream.write_all(&huge.to_be_bytes()).await?;
        must_close(&mut stream).await.with_context(|| format!("a frame of {huge} bytes"))?;
    }
    let mut stream = connect(&owner).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n").await?;
    must_close(&mut stream).await.context("a request of HTTP")?;
    let mut halves = Vec::new();
    for _ in 0..HALVES {
        let mut stream = connect(&owner).await?;
        stream.write_all(&(MAX_FRAME as u32 - 4).to_be_bytes()).await?;
        stream.write_all(&[0, 0, 0, 100, b'{']).await?;
        halves.push(stream);
    }
    sleep(Duration::from_secs(1)).await;
    must_serve(&servers).await?;
    let grown = servers.process(&owner)?.memory()?.saturating_sub(before);
    println!("      {HALVES} half frames and garbage cost {} MB", grown >> 20);
    ensure!(grown < 64 << 20, "{HALVES} half frames of 9 bytes cost {} MB", grown >> 20);
    Ok(())
}

/// Ten thousand connections that say nothing, and beside them fifty that ask for megabytes and read none.
pub async fn connections() -> Result<()> {
    const IDLE: usize = 10_000;
    const SLOW: usize = 50;
    let (mut servers, owner) = start().await?;
    let before = servers.process(&owner)?.memory()?;
    let mut idle = Vec::with_capacity(IDLE);
    for n in 0..IDLE {
        idle.push(connect(&owner).await.with_context(|| format!("idle connection {n}"))?);
    }
    must_serve(&servers).await?;
    let grown = servers.process(&owner)?.memory()?.saturating_sub(before);
    println!("      {IDLE} idle connections cost {} MB", grown >> 20);
    ensure!(grown < 200 << 20, "{IDLE} idle connections cost {} MB", grown >> 20);

    let pull = megabyte(&servers, &owner).await?;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(tokio::spawn(pull_for_ever(owner.clone(), pull.clone())));
    }
    sleep(Duration::from_secs(5)).await;
    must_serve(&servers).await?;
    let peak = servers.process(&owner)?.peak_memory()?;
    slow.iter().for_each(|task| task.abort());
    println!("      beside {SLOW} readers that read nothing at most {} MB were resident", peak >> 20);
    // The setting is 192 MB, of which a quarter is for connections; the rest of the bound is what idle ones cost.
    ensure!(peak < 448 << 20, "{} MB resident", peak >> 20);
    let open = idle.iter().filter(|stream| is_open(stream)).count();
    ensure!(open == IDLE, "of {IDLE} idle connections only {open} are still open");
    ensure!(servers.process(&owner)?.exited()?.is_none(), "the broker ended");
    Ok(())
}

/// Requests without end while no bookie acknowledges anything and no lease can be renewed: nobody knows whether what would
/// be answered is still true, so all of them wait.
pub async fn flood() -> Result<()> {
    const FLOODS: usize = 20;
    let (mut servers, owner) = start().await?;
    let pull =
        Pull { group: "flood", topic: TOPIC, max_messages: 32, subscription: Some("*"), ..Pull::default() };
    let pull = pull.write();
    freeze(&mut servers, Signal::STOP)?;
    // Longer than any sign is fresh.
    sleep(Duration::from_secs(4)).await;
    let floods: Vec<_> =
        (0..FLOODS).map(|_| tokio::spawn(pull_for_ever(owner.clone(), pull.clone()))).collect();
    sleep(Duration::from_secs(5)).await;
    freeze(&mut servers, Signal::CONT)?;
    let peak = servers.process(&owner)?.peak_memory()?;
    floods.iter().for_each(|task| task.abort());
    println!("      with {FLOODS} floods and no answer at most {} MB were resident", peak >> 20);
    ensure!(peak < 192 << 20, "{} MB resident, with memory = 192 MB", peak >> 20);
    let served = async {
        while must_serve(&servers).await.is_err() {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(super::SOON, served).await.context("nobody is served 30 s after it")?;
    ensure!(servers.process(&owner)?.exited()?.is_none(), "the broker ended");
    Ok(())
}

/// Stops or continues etcd and every bookie.
fn freeze(servers: &mut Servers, signal: Signal) -> Result<()> {
    servers.cluster.etcd()?.signal(signal)?;
    let bookies: Vec<_> = servers.cluster.members.keys().cloned().collect();
    for bookie in bookies {
        servers.cluster.bookie(&bookie)?.signal(signal)?;
    }
    Ok(())
}

/// A pull in the first queue of virtual broker 0 that is answered by a megabyte, of 64 that lie there.
async fn megabyte(servers: &Servers, owner: &str) -> Result<Command> {
    const SIZE: usize = 1 << 20;
    let client = Client::new(&servers.addresses())?;
    let producer = client.producer("canaries");
    let queues = producer.queues(TOPIC).await?;
    let queue = queues
        .iter()
        .find(|queue| queue.broker == "broker-0" && queue.id == 0)
        .context("a queue of broker-0")?;
    let mut last = 0;
    for _ in 0..64 {
        last = producer.send_to(queue, Message::new(TOPIC, vec![7; SIZE])).await?.offset;
    }
    let pull = Pull {
        group: "slow",
        topic: TOPIC,
        offset: last - 63,
        max_messages: 32,
        subscription: Some("*"),
        ..Pull::default()
    }
    .write();
    let reader = remoting::Client::new(Arc::new(Deaf), remoting::Settings::default());
    let answer = reader.ask(owner, pull.clone(), PATIENCE).await.context("a pull of megabytes")?;
    ensure!(
        answer.code == 0 && answer.body.len() >= SIZE,
        "a pull of megabytes is answered {} with {} bytes: {:?}",
        answer.code,
        answer.body.len(),
        answer.remark
    );
    Ok(pull)
}

async fn pull_for_ever(owner: String, pull: Command) -> Result<()> {
    let mut out = protocol::Outgoing::default();
    pull.encode(&mut out);
    let frame = out.copy_to_bytes(out.remaining());
    loop {
        let mut stream = connect(&owner).await?;
        while stream.write_all(&frame).await.is_ok() {}
    }
}

/// Nobody has said anything to it, nor closed it.
fn is_open(stream: &TcpStream) -> bool {
    stream.try_read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

async fn connect(address: &str) -> Result<TcpStream> {
    Ok(timeout(PATIENCE, TcpStream::connect(address)).await.context("no connection in 10 s")??)
}

async fn must_close(stream: &mut TcpStream) -> Result<()> {
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.context("it is open after 10 s")?;
    Ok(())
}

/// Fails unless others are served: a message goes in and comes out.
async fn must_serve(servers: &Servers) -> Result<()> {
    let client = Client::new(&servers.addresses())?;
    let served = async {
        let sent = client.producer("canaries").send(Message::new(TOPIC, "sings")).await?;
        // The topic's route may be a moment behind its first message.
        loop {
            let reader = client.pull_consumer("canaries");
            match reader.pull(&sent.queue, "*", sent.offset, 1, Duration::ZERO).await {
                Ok(pulled) if pulled.messages.iter().any(|message| message.body == "sings") => return Ok(()),
                // It comes when it is confirmed: on a loaded machine its sender may be told that this takes longer.
                Ok(_) if sent.status == SendStatus::Unconfirmed => sleep(Duration::from_millis(50)).await,
                Ok(pulled) => bail!("the message is not there: {pulled:?}"),
                Err(error) if error.code() == Some(17) => sleep(Duration::from_millis(50)).await,
                Err(error) => return Err(error.into()),
            }
        }
    };
    timeout(PATIENCE, served)
        .await
        .context("others are not served within 10 s")?
        .context("others are not served")
}

pub struct Deaf;

impl Handler for Deaf {
    fn request(&self, from: &Arc<Connection>, request: Command) {
        from.reply(request.reply(code::response::REQUEST_CODE_NOT_SUPPORTED));
    }

    fn closed(&self, _connection: &Arc<Connection>) {}
}
