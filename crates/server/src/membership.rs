//! Who should vote: one step from the members there are to those there should be. Pure. Owns the rules; must never call consensus itself.
//!
//! A new server follows without a vote until it has caught up. Votes go to an odd number of servers, three unless an operator promotes more: two votes
//! survive no loss, so that the second and the third are given together. Nobody loses a vote because it is silent.

use std::collections::BTreeSet;

use model::id::NodeId;

/// Votes that are given by themselves.
pub(crate) const VOTERS_WANTED: usize = 3;

/// Entries a learner may lack and count as caught up: what one batch brings.
pub(crate) const CAUGHT_UP_WITHIN: u64 = 100;

/// The group as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Group {
    /// Servers of the replicated state.
    pub(crate) servers: BTreeSet<NodeId>,
    /// Members that vote.
    pub(crate) voters: BTreeSet<NodeId>,
    /// Members that follow, and how many entries each lacks; none of one that does not answer now, however far it had come.
    pub(crate) learners: Vec<(NodeId, Option<u64>)>,
    /// Learners that were refused a vote: another one is asked for first.
    pub(crate) refused: BTreeSet<NodeId>,
    /// A change of members is under way.
    pub(crate) changing: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Let a server follow.
    Add(NodeId),
    /// Give a learner a vote.
    Promote(NodeId),
    /// A member is no server any more.
    Remove(NodeId),
}

/// The next step, if any.
pub(crate) fn next_step(group: &Group) -> Option<Step> {
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
}
