//! Who founds, and when. Owns the two decisions of forming a cluster: what a machine does next after what it saw, and whether it binds itself when it is asked.
//! Pure: must never ask, write or read a clock.
//!
//! There are never two clusters, because of two rules. A machine binds itself once: what it is bound to is on its disk before anybody hears of it, and stays
//! until the machine has its place. And the founder founds only when *every* other machine of its list is bound to its cluster. Two clusters would thus need
//! every machine that the two lists have in common to be bound twice, so each of them must have been emptied in between: as long as one machine keeps
//! its disk there is one cluster, whatever was cut off, switched off or started again meanwhile, and whoever takes himself for the first of the peers.

use std::{collections::BTreeMap, fmt};

use transport::AuthorityDigest;

use crate::{
    bond::{Bond, Part},
    peers::Peers,
};

/// What a machine knows of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own<'a> {
    /// Which life of its program this is.
    pub(crate) run: &'a str,
    /// Its name.
    pub(crate) name: &'a str,
    /// The machines that are to form the cluster, itself among them.
    pub(crate) peers: &'a Peers,
    /// Which of them it is, when it knows.
    pub(crate) is: Option<&'a str>,
    /// What it is bound to.
    pub(crate) bond: Option<Bond>,
}

/// How another machine said that it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Which life of its program it is.
    pub(crate) run: String,
    /// Its name.
    pub(crate) name: String,
    /// The peers it was told.
    pub(crate) peers: Vec<String>,
    /// Which of them it is, when it knows.
    pub(crate) is: Option<String>,
    /// The cluster to which it is bound.
    pub(crate) bound: Option<AuthorityDigest>,
}

/// What was found at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum View {
    /// Nobody who could be understood.
    Unreached(String),
    /// A machine that is to form a cluster with another token.
    OtherToken,
    /// A server of a cluster.
    Clustered,
    /// A machine that is to form a cluster with the same token.
    Seen(Seen),
}

/// What was found at each address last.
pub(crate) type Views = BTreeMap<String, View>;

/// What a machine does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// It looks again.
    Wait(Vec<Wait>),
    /// It makes the authority of the cluster, and binds itself to it as its founder.
    Begin,
    /// It asks these to bind themselves to its cluster.
    Bind(AuthorityDigest, Vec<String>),
    /// It founds.
    Found,
    /// It joins.
    Join(AuthorityDigest),
}

/// Something a machine waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// At which address.
    pub peer: String,
    /// What.
    pub what: What,
}

/// What is waited for at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Somebody who answers, and why nobody does.
    Answer(String),
    /// The same token.
    Token,
    /// The same list; it has this one.
    Peers(Vec<String>),
    /// A name of its own in place of this one.
    Name(String),
    /// Its freedom: it is bound to this cluster, which this machine does not found.
    Freedom(AuthorityDigest),
    /// That the address leads to this machine, as one must.
    Itself,
    /// That it binds itself.
    Bond,
    /// That it founds, and lets this machine in.
    Founding,
}

/// What rules out that this machine forms a cluster with the others, whatever they do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// All answered, and none was this one.
    #[error("none of the addresses in --peers ({}) leads to this machine: each answered, and each is another", .peers.join(", "))]
    NotListed {
        /// All addresses.
        peers: Vec<String>,
    },
    /// Two addresses lead to this machine.
    #[error("{one} and {other} of --peers both lead to this machine")]
    Twice {
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
    /// One of the others has a cluster.
    #[error("{peer} belongs to a cluster already, and this machine, whose data directory is empty, does not found a second one")]
    Clustered {
        /// Which.
        peer: String,
    },
}

/// What the machine does after what it saw.
///
/// # Errors
/// It can never form a cluster with these others.
pub(crate) fn decide(own: Own<'_>, views: &Views) -> Result<Step, Refusal> {
    if let Some(Bond { authority, part: Part::Member, .. }) = own.bond {
        return Ok(Step::Join(authority));
    }
    if let Some((peer, _)) = views.iter().find(|(_, view)| **view == View::Clustered) {
        return Err(Refusal::Clustered { peer: peer.clone() });
    }
    let me = itself(own, views)?;
    let first = own.peers.first();
    let others: Vec<(&String, Option<&View>)> =
        own.peers.all().iter().filter(|peer| me != Some(peer)).map(|peer| (peer, views.get(peer))).collect();
    let mut waits = lacking(own, me == Some(first), &others);
    if me.is_none() {
        waits.push(Wait { peer: String::new(), what: What::Itself });
    }
    if !waits.is_empty() {
        return Ok(Step::Wait(waits));
    }
    if me != Some(first) {
        return Ok(Step::Wait(vec![Wait { peer: first.to_owned(), what: What::Founding }]));
    }
    let Some(bond) = own.bond else { return Ok(Step::Begin) };
    let is_free = |view: Option<&View>| matches!(view, Some(View::Seen(Seen { bound: None, .. })));
    let free: Vec<String> = others.iter().filter(|(_, view)| is_free(*view)).map(|(peer, _)| (*peer).clone()).collect();
    Ok(if free.is_empty() { Step::Found } else { Step::Bind(bond.authority, free) })
}

/// The bond that a machine enters when one that stands as `asker` asks it to bind itself to the cluster with `authority`; none: it stays as it is.
pub(crate) fn consent(own: Own<'_>, asker: &Seen, authority: AuthorityDigest, token: transport::TokenId) -> Option<Bond> {
    let first = Some(own.peers.first());
    let agrees = asker.peers == own.peers.all() && asker.is.as_deref() == first && asker.run != own.run && own.is != first;
    (agrees && own.bond.is_none()).then_some(Bond { token, authority, part: Part::Member })
}

/// The address that leads to this machine, when one is known to.
fn itself<'a>(own: Own<'a>, views: &'a Views) -> Result<Option<&'a str>, Refusal> {
    let seen = |peer: &str| match views.get(peer) {
        Some(View::Seen(seen)) => Some(seen),
        _ => None,
    };
    let is_own = |peer: &&String| own.is == Some(peer) || seen(peer).is_some_and(|seen| seen.run == own.run);
    let mut mine = own.peers.all().iter().filter(is_own);
    match (mine.next(), mine.next()) {
        (Some(one), Some(other)) => Err(Refusal::Twice { one: one.clone(), other: other.clone() }),
        (Some(one), None) => Ok(Some(one)),
        (None, _) if own.peers.all().iter().all(|peer| seen(peer).is_some()) => Err(Refusal::NotListed { peers: own.peers.all().to_vec() }),
        (None, _) => Ok(None),
    }
}

/// What the others lack before anything can begin.
fn lacking(own: Own<'_>, founds: bool, others: &[(&String, Option<&View>)]) -> Vec<Wait> {
    let mut names = vec![own.name];
    let mut waits = Vec::new();
    for (peer, view) in others {
        let what = match view {
            None => Some(What::Answer("it was not asked yet".to_owned())),
            Some(View::Unreached(why)) => Some(What::Answer(why.clone())),
            Some(View::OtherToken) => Some(What::Token),
            // A server of a cluster ends it all before.
            Some(View::Clustered) => None,
            Some(View::Seen(seen)) => of_seen(own, founds, seen, &names),
        };
        if let Some(View::Seen(seen)) = view {
            names.push(&seen.name);
        }
        waits.extend(what.map(|what| Wait { peer: (*peer).clone(), what }));
    }
    waits
}

fn of_seen(own: Own<'_>, founds: bool, seen: &Seen, names: &[&str]) -> Option<What> {
    if seen.peers != own.peers.all() {
        return Some(What::Peers(seen.peers.clone()));
    }
    if names.contains(&seen.name.as_str()) {
        return Some(What::Name(seen.name.clone()));
    }
    // To whoever does not found it is no matter who is bound: the founder asks, and the machine's own disk answers.
    let ours = own.bond.map(|bond| bond.authority);
    seen.bound.filter(|bound| founds && Some(*bound) != ours).map(What::Freedom)
}

impl Wait {
    /// The code of a mistake that somebody must mend; none where it is only a matter of time.
    pub fn code(&self) -> Option<&'static str> {
        match self.what {
            What::Token => Some("E0619"),
            What::Peers(_) | What::Name(_) => Some("E0620"),
            What::Freedom(_) => Some("E0621"),
            What::Answer(_) | What::Itself | What::Bond | What::Founding => None,
        }
    }

    /// Whether it is the same but for the words of the system.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.peer == other.peer
            && match (&self.what, &other.what) {
                (What::Answer(_), What::Answer(_)) => true,
                (one, other) => one == other,
            }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = &self.peer;
        match &self.what {
            What::Answer(why) => write!(out, "{peer} to answer ({why})"),
            What::Token => write!(out, "{peer} to have the same formation token: it has another one"),
            What::Peers(theirs) => write!(out, "{peer} to have the same --peers: it was told {}", theirs.join(",")),
            What::Name(name) => write!(out, "{peer} to have a name of its own: `{name}` is taken by another peer"),
            What::Freedom(authority) => {
                write!(
                    out,
                    "{peer} to be free: it is bound to the cluster with the authority {authority}, which this machine does not found"
                )
            }
            What::Itself => out.write_str("one of --peers to lead to this machine (or name it with --advertise-peer)"),
            What::Bond => write!(out, "{peer} to bind itself to the cluster"),
            What::Founding => write!(out, "{peer}, the first of the peers, to found the cluster and to let this machine in"),
        }
    }
}

impl Refusal {
    /// `E0620` and the like.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotListed { .. } | Self::Twice { .. } => "E0620",
            Self::Clustered { .. } => "E0621",
        }
    }

    /// The line that mends it.
    pub fn help(&self) -> String {
        match self {
            Self::NotListed { .. } => {
                "put the address by which the others reach this machine into --peers, on every machine; behind translation name it also with --advertise-peer"
                    .to_owned()
            }
            Self::Twice { .. } => "name each machine once, in the same way on every machine".to_owned(),
            Self::Clustered { peer } => format!(
                "join it: make a token on one of its servers with   shoal join-token create server   and start this one with   --join {peer} --token-file FILE   in place of --expect and --peers (and with --replace NAME when it takes its own place again)"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
