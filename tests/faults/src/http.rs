//! As much HTTP as asking a bookie for its state takes.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The status of a GET; `None` if nobody answers within a second.
pub async fn status(address: &str, path: &str) -> Option<u16> {
    let head = timeout(Duration::from_secs(1), get(address, path)).await.ok()?.ok()?;
    head.split(' ').nth(1)?.parse().ok()
}

async fn get(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = vec![];
    stream.take(64 << 10).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
