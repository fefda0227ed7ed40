//! What this node was told to run and how far each placement is: a plain value whose clone shares everything. Owns the fence against older assignments;
//! must never do I/O or wait.

use std::{collections::BTreeSet, sync::Arc};

use api::node::{AssignedApp, AssignedPlacement, AssignedProgram, AssignedRoute, AssignmentPart, Report, ReportedPlacement, Wanted};
use model::id::{AppId, ComponentId, Digest, Generation, NodeId, PlacementId, RevisionNumber};
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use crate::next_step::{Seen, Step, next_step};

/// One component at one revision: what shares code, configuration and counters on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramKey {
    /// The component.
    pub component: ComponentId,
    /// The revision of its app.
    pub revision: RevisionNumber,
}

/// An assignment older than the one in force, for another node, or a change of another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// Older.
    #[error("assignment {offered} is older than {current}")]
    Older {
        /// What came.
        offered: Generation,
        /// What is in force.
        current: Generation,
    },
    /// A change of another assignment than the one in force.
    #[error("the assignment changes {since}, and {current} is in force")]
    Gap {
        /// What it changes.
        since: Generation,
        /// What is in force.
        current: Generation,
    },
    /// For another node.
    #[error("the assignment is for {offered}, this is {current}")]
    Foreign {
        /// What came.
        offered: NodeId,
        /// Who we are.
        current: NodeId,
    },
}

/// One placement as this node holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Of which program.
    pub key: ProgramKey,
    /// The artifact of the program.
    pub digest: Digest,
    /// The instance's number.
    pub ordinal: u32,
    /// What the control plane wants.
    pub wanted: Wanted,
    /// How far it is.
    pub seen: Seen,
}

/// What the assignment says of one app.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AppPart {
    /// Its programs on this node.
    pub programs: Vec<Arc<AssignedProgram>>,
    /// Its routes.
    pub routes: Vec<AssignedRoute>,
}

/// The assignment in force and the state of every placement in it, and of those that left it and are still being stopped.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    node: Option<NodeId>,
    generation: Generation,
    apps: RedBlackTreeMapSync<AppId, Arc<AppPart>>,
    placements: RedBlackTreeMapSync<PlacementId, Held>,
    by_program: RedBlackTreeMapSync<(ProgramKey, PlacementId), ()>,
    by_digest: RedBlackTreeMapSync<(Digest, PlacementId), ()>,
    /// Placements the assignment does not name any more.
    left: RedBlackTreeSetSync<PlacementId>,
    /// Wanted placements that are neither ready nor failed.
    unsettled: usize,
    /// Placements that may have a next step.
    changed: Vec<PlacementId>,
    /// Programs whose values are others than before.
    renewed: Vec<ProgramKey>,
    version: u64,
}

impl Roster {
    /// Whether there has been an assignment.
    pub fn is_assigned(&self) -> bool {
        self.node.is_some()
    }

    /// The node the assignment is for; none before the first.
    pub fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// The generation in force; 0 before the first.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// What is assigned, by app.
    pub fn apps(&self) -> &RedBlackTreeMapSync<AppId, Arc<AppPart>> {
        &self.apps
    }

    /// Every placement held.
    pub fn placements(&self) -> &RedBlackTreeMapSync<PlacementId, Held> {
        &self.placements
    }

    /// Grows with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Takes `offered`, a whole assignment or a change of the one in force, in force. Placements it no longer names are stopped; those that have stopped
    /// are forgotten.
    pub fn accept(&mut self, offered: AssignmentPart) -> Result<(), Stale> {
        self.refuse_stale(offered.node, offered.generation)?;
        if let Some(since) = offered.since.filter(|since| self.node.is_none() || *since != self.generation) {
            return Err(Stale::Gap { since, current: self.generation });
        }
        (self.node, self.generation) = (Some(offered.node), offered.generation);
        let mut gone = offered.gone;
        if offered.since.is_none() {
            let named: BTreeSet<&AppId> = offered.apps.iter().map(|app| &app.app).collect();
            gone = self.apps.keys().filter(|app| !named.contains(app)).cloned().collect();
        }
        gone.into_iter().for_each(|app| self.replace(&app, AppPart::default()));
        for AssignedApp { app, programs, routes, secrets: _ } in offered.apps {
            self.replace(&app, AppPart { programs: programs.into_iter().map(Arc::new).collect(), routes });
        }
        self.forget_stopped();
        self.version += 1;
        Ok(())
    }

    fn refuse_stale(&self, node: NodeId, generation: Generation) -> Result<(), Stale> {
        match self.node {
            Some(current) if current != node => Err(Stale::Foreign { offered: node, current }),
            Some(_) if generation < self.generation => Err(Stale::Older { offered: generation, current: self.generation }),
            _ => Ok(()),
        }
    }

    /// Puts `part` in the place of what was assigned of `app`.
    fn replace(&mut self, app: &AppId, part: AppPart) {
        let before = self.apps.get(app).cloned().unwrap_or_default();
        if part == *before {
            return;
        }
        let after = Arc::new(part);
        for program in &after.programs {
            let key = ProgramKey::of(program);
            let known = before.programs.iter().find(|known| ProgramKey::of(known) == key);
            if known.is_some_and(|known| !is_same(known, program)) {
                self.renewed.push(key);
            }
        }
        let named: BTreeSet<_> = placements_of(&after).map(|(_, placement)| placement.placement).collect();
        for (_, gone) in placements_of(&before).filter(|(_, placement)| !named.contains(&placement.placement)) {
            self.left.insert_mut(gone.placement);
            self.update(gone.placement, |held| held.wanted = Wanted::Stop);
        }
        for (program, placement) in placements_of(&after) {
            self.left.remove_mut(&placement.placement);
            if self.placements.contains_key(&placement.placement) {
                self.update(placement.placement, |held| held.wanted = placement.wanted);
            } else {
                self.add(program, placement);
            }
        }
        if named.is_empty() && after.routes.is_empty() {
            self.apps.remove_mut(app);
        } else {
            self.apps.insert_mut(app.clone(), after);
        }
    }

    fn add(&mut self, program: &AssignedProgram, placement: &AssignedPlacement) {
        let (id, key) = (placement.placement, ProgramKey::of(program));
        let (ordinal, wanted) = (placement.ordinal, placement.wanted);
        self.by_program.insert_mut((key.clone(), id), ());
        self.by_digest.insert_mut((program.digest, id), ());
        let held = Held { key, digest: program.digest, ordinal, wanted, seen: Seen::Absent };
        self.unsettled += usize::from(!held.is_settled());
        self.placements.insert_mut(id, held);
        self.changed.push(id);
    }

    /// Forgets placements that are not assigned any more and have stopped.
    fn forget_stopped(&mut self) {
        let stopped = |id: &&PlacementId| self.placements.get(id).is_none_or(|held| held.seen == Seen::Stopped);
        let forgotten: Vec<_> = self.left.iter().filter(stopped).copied().collect();
        for id in forgotten {
            self.left.remove_mut(&id);
            if let Some(held) = self.placements.get(&id).cloned() {
                self.placements.remove_mut(&id);
                self.by_digest.remove_mut(&(held.digest, id));
                self.by_program.remove_mut(&(held.key, id));
            }
        }
    }

    /// What can be done now about what changed since the last call, at most one step per placement.
    pub fn steps(&mut self) -> Vec<(PlacementId, Step)> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        let step = |id| self.placements.get(&id).and_then(|held| Some((id, next_step(held.wanted, &held.seen)?)));
        changed.into_iter().filter_map(step).collect()
    }

    /// Programs of which a new assignment says something else than the one before, since the last call.
    pub fn take_renewed(&mut self) -> Vec<ProgramKey> {
        std::mem::take(&mut self.renewed)
    }

    /// Lets what waits for its secrets try again.
    pub fn release(&mut self) {
        let withheld: Vec<_> =
            self.placements.iter().filter(|(_, held)| matches!(held.seen, Seen::Withheld { .. })).map(|(id, _)| *id).collect();
        withheld.into_iter().for_each(|id| self.set(id, Seen::Compiled));
    }

    /// Records how far `placement` is.
    pub fn set(&mut self, placement: PlacementId, seen: Seen) {
        self.update(placement, |held| held.seen = seen);
    }

    /// Moves those of `placements` that are at `from` on to `to`; says whether there was one.
    pub fn advance(&mut self, placements: &[PlacementId], from: &Seen, to: &Seen) -> bool {
        let mut moved = false;
        for id in placements {
            if self.placements.get(id).is_some_and(|held| held.seen == *from) {
                self.set(*id, to.clone());
                moved = true;
            }
        }
        moved
    }

    fn update(&mut self, placement: PlacementId, change: impl FnOnce(&mut Held)) {
        let Some(held) = self.placements.get_mut(&placement) else { return };
        let before = held.is_settled();
        change(held);
        let after = held.is_settled();
        self.unsettled = self.unsettled + usize::from(!after) - usize::from(!before);
        self.changed.push(placement);
        self.version += 1;
    }

    /// The placements of the program `key`.
    pub fn of_program(&self, key: &ProgramKey) -> Vec<PlacementId> {
        let bounds = (key.clone(), PlacementId(0))..=(key.clone(), PlacementId(u64::MAX));
        self.by_program.range(bounds).map(|((_, id), ())| *id).collect()
    }

    /// The placements of programs made of the artifact `digest`.
    pub fn of_digest(&self, digest: Digest) -> Vec<PlacementId> {
        self.by_digest.range((digest, PlacementId(0))..=(digest, PlacementId(u64::MAX))).map(|((_, id), ())| *id).collect()
    }

    /// The assigned program of `key`.
    pub fn program(&self, key: &ProgramKey) -> Option<&Arc<AssignedProgram>> {
        let part = self.apps.get(&key.component.app)?;
        part.programs.iter().find(|program| program.component == key.component && program.revision == key.revision)
    }

    /// Whether something still needs the program `key` in memory.
    pub fn needs_program(&self, key: &ProgramKey) -> bool {
        let holds = |seen: &Seen| matches!(seen, Seen::Started | Seen::Ready | Seen::Draining | Seen::Drained);
        let held = self.of_program(key);
        held.iter().filter_map(|id| self.placements.get(id)).any(|held| holds(&held.seen) || held.wanted == Wanted::Run)
    }

    /// Whether every placement wanted has become ready or cannot, or waits for somebody else.
    pub fn is_settled(&self) -> bool {
        self.unsettled == 0
    }

    /// What the control plane is told; nothing before the first assignment, which says who we are.
    pub fn report(&self, pid: u32) -> Option<Report> {
        let placements = self.placements.iter().map(|(id, held)| ReportedPlacement { placement: *id, phase: held.seen.phase() }).collect();
        Some(Report { node: self.node?, generation: self.generation, pid, sequence: 0, placements, events: Vec::new() })
    }
}

fn placements_of(part: &AppPart) -> impl Iterator<Item = (&Arc<AssignedProgram>, &AssignedPlacement)> {
    part.programs.iter().flat_map(|program| program.placements.iter().map(move |placement| (program, placement)))
}

/// Whether two assigned programs are the same but for their placements.
pub fn is_same(one: &AssignedProgram, other: &AssignedProgram) -> bool {
    // Whether something is placed is another matter, and the rest is small.
    AssignedProgram { placements: Vec::new(), ..one.clone() } == AssignedProgram { placements: Vec::new(), ..other.clone() }
}

impl Held {
    fn is_settled(&self) -> bool {
        self.wanted == Wanted::Stop || matches!(self.seen, Seen::Ready | Seen::Withheld { .. } | Seen::Failed { .. })
    }

    /// The instance as the gateway names it.
    pub fn target(&self) -> gateway::Target {
        gateway::Target { component: self.key.component.clone(), revision: self.key.revision, ordinal: self.ordinal }
    }
}

impl ProgramKey {
    /// The key of `program`.
    pub fn of(program: &AssignedProgram) -> Self {
        Self { component: program.component.clone(), revision: program.revision }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{assignment, place};

    #[test]
    fn an_older_assignment_or_one_for_another_node_is_refused() {
        let mut roster = Roster::default();
        roster.accept(assignment(5, vec![]).into()).unwrap();
        roster.accept(assignment(5, vec![]).into()).unwrap();
        let older = roster.accept(assignment(4, vec![]).into()).unwrap_err();
        assert_eq!(older, Stale::Older { offered: Generation(4), current: Generation(5) });
        let foreign = AssignmentPart { node: NodeId(9), ..assignment(6, vec![]).into() };
        assert!(matches!(roster.accept(foreign), Err(Stale::Foreign { .. })));
        assert_eq!(roster.generation(), Generation(5));
    }

    #[test]
    fn a_placement_that_left_the_assignment_is_stopped_then_forgotten() {
        let mut roster = Roster::default();
        roster.accept(assignment(1, vec![place("hello/web", 1, 7, Wanted::Run)]).into()).unwrap();
        assert_eq!(roster.steps(), [(PlacementId(7), Step::Fetch)]);
        roster.set(PlacementId(7), Seen::Ready);
        roster.accept(assignment(2, vec![]).into()).unwrap();
        assert_eq!(roster.steps(), [(PlacementId(7), Step::Withdraw)]);
        roster.set(PlacementId(7), Seen::Stopped);
        roster.accept(assignment(3, vec![]).into()).unwrap();
        assert!(roster.placements().is_empty() && roster.of_digest(Digest::of(b"hello/web")).is_empty());
    }

    #[test]
    fn a_program_is_needed_while_one_placement_holds_it() {
        let mut roster = Roster::default();
        let key = ProgramKey { component: "hello/web".parse().unwrap(), revision: RevisionNumber(1) };
        roster.accept(assignment(1, vec![place("hello/web", 1, 7, Wanted::Stop), place("hello/web", 1, 8, Wanted::Stop)]).into()).unwrap();
        roster.set(PlacementId(7), Seen::Draining);
        roster.set(PlacementId(8), Seen::Stopped);
        assert!(roster.needs_program(&key));
        roster.set(PlacementId(7), Seen::Stopped);
        assert!(!roster.needs_program(&key));
    }

    #[test]
    fn a_change_touches_only_the_apps_it_names_and_only_on_the_assignment_it_changes() {
        let mut roster = Roster::default();
        let early = AssignmentPart { since: Some(Generation(0)), ..assignment(1, vec![]).into() };
        assert_eq!(roster.accept(early), Err(Stale::Gap { since: Generation(0), current: Generation(0) }));
        let programs = ["hello/web", "other/web", "third/web"].into_iter().zip(1..).map(|(name, id)| place(name, 1, id, Wanted::Run));
        roster.accept(assignment(1, programs.collect()).into()).unwrap();
        let fresh = place("hello/web", 2, 4, Wanted::Run);
        let change = |since| AssignmentPart {
            since: Some(Generation(since)),
            gone: vec!["other".parse().unwrap()],
            ..assignment(3, vec![fresh.clone()]).into()
        };
        assert_eq!(roster.accept(change(2)), Err(Stale::Gap { since: Generation(2), current: Generation(1) }));
        assert_eq!(roster.apps().size(), 3, "what is refused changes nothing");
        roster.accept(change(1)).unwrap();
        let wanted: Vec<_> = roster.placements().values().map(|held| held.wanted).collect();
        assert_eq!(wanted, [Wanted::Stop, Wanted::Stop, Wanted::Run, Wanted::Run]);
        assert_eq!((roster.apps().size(), roster.generation(), roster.is_settled()), (2, Generation(3), false));
    }
}
