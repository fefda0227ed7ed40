//! Who this worker is to the nodes of its cluster: its key, its certificate and its list of servers, read at start and kept fresh.
//! Owns the worker's side of mutual TLS; must never hold a key of the role server.

use std::{sync::Arc, time::Duration};

use api::{
    node::HeldAuthorities,
    peer::{CertificateRequest, NodeRole, RenewRequest},
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};
use transport::{
    Acceptor, AcceptorConfig, Asks, AuthorityList, Clock, Credentials, Dialer, HANDSHAKE_MAX, Identity, KeyDigest, Known, Members,
    SystemClock,
};

use crate::{
    Settings,
    agent::chain,
    control::Control,
    directories::Directories,
    limits::{CONTROL_WAIT_MAX, RENEWAL_LOOK_EVERY, RENEWAL_RETRY_MAX, RENEWAL_RETRY_MIN, RENEWAL_SPREAD, RETRY_WAIT_MAX},
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

    /// How far this worker goes with the cluster's authorities.
    pub fn held(&self) -> HeldAuthorities {
        let current = self.identity.current();
        HeldAuthorities { version: current.authorities().version(), shows: current.authority().digest() }
    }

    /// Grows whenever that is something else.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.identity.changes()
    }

    /// Goes by these from now on, when they are newer.
    pub fn learn(&self, authorities: &AuthorityList) {
        match self.identity.learn(authorities, &self.directories.identity()) {
            Ok(true) => tracing::info!(authorities.version = authorities.version, "this worker goes by other authorities"),
            Ok(false) => {}
            Err(error) => tracing::warn!(error = chain(&error), "this worker cannot go by the cluster's authorities"),
        }
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

    /// The servers by what this worker heard last of them.
    pub fn known(&self) -> Known {
        self.known.clone()
    }

    /// Exchanges the certificate whenever half of its life is over or another authority signs; ends with the worker.
    pub async fn keep_renewed(self, control: Control) {
        let mut changes = self.changes();
        let mut ticks = interval(RENEWAL_LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failures = 0;
        loop {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                _ = ticks.tick() => {}
            }
            let current = self.identity.current();
            if !current.is_due(self.clock.now()) {
                continue;
            }
            if !current.is_of_the_signing() {
                // Every worker of the cluster learns of it at about the same time.
                sleep(share_of(RENEWAL_SPREAD, &current.key_digest())).await;
            }
            match self.renew(&current, &control).await {
                Ok(()) => {
                    failures = 0;
                    tracing::info!("the certificate of this worker is renewed");
                }
                Err(why) => {
                    tracing::warn!(error = why, "the certificate of this worker cannot be renewed yet");
                    // A rotation waits for it.
                    let most = if current.is_of_the_signing() { RENEWAL_RETRY_MAX } else { RETRY_WAIT_MAX };
                    ticks.reset_after(pause_after(failures, most, &current.key_digest()));
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    async fn renew(&self, current: &Credentials, control: &Control) -> Result<(), String> {
        let request = CertificateRequest { role: NodeRole::Worker, request: current.key().request() };
        let certified = control.renew(&RenewRequest { request, node: None }).await.map_err(|error| chain(&error))?;
        let renewed = self.identity.renew(&certified.certificate, certified.authorities.as_ref(), &self.directories.identity());
        renewed.map_err(|error| chain(&error))
    }
}

/// How long to wait for the next try after one that failed when `failures` had failed before: twice as long each time, `most` at most, and of that between a
/// half and the whole, so that workers who lost their servers together do not come back together.
fn pause_after(failures: u32, most: Duration, key: &KeyDigest) -> Duration {
    let whole = RENEWAL_RETRY_MIN.saturating_mul(1 << failures.min(16)).min(most);
    whole / 2 + share_of(whole / 2, key)
}

/// A part of `spread` that is another one for almost every key.
fn share_of(spread: Duration, key: &KeyDigest) -> Duration {
    let [first, second, ..] = key.to_bytes();
    spread * u32::from(u16::from_be_bytes([first, second])) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(first: u8, second: u8) -> KeyDigest {
        let mut bytes = [7; 32];
        (bytes[0], bytes[1]) = (first, second);
        KeyDigest::from_bytes(bytes)
    }

    #[test]
    fn a_renewal_that_failed_is_tried_again_soon_and_then_less_often() {
        let check = |failures, most: Duration, first: u64, last: u64| {
            let pause = |key| pause_after(failures, most, &key).as_millis();
            assert_eq!((pause(key(0, 0)), pause(key(255, 255))), (first.into(), last.into()), "after {failures}");
        };
        check(0, RENEWAL_RETRY_MAX, 500, 1_000);
        check(1, RENEWAL_RETRY_MAX, 1_000, 2_000);
        check(3, RENEWAL_RETRY_MAX, 4_000, 8_000);
        check(4, RENEWAL_RETRY_MAX, 7_500, 15_000);
        check(u32::MAX, RENEWAL_RETRY_MAX, 7_500, 15_000);
        // What a rotation waits for is never put off for longer than the way to a server is.
        check(9, RETRY_WAIT_MAX, 1_000, 2_000);
    }

    #[test]
    fn keys_share_the_time_out() {
        let share = |first, second| share_of(Duration::from_secs(2), &key(first, second));
        assert_eq!((share(0, 0), share(255, 255)), (Duration::ZERO, Duration::from_secs(2)));
        assert!(share(127, 255) < Duration::from_secs(1) && share(128, 1) > Duration::from_secs(1));
    }
}
