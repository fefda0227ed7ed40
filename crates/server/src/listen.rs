//! The sockets of a control plane, each behind a door of its kind. Owns which door it is and when something is behind it; what happens at a door is the crate
//! `doors`', and what is answered `routes.rs`'.

use std::{io, net::TcpListener, os::unix::net::UnixListener, sync::Arc};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use doors::{behind::Behind, gate::Gate, hosts::Hosts, local::serve, network::Door};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use transport::Acceptor;

use crate::{api_error::ApiError, core::Core, routes};

/// The sockets of a control plane.
pub(crate) struct Sockets {
    /// Users' tools, over TCP: plain on loopback, over TLS elsewhere.
    pub(crate) api: TcpListener,
    /// Users' tools, on this machine.
    pub(crate) api_socket: UnixListener,
    /// This node's worker.
    pub(crate) control: UnixListener,
    /// Other nodes.
    pub(crate) peer: Option<TcpListener>,
    /// Prometheus.
    pub(crate) metrics: Option<TcpListener>,
}

/// One gate per kind of caller.
#[derive(Debug, Clone)]
pub(crate) struct Gates {
    /// Users' tools.
    pub(crate) public: Gate,
    /// Workers.
    pub(crate) node: Gate,
    /// Other nodes.
    pub(crate) peer: Gate,
    /// Prometheus.
    pub(crate) metrics: Gate,
}

impl Default for Gates {
    fn default() -> Self {
        let gate = || Gate::closed(starting);
        Self { public: gate(), node: gate(), peer: gate(), metrics: gate() }
    }
}

impl Gates {
    /// Starts to listen on every socket, until `stop`; for other nodes until `gone`: a leader that stops must hear who leads after it.
    pub(crate) fn serve(
        &self,
        servers: &mut JoinSet<()>,
        sockets: Sockets,
        (hosts, acceptor): (&Hosts, &Acceptor),
        (stop, gone): (&CancellationToken, &CancellationToken),
    ) -> io::Result<()> {
        let Sockets { api, api_socket, control, peer, metrics } = sockets;
        if api.local_addr()?.ip().is_loopback() {
            servers.spawn(serve((tcp(api)?, Behind::loopback), self.public.router(Some(hosts)), stop.clone()));
        } else {
            servers.spawn(Door::api(acceptor.clone(), self.public.router(None)).serve(tcp(api)?, stop.clone()));
        }
        servers.spawn(serve((unix(api_socket)?, Behind::socket), self.public.router(None), stop.clone()));
        servers.spawn(serve((unix(control)?, |_: &_| Behind::Anyone), self.node.router(None), stop.clone()));
        if let Some(peer) = peer {
            servers.spawn(Door::peer(acceptor.clone(), self.peer.router(None)).serve(tcp(peer)?, gone.clone()));
        }
        if let Some(metrics) = metrics {
            servers.spawn(serve((tcp(metrics)?, |_: &_| Behind::Anyone), self.metrics.router(None), stop.clone()));
        }
        Ok(())
    }

    /// From here on requests meet their routes.
    pub(crate) fn open(&self, core: &Arc<Core>) {
        self.public.open(routes::public(core));
        self.node.open(routes::node(core));
        self.metrics.open(routes::metrics(core));
    }

    /// From here on other nodes meet theirs: consensus talks to them before the state is there.
    pub(crate) fn open_to_peers(&self, core: &Arc<Core>) {
        self.peer.open(routes::peer(core));
    }
}

/// What is said while the log is replayed.
fn starting(path: &str) -> Response {
    let waits_for = "the log to be read";
    match path {
        "/healthz" => "alive\n".into_response(),
        "/readyz" => {
            let view = serde_json::json!({"ready": false, "waitsFor": [waits_for], "uptime": 0});
            (StatusCode::SERVICE_UNAVAILABLE, axum::Json(view)).into_response()
        }
        _ => {
            // As without a leader: nothing was begun, so whoever asks may ask again, or another server.
            let message = format!("the control plane starts: it waits for {waits_for}");
            ApiError::new("E0422", message, "try again in a moment").into_response()
        }
    }
}

fn tcp(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

fn unix(listener: UnixListener) -> io::Result<tokio::net::UnixListener> {
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}
