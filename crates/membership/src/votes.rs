//! Who should vote: one step from the members there are to those there should be. Pure. Owns the rules; must never call consensus itself.
//!
//! A new server follows without a vote until it has caught up. Votes go to an odd number of servers, three unless an operator promotes more: two votes
//! survive no loss, so that the second and the third are given together. Nobody loses a vote because it is silent.

use std::{collections::BTreeSet, time::Duration};

use consensus::{Membership, Peer, Progress, Shape};
use model::id::NodeId;
use state::State;

use crate::limits::{CAUGHT_UP_WITHIN, VOTERS_WANTED};

/// The group as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// Servers of the replicated state.
    pub servers: BTreeSet<NodeId>,
    /// Members that vote.
    pub voters: BTreeSet<NodeId>,
    /// Members that follow, and how many entries each lacks; none of one that does not answer now, however far it had come.
    pub learners: Vec<(NodeId, Option<u64>)>,
    /// Learners that were refused a vote: another one is asked for first.
    pub refused: BTreeSet<NodeId>,
    /// A change of members is under way.
    pub changing: bool,
}

/// What consensus tells a leader of its members at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// Who they are.
    pub membership: &'a Membership,
    /// How far each of them has come.
    pub progress: &'a [Progress],
    /// The last entry that is applied here.
    pub applied: u64,
    /// How long one may be silent and still answer.
    pub patience: Duration,
}

impl Group {
    /// The group of `state` as consensus tells of it; `refused` are learners that were refused a vote.
    pub fn of(state: &State, told: &Told<'_>, refused: &BTreeSet<NodeId>) -> Self {
        let ids = |peers: &[Peer]| peers.iter().map(|peer| NodeId(peer.id)).collect::<BTreeSet<_>>();
        let behind = |id: u64| {
            let known = told.progress.iter().find(|known| known.id == id)?;
            known.heard.filter(|heard| *heard <= told.patience)?;
            known.matched.map(|matched| told.applied.saturating_sub(matched))
        };
        Self {
            servers: state.servers().map(|node| node.id).collect(),
            voters: ids(&told.membership.voters),
            learners: told.membership.learners.iter().map(|peer| (NodeId(peer.id), behind(peer.id))).collect(),
            refused: refused.clone(),
            changing: told.membership.shape == Shape::Joint,
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Let a server follow.
    Add(NodeId),
    /// Give a learner a vote.
    Promote(NodeId),
    /// A member is no server any more.
    Remove(NodeId),
}

/// The next step, if any.
pub fn next_step(group: &Group) -> Option<Step> {
    if group.changing {
        return None;
    }
    let members: BTreeSet<NodeId> = group.voters.iter().copied().chain(group.learners.iter().map(|(id, _)| *id)).collect();
    if let Some(gone) = members.iter().find(|id| !group.servers.contains(id)) {
        return Some(Step::Remove(*gone));
    }
    if let Some(new) = group.servers.iter().find(|id| !members.contains(id)) {
        return Some(Step::Add(*new));
    }
    let ready = group.learners.iter().filter(|(_, behind)| behind.is_some_and(|behind| behind <= CAUGHT_UP_WITHIN));
    let ready: Vec<NodeId> = ready.map(|(id, _)| *id).collect();
    // From an even number one more makes it odd; from an odd number two are needed.
    let needed = if group.voters.len().is_multiple_of(2) { 1 } else { 2 };
    let next = ready.iter().find(|id| !group.refused.contains(id)).or(ready.first())?;
    (group.voters.len() < VOTERS_WANTED && ready.len() >= needed).then_some(Step::Promote(*next))
}

/// Who was refused a vote waits for the others to be asked for theirs; when they were, or one got it, all are asked for again.
pub fn remember(refused: &mut BTreeSet<NodeId>, step: Step, taken: bool) {
    match step {
        Step::Promote(id) if !taken && refused.insert(id) => {}
        _ => refused.clear(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn check(servers: &[u64], voters: &[u64], learners: &[(u64, Option<u64>)], expected: Option<Step>) {
        let learners: Vec<_> = learners.iter().map(|(id, behind)| (NodeId(*id), *behind)).collect();
        let group = Group { servers: ids(servers), voters: ids(voters), learners, ..Group::default() };
        assert_eq!(next_step(&group), expected, "{group:?}");
        assert_eq!(next_step(&Group { changing: true, ..group }), None);
    }

    #[test]
    fn one_becomes_three_and_never_two_by_itself() {
        check(&[1], &[1], &[], None);
        check(&[1, 5], &[1], &[], Some(Step::Add(NodeId(5))));
        check(&[1, 5], &[1], &[(5, Some(0))], None);
        check(&[1, 5, 9], &[1], &[(5, Some(0))], Some(Step::Add(NodeId(9))));
        check(&[1, 5, 9], &[1], &[(5, Some(0)), (9, Some(101))], None);
        check(&[1, 5, 9], &[1], &[(5, None), (9, Some(0))], None);
        check(&[1, 5, 9], &[1], &[(5, Some(0)), (9, Some(100))], Some(Step::Promote(NodeId(5))));
        check(&[1, 5, 9], &[1, 5], &[(9, Some(0))], Some(Step::Promote(NodeId(9))));
        check(&[1, 5, 9], &[1, 5], &[(9, Some(5_000))], None);
    }

    #[test]
    fn who_was_refused_does_not_stand_in_the_way() {
        let promoted = |refused: &[u64]| {
            let learners = [5, 9].map(|id| (NodeId(id), Some(0))).to_vec();
            next_step(&Group { servers: ids(&[1, 5, 9]), voters: ids(&[1]), learners, refused: ids(refused), changing: false })
        };
        assert_eq!(promoted(&[]), Some(Step::Promote(NodeId(5))));
        assert_eq!(promoted(&[5]), Some(Step::Promote(NodeId(9))));
        assert_eq!(promoted(&[9]), Some(Step::Promote(NodeId(5))));
        assert_eq!(promoted(&[5, 9]), Some(Step::Promote(NodeId(5))), "all of them were");
    }

    #[test]
    fn a_fourth_follows_and_takes_the_place_of_one_that_was_removed() {
        check(&[1, 5, 9, 12], &[1, 5, 9], &[(12, Some(0))], None);
        check(&[1, 9, 12], &[1, 5, 9], &[(12, Some(0))], Some(Step::Remove(NodeId(5))));
        check(&[1, 9, 12], &[1, 9], &[(12, Some(0))], Some(Step::Promote(NodeId(12))));
        check(&[1, 5, 9, 12, 13], &[1, 5, 9, 12], &[(13, Some(0))], None);
    }

    #[test]
    fn one_that_does_not_answer_now_is_not_known_to_have_caught_up() {
        let peer = |id| Peer { id, address: String::new() };
        let membership = Membership { learners: vec![peer(5), peer(9), peer(12)], shape: Shape::Joint, ..Membership::default() };
        let heard = |id, ago: u64| Progress { id, matched: Some(40), heard: Some(Duration::from_millis(ago)) };
        let progress = [heard(5, 800), heard(9, 801)];
        let told = Told { membership: &membership, progress: &progress, applied: 100, patience: Duration::from_millis(800) };
        let group = Group::of(&State::empty(), &told, &ids(&[9]));
        assert_eq!(group.learners, [(NodeId(5), Some(60)), (NodeId(9), None), (NodeId(12), None)]);
        assert!(group.changing && group.servers.is_empty() && group.refused == ids(&[9]));
    }

    #[test]
    fn everybody_is_asked_for_once_and_then_anew() {
        let mut refused = BTreeSet::new();
        for (step, taken, expected) in [
            (Step::Promote(NodeId(5)), false, &[5][..]),
            (Step::Promote(NodeId(9)), false, &[5, 9]),
            (Step::Promote(NodeId(5)), false, &[]),
            (Step::Promote(NodeId(5)), false, &[5]),
            (Step::Promote(NodeId(9)), true, &[]),
        ] {
            remember(&mut refused, step, taken);
            assert_eq!(refused, ids(expected), "{step:?} {taken}");
        }
    }
}
