//! Ports for the servers of a case. They are below those that the kernel gives to outgoing connections, and every lane has
//! its own: between here and a server's start nobody takes its port.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use anyhow::{Result, bail};

use crate::lanes::{LANES, lane};

const FIRST: u16 = 20_000;
const EACH: u16 = 12_000 / LANES;

pub fn free_port() -> Result<u16> {
    free_ports(1, &[0])
}

/// A port that is free, and so are all that lie `beside` it, within `span` ports. Nobody else in this process is given
/// any of them, listened to or not, until the whole lane was handed out: a hot standby listens only once it takes over.
pub fn free_ports(span: u16, beside: &[u16]) -> Result<u16> {
    // Another run on this machine seldom begins at the same place.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.compare_exchange(0, rand::random_range(1..EACH).into(), Relaxed, Relaxed).ok();
    for _ in 0..=EACH / span {
        let Some(at) = place(NEXT.fetch_add(span.into(), Relaxed), span) else { continue };
        let base = FIRST + lane() * EACH + at;
        let bound: std::io::Result<Vec<_>> =
            beside.iter().map(|more| TcpListener::bind(("127.0.0.1", base + more))).collect();
        if bound.is_ok() {
            return Ok(base);
        }
    }
    bail!("no {span} ports in a row are free from {FIRST} on")
}

/// Where in the lane the `next` port lies, unless the lane ends before `span` of them.
fn place(next: u32, span: u16) -> Option<u16> {
    let at = (next % u32::from(EACH)) as u16;
    (at + span <= EACH).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_handed_out_twice_wherever_the_lane_begins_again() {
        for first in 0..u32::from(EACH) {
            let (mut next, mut taken) = (first, vec![false; EACH.into()]);
            for span in [1, 1, 80, 1, 80, 1, 1, 1].repeat(20) {
                if let Some(at) = place(next, span) {
                    for port in at..at + span {
                        assert!(
                            !std::mem::replace(&mut taken[usize::from(port)], true),
                            "{port} from {first}"
                        );
                    }
                }
                next += u32::from(span);
            }
        }
    }
}
