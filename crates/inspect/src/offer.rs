//! What this host offers to components, and what stands between a component and running: the one table of interfaces. Must never know how an interface
//! is provided; the runtime's tests hold both to the same list.

use model::{
    app::{Component, ReuseMode, Source},
    id::Name,
    problem::Problem,
};

use crate::{Export, ExternKind, Handler, Import, Inspection, Interface, Version};

/// The WASI 0.2 release whose interfaces are offered; every other 0.2 release is compatible with it.
pub const WASI: Version = Version::release(0, 2, 12);

/// The WASI 0.3 release whose interfaces are offered; every other 0.3 release is compatible with it, and no candidate.
pub const WASI_03: Version = Version::release(0, 3, 0);

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

/// The same of WASI 0.3. Streams and polling are part of the format there, so `wasi:io` is gone.
const OFFERED_03: [(&str, &[&str]); 6] = [
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "types",
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
    ("wasi:clocks", &["types", "monotonic-clock", "system-clock"]),
    ("wasi:random", &["random", "insecure", "insecure-seed"]),
    ("wasi:filesystem", &["types", "preopens"]),
    ("wasi:sockets", &["types", "ip-name-lookup"]),
    ("wasi:http", &["types", "client"]),
];

/// Interfaces that are offered in one version of their own: the values under `config` in the manifest, and log lines with a level.
const DRAFTS: [(&str, &str, &str); 2] = [("wasi:config", "store", "0.2.0-rc.1"), ("wasi:logging", "logging", "0.1.0-draft")];

/// Packages that will be offered and are not yet, and what they are in a user's words.
const NOT_YET: [(&str, &str); 7] = [
    ("wasi:keyvalue", "key-value stores are"),
    ("wasi:messaging", "queues are"),
    ("shoal:messaging", "queues are"),
    ("wasi:blobstore", "blob stores are"),
    ("wasi:tls", "TLS from inside a component is"),
    ("wasi:sql", "databases are"),
    ("wasi:nn", "machine learning is"),
];

/// True when the host has the interface called `name`.
pub fn is_offered(name: &str) -> bool {
    Interface::parse(name).is_some_and(|interface| has(&interface))
}

/// True for the interfaces that every language runtime imports: linked for every component, and decided on at the call.
pub fn is_everybodys(name: &str) -> bool {
    let of = |interface: &Interface<'_>| OFFERED.iter().chain(&OFFERED_03).any(|(package, _)| *package == interface.package);
    Interface::parse(name).is_some_and(|interface| of(&interface))
}

/// Everything that keeps `component`, called `name` in its manifest and made of `inspection`, from running on this host, each with what mends it.
pub fn unmet(inspection: &Inspection, component: &Component, name: &Name) -> Vec<Problem> {
    if let Some(version) = candidate(inspection) {
        return vec![refuse_candidate(inspection, name, &version)];
    }
    let mut problems = Vec::new();
    let mut missing: Vec<&Import> = inspection.imports.iter().filter(|import| !is_met(import)).collect();
    while let Some(first) = missing.first().copied() {
        // One line in a manifest or one rebuild mends a whole package at once.
        let (same, others) = missing.into_iter().partition(|import| package(import) == package(first));
        missing = others;
        problems.push(refuse_imports(&same, component, name));
    }
    if !component.routes.is_empty() && !answers_http(inspection) {
        problems.push(refuse_routes(inspection, name));
    }
    problems.extend(refuse_reuse(inspection, component, name));
    problems
}

/// True when a route may lead to the component.
pub fn answers_http(inspection: &Inspection) -> bool {
    let is_offered = |export: &Export| {
        let of = |version: &Version| export.interface().and_then(|one| one.version).is_some_and(|own| own.is_compatible_with(version));
        let interface = export.interface().map(|one| (one.package, one.name));
        interface == Some(("wasi:http", "handler")) && of(&WASI_03)
    };
    match inspection.handler {
        Handler::Http02 => true,
        Handler::Http03 => inspection.exports.iter().any(is_offered),
        Handler::Command | Handler::None => false,
    }
}

/// True when an import or export is of WASI 0.3, candidates included.
pub(crate) fn is_made_for_03(imports: &[Import], exports: &[Export]) -> bool {
    let mut names = imports.iter().map(|import| &import.name).chain(exports.iter().map(|export| &export.name));
    names.any(|name| wasi_03(name).is_some())
}

/// True when the component was made for a candidate of WASI 0.3.
pub(crate) fn is_release_candidate(inspection: &Inspection) -> bool {
    candidate(inspection).is_some()
}

fn is_met(import: &Import) -> bool {
    // A type that is only named brings nothing the host would have to do.
    import.kind == ExternKind::Type || import.kind == ExternKind::Instance && is_offered(&import.name)
}

fn has(interface: &Interface<'_>) -> bool {
    let Some(version) = &interface.version else { return false };
    if let Some((_, _, draft)) = DRAFTS.iter().find(|(package, name, _)| (*package, *name) == (interface.package, interface.name)) {
        return version.to_string() == *draft;
    }
    names(version, interface.package).is_some_and(|names| names.contains(&interface.name))
}

/// What the host has of `package` in a version that `version` works with.
fn names(version: &Version, package: &str) -> Option<&'static [&'static str]> {
    let of = |offered: &'static [(&str, &[&str])]| offered.iter().find(|(known, _)| *known == package).map(|(_, names)| *names);
    if version.is_compatible_with(&WASI) {
        of(&OFFERED)
    } else if version.is_compatible_with(&WASI_03) {
        of(&OFFERED_03)
    } else {
        None
    }
}

/// The package of an import; a plain name is its own.
fn package(import: &Import) -> &str {
    import.interface().map_or(&import.name, |interface| interface.package)
}

/// The version of `name` when that is an interface of WASI 0.3 or of one of its candidates.
fn wasi_03(name: &str) -> Option<Version> {
    let interface = Interface::parse(name)?;
    let known = OFFERED.iter().any(|(package, _)| *package == interface.package);
    interface.version.filter(|version| known && version.major == 0 && version.minor == 3)
}

/// The candidate of WASI 0.3 that the component was made for.
fn candidate(inspection: &Inspection) -> Option<Version> {
    let names = inspection.imports.iter().map(|import| &import.name).chain(inspection.exports.iter().map(|export| &export.name));
    names.filter_map(|name| wasi_03(name)).find(|version| !version.candidate.is_empty())
}

fn refuse_candidate(inspection: &Inspection, name: &Name, version: &Version) -> Problem {
    let label = match inspection.handler {
        Handler::Http03 => "answers requests by `wasi:http/handler`",
        Handler::Http02 | Handler::Command | Handler::None => "imports interfaces of WASI 0.3",
    };
    let message = format!("component `{name}` is made for WASI {version}, a release candidate, and this host runs none");
    let help = "build it for the final WASI 0.3.0 with a newer toolchain, or for WASI 0.2";
    Problem::new("E0203", message).at(format!("spec.components.{name}.source")).label(label).help(help)
}

/// Several requests at once in one sandbox need a handler that can be called again before it has answered, and only WASI 0.3 has one.
fn refuse_reuse(inspection: &Inspection, component: &Component, name: &Name) -> Option<Problem> {
    let mode = component.reuse.as_ref()?.mode?;
    if mode != ReuseMode::Concurrent || inspection.handler == Handler::Http03 {
        return None;
    }
    let message =
        format!("component `{name}` cannot answer several requests at once in one sandbox: `reuse.mode: concurrent` needs WASI 0.3");
    let label = if inspection.handler == Handler::Http02 { "a component of WASI 0.2" } else { "it answers no requests" };
    let problem = Problem::new("E0210", message).at(format!("spec.components.{name}.reuse.mode")).label(label);
    Some(problem.help("write   reuse: {mode: serial}   for one request after the other, or remove `reuse` for a fresh sandbox per request"))
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
    if let Some((_, draft, version)) = DRAFTS.iter().find(|(known, ..)| known == package) {
        return (
            format!("the host has `{package}/{draft}@{version}`"),
            format!("build the component against `{package}/{draft}@{version}`"),
        );
    }
    if (*package, *name) == ("wasi:http", "incoming-handler") || (*package, *name) == ("wasi:http", "handler") {
        return ("a middleware: it passes requests on to another component, and no host is one".to_owned(), compose());
    }
    let newer = version.as_ref().is_some_and(|version| version.is_compatible_with(&WASI_03));
    let (release, offered): (_, &[(&str, &[&str])]) = if newer { (&WASI_03, &OFFERED_03) } else { (&WASI, &OFFERED) };
    match offered.iter().find(|(known, _)| known == package) {
        Some((_, names)) if names.contains(name) => {
            let has = version.as_ref().map_or("an import without a version".to_owned(), |version| format!("version {version}"));
            (format!("{has}, and the host has {WASI} and {WASI_03}"), rebuild(&release.to_string()))
        }
        Some((_, names)) => {
            (format!("`{package}@{release}` has no `{name}` here"), format!("the host has {} of `{package}@{release}`", names.join(", ")))
        }
        None if package.starts_with("wasi:") => {
            (format!("`{package}` is not supported"), format!("build the component without `{package}`"))
        }
        None => (format!("`{package}` is not a package of this host"), compose()),
    }
}

fn refuse_routes(inspection: &Inspection, name: &Name) -> Problem {
    let message = format!("component `{name}` has routes, but exports no `wasi:http/incoming-handler` or `wasi:http/handler`");
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
