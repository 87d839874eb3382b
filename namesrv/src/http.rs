//! What is answered by HTTP: where name servers are, metrics, health.

use std::sync::atomic::{AtomicU64, Ordering};

use net::http::Response;

use crate::NameServer;

/// What clients ask for by default; `-<unit>` may follow.
const NSADDR: &str = "/rocketmq/nsaddr";

impl NameServer {
    pub fn http(&self, path: &str) -> Response {
        match path {
            "/metrics" => Response::metrics(self.metrics()),
            "/health" | "/ready" => Response::text(200, "ok\n"),
            path if path
                .strip_prefix(NSADDR)
                .is_some_and(|unit| unit.is_empty() || unit.starts_with('-')) =>
            {
                match self.settings.nsaddr.as_str() {
                    "" => {
                        Response::text(503, "this name server was not told its own address: set 'nsaddr'\n")
                    }
                    addresses => Response::text(200, addresses),
                }
            }
            other => Response::not_found(other),
        }
    }

    fn metrics(&self) -> String {
        let (brokers, topics) = self.registry.lock().counts();
        let counts = &self.counts;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut text = String::new();
        for (name, kind, about, value) in [
            ("brokers", "gauge", "Broker names that are registered", brokers as u64),
            ("topics", "gauge", "Topics that have a route", topics as u64),
            ("requests_total", "counter", "Requests", read(&counts.requests)),
            ("routes_total", "counter", "Routes that were found", read(&counts.routes)),
            ("routes_missing_total", "counter", "Routes that nobody has", read(&counts.routes_missing)),
            ("registrations_total", "counter", "Registrations of brokers", read(&counts.registrations)),
            ("registrations_refused_total", "counter", "Refused registrations", read(&counts.refused)),
            (
                "brokers_dropped_total",
                "counter",
                "Brokers that fell silent or were cut off",
                read(&counts.dropped),
            ),
        ] {
            let name = format!("stratamq_namesrv_{name}");
            text.push_str(&format!("# HELP {name} {about}\n# TYPE {name} {kind}\n{name} {value}\n"));
        }
        text
    }
}
