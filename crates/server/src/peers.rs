//! The way to other nodes: one kept connection per node and lane, addresses as the state has them. Owns the connections; must never decide what is asked of
//! whom.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use api::v1::ErrorBody;
use arc_swap::ArcSwap;
use axum::body::Body;
use http_body_util::{BodyExt, Limited};
use hyper::{Request, Response, body::Incoming};
use model::{id::NodeId, problem::chain};
use serde::de::DeserializeOwned;
use state::State;
use tokio::time::timeout;
use transport::{
    Channel, ChannelConfig, ChannelError, ClusterId, Dialer, Expected, KeyDigest, Known, Members, NodeIdentity, Peer, Role, Sent,
};

use crate::{
    api_error::ApiError,
    forward::no_leader,
    limits::{ANSWER_GRACE, PEER_ANSWER_BYTES_MAX},
};

/// What goes over a connection of its own: one kind of traffic never waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Heartbeats, votes and reads of consensus.
    Urgent,
    /// Entries.
    Entries,
    /// Snapshots.
    Snapshots,
    /// Forwarded calls, reports.
    Calls,
    /// Artifacts.
    Bytes,
    /// Questions to workers.
    Mesh,
}

/// The way to every other node.
#[derive(Debug)]
pub(crate) struct Peers {
    dialer: Dialer,
    cluster: ClusterId,
    known: Known,
    /// Where each node is, as the state says.
    addresses: ArcSwap<BTreeMap<NodeId, Addresses>>,
    channels: Mutex<BTreeMap<(NodeId, Lane), Channel>>,
}

#[derive(Debug, Clone, Default)]
struct Addresses {
    peer: String,
    mesh: String,
}

impl Peers {
    /// No connection yet.
    pub(crate) fn new(dialer: Dialer) -> Self {
        let (cluster, known) = (dialer.identity.current().identity().cluster, dialer.known.clone());
        Self { dialer, cluster, known, addresses: ArcSwap::default(), channels: Mutex::default() }
    }

    /// Learns who is there and where from `state`, which says when a node is gone too.
    pub(crate) fn learn(&self, state: &State) {
        let addresses =
            state.nodes().map(|node| (node.id, Addresses { peer: node.addresses.peer.clone(), mesh: node.addresses.mesh.clone() }));
        let addresses: BTreeMap<_, _> = addresses.collect();
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|(node, _), _| addresses.contains_key(node));
        drop(channels);
        self.addresses.store(Arc::new(addresses));
        self.known.publish(members(state, self.cluster));
    }

    /// Whether `peer` belongs to the cluster.
    pub(crate) fn admits(&self, peer: &Peer) -> bool {
        self.known.admits(peer)
    }

    /// Sends a request to a node and returns the head of its answer.
    pub(crate) async fn request(
        &self,
        node: u64,
        lane: Lane,
        request: Request<Body>,
        within: Duration,
    ) -> Result<Response<Incoming>, ChannelError> {
        let channel = self.channel(NodeId(node), lane, None);
        channel.request(request.map(carried), within).await
    }

    /// As [`Self::request`] over the lane of calls, but gives up once `pointless` ends, and soon after what was sent by then.
    pub(crate) async fn request_unless(
        &self,
        node: u64,
        request: Request<Body>,
        within: Duration,
        pointless: impl Future<Output = ()>,
    ) -> Result<Response<Incoming>, ChannelError> {
        let channel = self.channel(NodeId(node), Lane::Calls, None);
        channel.request_unless(request.map(carried), within, pointless, ANSWER_GRACE).await
    }

    /// Sends a request to a server and reads the JSON it answers.
    pub(crate) async fn json<A: DeserializeOwned>(
        &self,
        node: u64,
        lane: Lane,
        request: Request<Body>,
        within: Duration,
    ) -> Result<A, ApiError> {
        let away = |_, why: String| ApiError::new("E0407", why, "try again in a moment");
        self.exchange(node, lane, request, within, away).await
    }

    /// As [`Self::json`] over the lane of calls, of a server that changes something for it: what may have been done is in doubt.
    pub(crate) async fn change<A: DeserializeOwned>(&self, node: u64, request: Request<Body>, within: Duration) -> Result<A, ApiError> {
        let away = |sent, why: String| match sent {
            Sent::Never => no_leader(&why),
            Sent::Perhaps => ApiError::in_doubt(&why),
        };
        self.exchange(node, Lane::Calls, request, within, away).await
    }

    async fn exchange<A: DeserializeOwned>(
        &self,
        node: u64,
        lane: Lane,
        request: Request<Body>,
        within: Duration,
        away: impl Fn(Sent, String) -> ApiError,
    ) -> Result<A, ApiError> {
        let away = |sent, why: String| away(sent, format!("{} does not answer: {why}", NodeId(node)));
        let answer = self.request(node, lane, request, within).await.map_err(|error| away(error.sent(), chain(&error)))?;
        let away = |why| away(Sent::Perhaps, why);
        let (head, body) = answer.into_parts();
        let whole = timeout(within, Limited::new(body, PEER_ANSWER_BYTES_MAX).collect()).await.map_err(|_| away("in time".into()))?;
        let bytes = whole.map_err(|error| away(error.to_string()))?.to_bytes();
        if head.status.is_success() {
            let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
            return serde_json::from_slice(bytes).map_err(|error| away(error.to_string()));
        }
        Err(match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(ErrorBody { error }) => ApiError::new(&error.code, error.message, error.help).status(head.status),
            Err(_) => away(format!("status {}", head.status)),
        })
    }

    /// The connection for `lane` to `node`; `fallback` is where it is when the state does not say.
    pub(crate) fn channel(&self, node: NodeId, lane: Lane, fallback: Option<&str>) -> Channel {
        let addresses = self.addresses.load();
        let known = addresses.get(&node).map(|addresses| if lane == Lane::Mesh { &addresses.mesh } else { &addresses.peer });
        let address = known.map(String::as_str).filter(|address| !address.is_empty()).or(fallback).unwrap_or_default();
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&(node, lane)).filter(|channel| channel.to() == address) {
            return channel.clone();
        }
        let role = if lane == Lane::Mesh { Role::Worker } else { Role::Server };
        let expected = Expected::Node(NodeIdentity { cluster: self.cluster, node, role });
        let channel = Channel::new(ChannelConfig::new(self.dialer.clone(), address, expected));
        channels.insert((node, lane), channel.clone());
        channel
    }
}

/// A body as it goes over a channel.
fn carried(body: Body) -> transport::Body {
    body.map_err(Into::into).boxed_unsync()
}

/// The keys of every node of `state`.
pub(crate) fn members(state: &State, cluster: ClusterId) -> Members {
    let role = |role| match role {
        state::command::NodeRole::Server => Role::Server,
        state::command::NodeRole::Worker => Role::Worker,
    };
    let keys = state.nodes().flat_map(|node| {
        let identity = move |of| NodeIdentity { cluster, node: node.id, role: role(of) };
        node.keys.roles().map(move |(of, key)| (KeyDigest::from_bytes(key), identity(of)))
    });
    Members { complete_to: NodeId(state.index().0), keys: keys.collect() }
}
