//! A node that forms a cluster with others by itself: what the crate `formation` decides, done with the files and sockets of this node. Owns that the service manager
//! hears what is waited for; must never decide who founds.

use std::{io, net::IpAddr, sync::Arc};

use formation::{Config, Doors, FormError, Next, Wait, Waiting, limits::JOIN_LIFE};
use founding::invitation::Invitation;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use transport::{AuthorityDigest, FormationToken, SystemClock};

use super::{
    addresses,
    enroll::{self, Enrolled},
    join::{self, Joining, Strangers},
    node::Node,
    notify::keep_told,
    options::FormOptions,
    start_error::StartError,
};

/// Waits for the others as long as it takes, then founds the cluster or joins it.
///
/// # Errors
/// The token is none, this node can never form a cluster with these others, or a file cannot be written.
pub async fn form(node: &Node, options: &FormOptions) -> Result<Enrolled, StartError> {
    let token = options.token.as_deref().ok_or(FormError::NoToken)?;
    let token: FormationToken = token.parse().map_err(FormError::from)?;
    let config = Config {
        token,
        peers: options.peers.clone(),
        name: node.options.name.clone(),
        advertised: addresses::introduction(node, &addresses::outward()).peer,
        data: node.directory.path.clone(),
        clock: Arc::new(SystemClock),
    };
    let mut waiting = Waiting::open(config, doors(node)?)?;
    let _told = AbortOnDropHandle::new(tokio::spawn(keep_all_told(waiting.waits())));
    loop {
        match waiting.settle().await? {
            Next::Begin => waiting.begun(enroll::begin(node, &sources(node, &waiting))?)?,
            Next::Found(authority) => return found(node, options, &waiting, authority),
            Next::Join(authority) => {
                let (token, addresses) = (waiting.join_token(authority), waiting.others());
                // The others may ask how this node stands until it has its place.
                let joining = Joining { addresses, token, replaces: None, strangers: Strangers::Meanwhile };
                return join::join_cluster(node, &joining).await;
            }
        }
    }
}

/// All others are bound to this cluster: it begins, and lets each of them in once.
fn found(node: &Node, options: &FormOptions, waiting: &Waiting, authority: AuthorityDigest) -> Result<Enrolled, StartError> {
    let enrolled = enroll::founded(node, authority, &sources(node, waiting))?;
    let others = options.peers.all().len().saturating_sub(1);
    if others > 0 {
        let uses = u32::try_from(others).unwrap_or(u32::MAX);
        let data = &node.directory.path;
        let written = Invitation::of(&waiting.join_token(authority), uses, JOIN_LIFE).write(data);
        written.map_err(|source| StartError::File { attempt: "write", path: Invitation::path(data), source })?;
    }
    tracing::info!(cluster.id = %enrolled.cluster, servers = others + 1, "all others are bound to it: this node founds the cluster");
    Ok(enrolled)
}

/// The addresses of a founder, best first: the others are reached from the first one, so they reach it there.
fn sources(node: &Node, waiting: &Waiting) -> Vec<IpAddr> {
    match waiting.source() {
        Some(source) => std::iter::once(source).chain(addresses::outward()).collect(),
        None => addresses::of_founder(node),
    }
}

/// Copies of the sockets that the control plane will serve.
fn doors(node: &Node) -> Result<Doors, StartError> {
    let copied = || {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "this node has no control plane that others reach");
        let sockets = node.sockets.control_plane.as_ref().ok_or_else(missing)?;
        Ok::<_, io::Error>(Doors {
            peer: sockets.peer.as_ref().ok_or_else(missing)?.try_clone()?,
            api: sockets.api.try_clone()?,
            api_socket: sockets.api_socket.try_clone()?,
            metrics: node.sockets.metrics.as_ref().map(std::net::TcpListener::try_clone).transpose()?,
        })
    };
    copied().map_err(|source| FormError::Listen(source).into())
}

/// Says to the service manager what is waited for, as long as there is something.
async fn keep_all_told(mut waits: watch::Receiver<Vec<Wait>>) {
    loop {
        let all: Vec<String> = waits.borrow_and_update().iter().map(ToString::to_string).collect();
        tokio::select! {
            changed = waits.changed() => if changed.is_err() { return },
            () = keep_told(all.join("; ")) => {}
        }
    }
}
