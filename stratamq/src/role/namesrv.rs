//! `stratamq namesrv`: a name server, from its folder and sockets to its end.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use disk::real::Folder;
use namesrv::kept::Shelf;
use namesrv::serve::NameServerHandler;
use namesrv::{NameServer, Settings};
use net::http::Http;
use net::remoting::{Listening, Server};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::process::{Stop, bind, serve_http};
use crate::config::NamesrvSettings;
use crate::error::{Error, Outcome};

/// Unanswered requests of a graceful stop are cut off after this.
const PATIENCE: Duration = Duration::from_millis(500);

/// A name server at work; dropped, it is as dead as a killed process.
pub struct Running {
    pub server: Arc<NameServer>,
    folder: PathBuf,
    listening: Listening,
    watching: AbortHandle,
}

pub async fn run(settings: NamesrvSettings) -> Outcome {
    let mut stop = Stop::listen()?;
    let http = bind("http", &settings.http).await?;
    let folder = settings.data.0.first().map(|folder| folder.as_path());
    let running = Running::start(bind("listen", &settings.listen).await?, folder, settings.told()).await?;
    let _http = running.serve_http(http)?;
    tracing::info!(listen = %running.address(), data = %running.folder.display(), "serving");
    stop.asked().await;
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}

/// Where a name server keeps what it keeps if nobody says so: one that is started anew finds it, and several on one
/// machine do not meet.
fn usual_folder(variable: impl Fn(&str) -> Option<OsString>, port: u16) -> PathBuf {
    // A relative path would be another folder for whoever starts it elsewhere.
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let states = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    let states = states.unwrap_or_else(|| "/var/lib".into());
    states.join("stratamq").join(format!("namesrv-{port}"))
}

impl Running {
    /// Serves on `listener`; keeps in `folder`, or in the usual one, what outlives a restart.
    pub async fn start(
        listener: Option<TcpListener>,
        folder: Option<&Path>,
        nsaddr: String,
    ) -> Outcome<Running> {
        let listener = listener.ok_or_else(|| Error::Usage("listen is empty".into()))?;
        let cannot = |error: &dyn std::fmt::Display| Error::cannot("start the name server", error);
        let port = listener.local_addr().map_err(|error| cannot(&error))?.port();
        let usual = || usual_folder(|name| std::env::var_os(name), port);
        let folder = folder.map_or_else(usual, Path::to_path_buf);
        let disk = Folder::open(&folder).map_err(|error| {
            Error::cannot("keep keys and values", format!("{error}; --data names another folder"))
        })?;
        let shelf = Shelf(Some(Arc::new(disk)));
        let server = NameServer::new(Settings { shelf, nsaddr, port }).map_err(|error| cannot(&error))?;
        let handler = Arc::new(NameServerHandler(server.clone()));
        let listening = Server::new(handler, net::remoting::Settings::default()).listen(listener);
        let listening = listening.map_err(|error| cannot(&error))?;
        let watching = tokio::spawn(server.clone().watch()).abort_handle();
        Ok(Running { server, folder, listening, watching })
    }

    pub fn serve_http(&self, listener: Option<TcpListener>) -> Outcome<Option<Http>> {
        let server = self.server.clone();
        serve_http(listener, Arc::new(move |path| Box::pin(std::future::ready(server.http(path)))))
    }

    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    pub async fn stop(self) {
        self.watching.abort();
        self.listening.close(PATIENCE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_lies_below_the_users_state() {
        let folder = |set: &'static [(&str, &str)]| {
            let value =
                |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
            usual_folder(value, 9876).display().to_string()
        };
        assert_eq!(folder(&[("HOME", "/home/a")]), "/home/a/.local/state/stratamq/namesrv-9876");
        assert_eq!(folder(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]), "/s/stratamq/namesrv-9876");
        assert_eq!(folder(&[("XDG_STATE_HOME", "s"), ("HOME", "")]), "/var/lib/stratamq/namesrv-9876");
    }
}
