//! This machine while it waits: what it says of itself, what it is bound to, what it shows in handshakes. Owns that a bond is on disk before anybody hears of it;
//! must never decide.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Instant,
};

use api::peer::{FormAnswer, FormRequest};
use model::id::NodeId;
use tokio::sync::watch;
use transport::{
    AUTHORITY_LIFETIME, Acceptor, AcceptorConfig, Asks, Authority, AuthorityDigest, Clock, ClusterId, Credentials, FormationToken,
    HANDSHAKE_MAX, Identity, Issue, KeyPair, Known, Members, NodeIdentity, Role,
};

use crate::{
    bond::Bond,
    decide::{Own, Seen, Wait, consent},
    error::FormError,
    peers::Peers,
    waiting::Config,
};

/// A machine without a cluster.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) token: FormationToken,
    pub(crate) peers: Peers,
    pub(crate) clock: Arc<dyn Clock>,
    /// The authority that it shows: its own, made for this run and never used for a cluster.
    pub(crate) shown: AuthorityDigest,
    pub(crate) acceptor: Acceptor,
    pub(crate) started: Instant,
    /// What it waits for at the moment.
    pub(crate) waits: watch::Sender<Vec<Wait>>,
    name: String,
    run: String,
    is: OnceLock<String>,
    source: OnceLock<IpAddr>,
    bond: watch::Sender<Option<Bond>>,
    data: PathBuf,
}

impl Machine {
    /// # Errors
    /// It is bound by another token, or a file cannot be read.
    pub(crate) fn new(config: Config) -> Result<Self, FormError> {
        let Config { token, peers, name, advertised, data, clock } = config;
        let bond = Bond::read(&data)?;
        if let Some(bond) = bond.filter(|bond| bond.token != token.id()) {
            return Err(FormError::OtherBond { authority: bond.authority });
        }
        let shown = shown(clock.as_ref()).map_err(|why| FormError::Shown { why })?;
        let digest = shown.authority().digest();
        let acceptor = Acceptor::new(AcceptorConfig {
            identity: Identity::new(shown),
            known: Known::new(Members::default()),
            clock: clock.clone(),
            asks: Asks::Never,
            handshake_max: HANDSHAKE_MAX,
        });
        let is = advertised.filter(|advertised| peers.has(advertised)).map(OnceLock::from).unwrap_or_default();
        Ok(Self {
            token,
            peers,
            clock,
            shown: digest,
            acceptor,
            started: Instant::now(),
            waits: watch::Sender::default(),
            name,
            run: transport::nonce(),
            is,
            source: OnceLock::new(),
            bond: watch::Sender::new(bond),
            data,
        })
    }

    pub(crate) fn own(&self) -> Own<'_> {
        Own { run: &self.run, name: &self.name, peers: &self.peers, is: self.is(), bond: *self.bond.borrow() }
    }

    /// Which of the peers it is, once it knows.
    pub(crate) fn is(&self) -> Option<&str> {
        self.is.get().map(String::as_str)
    }

    /// Under `address` this machine found itself.
    pub(crate) fn found_itself(&self, address: &str) {
        self.is.get_or_init(|| address.to_owned());
    }

    /// The address from which it reached another machine, once it has.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.source.get().copied()
    }

    /// It reached another machine from `source`.
    pub(crate) fn came_from(&self, source: IpAddr) {
        self.source.get_or_init(|| source);
    }

    /// What it says of itself.
    pub(crate) fn says(&self) -> FormAnswer {
        FormAnswer {
            run: self.run.clone(),
            name: self.name.clone(),
            peers: self.peers.all().to_vec(),
            is: self.is().map(str::to_owned),
            bound: self.bond.borrow().map(|bond| bond.authority.to_string()),
        }
    }

    /// Answers a question whose proof was right; binds the machine first when it is asked to and agrees.
    ///
    /// # Errors
    /// The bond cannot be written: the machine is as it was.
    pub(crate) fn answer(&self, question: &FormRequest) -> Result<FormAnswer, FormError> {
        let authority = question.bind.as_deref().and_then(|text| text.parse().ok());
        if let (Some(authority), Some(asker)) = (authority, seen(&question.own)) {
            self.bind(|own| consent(own, &asker, authority, self.token.id()))?;
        }
        Ok(self.says())
    }

    /// Binds the machine as `choose` says while nobody else does; says what it is bound to then.
    ///
    /// # Errors
    /// The bond cannot be written: the machine is as it was.
    pub(crate) fn bind(&self, choose: impl FnOnce(Own<'_>) -> Option<Bond>) -> Result<Option<Bond>, FormError> {
        let mut written = Ok(());
        self.bond.send_if_modified(|bond| {
            let own = Own { run: &self.run, name: &self.name, peers: &self.peers, is: self.is(), bond: *bond };
            let Some(chosen) = choose(own).filter(|_| bond.is_none()) else { return false };
            written = chosen.write(&self.data);
            if written.is_ok() {
                *bond = Some(chosen);
            }
            written.is_ok()
        });
        written.map(|()| *self.bond.borrow())
    }

    /// Tells when the machine is bound.
    pub(crate) fn bonds(&self) -> watch::Receiver<Option<Bond>> {
        self.bond.subscribe()
    }
}

/// What another machine said of itself; none when it cannot be understood.
pub(crate) fn seen(said: &FormAnswer) -> Option<Seen> {
    let FormAnswer { run, name, peers, is, bound } = said.clone();
    let bound = bound.map(|text| text.parse()).transpose().ok()?;
    Some(Seen { run, name, peers, is, bound })
}

/// A key and a certificate under an authority of which nothing remains when the program ends. What they are good for is that a proof is tied to them.
fn shown(clock: &dyn Clock) -> Result<Credentials, String> {
    let (cluster, now) = (ClusterId::random(), clock.now());
    let authority = Authority::create(cluster, now).map_err(|error| error.to_string())?;
    let (key, identity) = (KeyPair::generate(), NodeIdentity { cluster, node: NodeId(1), role: Role::Server });
    let names = ["localhost".to_owned()];
    let issue = Issue { identity, key: &key.public(), names: &names, now, lifetime: AUTHORITY_LIFETIME };
    let certificate = authority.issue(&issue).map_err(|error| error.to_string())?;
    Credentials::new(key, &certificate, authority.certificate().clone()).map_err(|error| error.to_string())
}
