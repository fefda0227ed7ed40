//! What this kernel offers to keep a worker in its place, asked without giving anything up. Owns the question; must never restrict the process that asks.

use landlock::{Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};

use crate::sandbox_process::LANDLOCK;

/// How much of a worker's rules about files the kernel enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileRules {
    /// All of them.
    Whole,
    /// Those that its older Landlock knows.
    Part,
    /// None: it has no Landlock, or it is switched off.
    Missing,
}

impl FileRules {
    /// What this kernel does.
    pub fn of_this_kernel() -> Self {
        let whole = strict().handle_access(AccessFs::from_all(LANDLOCK)).and_then(|rules| rules.scope(Scope::from_all(LANDLOCK)));
        if whole.and_then(Ruleset::create).is_ok() {
            return Self::Whole;
        }
        let some = strict().handle_access(AccessFs::from_all(landlock::ABI::V1)).and_then(Ruleset::create);
        if some.is_ok() { Self::Part } else { Self::Missing }
    }
}

/// Rules that fail where the kernel does not know them, in place of becoming weaker.
fn strict() -> Ruleset {
    Ruleset::default().set_compatibility(CompatLevel::HardRequirement)
}
