//! What all processes that serve do alike: binding, HTTP, and ending when they are told to.

use net::http::{Handler, Http};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Address;
use crate::error::{Error, Outcome};

/// SIGTERM or SIGINT.
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub fn listen() -> Outcome<Stop> {
        let watch = |kind| signal(kind).map_err(|error| Error::cannot("watch for signals", error));
        Ok(Stop { terminate: watch(SignalKind::terminate())?, interrupt: watch(SignalKind::interrupt())? })
    }

    pub async fn asked(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A socket on the address under `key`; nothing if there is none. Binding comes first: a port in use is told before a
/// disk is touched.
pub async fn bind(key: &str, address: &Address) -> Outcome<Option<TcpListener>> {
    let Some(address) = address.get() else { return Ok(None) };
    let bound = TcpListener::bind(address).await;
    bound.map(Some).map_err(|error| {
        Error::Failed(format!("cannot serve on {key} = '{address}': {error}; choose another with --{key}"))
    })
}

pub fn serve_http(listener: Option<TcpListener>, handler: Handler) -> Outcome<Option<Http>> {
    let Some(listener) = listener else { return Ok(None) };
    let served = net::http::serve(listener, handler);
    served.map(Some).map_err(|error| Error::cannot("serve HTTP", error))
}
