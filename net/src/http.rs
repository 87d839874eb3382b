//! A small HTTP server for metrics, health and readiness.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Connections at a time: scrapers and probes, not users.
const CONNECTIONS: usize = 64;
/// A request's head must be whole within this time.
const HEAD: Duration = Duration::from_secs(10);
/// A handler must have answered within this time.
const ANSWER: Duration = Duration::from_secs(30);

/// What a handler says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

impl Response {
    pub fn text(status: u16, body: impl Into<String>) -> Response {
        Response { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }

    pub fn json(status: u16, body: impl Into<String>) -> Response {
        Response { status, content_type: "application/json", body: body.into() }
    }

    /// Prometheus' text format.
    pub fn metrics(body: impl Into<String>) -> Response {
        Response { status: 200, content_type: "text/plain; version=0.0.4; charset=utf-8", body: body.into() }
    }

    pub fn not_found(path: &str) -> Response {
        let path: String = path.chars().take(100).collect();
        Response::text(404, format!("there is no {path} here\n"))
    }
}

/// Answers the GET of a path. MUST NOT block: it runs on the runtime that serves. One that takes longer than
/// [`ANSWER`] is told to be gone.
pub type Handler = Arc<dyn Fn(&str) -> Pin<Box<dyn Future<Output = Response> + Send>> + Send + Sync>;

/// A running HTTP server; dropped, it stops.
pub struct Http {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Http {
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Serves `handler` on `listener`, on the runtime that this is called on.
pub fn serve(listener: TcpListener, handler: Handler) -> io::Result<Http> {
    let address = listener.local_addr()?;
    let accepting = tokio::spawn(accept(listener, handler)).abort_handle();
    Ok(Http { address, accepting })
}

async fn accept(listener: TcpListener, handler: Handler) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // Connections end with the accepting task.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => {
                let handler = handler.clone();
                connections.spawn(async move {
                    converse(socket, handler).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("HTTP: cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(socket: TcpStream, handler: Handler) {
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(answer(&request, &handler).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(16 * 1024);
    if let Err(error) = http.serve_connection(TokioIo::new(socket), service).await {
        tracing::debug!("HTTP: {error}");
    }
}

async fn answer(request: &Request<Incoming>, handler: &Handler) -> hyper::Response<Full<Bytes>> {
    let said = match *request.method() {
        Method::GET | Method::HEAD => match timeout(ANSWER, handler(request.uri().path())).await {
            Ok(said) => said,
            Err(_) => Response::text(503, "the answer took too long\n"),
        },
        _ => Response::text(405, "only GET is answered here\n"),
    };
    let mut response = hyper::Response::new(Full::new(said.body.into()));
    *response.status_mut() = StatusCode::from_u16(said.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(said.content_type));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn said(request: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let handler: Handler = Arc::new(|path| {
            let said = match path {
                "/metrics" => Response::metrics("up 1\n"),
                "/ready" => Response::json(503, "{}"),
                other => Response::not_found(other),
            };
            Box::pin(std::future::ready(said))
        });
        let http = serve(listener, handler).unwrap();
        let mut socket = TcpStream::connect(http.address()).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        socket.read_to_string(&mut response).await.unwrap();
        response
    }

    #[tokio::test]
    async fn paths_are_answered() {
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let metrics = said(&get("/metrics")).await;
        assert!(
            metrics.starts_with("HTTP/1.1 200 OK\r\n") && metrics.ends_with("\r\n\r\nup 1\n"),
            "{metrics}"
        );
        assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{metrics}");
        assert!(said(&get("/ready")).await.starts_with("HTTP/1.1 503 "));
        assert!(said(&get("/else")).await.starts_with("HTTP/1.1 404 "));
        assert!(
            said("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                .await
                .starts_with("HTTP/1.1 405 ")
        );
    }

    #[tokio::test]
    async fn garbage_is_answered_or_cut_off() {
        let response = said("\u{1}\u{2}garbage\r\n\r\n").await;
        assert!(response.is_empty() || response.starts_with("HTTP/1.1 400 "), "{response}");
    }
}
