//! The time between a machine's start and its place in a cluster. Owns the rounds of asking, and that what is waited for is said: at once when it changes, as a
//! warning when it lasts; must never make an authority or join.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{sync::watch, task::JoinSet};
use transport::{AuthorityDigest, Clock, FormationToken};

use crate::{
    ask::ask,
    bond::{Bond, Part},
    decide::{Step, View, Views, Wait, What, decide},
    door::Doors,
    error::FormError,
    limits::{LOOK_EVERY, WARN_AFTER, WARN_EVERY},
    machine::Machine,
    peers::Peers,
};

/// What a machine forms a cluster with.
#[derive(Debug)]
pub struct Config {
    /// The same on all machines.
    pub token: FormationToken,
    /// All machines, this one among them.
    pub peers: Peers,
    /// This machine's name.
    pub name: String,
    /// `HOST:PORT` under which it is told that others reach it; when that is none of the peers, it finds out which it is by asking.
    pub advertised: Option<String>,
    /// Its data directory.
    pub data: PathBuf,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// What the machine is to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// All others are there: make the cluster's authority, and say so with [`Waiting::begun`].
    Begin,
    /// All others are bound to the cluster with this authority, which this machine made: found it.
    Found(AuthorityDigest),
    /// Join the cluster with this authority.
    Join(AuthorityDigest),
}

/// A machine that waits for the others, and answers them as long as this value lives.
#[derive(Debug)]
pub struct Waiting {
    machine: Arc<Machine>,
    _doors: JoinSet<()>,
    said: Said,
}

/// What was said of what is waited for, and when.
#[derive(Debug)]
struct Said {
    waits: Vec<Wait>,
    warned: Option<Instant>,
    since: Instant,
}

impl Waiting {
    /// Begins to answer.
    ///
    /// # Errors
    /// The machine is bound by another token, or a file or socket cannot be used.
    pub fn open(config: Config, doors: Doors) -> Result<Self, FormError> {
        let machine = Arc::new(Machine::new(config)?);
        let doors = doors.serve(&machine)?;
        Ok(Self { machine, _doors: doors, said: Said { waits: Vec::new(), warned: None, since: Instant::now() } })
    }

    /// What is waited for, whenever it changes.
    pub fn waits(&self) -> watch::Receiver<Vec<Wait>> {
        self.machine.waits.subscribe()
    }

    /// The token with which the machines join the cluster with this authority.
    pub fn join_token(&self, authority: AuthorityDigest) -> transport::JoinToken {
        self.machine.token.join_token(authority)
    }

    /// The address of this machine from which it reached another one: others reach it there.
    pub fn source(&self) -> Option<IpAddr> {
        self.machine.source()
    }

    /// Where the other machines are, the founder first.
    pub fn others(&self) -> Vec<String> {
        self.machine.peers.all().iter().filter(|peer| self.machine.is() != Some(peer)).cloned().collect()
    }

    /// The authority is made, and on disk: binds the machine to it as its founder.
    ///
    /// # Errors
    /// The bond cannot be written.
    pub fn begun(&self, authority: AuthorityDigest) -> Result<(), FormError> {
        let bond = Bond { token: self.machine.token.id(), authority, part: Part::Founder };
        self.machine.bind(|_| Some(bond)).map(drop)
    }

    /// Asks the others again and again until there is something to do.
    ///
    /// # Errors
    /// The machine can never form a cluster with these others.
    pub async fn settle(&mut self) -> Result<Next, FormError> {
        let mut bonds = self.machine.bonds();
        loop {
            let bound = bonds.borrow_and_update().filter(|bond| bond.part == Part::Member);
            if let Some(bond) = bound {
                self.say(vec![Wait { peer: self.machine.peers.first().to_owned(), what: What::Founding }]);
                return Ok(Next::Join(bond.authority));
            }
            let views = self.look().await;
            match decide(self.machine.own(), &views)? {
                Step::Wait(waits) => self.say(waits),
                Step::Begin => return Ok(Next::Begin),
                Step::Join(authority) => return Ok(Next::Join(authority)),
                Step::Found => {
                    let bond = self.machine.own().bond;
                    return Ok(Next::Found(bond.expect("only a bound machine founds").authority));
                }
                Step::Bind(authority, free) => {
                    let asked = self.ask_all(&free, Some(authority)).await;
                    let missed: Vec<Wait> = asked.into_iter().filter_map(unbound).collect();
                    if missed.is_empty() {
                        continue;
                    }
                    self.say(missed);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = bonds.changed() => {}
            }
        }
    }

    /// One round: how everybody stands.
    async fn look(&self) -> Views {
        // Its own address is asked until one has led to this machine.
        let peers = if self.machine.is().is_some() { self.others() } else { self.machine.peers.all().to_vec() };
        let views = self.ask_all(&peers, None).await;
        let run = self.machine.own().run;
        let own = views.iter().find(|(_, view)| matches!(view, View::Seen(seen) if seen.run == run));
        if let Some((address, _)) = own {
            self.machine.found_itself(address);
        }
        views
    }

    async fn ask_all(&self, peers: &[String], bind: Option<AuthorityDigest>) -> Views {
        let views = join_all(peers.iter().map(|peer| ask(&self.machine, peer, bind))).await;
        peers.iter().cloned().zip(views).collect::<BTreeMap<_, _>>()
    }

    fn say(&mut self, waits: Vec<Wait>) {
        let is_news = waits.len() != self.said.waits.len() || waits.iter().zip(&self.said.waits).any(|(new, old)| !new.is_like(old));
        if is_news {
            waits.iter().for_each(tell);
        }
        let lasts = self.said.since.elapsed();
        if is_overdue(lasts, self.said.warned.map(|warned| warned.elapsed())) {
            self.said.warned = Some(Instant::now());
            let all: Vec<String> = waits.iter().map(ToString::to_string).collect();
            tracing::warn!(waits.for = all.join("; "), waited.seconds = lasts.as_secs(), "the cluster is not formed yet");
        }
        self.said.waits.clone_from(&waits);
        self.machine.waits.send_replace(waits);
    }
}

/// One that was asked to bind itself, and did not.
fn unbound((peer, view): (String, View)) -> Option<Wait> {
    let what = match view {
        View::Seen(seen) if seen.bound.is_some() => return None,
        View::Unreached(why) => What::Answer(why),
        _ => What::Bond,
    };
    Some(Wait { peer, what })
}

fn tell(wait: &Wait) {
    match wait.code() {
        Some(code) => tracing::error!(code, waits.for = %wait, "the cluster cannot be formed like this"),
        None => tracing::info!(waits.for = %wait, "the cluster is being formed"),
    }
}

/// Whether a warning is due after so long, the last one being that old.
fn is_overdue(lasts: Duration, warned: Option<Duration>) -> bool {
    match warned {
        None => lasts >= WARN_AFTER,
        Some(ago) => ago >= WARN_EVERY,
    }
}

#[cfg(test)]
mod tests;
