//! `stratamq admin bookie why-retained`: asks a running bookie what keeps its segments.

use std::time::Duration;

use protocol::BookieId;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Given, bookie::find};
use crate::cluster::Cluster;
use crate::error::{Error, Outcome};
use crate::output::say;
use crate::table;

/// What a bookie says of a segment at /retained.
#[derive(Deserialize)]
struct Segment {
    shelf: usize,
    segment: u32,
    written: u64,
    live: u64,
    sealed: bool,
    holders: Vec<Holder>,
}

#[derive(Deserialize)]
struct Holder {
    ledger: i64,
    bytes: u64,
    standing: String,
}

/// The bookie asks metadata about every ledger it has.
const PATIENCE: Duration = Duration::from_secs(60);
const MOST_BYTES: u64 = 256 << 20;
/// Of a segment's ledgers people are shown so many.
const SHOWN: usize = 5;

pub async fn run(given: &Given, cluster: &Cluster, id: &BookieId) -> Outcome {
    let bookie = find(cluster, id).await?;
    let Some(http) = bookie.http else {
        return Err(Error::Failed(format!("{id} serves no HTTP: start it with --http, then ask again")));
    };
    let body = tokio::time::timeout(PATIENCE, get(&http, "/retained")).await;
    let body = body
        .map_err(|_| Error::Failed(format!("{http} did not answer within {} s", PATIENCE.as_secs())))?
        .map_err(|why| Error::cannot(format!("ask {id} at http://{http}/retained"), why))?;
    if given.json {
        say!("{}", body.trim_end());
        return Ok(());
    }
    let segments: Vec<Segment> = serde_json::from_str(&body)
        .map_err(|error| Error::cannot(format!("read what {id} says: is it another version?"), error))?;
    let rows: Vec<_> = segments.iter().map(row).collect();
    table::print(["disk", "segment", "written", "live", "state", "held by"], &rows);
    Ok(())
}

fn row(segment: &Segment) -> [String; 6] {
    let mut holders: Vec<String> = segment
        .holders
        .iter()
        .take(SHOWN)
        .map(|holder| match holder.standing.as_str() {
            "named" => format!("{} ({})", holder.ledger, table::bytes(holder.bytes)),
            standing => {
                format!("{} ({}, {})", holder.ledger, table::bytes(holder.bytes), standing.replace('_', " "))
            }
        })
        .collect();
    if segment.holders.len() > SHOWN {
        holders.push(format!("and {} more ledgers", segment.holders.len() - SHOWN));
    }
    let state = if segment.sealed { "sealed" } else { "in use" };
    [
        segment.shelf.to_string(),
        segment.segment.to_string(),
        table::bytes(segment.written),
        table::bytes(segment.live),
        state.into(),
        holders.join(", "),
    ]
}

/// The body of an HTTP answer.
async fn get(address: &str, path: &str) -> Result<String, String> {
    let wrong = |error: std::io::Error| error.to_string();
    let mut socket = TcpStream::connect(address).await.map_err(wrong)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.map_err(wrong)?;
    let mut answer = Vec::new();
    socket.take(MOST_BYTES).read_to_end(&mut answer).await.map_err(wrong)?;
    let answer = String::from_utf8(answer).map_err(|_| "the answer is not text".to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer is not HTTP")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_string()),
        Some(status) => Err(format!("status {status}: {}", body.trim_end())),
        None => Err("the answer is not HTTP".into()),
    }
}
