//! Whether an app stays below the ceilings of its namespace. Owns the comparison, a pure function for whoever plans and for `apply`; must never know who asks.

use std::fmt;

use model::{
    frozen::AppSpecV1,
    id::{AppId, Name},
};

use crate::{AppRecord, Refused, State, command::Ceilings};

/// What is allowed is shown as far as it fits a sentence.
const ALLOWED_SHOWN_MAX: usize = 5;

/// Which ceiling an app is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ceiling {
    /// A host of a route.
    Host {
        /// Which.
        host: String,
        /// Those it may use, in words.
        allowed: String,
    },
    /// A destination.
    Egress {
        /// Which.
        rule: String,
        /// Those it may reach, in words.
        allowed: String,
    },
    /// An import.
    Interface {
        /// Which.
        name: String,
        /// Those it may import, in words.
        allowed: String,
    },
    /// What all apps of the namespace use together.
    Quota {
        /// What is counted.
        unit: &'static str,
        /// How much it would be.
        found: u64,
        /// How much may be.
        limit: u64,
    },
}

impl fmt::Display for Ceiling {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, allowed } => write!(out, "the host `{host}` is not among those it may use: {allowed}"),
            Self::Egress { rule, allowed } => write!(out, "the destination `{rule}` is not within what it may reach: {allowed}"),
            Self::Interface { name, allowed } => write!(out, "the interface `{name}` is not among those it may import: {allowed}"),
            Self::Quota { unit, found, limit } => write!(out, "with it there are {found} {unit}, and its quota is {limit}"),
        }
    }
}

/// What all instances of some apps book on one worker.
#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    memory_bytes: u64,
    cpu_millis: u64,
    instances: u64,
    apps: u64,
}

impl Usage {
    fn of<'a>(specs: impl Iterator<Item = &'a AppSpecV1>) -> Self {
        let mut usage = Self::default();
        for spec in specs {
            usage.apps += 1;
            for component in &spec.components {
                usage.memory_bytes = usage.memory_bytes.saturating_add(component.instance_memory_bytes);
                usage.cpu_millis = usage.cpu_millis.saturating_add(u64::from(component.cpu_millis));
                usage.instances += 1;
            }
        }
        usage
    }
}

/// The first ceiling that a component of `spec` is over by itself, and which component.
pub fn exceeded(ceilings: &Ceilings, spec: &AppSpecV1) -> Option<(Name, Ceiling)> {
    spec.components.iter().find_map(|component| {
        let host = component.routes.iter().find(|route| !listed(&ceilings.hosts, |allowed| covers_host(allowed, &route.host)));
        let host = host.map(|route| Ceiling::Host { host: route.host.clone(), allowed: words(ceilings.hosts.iter().flatten()) });
        let rule = component
            .egress
            .iter()
            .find(|rule| ceilings.egress.as_ref().is_some_and(|wide| !wide.iter().any(|wider| rule.is_covered_by(wider))));
        let rule = rule.map(|rule| Ceiling::Egress { rule: rule.to_string(), allowed: words(ceilings.egress.iter().flatten()) });
        let import = component.imports.iter().find(|import| !listed(&ceilings.interfaces, |allowed| covers_interface(allowed, import)));
        let import = import.map(|import| Ceiling::Interface { name: import.clone(), allowed: words(ceilings.interfaces.iter().flatten()) });
        host.or(rule).or(import).map(|ceiling| (component.name.clone(), ceiling))
    })
}

/// What is allowed: the first few, and how many more.
fn words(allowed: impl Iterator<Item = impl fmt::Display>) -> String {
    let mut all: Vec<String> = allowed.map(|one| one.to_string()).collect();
    let more = all.len().saturating_sub(ALLOWED_SHOWN_MAX);
    all.truncate(ALLOWED_SHOWN_MAX);
    match (all.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => all.join(", "),
        (false, more) => format!("{} and {more} more", all.join(", ")),
    }
}

fn listed(ceiling: &Option<Vec<String>>, covers: impl Fn(&str) -> bool) -> bool {
    ceiling.as_ref().is_none_or(|allowed| allowed.iter().any(|allowed| covers(allowed)))
}

/// `*.a.test` covers `x.a.test`, `*.x.a.test` and itself, but not `a.test`.
pub(crate) fn covers_host(allowed: &str, host: &str) -> bool {
    let below = |suffix: &str| host.strip_suffix(suffix).and_then(|rest| rest.strip_suffix('.')).is_some_and(|rest| !rest.is_empty());
    allowed == host || allowed.strip_prefix("*.").is_some_and(below)
}

/// `wasi:keyvalue` covers every interface of the package, `wasi:keyvalue/store` every version of that one.
fn covers_interface(allowed: &str, import: &str) -> bool {
    let (unversioned, _) = import.split_once('@').unwrap_or((import, ""));
    let package = unversioned.split('/').next().unwrap_or_default();
    allowed == import || allowed == unversioned || allowed == package
}

impl State {
    /// Refuses `spec` as the wish for `app` when the ceilings of its namespace say so.
    ///
    /// # Errors
    /// The first ceiling it is over.
    pub fn refuse_over_ceilings(&self, app: &AppId, spec: &AppSpecV1) -> Result<(), Refused> {
        let Some(namespace) = self.namespace(&app.namespace) else { return Ok(()) };
        let refused = |component: Option<Name>, ceiling| Refused::Ceiling { app: app.clone(), component, ceiling };
        if let Some((component, ceiling)) = exceeded(&namespace.ceilings, spec) {
            return Err(refused(Some(component), ceiling));
        }
        self.over_quota(&namespace.ceilings, app, spec).map_or(Ok(()), |ceiling| Err(refused(None, ceiling)))
    }

    /// An app that asks for no more than it has is under no quota: a node that joined, or a quota that was lowered, would else hold up the change or the undo
    /// that mends something.
    fn over_quota(&self, ceilings: &Ceilings, app: &AppId, spec: &AppSpecV1) -> Option<Ceiling> {
        let wanted = |record: &AppRecord| self.revision(&record.id, record.wanted).map(|revision| &revision.frozen.spec);
        let all = || self.apps().filter(|other| other.id.namespace == app.namespace);
        let before = Usage::of(all().filter(|other| other.id == *app && !other.deleted).filter_map(wanted));
        let (own, usage) =
            (Usage::of(std::iter::once(spec)), Usage::of(all().filter(|other| other.id != *app).filter_map(wanted).chain([spec])));
        let workers = self.workers().max(1) as u64;
        let counts = [
            ("apps", usage.apps, own.apps > before.apps, ceilings.apps),
            ("instances", usage.instances.saturating_mul(workers), own.instances > before.instances, ceilings.instances),
            ("bytes of memory", usage.memory_bytes.saturating_mul(workers), own.memory_bytes > before.memory_bytes, ceilings.memory_bytes),
            ("thousandths of a core", usage.cpu_millis.saturating_mul(workers), own.cpu_millis > before.cpu_millis, ceilings.cpu_millis),
        ];
        counts.into_iter().find_map(|(unit, found, is_more, limit)| {
            let limit = limit.filter(|limit| is_more && found > *limit)?;
            Some(Ceiling::Quota { unit, found, limit })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_told_as_far_as_it_fits() {
        for (count, expected) in [(0, "none"), (1, "h0"), (5, "h0, h1, h2, h3, h4"), (7, "h0, h1, h2, h3, h4 and 2 more")] {
            assert_eq!(words((0..count).map(|number| format!("h{number}"))), expected);
        }
    }

    #[test]
    fn hosts_and_interfaces_are_covered_by_what_is_wider() {
        for (allowed, host, expected) in [
            ("a.test", "a.test", true),
            ("a.test", "x.a.test", false),
            ("*.a.test", "x.a.test", true),
            ("*.a.test", "*.a.test", true),
            ("*.a.test", "*.x.a.test", true),
            ("*.a.test", "a.test", false),
            ("*.a.test", "xa.test", false),
            ("x.a.test", "*.a.test", false),
        ] {
            assert_eq!(covers_host(allowed, host), expected, "{allowed} and {host}");
        }
        for (allowed, import, expected) in [
            ("wasi:keyvalue", "wasi:keyvalue/store@0.2.0-draft", true),
            ("wasi:keyvalue/store", "wasi:keyvalue/store@0.2.0-draft", true),
            ("wasi:keyvalue/store@0.2.0-draft", "wasi:keyvalue/store@0.2.0-draft", true),
            ("wasi:keyvalue/atomics", "wasi:keyvalue/store@0.2.0-draft", false),
            ("wasi:key", "wasi:keyvalue/store", false),
        ] {
            assert_eq!(covers_interface(allowed, import), expected, "{allowed} and {import}");
        }
    }
}
