//! Rules about who may know whom: crates point only downward, heavy libraries have one door each, pure crates stay light.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Offence;

/// From the bottom up; a crate may know only crates of layers below its own.
const LAYERS: [(&str, &[&str]); 8] = [
    ("grammar", &["egress"]),
    ("words", &["model"]),
    ("truth", &["state", "inspect", "certificates", "transport", "backup", "neighbor"]),
    ("parts", &["scheduler", "consensus", "runtime", "gateway", "api"]),
    ("joints", &["artifacts", "doors", "formation", "founding", "membership", "rotation", "views", "wishes"]),
    ("roles", &["server", "worker"]),
    ("node", &["supervisor"]),
    ("program", &["shoal", "simulation"]),
];

/// Knows no crate of ours: it is compiled before them.
const TOOL: &str = "xtask";

/// A library and the only crates that may name it. A name that ends in `*` covers every library that starts so.
const DOORS: [(&str, &[&str]); 13] = [
    ("wasmtime*", &["runtime"]),
    ("openraft", &["consensus"]),
    ("openraft-rt-sim", &["simulation"]),
    ("raft-log", &["consensus"]),
    ("codeq", &["consensus"]),
    ("bincode", &["consensus", "state"]),
    ("wasmparser", &["inspect"]),
    ("axum", &["doors", "server", "worker", "shoal"]),
    ("rustls*", &["certificates", "transport", "gateway", "runtime"]),
    ("serde-saphyr", &["model"]),
    ("clap*", &["shoal", "supervisor"]),
    ("landlock", &["supervisor"]),
    ("anyhow", &["shoal", "supervisor", "xtask"]),
];

/// Crates that decide, and libraries that must not come along with them by any way.
const LIGHT: [&str; 5] = ["egress", "model", "state", "inspect", "scheduler"];
const HEAVY: [&str; 4] = ["tokio", "hyper", "wasmtime", "rustls"];

/// The workspace as cargo sees it.
pub struct Graph {
    /// The direct dependencies of our crates, of every kind.
    direct: BTreeMap<String, BTreeSet<String>>,
    /// Our crates outside `crates/`, which test the others and may know all of them.
    outside: BTreeSet<String>,
    /// What each package of the whole tree is built with, by package id; development dependencies aside.
    built_with: BTreeMap<String, BTreeSet<String>>,
    /// Package id to name.
    names: BTreeMap<String, String>,
}

impl Graph {
    /// Reads what `cargo metadata` prints.
    ///
    /// # Errors
    /// A field that cargo promises is missing.
    pub fn read(metadata: &Value) -> Result<Self> {
        let list = |value: &'_ Value, key: &str| -> Result<Vec<Value>> {
            Ok(value[key].as_array().with_context(|| format!("cargo metadata has no list `{key}`"))?.clone())
        };
        let text = |value: &Value, key: &str| -> Result<String> {
            Ok(value[key].as_str().with_context(|| format!("cargo metadata has no text `{key}`"))?.to_owned())
        };
        let members: BTreeSet<String> =
            list(metadata, "workspace_members")?.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect();
        let mut graph = Self { direct: BTreeMap::new(), outside: BTreeSet::new(), built_with: BTreeMap::new(), names: BTreeMap::new() };
        for package in list(metadata, "packages")? {
            let (id, name) = (text(&package, "id")?, text(&package, "name")?);
            if members.contains(&id) {
                let dependencies = list(&package, "dependencies")?.iter().map(|one| text(one, "name")).collect::<Result<_>>()?;
                if !text(&package, "manifest_path")?.contains("/crates/") {
                    graph.outside.insert(name.clone());
                }
                graph.direct.insert(name.clone(), dependencies);
            }
            graph.names.insert(id, name);
        }
        for node in list(&metadata["resolve"], "nodes")? {
            let is_built = |one: &&Value| one["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()));
            let built = list(&node, "deps")?.iter().filter(is_built).map(|one| text(one, "pkg")).collect::<Result<_>>()?;
            graph.built_with.insert(text(&node, "id")?, built);
        }
        Ok(graph)
    }

    /// Every package that is built for the crate `name`.
    fn all_of(&self, name: &str) -> BTreeSet<&str> {
        let mut open: Vec<&String> = self.names.iter().filter(|(_, known)| *known == name).map(|(id, _)| id).collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(self.built_with.get(id).into_iter().flatten());
            }
        }
        seen.into_iter().filter_map(|id| self.names.get(id).map(String::as_str)).collect()
    }
}

/// Checks every crate of the workspace.
pub fn check(graph: &Graph) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (name, dependencies) in graph.direct.iter().filter(|(name, _)| !graph.outside.contains(*name)) {
        let mut tell = |rule, message| offences.push(Offence { path: format!("crates/{name}/Cargo.toml"), line: 0, rule, message });
        if layer(name).is_none() && name != TOOL {
            tell("layer", format!("`{name}` stands in no layer: give it one in LAYERS"));
        }
        for dependency in dependencies {
            if graph.direct.contains_key(dependency) && layer(dependency) >= layer(name) {
                tell("layer", format!("{} must not know {}", with_layer(name), with_layer(dependency)));
            }
            for (_, doors) in DOORS.iter().filter(|(library, doors)| matches(library, dependency) && !doors.contains(&name.as_str())) {
                tell("door", format!("`{dependency}` is used only in {}", doors.join(", ")));
            }
        }
        if LIGHT.contains(&name.as_str()) {
            let all = graph.all_of(name);
            for heavy in HEAVY.iter().filter(|heavy| all.contains(*heavy)) {
                tell("light", format!("`{heavy}` comes along with a crate that only decides: `cargo tree -p {name} -i {heavy}` shows how"));
            }
        }
    }
    offences
}

/// The layer's height; none for a crate without one, which is below all.
fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, crates)| crates.contains(&name))
}

fn with_layer(name: &str) -> String {
    let layer = layer(name).map_or("no layer", |height| LAYERS[height].0);
    format!("`{name}` ({layer})")
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::tidy::told;

    /// A workspace from `crate: dependencies`, where libraries depend on nothing but as `deep` says.
    fn check_crates(crates: &[(&str, &[&str])], deep: &[(&str, &[&str])], expected: Expect) {
        let mut names: BTreeSet<&str> = crates.iter().chain(deep).flat_map(|(name, list)| list.iter().chain([name])).copied().collect();
        let of = |name: &str| crates.iter().chain(deep).find(|(known, _)| *known == name).map(|(_, list)| *list).unwrap_or_default();
        let members: Vec<&str> = crates.iter().map(|(name, _)| *name).collect();
        names.extend(&members);
        let packages = names.iter().map(|name| {
            let dependencies: Vec<Value> = of(name).iter().map(|one| json!({"name": one})).collect();
            json!({"id": name, "name": name, "manifest_path": format!("/x/crates/{name}/Cargo.toml"), "dependencies": dependencies})
        });
        let nodes = names.iter().map(|name| {
            let dependencies: Vec<Value> = of(name).iter().map(|one| json!({"pkg": one, "dep_kinds": [{"kind": null}]})).collect();
            json!({"id": name, "deps": dependencies})
        });
        let metadata = json!({"workspace_members": members, "packages": packages.collect::<Vec<_>>(), "resolve": {"nodes": nodes.collect::<Vec<_>>()}});
        expected.assert_eq(&told(&check(&Graph::read(&metadata).unwrap())));
    }

    #[test]
    fn edges_point_downward() {
        check_crates(&[("model", &["serde"]), ("state", &["model"]), ("server", &["state", "model", "axum"])], &[], expect![""]);
        check_crates(
            &[
                ("model", &[]),
                ("runtime", &["gateway", "model"]),
                ("gateway", &["model"]),
                ("state", &["server"]),
                ("server", &[]),
                ("xtask", &["model"]),
            ],
            &[],
            expect![[r#"
                crates/runtime/Cargo.toml: layer: `runtime` (parts) must not know `gateway` (parts)
                crates/state/Cargo.toml: layer: `state` (truth) must not know `server` (roles)
                crates/xtask/Cargo.toml: layer: `xtask` (no layer) must not know `model` (words)
            "#]],
        );
    }

    #[test]
    fn a_crate_without_a_layer_is_told() {
        check_crates(
            &[("common", &["serde"])],
            &[],
            expect![[r#"
                crates/common/Cargo.toml: layer: `common` stands in no layer: give it one in LAYERS
            "#]],
        );
    }

    #[test]
    fn a_heavy_library_has_one_door() {
        check_crates(
            &[("runtime", &["wasmtime", "wasmtime-wasi"]), ("worker", &["wasmtime-wasi"]), ("gateway", &["axum", "anyhow"])],
            &[],
            expect![[r#"
                crates/gateway/Cargo.toml: door: `anyhow` is used only in shoal, supervisor, xtask
                crates/gateway/Cargo.toml: door: `axum` is used only in doors, server, worker, shoal
                crates/worker/Cargo.toml: door: `wasmtime-wasi` is used only in runtime
            "#]],
        );
    }

    #[test]
    fn a_light_crate_stays_light_all_the_way_down() {
        check_crates(
            &[("scheduler", &["some"])],
            &[("some", &["other"]), ("other", &["tokio"])],
            expect![[r#"
                crates/scheduler/Cargo.toml: light: `tokio` comes along with a crate that only decides: `cargo tree -p scheduler -i tokio` shows how
            "#]],
        );
    }
}
