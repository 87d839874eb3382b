//! BookKeeper's v2 protocol by hand, so that anything can be said, wrong things too.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use protocol::BookieId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub const ADD: u8 = 1;
pub const READ: u8 = 2;
pub const FENCE: u16 = 1;
pub const KEY: [u8; 20] = [7; 20];
/// BookKeeper's greatest frame, its length field included.
pub const MAX_FRAME: usize = 5 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer's code; 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub i32);

impl Code {
    pub const OK: Code = Code(0);
    pub const NO_LEDGER: Code = Code(1);
    pub const NO_ENTRY: Code = Code(2);
    pub const BAD_REQUEST: Code = Code(100);
    pub const UNAUTHORIZED: Code = Code(102);
}

pub struct Raw {
    pub stream: TcpStream,
}

pub fn frame(op: u8, flags: u16, body: &[&[u8]]) -> Vec<u8> {
    let head = u32::from(2u8) << 24 | u32::from(op) << 16 | u32::from(flags);
    let len = 4 + body.iter().map(|part| part.len()).sum::<usize>();
    let mut frame = (len as u32).to_be_bytes().to_vec();
    frame.extend(head.to_be_bytes());
    body.iter().for_each(|part| frame.extend(*part));
    frame
}

pub fn add(ledger: i64, entry: i64, key: &[u8; 20], payload: &[u8]) -> Vec<u8> {
    let (ledger, entry, lac) = (ledger.to_be_bytes(), entry.to_be_bytes(), (-1i64).to_be_bytes());
    let length = (payload.len() as i64).to_be_bytes();
    frame(ADD, 0, &[key, &ledger, &entry, &lac, &length, &[0; 4], payload])
}

pub fn read(ledger: i64, entry: i64) -> Vec<u8> {
    frame(READ, 0, &[&ledger.to_be_bytes(), &entry.to_be_bytes()])
}

pub fn fence(ledger: i64, key: &[u8; 20]) -> Vec<u8> {
    frame(READ, FENCE, &[&ledger.to_be_bytes(), &(-1i64).to_be_bytes(), key])
}

impl Raw {
    pub async fn connect(bookie: &BookieId) -> Result<Raw> {
        let stream = timeout(PATIENCE, TcpStream::connect(bookie.as_str()))
            .await
            .context("no connection in 10 s")??;
        stream.set_nodelay(true)?;
        Ok(Raw { stream })
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes))
            .await
            .context("the bookie takes nothing for 10 s")??;
        Ok(())
    }

    /// The next answer: its code, and what follows the head.
    pub async fn answer(&mut self) -> Result<(Code, Vec<u8>)> {
        let mut len = [0; 4];
        timeout(PATIENCE, self.stream.read_exact(&mut len)).await.context("no answer in 10 s")??;
        let mut body = vec![0; (u32::from_be_bytes(len) as usize).min(MAX_FRAME)];
        timeout(PATIENCE, self.stream.read_exact(&mut body)).await.context("half an answer")??;
        let code = body.get(4..8).and_then(|b| b.first_chunk()).context("an answer without a code")?;
        Ok((Code(i32::from_be_bytes(*code)), body.split_off(8)))
    }

    pub async fn ask(&mut self, request: &[u8]) -> Result<Code> {
        self.send(request).await?;
        Ok(self.answer().await?.0)
    }

    /// Waits until the bookie closes the connection, or answers that it does not do it.
    pub async fn must_refuse(&mut self) -> Result<()> {
        match timeout(PATIENCE, self.answer()).await.context("neither an answer nor an end in 10 s")? {
            Ok((Code::OK, _)) => bail!("the bookie did it"),
            Ok(_) => Ok(()),
            Err(error) if error.downcast_ref::<std::io::Error>().is_some() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Fails unless the bookie serves others: an add and a read on a new connection.
pub async fn must_serve(bookie: &BookieId, ledger: i64) -> Result<()> {
    let mut raw = Raw::connect(bookie).await.context("others are not served")?;
    let code = raw.ask(&add(ledger, 0, &KEY, b"canary")).await.context("an add of another connection")?;
    anyhow::ensure!(code == Code::OK, "an add of another connection got {code:?}");
    let code = raw.ask(&read(ledger, 0)).await.context("a read of another connection")?;
    anyhow::ensure!(code == Code::OK, "a read of another connection got {code:?}");
    Ok(())
}
