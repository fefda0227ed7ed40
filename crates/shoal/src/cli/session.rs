//! One run of a command: its global options, its terminal and its connection to a cluster, dialed when first needed.
//! Owns how errors of the client become failures; must never know what a command asks.

use std::{
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use api::{
    client::{Client, ClientError, Server, Stale},
    v1::ErrorDetail,
};
use model::{
    id::Name,
    problem::{Problem, Problems},
};
use tokio::sync::OnceCell;
use transport::AuthorityDigest;

use super::{
    Globals, age,
    context::{
        choice::{self, Choice, Said},
        file::{self, Contexts},
    },
    discovery,
    failure::{Exit, Failure},
    terminal::Terminal,
};

/// How long one address may take to answer the first knock: on a healthy network it is far below a second, and the next address waits.
const DIAL_MAX: Duration = Duration::from_secs(3);

/// How long a call is sent again while no server leads: an election takes about a second, a machine that starts anew a few of them.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One run of a command.
#[derive(Debug)]
pub struct Session {
    /// Options before or after any command.
    pub globals: Globals,
    /// Where output goes.
    pub terminal: Arc<Terminal>,
    /// The namespace of `-n` alone, without that of a context.
    pub said_namespace: Option<Name>,
    /// The saved contexts; none for a session that brings its server along.
    contexts: Option<Contexts>,
    connection: OnceCell<Client>,
    /// For a command that only reads: whether something that was read may be stale.
    stale: Option<Arc<AtomicBool>>,
}

impl Session {
    /// A session that has dialed nobody yet. The namespace of the context in effect stands in for `-n`.
    ///
    /// # Errors
    /// The file of contexts cannot be read.
    pub fn new(mut globals: Globals, terminal: impl Into<Arc<Terminal>>) -> Result<Self, Failure> {
        let path = file::path();
        let contexts = path.as_deref().map(Contexts::load).transpose()?.unwrap_or_default();
        let terminal = terminal.into();
        if let Some(path) = path.filter(|path| contexts != Contexts::default() && file::is_open(path)) {
            terminal.complain(format!("warning: others can read the tokens in {}; chmod 600 it", path.display()));
        }
        let said_namespace = globals.namespace.clone();
        globals.namespace = said_namespace.clone().or_else(|| choice::namespace(&said(&globals), &contexts));
        Ok(Self { globals, terminal, said_namespace, contexts: Some(contexts), connection: OnceCell::new(), stale: None })
    }

    /// A session with `server`, which need not be dialed.
    pub fn with_server(globals: Globals, terminal: Arc<Terminal>, server: Server) -> Self {
        let connection = OnceCell::new_with(Some(Client::new(server)));
        Self { said_namespace: globals.namespace.clone(), globals, terminal, contexts: None, connection, stale: None }
    }

    /// Another session with the same server, for a task of its own.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            globals: self.globals.clone(),
            terminal: self.terminal.clone(),
            said_namespace: self.said_namespace.clone(),
            contexts: self.contexts.clone(),
            connection: self.connection.clone(),
            stale: self.stale.clone(),
        }
    }

    /// The session of a command that only reads: where no leader answers, it shows what the server that is asked knows, and says so first.
    #[must_use]
    pub fn reading(self) -> Self {
        Self { stale: Some(Arc::default()), ..self }
    }

    /// How a command that ends with `exit` does: what may be stale is not what was asked for.
    pub fn ended(&self, exit: Exit) -> Exit {
        let stale = self.stale.as_ref().is_some_and(|stale| stale.load(Ordering::Relaxed));
        if stale { exit.worse(Exit::Unreachable) } else { exit }
    }

    /// The context in effect.
    pub fn context_name(&self) -> Option<&str> {
        let contexts = self.contexts.as_ref()?;
        said(&self.globals).context(contexts).ok().flatten().map(|(name, _)| name)
    }

    /// Where the cluster is looked for, and what is shown to it.
    ///
    /// # Errors
    /// What was said cannot be followed.
    pub fn choice(&self) -> Result<Choice, Failure> {
        said(&self.globals).choose(self.contexts.as_ref().unwrap_or(&Contexts::default()))
    }

    /// The namespace of `-n`, or `default`.
    pub fn namespace(&self) -> Name {
        self.globals.namespace.clone().unwrap_or_else(Name::default_namespace)
    }

    /// Whoever shows a token of the environment that is for one namespace works in it, unless something says another. A server that does not answer is told
    /// of by the command itself.
    pub async fn settle_namespace(&mut self) {
        if self.globals.namespace.is_some() || text_of("SHOAL_TOKEN").is_none() {
            return;
        }
        let Ok(client) = self.client().await else { return };
        let principal = client.clone().with_patience(Duration::ZERO).whoami().await;
        self.globals.namespace = principal.ok().and_then(|principal| principal.namespace);
    }

    /// The namespace that the next command works in without `-n`.
    pub fn usual_namespace(&self) -> Name {
        let saved = self.contexts.as_ref().and_then(|contexts| choice::namespace(&said(&self.globals), contexts));
        saved.unwrap_or_else(Name::default_namespace)
    }

    /// The server: found and dialed at the first call.
    ///
    /// # Errors
    /// E0605 naming every address that was tried.
    pub async fn client(&self) -> Result<&Client, Failure> {
        let found = self.connection.get_or_try_init(|| async {
            let choice = self.choice()?;
            let (first, ()) = discovery::first_reachable(choice.addresses.clone(), knock)?;
            let client = client(choice, first);
            let Some(noted) = self.stale.clone() else { return Ok::<_, Failure>(client) };
            let terminal = self.terminal.clone();
            Ok(client.or_stale(move |stale| {
                noted.store(true, Ordering::Relaxed);
                terminal.complain(stale_words(stale));
            }))
        });
        found.await
    }

    /// The client and the authority it was led to, when the one that is pinned has been replaced.
    pub fn followed(&self) -> Option<(&Client, AuthorityDigest)> {
        let client = self.connection.get()?;
        client.followed().map(|shown| (client, shown))
    }

    /// The host the gateway is dialed at: where the API was found.
    pub fn gateway_host(&self) -> String {
        let host = match self.connection.get().map(Client::server) {
            Some(Server::Http(authority) | Server::Https(authority, _)) => authority.rsplit_once(':').map(|(host, _)| host),
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

/// What is said before something that may be stale.
fn stale_words(stale: &Stale) -> String {
    let Stale { node, silence } = stale;
    format!(
        "warning: no leader answers; what follows is stale: what {node} knows, which last heard of a leader {} ago",
        age::brief(*silence)
    )
}

/// A client of the server that answered first, and of the others when they are of the same cluster.
fn client(choice: Choice, first: Server) -> Client {
    let others = choice.addresses.into_iter().filter(|server| choice.is_one_cluster && *server != first);
    let client = Client::of(std::iter::once(first.clone()).chain(others).collect()).with_patience(PATIENCE);
    match choice.token {
        Some(token) => client.with_token(token),
        None => client,
    }
}

/// What the options and the environment say about where to look.
fn said(globals: &Globals) -> Said {
    Said {
        server: globals.server.clone(),
        data_directory: globals.data_dir.clone(),
        context: globals.context.clone(),
        server_variable: text_of("SHOAL_SERVER"),
        data_directory_variable: text_of("SHOAL_DATA_DIR").map(PathBuf::from),
        token_variable: text_of("SHOAL_TOKEN"),
        authority_variable: text_of("SHOAL_CA_DIGEST"),
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
            ClientError::InDoubt { .. } => Self::of(
                Problem::new(&code, chain(&error))
                    .help("look whether it was done before you do it again: `shoal events` and `shoal audit` say"),
            ),
            other if code == "E0605" => {
                Self::of(Problem::new(&code, chain(&other)).help("try again; `shoal version` says whether the server answers"))
            }
            ClientError::Untrusted { .. } => Self::of(
                Problem::new(&code, chain(&error)).help("nothing was sent to it; `shoal explain E0610` says what may be the matter"),
            ),
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
        Server::Found(found) => found.knock(),
        Server::Http(authority) | Server::Https(authority, _) => {
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
