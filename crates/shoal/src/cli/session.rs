//! One run of a command: its global options, its terminal and its connection to a server, dialed when first needed.
//! Owns how errors of the client become failures; must never know what a command asks.

use std::{
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use api::{
    client::{Client, ClientError, Server},
    v1::ErrorDetail,
};
use model::{
    id::Name,
    problem::{Problem, Problems},
};
use tokio::sync::OnceCell;

use super::{Globals, discovery, failure::Failure, terminal::Terminal};

/// How long one address may take to answer the first knock: on a healthy network it is far below a second, and the next address waits.
const DIAL_MAX: Duration = Duration::from_secs(3);

/// One run of a command.
#[derive(Debug)]
pub struct Session {
    /// Options before or after any command.
    pub globals: Globals,
    /// Where output goes.
    pub terminal: Arc<Terminal>,
    connection: OnceCell<Client>,
}

impl Session {
    /// A session that has dialed nobody yet.
    pub fn new(globals: Globals, terminal: impl Into<Arc<Terminal>>) -> Self {
        Self { globals, terminal: terminal.into(), connection: OnceCell::new() }
    }

    /// A session with `server`, which need not be dialed.
    pub fn with_server(globals: Globals, terminal: Arc<Terminal>, server: Server) -> Self {
        Self { globals, terminal, connection: OnceCell::new_with(Some(Client::new(server))) }
    }

    /// Another session with the same server, for a task of its own.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { globals: self.globals.clone(), terminal: self.terminal.clone(), connection: self.connection.clone() }
    }

    /// The namespace of `-n`, or `default`.
    pub fn namespace(&self) -> Name {
        self.globals.namespace.clone().unwrap_or_else(Name::default_namespace)
    }

    /// The server: found and dialed at the first call.
    ///
    /// # Errors
    /// E0605 naming every address that was tried.
    pub async fn client(&self) -> Result<&Client, Failure> {
        let found = self.connection.get_or_try_init(|| async {
            let server = self.globals.server.clone();
            let (server, data) = match (server, self.globals.data_dir.clone()) {
                (None, None) => (text_of("SHOAL_SERVER"), data_directory(&self.globals)),
                explicit => explicit,
            };
            let addresses = discovery::candidates(server.as_deref(), data.as_deref())?;
            let (server, ()) = discovery::first_reachable(addresses, knock)?;
            Ok::<_, Failure>(Client::new(server))
        });
        found.await
    }

    /// The host the gateway is dialed at: where the API was found.
    pub fn gateway_host(&self) -> String {
        let host = match self.connection.get().map(Client::server) {
            Some(Server::Http(authority)) => authority.rsplit_once(':').map(|(host, _)| host),
            _ => None,
        };
        super::urls::gateway_host(host)
    }

    /// Who asks, as the history shows it: `ana@laptop`.
    pub fn by(&self) -> String {
        let user = text_of("USER").or_else(|| text_of("LOGNAME")).unwrap_or_else(|| match rustix::process::getuid() {
            root if root.is_root() => "root".to_owned(),
            other => format!("uid-{}", other.as_raw()),
        });
        format!("{user}@{}", super::server::node_name())
    }
}

/// The data directory of `--data-dir` or `SHOAL_DATA_DIR`.
pub fn data_directory(globals: &Globals) -> Option<PathBuf> {
    globals.data_dir.clone().or_else(|| text_of("SHOAL_DATA_DIR").map(PathBuf::from))
}

/// The sentence of a refusal without places in files.
pub fn refused(detail: ErrorDetail) -> Failure {
    if detail.details.problems.is_empty() {
        let mut problem = Problem::new("E0408", detail.message).help(detail.help);
        problem.code = detail.code;
        return Failure::of(problem);
    }
    Failure::all(Problems(detail.details.problems.into_iter().map(|found| found.problem).collect()), Default::default())
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = error.code().to_owned();
        match error {
            ClientError::Refused { error, .. } => refused(*error),
            other if code == "E0605" => {
                Self::of(Problem::new(&code, chain(&other)).help("try again; `shoal version` says whether the server answers"))
            }
            other => Self::of(Problem::new(&code, chain(&other))),
        }
    }
}

/// An error with its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn knock(server: &Server) -> std::io::Result<()> {
    match server {
        Server::Socket(path) => UnixStream::connect(path).map(drop),
        Server::Http(authority) => {
            let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
            for socket in authority.to_socket_addrs()? {
                match TcpStream::connect_timeout(&socket, DIAL_MAX) {
                    Ok(_) => return Ok(()),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

fn text_of(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}
