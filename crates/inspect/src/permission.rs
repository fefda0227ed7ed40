//! What a component may do beyond answering requests with what it was given: a pure function of its manifest and its file. Owns what counts as a permission
//! and when one covers another; must never decide whether somebody accepted it.

use std::{collections::BTreeSet, fmt};

use model::{
    app::{Component, ReuseMode},
    egress::EgressRule,
};

use crate::{ExternKind, Handler, Import, Inspection, offer};

/// Interfaces that reach nothing outside the sandbox, or only what the manifest puts there. What may be sent where is said by egress rules.
const HARMLESS: [&str; 8] =
    ["wasi:io/", "wasi:clocks/", "wasi:random/", "wasi:cli/", "wasi:http/types", "wasi:filesystem/", "wasi:config/", "wasi:logging/"];

/// One thing a component may do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Reach a destination outside.
    Reach(EgressRule),
    /// Keep in memory what one request left there, for the next ones.
    Share,
    /// Call an interface, named without its version, that its language's runtime does not bring along.
    Call(String),
}

impl Permission {
    /// True when whoever has `other` may do this too.
    pub fn is_covered_by(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Reach(rule), Self::Reach(wider)) => rule.is_covered_by(wider),
            _ => self == other,
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reach(rule) => write!(out, "reach {rule}"),
            Self::Share => out.write_str("keep a sandbox for several requests"),
            Self::Call(interface) => write!(out, "call {interface}"),
        }
    }
}

/// Everything `component`, which is made of `inspection`, may do. Of one whose file is not known, what its manifest says.
pub fn of(component: &Component, inspection: Option<&Inspection>) -> BTreeSet<Permission> {
    let reach = component.egress.allow.iter().cloned().map(Permission::Reach);
    let shares = shares(component, inspection).then_some(Permission::Share);
    let calls = inspection.into_iter().flat_map(|inspection| {
        let own = inspection.imports.iter().filter(|import| import.kind == ExternKind::Instance && !inspection.is_of_the_runtime(import));
        own.map(unversioned).filter(|name| !HARMLESS.iter().any(|harmless| name.starts_with(harmless))).map(Permission::Call)
    });
    reach.chain(shares).chain(calls).collect()
}

/// What of `after` no permission of `before` covers.
pub fn gained<'a>(before: &'a BTreeSet<Permission>, after: &'a BTreeSet<Permission>) -> impl Iterator<Item = &'a Permission> {
    after.iter().filter(|one| !before.iter().any(|had| one.is_covered_by(had)))
}

/// Whether a sandbox outlives a request: as the manifest says, or as the WASI version makes it when that says nothing.
fn shares(component: &Component, inspection: Option<&Inspection>) -> bool {
    match component.reuse.as_ref().and_then(|reuse| reuse.mode) {
        Some(mode) => mode != ReuseMode::Fresh,
        None => inspection.is_some_and(|inspection| inspection.handler == Handler::Http03 && offer::answers_http(inspection)),
    }
}

/// One name for the same ability in both versions of WASI.
fn unversioned(import: &Import) -> String {
    match import.name.split('@').next().unwrap_or_default() {
        "wasi:http/client" => "wasi:http/outgoing-handler".to_owned(),
        name if name.starts_with("wasi:sockets/") => "wasi:sockets".to_owned(),
        name => name.to_owned(),
    }
}
