//! Who this worker is to the nodes of its cluster: its key, its certificate and its list of servers, read at start and kept fresh.
//! Owns the worker's side of mutual TLS; must never hold a key of the role server.

use std::{path::Path, sync::Arc};

use api::peer::{CertificateRequest, NodeRole, RenewRequest};
use tokio::time::{MissedTickBehavior, interval};
use transport::{Acceptor, AcceptorConfig, Asks, Clock, Credentials, Dialer, HANDSHAKE_MAX, Identity, Known, Members, SystemClock};

use crate::{
    Settings,
    agent::chain,
    control::Control,
    directories::Directories,
    limits::{CONTROL_WAIT_MAX, RENEWAL_LOOK_EVERY},
    way::{Notes, Servers, Way},
};

/// The file with the list of servers.
const MEMBERS_FILE: &str = "members.json";

/// Where the servers are, in the worker's identity directory; the supervisor reads it too.
const SERVERS_FILE: &str = "servers.json";

/// Who this worker is, and whom it knows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Standing {
    identity: Identity,
    known: Known,
    clock: Arc<dyn Clock>,
    directories: Directories,
}

impl Standing {
    /// Reads what the node was given when it joined.
    pub fn read(directories: &Directories) -> Result<Self, String> {
        let credentials = Credentials::read(&directories.identity()).map_err(|error| chain(&error))?;
        // Without the list a server's certificate speaks for itself, which is so until the first report is answered.
        let members = Members::read(&directories.identity().join(MEMBERS_FILE)).unwrap_or_default();
        let (identity, known) = (Identity::new(credentials), Known::new(members));
        Ok(Self { identity, known, clock: Arc::new(SystemClock), directories: directories.clone() })
    }

    /// The way to a control plane: this node's own when it has one.
    pub fn way(&self, settings: &Settings, directories: &Directories) -> Way {
        if settings.servers.is_empty() {
            return Way::Socket(directories.control_socket());
        }
        let dialer = Dialer {
            identity: self.identity.clone(),
            known: self.known.clone(),
            clock: self.clock.clone(),
            connect_max: CONTROL_WAIT_MAX / 2,
        };
        let identity = directories.identity();
        let notes = Notes { members: identity.join(MEMBERS_FILE), servers: identity.join(SERVERS_FILE) };
        Way::Servers(Arc::new(Servers::new(dialer, settings.servers.clone(), notes)))
    }

    /// Takes connections of servers.
    pub fn acceptor(&self) -> Acceptor {
        Acceptor::new(AcceptorConfig {
            identity: self.identity.clone(),
            known: self.known.clone(),
            clock: self.clock.clone(),
            asks: Asks::Always,
            handshake_max: HANDSHAKE_MAX,
        })
    }

    /// Exchanges the certificate whenever half of its life is over; ends with the worker.
    pub async fn keep_renewed(self, control: Control) {
        let mut ticks = interval(RENEWAL_LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let current = self.identity.current();
            if self.clock.now() < current.validity().renew_at() {
                continue;
            }
            match self.renew(&current, &control, &self.directories.identity()).await {
                Ok(()) => tracing::info!("the certificate of this worker is renewed"),
                Err(why) => tracing::warn!(error = why, "the certificate of this worker cannot be renewed yet"),
            }
        }
    }

    async fn renew(&self, current: &Credentials, control: &Control, directory: &Path) -> Result<(), String> {
        let request = CertificateRequest { role: NodeRole::Worker, request: current.key().request() };
        let certified = control.renew(&RenewRequest { request, node: None }).await.map_err(|error| chain(&error))?;
        let fresh = Credentials::new(current.key().clone(), &certified.certificate, current.authority().clone());
        let fresh = fresh.map_err(|error| chain(&error))?;
        fresh.write(directory).map_err(|error| chain(&error))?;
        self.identity.replace(fresh).map_err(|error| chain(&error))
    }
}
