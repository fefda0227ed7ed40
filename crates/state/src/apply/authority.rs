//! How the cluster's authority is replaced. Owns the steps: nodes learn of the new one, then it signs and they renew, then the old one is trusted no longer.
//! A step is taken when everybody who is there has confirmed the last one; must never ask how a node proved that, nor make a key.

use std::{collections::BTreeSet, sync::Arc};

use model::id::{Index, NodeId, Timestamp};

use crate::{
    Applied, EventKind, Refused, State,
    command::{ConfirmAuthority, NodeRole, RotateAuthority, RotationPhase, UserCommand},
    limits::{AUTHORITIES_RETIRED_MAX, AUTHORITY_BYTES_MAX, bounded},
    record::{Retired, Rotation, authority::Step},
};

use super::wishes::refuse_above;

impl State {
    pub(super) fn rotate_authority(&mut self, user: &UserCommand, rotate: &RotateAuthority) -> Result<Applied, Refused> {
        let what = || "rotating the authority".to_owned();
        let Some(cluster) = self.cluster() else { return Err(Refused::NotFounded { what: what() }) };
        if let Some(rotation) = &self.authorities.rotation {
            return Err(Refused::RotationUnderWay { by: rotation.by.clone(), phase: rotation.phase() });
        }
        refuse_above(what(), "bytes of certificate", rotate.certificate.len() as u64, AUTHORITY_BYTES_MAX as u64)?;
        refuse_above(what(), "bytes of certificate", rotate.cross.len() as u64, AUTHORITY_BYTES_MAX as u64)?;
        refuse_above(what(), "bytes of sealed key", rotate.key.0.len() as u64, AUTHORITY_BYTES_MAX as u64)?;
        let known = self.authorities.retired.iter().map(|retired| &retired.certificate).chain([&cluster.ca_certificate]);
        if known.into_iter().any(|certificate| *certificate == rotate.certificate) {
            return Err(Refused::Invalid { what: what(), rule: "the new authority is another one than those before" });
        }
        if rotate.after != self.authorities.version {
            return Err(Refused::Invalid {
                what: what(),
                rule: "another authority took its place meanwhile, and the new one was made for the last",
            });
        }
        let (by, index) = (bounded(&user.by), self.index);
        let rotation = Rotation {
            began: index,
            at: user.at,
            by: by.clone(),
            step: Step::Learning { next: rotate.certificate.clone(), key: rotate.key.clone() },
            cross: rotate.cross.clone(),
            confirmed: BTreeSet::new(),
        };
        let authorities = Arc::make_mut(&mut self.authorities);
        (authorities.rotation, authorities.version) = (Some(rotation), index);
        self.touch_cluster();
        let message = format!("another authority is to sign, asked {by}: the nodes learn of it");
        self.record(user.at, EventKind::AuthorityRotating, None, "cluster".to_owned(), message);
        Ok(Applied::AuthorityRotating { rotation: index })
    }

    pub(super) fn confirm_authority(&mut self, confirm: &ConfirmAuthority) -> Applied {
        if self.awaited() != Some((confirm.rotation, confirm.phase)) {
            return Applied::AuthorityConfirmed { news: 0, advanced: false };
        }
        let holders: BTreeSet<_> = self.certificate_holders().collect();
        let confirmed: BTreeSet<_> = confirm.confirmed.iter().filter(|holder| holders.contains(holder)).copied().collect();
        let authorities = Arc::make_mut(&mut self.authorities);
        let Some(rotation) = authorities.rotation.as_mut() else {
            let before = authorities.behind.len();
            authorities.behind.retain(|holder| holders.contains(holder) && !confirmed.contains(holder));
            return Applied::AuthorityConfirmed { news: count(before - authorities.behind.len()), advanced: false };
        };
        rotation.confirmed.retain(|holder| holders.contains(holder));
        let before = rotation.confirmed.len();
        rotation.confirmed.extend(confirmed);
        let news = count(rotation.confirmed.len() - before);
        let missing: BTreeSet<_> = holders.difference(&rotation.confirmed).copied().collect();
        let advanced = missing.iter().all(|holder| confirm.away.contains(holder));
        if advanced {
            self.advance_rotation(confirm.at, missing);
        }
        Applied::AuthorityConfirmed { news, advanced }
    }

    /// Takes the next step, without those in `away`.
    fn advance_rotation(&mut self, at: Timestamp, away: BTreeSet<(NodeId, NodeRole)>) {
        let without = self.words_for(&away);
        let index = self.index;
        let authorities = Arc::make_mut(&mut self.authorities);
        let Some(rotation) = authorities.rotation.take() else { return };
        let (kind, message) = match rotation.step {
            Step::Learning { next, key } => {
                let Some(cluster) = self.cluster.get_mut(&()) else { return };
                let last = std::mem::replace(&mut cluster.ca_certificate, next);
                cluster.ca_key = key;
                authorities.rotation = Some(Rotation { step: Step::Renewing { last }, confirmed: BTreeSet::new(), ..rotation });
                (
                    EventKind::AuthoritySigning,
                    format!("the new authority signs from now on, and the nodes renew their certificates{without}"),
                )
            }
            Step::Renewing { last } => {
                authorities.retired.insert(0, Retired { certificate: last, cross: rotation.cross, at });
                authorities.retired.truncate(AUTHORITIES_RETIRED_MAX);
                (authorities.last, authorities.behind) = (rotation.began, away);
                (EventKind::AuthorityRotated, format!("the old authority makes no node a member any more{without}"))
            }
        };
        authorities.version = index;
        self.touch_cluster();
        self.record(at, kind, None, "cluster".to_owned(), message);
    }

    fn touch_cluster(&mut self) {
        let index = self.index;
        if let Some(cluster) = self.cluster.get_mut(&()) {
            cluster.version = index;
        }
    }

    /// `; without a, b and 3 more`, or nothing.
    fn words_for(&self, away: &BTreeSet<(NodeId, NodeRole)>) -> String {
        const NAMED_MAX: usize = 5;
        let nodes: BTreeSet<NodeId> = away.iter().map(|(node, _)| *node).collect();
        let names: Vec<&str> = nodes.iter().filter_map(|node| self.node(*node)).map(|node| node.name.as_str()).collect();
        let (named, more) = (names.get(..NAMED_MAX).unwrap_or(&names).join(", "), names.len().saturating_sub(NAMED_MAX));
        match (names.is_empty(), more) {
            (true, _) => String::new(),
            (false, 0) => bounded(&format!("; without {named}, not heard of")),
            (false, more) => bounded(&format!("; without {named} and {more} more, not heard of")),
        }
    }
}

/// What is told of the authorities.
impl State {
    /// The authorities beside the one that signs.
    pub fn authorities(&self) -> &crate::Authorities {
        &self.authorities
    }

    /// Every role of every node: each has a certificate of its own.
    pub fn certificate_holders(&self) -> impl Iterator<Item = (NodeId, NodeRole)> + '_ {
        self.nodes.values().flat_map(|node| node.keys.roles().map(move |(role, _)| (node.id, role)))
    }

    /// The rotation that waits for nodes to confirm a phase: the one under way, or the last one, when somebody was away at its end.
    pub fn awaited(&self) -> Option<(Index, RotationPhase)> {
        match &self.authorities.rotation {
            Some(rotation) => Some((rotation.began, rotation.phase())),
            None if self.authorities.behind.is_empty() => None,
            None => Some((self.authorities.last, RotationPhase::Renewing)),
        }
    }

    /// Who has not confirmed yet what is awaited.
    pub fn unconfirmed(&self) -> Vec<(NodeId, NodeRole)> {
        let lacks = |holder: &(NodeId, NodeRole)| match &self.authorities.rotation {
            Some(rotation) => !rotation.confirmed.contains(holder),
            None => self.authorities.behind.contains(holder),
        };
        self.certificate_holders().filter(lacks).collect()
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
