//! A cluster for tests: an authority, nodes with certificates, and a clock that stands still until it is set. Owns examples; must never be part of the product.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use model::id::{NodeId, Timestamp};

use crate::{
    Acceptor, AcceptorConfig, Asks, Authority, BACKDATE, Clock, ClusterId, Credentials, Dialer, HANDSHAKE_MAX, Identity, Issue, KeyPair,
    Known, Members, NODE_LIFETIME, NodeIdentity, Role,
};

/// When the tests take place.
pub(crate) const NOW: Timestamp = Timestamp(1_795_248_000_000);

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Whole seconds, as certificates count.
pub(crate) fn after(at: Timestamp, duration: Duration) -> Timestamp {
    Timestamp(at.0 + u64::try_from(duration.as_millis()).expect("small"))
}

pub(crate) fn before(at: Timestamp, duration: Duration) -> Timestamp {
    Timestamp(at.0 - u64::try_from(duration.as_millis()).expect("small"))
}

/// Says what it was told to.
#[derive(Debug, Clone)]
pub(crate) struct SetClock(Arc<AtomicU64>);

impl SetClock {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(now.0)))
    }

    pub(crate) fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// One cluster.
#[derive(Debug, Clone)]
pub(crate) struct Lab {
    pub(crate) authority: Authority,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self { authority: Authority::create(ClusterId::random(), NOW).expect("an authority") }
    }

    pub(crate) fn identity(&self, node: u64, role: Role) -> NodeIdentity {
        NodeIdentity { cluster: self.authority.cluster(), node: NodeId(node), role }
    }

    /// The authority that takes this one's place, and the certificate by which this one vouches for it.
    pub(crate) fn successor(&self) -> (Self, Vec<u8>) {
        let authority = Authority::create(self.authority.cluster(), NOW).expect("an authority");
        let cross = self.authority.vouch_for(&authority, NOW).expect("of the same cluster");
        (Self { authority }, cross)
    }

    /// A certificate made at `now` for that key.
    pub(crate) fn renewed(&self, identity: NodeIdentity, key: &KeyPair, now: Timestamp) -> Credentials {
        let issue = Issue { identity, key: &key.public(), names: &[], now, lifetime: NODE_LIFETIME };
        let certificate = self.authority.issue(&issue).expect("a certificate");
        Credentials::new(key.clone(), &certificate, self.authority.certificate().clone()).expect("they belong together")
    }

    /// A new key with a certificate made at `NOW`.
    pub(crate) fn node(&self, node: u64, role: Role) -> Credentials {
        self.renewed(self.identity(node, role), &KeyPair::generate(), NOW)
    }
}

/// A list of these, complete to that node.
pub(crate) fn members(complete_to: u64, of: &[&Credentials]) -> Members {
    let keys = of.iter().map(|credentials| (credentials.key_digest(), credentials.identity())).collect();
    Members { complete_to: NodeId(complete_to), keys }
}

/// One machine: what it shows, whom it knows, and what its clock says.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) identity: Identity,
    pub(crate) known: Known,
    pub(crate) clock: SetClock,
}

impl Machine {
    pub(crate) fn new(credentials: &Credentials, members: Members) -> Self {
        Self { identity: Identity::new(credentials.clone()), known: Known::new(members), clock: SetClock::at(NOW) }
    }

    pub(crate) fn acceptor(&self, asks: Asks) -> Acceptor {
        let Self { identity, known, clock } = self.clone();
        Acceptor::new(AcceptorConfig { identity, known, clock: Arc::new(clock), asks, handshake_max: HANDSHAKE_MAX })
    }

    pub(crate) fn dialer(&self) -> Dialer {
        let Self { identity, known, clock } = self.clone();
        Dialer { identity, known, clock: Arc::new(clock), connect_max: HANDSHAKE_MAX }
    }
}

/// How long a certificate made at `NOW` holds, from before its beginning to after its end.
pub(crate) fn edges() -> [(Timestamp, bool); 4] {
    let (begin, end) = (before(NOW, BACKDATE), after(NOW, NODE_LIFETIME));
    let second = Duration::from_secs(1);
    [(before(begin, second), false), (begin, true), (end, true), (after(end, second), false)]
}
