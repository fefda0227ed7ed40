//! The way to a control plane: the socket of this node's own, or one connection with mutual TLS to whichever server of the cluster answers.
//! Owns which server that is, and the list of them; must never know what is asked.

use std::{
    collections::BTreeSet,
    fmt, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use api::{
    node::{KnownServer, ReportAnswer},
    peer::{ServerAddress, ServerList},
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;
use transport::{Channel, ChannelConfig, Dialer, Expected, KeyDigest, Members, NodeIdentity, Role};

use crate::limits::CONTROL_WAIT_MAX;

/// The way to a control plane. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Way {
    /// This node has one.
    Socket(PathBuf),
    /// It is elsewhere.
    Servers(Arc<Servers>),
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct Answer {
    /// Its head, and its body as it comes.
    pub response: Response<Incoming>,
    /// Where it comes from; the connection may end with it.
    pub through: Through,
}

/// The connection an answer came over.
#[derive(Debug)]
pub struct Through {
    _driver: Option<AbortOnDropHandle<()>>,
    server: Option<(Arc<Servers>, usize)>,
}

/// The servers of the cluster, of which one is talked to until it does not answer.
#[derive(Debug)]
pub struct Servers {
    dialer: Dialer,
    /// Where it is written down for the next start.
    notes: Notes,
    state: Mutex<State>,
}

/// What is written down of the servers.
#[derive(Debug)]
pub struct Notes {
    /// Their keys.
    pub members: PathBuf,
    /// Where they are.
    pub servers: PathBuf,
}

#[derive(Debug)]
struct State {
    addresses: Vec<(Expected, String)>,
    /// Counts the servers tried.
    current: usize,
    channel: Option<(usize, Channel)>,
}

impl Servers {
    /// The servers that were written down, and those at `addresses`; anyone of them may be any server, until the first answer says which is which.
    pub fn new(dialer: Dialer, addresses: Vec<String>, notes: Notes) -> Self {
        let mut all: Vec<String> = notes.read().servers.into_iter().map(|server| server.peer).collect();
        all.extend(addresses);
        let mut seen = BTreeSet::new();
        all.retain(|address| seen.insert(address.clone()));
        let addresses = all.into_iter().map(|address| (Expected::AnyServer, address)).collect();
        Self { dialer, notes, state: Mutex::new(State { addresses, current: 0, channel: None }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection in use and its number, to the next server when the last one failed.
    fn channel(&self) -> io::Result<(usize, Channel)> {
        let mut state = self.state();
        if let Some(channel) = &state.channel {
            return Ok(channel.clone());
        }
        let next = state.current.checked_rem(state.addresses.len()).and_then(|index| state.addresses.get(index)).cloned();
        let (expected, address) = next.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no server of the cluster is known"))?;
        let channel = (state.current, Channel::new(ChannelConfig::new(self.dialer.clone(), address, expected)));
        state.channel = Some(channel.clone());
        Ok(channel)
    }

    /// Lets the connection with this number go: the next request tries the next server.
    fn leave(&self, number: usize) {
        let mut state = self.state();
        if state.channel.as_ref().is_some_and(|(current, _)| *current == number) {
            state.channel = None;
            state.current = state.current.wrapping_add(1);
        }
    }

    fn learn(&self, answer: &ReportAnswer) {
        let cluster = self.dialer.identity.current().identity().cluster;
        let identity = |server: &KnownServer| NodeIdentity { cluster, node: server.node, role: Role::Server };
        let keys = answer.servers.iter().map(|server| (KeyDigest::from_bytes(server.key.0), identity(server)));
        let members = Members { complete_to: answer.complete_to, keys: keys.collect() };
        let known = self.dialer.known.current();
        // A server that lags would take removed ones back.
        if members.complete_to < known.complete_to {
            return;
        }
        let news = known.keys != members.keys;
        if let Some(error) = news.then(|| members.write(&self.notes.members).err()).flatten() {
            tracing::warn!(error = %error, "the list of servers cannot be kept");
        }
        self.dialer.known.publish(members);
        let listed: Vec<&KnownServer> = answer.servers.iter().filter(|server| !server.peer.is_empty()).collect();
        let addresses: Vec<_> = listed.iter().map(|server| (Expected::Node(identity(server)), server.peer.clone())).collect();
        let mut state = self.state();
        if !addresses.is_empty() && state.addresses != addresses {
            state.addresses = addresses;
            drop(state);
            let servers = listed.iter().map(|server| ServerAddress { node: server.node, peer: server.peer.clone() }).collect();
            if let Err(error) = self.notes.write(&ServerList { index: answer.complete_to.0, servers }) {
                tracing::warn!(error = %error, "where the servers are cannot be written down");
            }
        }
    }
}

impl Notes {
    /// Where the servers were; nowhere when that was not written down, or cannot be read: what the node was told at its start is left.
    fn read(&self) -> ServerList {
        std::fs::read(&self.servers).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Writes aside where they are, and renames it.
    fn write(&self, list: &ServerList) -> io::Result<()> {
        let aside = self.servers.with_extension("new");
        std::fs::write(&aside, serde_json::to_vec(list)?)?;
        std::fs::rename(&aside, &self.servers)
    }
}

impl Way {
    /// Sends one request.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> io::Result<Answer> {
        match self {
            Self::Socket(path) => {
                let stream = UnixStream::connect(path).await?;
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
                let driver = AbortOnDropHandle::new(tokio::spawn(async move {
                    // Whoever reads the response sees the same error, with more context.
                    let _ = connection.await;
                }));
                let response = sender.send_request(request).await.map_err(io::Error::other)?;
                Ok(Answer { response, through: Through { _driver: Some(driver), server: None } })
            }
            Self::Servers(servers) => {
                let (number, channel) = servers.channel()?;
                let request = request.map(|body| body.map_err(|never| match never {}).boxed_unsync());
                let answer = channel.request(request, CONTROL_WAIT_MAX / 2).await;
                let response = answer.inspect_err(|_| servers.leave(number)).map_err(io::Error::other)?;
                let through = Through { _driver: None, server: Some((servers.clone(), number)) };
                if response.status().is_server_error() {
                    // It is there and cannot help: another one may.
                    through.leave();
                }
                Ok(Answer { response, through })
            }
        }
    }

    /// Takes what a report was answered with.
    pub fn learn(&self, answer: ReportAnswer) {
        if let Self::Servers(servers) = self {
            servers.learn(&answer);
        }
    }
}

impl Through {
    /// What comes this way is of no use: the next request goes to the next server, where there are several.
    pub fn leave(&self) {
        if let Some((servers, number)) = &self.server {
            servers.leave(*number);
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(out, "{}", path.display()),
            Self::Servers(servers) => {
                let state = servers.state();
                let all: Vec<&str> = state.addresses.iter().map(|(_, address)| address.as_str()).collect();
                write!(out, "{}", all.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use transport::{Authority, ClusterId, Credentials, Identity, Issue, KeyPair, Known, NODE_LIFETIME, SystemClock};

    use super::*;

    fn dialer() -> Dialer {
        let clock = SystemClock;
        let now = transport::Clock::now(&clock);
        let authority = Authority::create(ClusterId::from_bytes([1; 16]), now).expect("an authority");
        let (key, identity) =
            (KeyPair::generate(), NodeIdentity { cluster: authority.cluster(), node: model::id::NodeId(5), role: Role::Worker });
        let issue = Issue { identity, key: &key.public(), names: &[], now, lifetime: NODE_LIFETIME };
        let certificate = authority.issue(&issue).expect("a certificate");
        let credentials = Credentials::new(key, &certificate, authority.certificate().clone()).expect("a pair");
        Dialer {
            identity: Identity::new(credentials),
            known: Known::new(Members::default()),
            clock: Arc::new(clock),
            connect_max: CONTROL_WAIT_MAX,
        }
    }

    #[tokio::test]
    async fn a_server_is_left_once_however_many_say_so() {
        let addresses = vec!["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()];
        let servers = Arc::new(Servers::new(dialer(), addresses, notes(Path::new("nowhere"))));
        let (first, _) = servers.channel().expect("a server");
        let through = Through { _driver: None, server: Some((servers.clone(), first)) };
        through.leave();
        let (second, _) = servers.channel().expect("the next server");
        assert_eq!(second, first + 1);
        through.leave();
        assert_eq!(servers.channel().expect("the same").0, second, "whoever is late does not drive it from the next one");
    }

    fn notes(directory: &Path) -> Notes {
        Notes { members: directory.join("members.json"), servers: directory.join("servers.json") }
    }

    #[test]
    fn servers_that_came_later_are_known_at_the_next_start() {
        let directory = tempfile::tempdir().expect("a directory");
        let begin = || Servers::new(dialer(), vec!["old:1".to_owned()], notes(directory.path()));
        let addresses = |servers: &Servers| servers.state().addresses.iter().map(|(_, address)| address.clone()).collect::<Vec<_>>();
        let servers = begin();
        assert_eq!(addresses(&servers), ["old:1"]);
        let server =
            |node: u64, peer: &str| KnownServer { node: model::id::NodeId(node), peer: peer.to_owned(), key: model::id::Digest([7; 32]) };
        let (servers_told, complete_to) = (vec![server(9, "new:1"), server(1, "old:1")], model::id::NodeId(12));
        servers.learn(&ReportAnswer { servers: servers_told, complete_to, closed: Vec::new(), authorities: None, wished: 0 });
        assert_eq!(addresses(&begin()), ["new:1", "old:1"]);
        std::fs::write(directory.path().join("servers.json"), b"{").expect("written");
        assert_eq!(addresses(&begin()), ["old:1"], "what cannot be read is done without");
    }
}
