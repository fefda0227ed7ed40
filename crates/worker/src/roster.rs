//! What this node was told to run and how far each placement is: a plain value. Owns the fence against older assignments; must never do I/O or wait.

use std::{collections::BTreeMap, sync::Arc};

use api::node::{AssignedProgram, Assignment, Report, ReportedPlacement, Wanted};
use model::id::{ComponentId, Digest, Generation, NodeId, PlacementId, RevisionNumber};

use crate::next_step::{Seen, Step, next_step};

/// One component at one revision: what shares code, configuration and counters on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramKey {
    /// The component.
    pub component: ComponentId,
    /// The revision of its app.
    pub revision: RevisionNumber,
}

/// An assignment older than the one in force, or for another node.
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

/// The assignment in force and the state of every placement in it, and of those that left it and are still being stopped.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    assignment: Option<Arc<Assignment>>,
    placements: BTreeMap<PlacementId, Held>,
}

impl Roster {
    /// The assignment in force.
    pub fn assignment(&self) -> Option<&Assignment> {
        self.assignment.as_deref()
    }

    /// Every placement held.
    pub fn placements(&self) -> &BTreeMap<PlacementId, Held> {
        &self.placements
    }

    /// Takes `offered` in force. Placements it no longer names are stopped; those that have stopped are forgotten.
    pub fn accept(&mut self, offered: Assignment) -> Result<Arc<Assignment>, Stale> {
        if let Some(current) = &self.assignment {
            if offered.node != current.node {
                return Err(Stale::Foreign { offered: offered.node, current: current.node });
            }
            if offered.generation < current.generation {
                return Err(Stale::Older { offered: offered.generation, current: current.generation });
            }
        }
        self.placements.values_mut().for_each(|held| held.wanted = Wanted::Stop);
        let mut named = Vec::new();
        for program in &offered.programs {
            for placement in &program.placements {
                named.push(placement.placement);
                let held = self.placements.entry(placement.placement).or_insert_with(|| Held {
                    key: ProgramKey::of(program),
                    digest: program.digest,
                    ordinal: placement.ordinal,
                    wanted: placement.wanted,
                    seen: Seen::Absent,
                });
                held.wanted = placement.wanted;
            }
        }
        named.sort_unstable();
        self.placements.retain(|id, held| held.seen != Seen::Stopped || named.binary_search(id).is_ok());
        let accepted = Arc::new(offered);
        self.assignment = Some(accepted.clone());
        Ok(accepted)
    }

    /// What can be done now, at most one step per placement.
    pub fn steps(&self) -> Vec<(PlacementId, Step)> {
        self.placements.iter().filter_map(|(id, held)| Some((*id, next_step(held.wanted, &held.seen)?))).collect()
    }

    /// Records how far `placement` is.
    pub fn set(&mut self, placement: PlacementId, seen: Seen) {
        if let Some(held) = self.placements.get_mut(&placement) {
            held.seen = seen;
        }
    }

    /// Moves every placement that `matches` and is at `from` on to `to`; says whether there was one.
    pub fn advance(&mut self, matches: impl Fn(&Held) -> bool, from: &Seen, to: &Seen) -> bool {
        let mut moved = false;
        for held in self.placements.values_mut().filter(|held| held.seen == *from && matches(held)) {
            held.seen = to.clone();
            moved = true;
        }
        moved
    }

    /// The assigned program of `key`.
    pub fn program(&self, key: &ProgramKey) -> Option<&AssignedProgram> {
        self.assignment.as_ref()?.programs.iter().find(|program| program.component == key.component && program.revision == key.revision)
    }

    /// Whether something still needs the program `key` in memory.
    pub fn needs_program(&self, key: &ProgramKey) -> bool {
        let holds = |seen: &Seen| matches!(seen, Seen::Started | Seen::Ready | Seen::Draining | Seen::Drained);
        self.placements.values().any(|held| held.key == *key && (holds(&held.seen) || held.wanted == Wanted::Run))
    }

    /// Whether every placement wanted has become ready or cannot.
    pub fn is_settled(&self) -> bool {
        self.placements.values().all(|held| held.wanted == Wanted::Stop || matches!(held.seen, Seen::Ready | Seen::Failed { .. }))
    }

    /// What the control plane is told; nothing before the first assignment, which says who we are.
    pub fn report(&self, pid: u32) -> Option<Report> {
        let assignment = self.assignment.as_ref()?;
        let placements = self.placements.iter().map(|(id, held)| ReportedPlacement { placement: *id, phase: held.seen.phase() }).collect();
        Some(Report { node: assignment.node, generation: assignment.generation, pid, placements })
    }
}

impl Held {
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
        roster.accept(assignment(5, vec![])).unwrap();
        roster.accept(assignment(5, vec![])).unwrap();
        let older = roster.accept(assignment(4, vec![])).unwrap_err();
        assert_eq!(older, Stale::Older { offered: Generation(4), current: Generation(5) });
        let foreign = Assignment { node: NodeId(9), ..assignment(6, vec![]) };
        assert!(matches!(roster.accept(foreign), Err(Stale::Foreign { .. })));
        assert_eq!(roster.assignment().unwrap().generation, Generation(5));
    }

    #[test]
    fn a_placement_that_left_the_assignment_is_stopped_then_forgotten() {
        let mut roster = Roster::default();
        roster.accept(assignment(1, vec![place("hello/web", 1, 7, Wanted::Run)])).unwrap();
        assert_eq!(roster.steps(), [(PlacementId(7), Step::Fetch)]);
        roster.set(PlacementId(7), Seen::Ready);
        roster.accept(assignment(2, vec![])).unwrap();
        assert_eq!(roster.steps(), [(PlacementId(7), Step::Withdraw)]);
        roster.set(PlacementId(7), Seen::Stopped);
        roster.accept(assignment(3, vec![])).unwrap();
        assert!(roster.placements().is_empty());
    }

    #[test]
    fn a_program_is_needed_while_one_placement_holds_it() {
        let mut roster = Roster::default();
        let key = ProgramKey { component: "hello/web".parse().unwrap(), revision: RevisionNumber(1) };
        roster.accept(assignment(1, vec![place("hello/web", 1, 7, Wanted::Stop), place("hello/web", 1, 8, Wanted::Stop)])).unwrap();
        roster.set(PlacementId(7), Seen::Draining);
        roster.set(PlacementId(8), Seen::Stopped);
        assert!(roster.needs_program(&key));
        roster.set(PlacementId(7), Seen::Stopped);
        assert!(!roster.needs_program(&key));
    }
}
