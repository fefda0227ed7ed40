//! What of an app enters the replicated log: the canonical JSON, opaque to `apply`, and a frozen spec with only what `apply` and the scheduler read.
//! Owns the frozen shapes, which are bincode-encoded and so only ever grow new versions; must never parse text inside `apply`.

use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    id::{Digest, Name},
};

/// An app as the log holds it. Both halves are made by [`freeze`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Canonical JSON with every default filled in.
    pub canonical: String,
    /// What decisions read.
    pub spec: AppSpecV1,
}

/// The first frozen app shape. Fields are never added, removed or reordered: a change is a `V2`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSpecV1 {
    /// In order of name.
    pub components: Vec<ComponentSpecV1>,
}

/// What decisions read of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentSpecV1 {
    /// The component's name.
    pub name: Name,
    /// Its artifact.
    pub digest: Digest,
    /// Wished instances.
    pub replicas: u32,
    /// Bytes booked per instance.
    pub instance_memory_bytes: u64,
    /// Thousandths of a core booked per instance.
    pub cpu_millis: u32,
    /// What its routes match on.
    pub routes: Vec<RouteKeyV1>,
}

/// What a route matches on; two equal keys collide.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteKeyV1 {
    /// Exact host or `*.suffix`, lower case.
    pub host: String,
    /// Path or path prefix.
    pub path: String,
    /// Whole path only.
    pub exact: bool,
    /// Sorted; empty means every method.
    pub methods: Vec<String>,
    /// Sorted by name.
    pub headers: Vec<(String, String)>,
}

/// Freezes `app`, or names the first component whose source is not resolved to a digest yet.
pub fn freeze(app: &App) -> Result<Frozen, Name> {
    let components = app
        .spec
        .components
        .iter()
        .map(|(name, component)| {
            Ok(ComponentSpecV1 {
                name: name.clone(),
                digest: component.source.digest().ok_or_else(|| name.clone())?,
                replicas: component.scale.replicas,
                instance_memory_bytes: component.resources.instance_memory.0,
                cpu_millis: component.resources.cpu.0,
                routes: component.routes.iter().map(RouteKeyV1::of).collect(),
            })
        })
        .collect::<Result<_, Name>>()?;
    let canonical = serde_json::to_string(app).expect("an app's canonical form has string keys only");
    Ok(Frozen { canonical, spec: AppSpecV1 { components } })
}

impl RouteKeyV1 {
    /// The key of `route`.
    pub fn of(route: &crate::app::Route) -> Self {
        Self {
            host: route.host.clone(),
            path: route.path.clone(),
            exact: route.exact,
            methods: route.methods.clone(),
            headers: route.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }
}
