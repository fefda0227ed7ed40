//! What this host offers to components, and what stands between a component and running: the one table of interfaces. Must never know how an interface
//! is provided; the runtime's tests hold both to the same list.

use model::{
    app::{Component, Source},
    id::Name,
    problem::Problem,
};

use crate::{ExternKind, Handler, Import, Inspection, Interface, Version};

/// The WASI 0.2 release whose interfaces are offered; every other 0.2 release is compatible with it.
pub const WASI: Version = Version::release(0, 2, 12);

/// The interfaces of WASI 0.2 that are always linked. What a component may do with them is decided at the call.
const OFFERED: [(&str, &[&str]); 7] = [
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("wasi:io", &["error", "poll", "streams"]),
    ("wasi:clocks", &["monotonic-clock", "wall-clock"]),
    ("wasi:random", &["random", "insecure", "insecure-seed"]),
    ("wasi:filesystem", &["types", "preopens"]),
    ("wasi:sockets", &["instance-network", "network", "ip-name-lookup", "tcp", "tcp-create-socket", "udp", "udp-create-socket"]),
    ("wasi:http", &["types", "outgoing-handler"]),
];

/// The one interface that is offered in another version: the values under `config` in the manifest.
const CONFIG: (&str, &str, &str) = ("wasi:config", "store", "0.2.0-rc.1");

/// Packages that will be offered and are not yet, and what they are in a user's words.
const NOT_YET: [(&str, &str); 8] = [
    ("wasi:keyvalue", "key-value stores are"),
    ("wasi:messaging", "queues are"),
    ("shoal:messaging", "queues are"),
    ("wasi:blobstore", "blob stores are"),
    ("wasi:logging", "structured logging is"),
    ("wasi:tls", "TLS from inside a component is"),
    ("wasi:sql", "databases are"),
    ("wasi:nn", "machine learning is"),
];

/// True when the host has the interface called `name`.
pub fn is_offered(name: &str) -> bool {
    Interface::parse(name).is_some_and(|interface| has(&interface))
}

/// Everything that keeps `component`, called `name` in its manifest and made of `inspection`, from running on this host, each with what mends it.
pub fn unmet(inspection: &Inspection, component: &Component, name: &Name) -> Vec<Problem> {
    if let Some(version) = newer_wasi(inspection) {
        return vec![refuse_newer_wasi(inspection, name, &version)];
    }
    let mut problems = Vec::new();
    let mut missing: Vec<&Import> = inspection.imports.iter().filter(|import| !is_met(import)).collect();
    while let Some(first) = missing.first().copied() {
        // One line in a manifest or one rebuild mends a whole package at once.
        let (same, others) = missing.into_iter().partition(|import| package(import) == package(first));
        missing = others;
        problems.push(refuse_imports(&same, component, name));
    }
    if !component.routes.is_empty() && inspection.handler != Handler::Http02 {
        problems.push(refuse_routes(inspection, name));
    }
    problems
}

/// True when the component was made for a candidate of WASI 0.3.
pub(crate) fn is_release_candidate(inspection: &Inspection) -> bool {
    newer_wasi(inspection).is_some_and(|version| !version.candidate.is_empty())
}

fn is_met(import: &Import) -> bool {
    // A type that is only named brings nothing the host would have to do.
    import.kind == ExternKind::Type || import.kind == ExternKind::Instance && is_offered(&import.name)
}

fn has(interface: &Interface<'_>) -> bool {
    let Some(version) = &interface.version else { return false };
    if (interface.package, interface.name) == (CONFIG.0, CONFIG.1) {
        return version.to_string() == CONFIG.2;
    }
    let offered = OFFERED.iter().any(|(package, names)| *package == interface.package && names.contains(&interface.name));
    offered && version.is_compatible_with(&WASI)
}

/// The package of an import; a plain name is its own.
fn package(import: &Import) -> &str {
    import.interface().map_or(&import.name, |interface| interface.package)
}

/// The version of WASI 0.3 that the component was made for; a candidate wins over a release.
fn newer_wasi(inspection: &Inspection) -> Option<Version> {
    let names = inspection.imports.iter().map(|import| &import.name).chain(inspection.exports.iter().map(|export| &export.name));
    let newer = names.filter_map(|name| {
        let interface = Interface::parse(name)?;
        let known = OFFERED.iter().any(|(package, _)| *package == interface.package);
        interface.version.filter(|version| known && version.major == 0 && version.minor == 3)
    });
    newer.max_by_key(|version| !version.candidate.is_empty())
}

fn refuse_newer_wasi(inspection: &Inspection, name: &Name, version: &Version) -> Problem {
    let label = match inspection.handler {
        Handler::Http03 => "answers requests by `wasi:http/handler`",
        Handler::Http02 | Handler::Command | Handler::None => "imports interfaces of WASI 0.3",
    };
    let (code, message) = if version.candidate.is_empty() {
        ("E0107", format!("component `{name}` is made for WASI {version}, which is not supported yet"))
    } else {
        ("E0203", format!("component `{name}` is made for WASI {version}, a release candidate, and this host runs none"))
    };
    let help = "build it for WASI 0.2: in Rust with `wstd` for the target wasm32-wasip2, in other languages with a world that exports `wasi:http/incoming-handler@0.2.12`";
    Problem::new(code, message).at(format!("spec.components.{name}.source")).label(label).help(help)
}

/// `imports` are those of one package, at least one.
fn refuse_imports(imports: &[&Import], component: &Component, name: &Name) -> Problem {
    let first = imports.first().expect("a group is made around its first member");
    let message = format!("component `{name}` imports `{first}`, and nothing provides it");
    let others: Vec<String> = imports.iter().skip(1).map(|import| format!("`{import}`")).collect();
    let (mut label, help) = explain(first, component);
    if !others.is_empty() {
        label = format!("{label}; it also imports {}", others.join(", "));
    }
    Problem::new("E0204", message).at(format!("spec.components.{name}")).label(label).help(help)
}

/// What is missing, and what mends it.
fn explain(import: &Import, component: &Component) -> (String, String) {
    let compose = || {
        let (Source::File(source) | Source::Digest { from: source, .. }) = &component.source;
        format!("compose it with the component that exports it: `wac plug {source} --plug other.wasm -o composed.wasm`")
    };
    let Some(interface) = import.interface() else {
        let what = if import.kind == ExternKind::Function { "a function of no interface" } else { "not an interface" };
        return (what.to_owned(), compose());
    };
    let Interface { package, name, version } = &interface;
    let rebuild = |offered: &str| format!("build the component against `{package}/{name}@{offered}`");
    if let Some((_, what)) = NOT_YET.iter().find(|(known, _)| known == package) {
        return (
            format!("{what} not supported yet"),
            format!("build the component without `{package}`; there is no line in the manifest that grants it yet"),
        );
    }
    if *package == CONFIG.0 {
        return (
            format!("the host has `{package}/{}@{}`", CONFIG.1, CONFIG.2),
            format!("build the component against `{package}/{}@{}`", CONFIG.1, CONFIG.2),
        );
    }
    if (*package, *name) == ("wasi:http", "incoming-handler") || (*package, *name) == ("wasi:http", "handler") {
        return ("it passes requests on to another component".to_owned(), compose());
    }
    match OFFERED.iter().find(|(known, _)| known == package) {
        Some((_, names)) if names.contains(name) => {
            let has = version.as_ref().map_or("an import without a version".to_owned(), |version| format!("version {version}"));
            (format!("{has}, and the host has {WASI}"), rebuild(&WASI.to_string()))
        }
        Some((_, names)) => {
            (format!("`{package}` has no `{name}` here"), format!("the host has {} of `{package}@{WASI}`", names.join(", ")))
        }
        None if package.starts_with("wasi:") => {
            (format!("`{package}` is not supported"), format!("build the component without `{package}`"))
        }
        None => (format!("`{package}` is not a package of this host"), compose()),
    }
}

fn refuse_routes(inspection: &Inspection, name: &Name) -> Problem {
    let message = format!("component `{name}` has routes, but exports no `wasi:http/incoming-handler`");
    let (label, help) = match inspection.handler {
        Handler::Command => (
            "a program that runs once (`wasi:cli/run`)".to_owned(),
            "answer requests instead of running once (in Rust `#[wstd::http_server]`), or take `routes` out".to_owned(),
        ),
        Handler::Http02 | Handler::Http03 | Handler::None => {
            let exports: Vec<String> = inspection.exports.iter().take(4).map(|export| format!("`{export}`")).collect();
            let label = if exports.is_empty() { "it exports nothing".to_owned() } else { format!("it exports {}", exports.join(", ")) };
            (label, format!("export `wasi:http/incoming-handler@{WASI}` (in Rust `#[wstd::http_server]`), or take `routes` out"))
        }
    };
    Problem::new("E0205", message).at(format!("spec.components.{name}.routes")).label(label).help(help)
}
