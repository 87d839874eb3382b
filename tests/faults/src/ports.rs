//! Ports for the servers of a case. They are below those that the kernel gives to outgoing connections, and every lane has
//! its own: between here and a server's start nobody takes its port.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use anyhow::{Result, bail};

use crate::lanes::{LANES, lane};

const FIRST: u16 = 20_000;
const EACH: u16 = 12_000 / LANES;

pub fn free_port() -> Result<u16> {
    free_ports(1, &[0])
}

/// A port that is free, and so are all that lie `beside` it, within `span` ports.
pub fn free_ports(span: u16, beside: &[u16]) -> Result<u16> {
    // Another run on this machine seldom begins at the same place.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    NEXT.compare_exchange(0, rand::random_range(1..EACH), Relaxed, Relaxed).ok();
    for _ in 0..EACH / span {
        let at = NEXT.fetch_add(span, Relaxed) % (EACH - span);
        let base = FIRST + lane() * EACH + at;
        let bound: std::io::Result<Vec<_>> =
            beside.iter().map(|more| TcpListener::bind(("127.0.0.1", base + more))).collect();
        if bound.is_ok() {
            return Ok(base);
        }
    }
    bail!("no {span} ports in a row are free from {FIRST} on")
}
