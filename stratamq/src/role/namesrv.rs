//! `stratamq namesrv`: a name server, from its folder and sockets to its end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use disk::real::Folder;
use namesrv::kept::Shelf;
use namesrv::serve::NameServerHandler;
use namesrv::{NameServer, Settings};
use net::http::Http;
use net::remoting::{Listening, Server};
use tokio::task::AbortHandle;

use super::process::{Stop, bind, serve_http};
use crate::config::NamesrvSettings;
use crate::error::{Error, Outcome};

/// Unanswered requests of a graceful stop are cut off after this.
const PATIENCE: Duration = Duration::from_millis(500);

/// A name server at work; dropped, it is as dead as a killed process.
pub struct Running {
    pub server: Arc<NameServer>,
    listening: Listening,
    watching: AbortHandle,
}

pub async fn run(settings: NamesrvSettings) -> Outcome {
    let mut stop = Stop::listen()?;
    let http = bind("http", &settings.http).await?;
    let folder = settings.data.0.first().map(|folder| folder.as_path());
    let running = Running::start(bind("listen", &settings.listen).await?, folder, settings.told()).await?;
    let _http = running.serve_http(http)?;
    tracing::info!(listen = %running.address(), "serving");
    stop.asked().await;
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}

impl Running {
    /// Serves on `listener`; keeps in `folder` what outlives a restart.
    pub async fn start(
        listener: Option<tokio::net::TcpListener>,
        folder: Option<&Path>,
        nsaddr: String,
    ) -> Outcome<Running> {
        let listener = listener.ok_or_else(|| Error::Usage("listen is empty".into()))?;
        let cannot = |error: &dyn std::fmt::Display| Error::cannot("start the name server", error);
        let port = listener.local_addr().map_err(|error| cannot(&error))?.port();
        let shelf = match folder {
            Some(folder) => {
                let folder = Folder::open(folder)
                    .map_err(|error| Error::cannot(format!("use the folder {}", folder.display()), error))?;
                Shelf(Some(Arc::new(folder)))
            }
            None => Shelf::default(),
        };
        let server = NameServer::new(Settings { shelf, nsaddr, port }).map_err(|error| cannot(&error))?;
        let handler = Arc::new(NameServerHandler(server.clone()));
        let listening = Server::new(handler, net::remoting::Settings::default()).listen(listener);
        let listening = listening.map_err(|error| cannot(&error))?;
        let watching = tokio::spawn(server.clone().watch()).abort_handle();
        Ok(Running { server, listening, watching })
    }

    pub fn serve_http(&self, listener: Option<tokio::net::TcpListener>) -> Outcome<Option<Http>> {
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
