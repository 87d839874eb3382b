//! The task of a link, from its first request to the end of its connection.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use protocol::bookie::{Garbage, Outgoing, extension, frame::Oversized, v2};
use protocol::entry::MAX_FRAME;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::Wire;
use super::dialect::Dialect;
use super::link::Link;
use crate::keep_alive;
use crate::pipe::{Flushed, Pipe};
use crate::receive::Receive;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("no address is known for it")]
    NoAddress,
    #[error("it cannot be reached: {0}")]
    Io(#[from] io::Error),
    #[error("it did not accept the connection and answer the greeting in time")]
    Slow,
    #[error("it closed the connection")]
    Closed,
    #[error("it says that it is {0}: its registered address leads to another bookie")]
    SomeoneElse(String),
    #[error("it sends what makes no sense: {0}")]
    Garbage(#[from] Garbage),
    #[error("it sends what makes no sense: {0}")]
    Oversized(#[from] Oversized),
    #[error("it has been silent while requests were under way")]
    Silent,
}

pub(super) async fn run(link: Arc<Link>) {
    let settings = &link.surroundings.settings;
    let end = match timeout(settings.connect_timeout, connect(&link)).await {
        Ok(Ok((dialect, receive, pipe))) => {
            link.up(dialect, pipe.clone());
            serve(&link, receive, &pipe).await
        }
        Ok(Err(end)) => Err(end),
        Err(_) => Err(End::Slow),
    };
    if let Err(end) = end {
        tracing::info!("bookie {}: {end}", link.bookie);
    }
    link.down();
}

async fn connect(link: &Link) -> Result<(Dialect, Receive, Arc<Pipe>), End> {
    let mut end = End::NoAddress;
    for address in link.surroundings.resolve.resolve(&link.bookie).await? {
        match TcpStream::connect(address).await {
            Ok(socket) => return greet(link, socket).await,
            Err(error) => end = error.into(),
        }
    }
    Err(end)
}

async fn greet(link: &Link, mut socket: TcpStream) -> Result<(Dialect, Receive, Arc<Pipe>), End> {
    socket.set_nodelay(true)?;
    keep_alive(&socket)?;
    if link.wire == Wire::Negotiate {
        let mut hello = Outgoing::default();
        v2::encode_auth(&extension::Hello { bookie: link.bookie.to_string() }.encode(), &mut hello);
        socket.write_all_buf(&mut hello).await?;
    }
    let (read, write) = socket.into_split();
    let mut receive = Receive::new(read, MAX_FRAME);
    let dialect = match link.wire {
        Wire::Negotiate => welcome(link, receive_one(&mut receive).await?)?,
        Wire::V2 => Dialect::v2(),
        Wire::V3 => Dialect::v3(),
    };
    receive.max_frame = dialect.max_frame();
    Ok((dialect, receive, Arc::new(Pipe::new(write))))
}

async fn receive_one(receive: &mut Receive) -> Result<Bytes, End> {
    loop {
        if let Some(frame) = receive.frame()? {
            return Ok(frame);
        }
        if !receive.more().await? {
            return Err(End::Closed);
        }
    }
}

/// What the answer to our greeting says of the peer.
fn welcome(link: &Link, frame: Bytes) -> Result<Dialect, End> {
    match v2::decode_reply(frame)? {
        v2::FromBookie::Auth(auth) if auth.plugin == extension::PLUGIN => {
            let welcome = extension::Welcome::decode(auth.payload)?;
            if welcome.bookie != link.bookie.as_str() {
                return Err(End::SomeoneElse(welcome.bookie));
            }
            Ok(Dialect::extension(welcome.capabilities))
        }
        v2::FromBookie::Auth(_) => Ok(Dialect::v2()),
        v2::FromBookie::Reply(..) => Err(Garbage("a reply where an answer to the greeting was due").into()),
    }
}

async fn serve(link: &Arc<Link>, mut receive: Receive, pipe: &Pipe) -> Result<(), End> {
    let mut frames = Vec::new();
    let mut look_again = link.expire(Instant::now())?;
    let mut heard = Instant::now();
    loop {
        let blocked = link.flush()? == Flushed::Blocked;
        tokio::select! {
            biased;
            more = receive.more() => {
                if !more? {
                    return if link.closed() { Ok(()) } else { Err(End::Closed) };
                }
                heard = Instant::now();
                while let Some(frame) = receive.frame()? {
                    frames.push(frame);
                }
                link.received(&mut frames)?;
            }
            result = pipe.writable(), if blocked => result?,
            () = link.kick.notified() => {
                if link.closed() {
                    return Ok(());
                }
                look_again = link.expire(Instant::now())?;
            }
            () = until(look_again) => look_again = look(link, heard)?,
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Fails what is due. A connection on which nothing was heard for as long as a request may take is given up: the
/// peer may have been cut off without either side noticing.
fn look(link: &Link, heard: Instant) -> Result<Option<Instant>, End> {
    let now = Instant::now();
    let silent = link.under_way() > 0 && now.duration_since(heard) >= link.surroundings.settings.timeout;
    let next = link.expire(now)?;
    if silent { Err(End::Silent) } else { Ok(next) }
}
