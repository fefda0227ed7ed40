//! WASI 0.3 beside 0.2, which engine a component needs, how it may be used again, and what it may do.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::{Expect, expect};
use inspect::{Handler, Inspection, inspect, offer, permission};
use model::{
    app::{Component, Resources, Reuse, ReuseMode, Scale, Source},
    egress::Egress,
};

fn component(mode: Option<ReuseMode>, rules: &[&str]) -> Component {
    Component {
        source: Source::File("./web.wasm".into()),
        build: None,
        env: BTreeMap::new(),
        config: BTreeMap::new(),
        config_from: None,
        secrets: BTreeMap::new(),
        args: Vec::new(),
        files: Vec::new(),
        routes: Vec::new(),
        scale: Scale::default(),
        resources: Resources::default(),
        reuse: mode.map(|mode| Reuse { mode: Some(mode), ..Reuse::default() }),
        egress: Egress { allow: rules.iter().map(|rule| rule.parse().unwrap()).collect() },
    }
}

fn file(imports: &[&str], exports: &[&str]) -> Inspection {
    let imports: String = imports.iter().map(|name| format!("(import \"{name}\" (instance))")).collect();
    let exports: String = exports.iter().map(|name| format!("(export \"{name}\" (instance $i))")).collect();
    inspect(&wat::parse_str(format!("(component {imports} (instance $i) {exports})")).unwrap()).unwrap()
}

#[test]
fn a_component_may_use_both_versions() {
    let inspection = file(
        &[
            "wasi:cli/environment@0.2.0",
            "wasi:cli/types@0.3.1",
            "wasi:clocks/system-clock@0.3.0",
            "wasi:filesystem/preopens@0.3.0",
            "wasi:http/types@0.3.0",
            "wasi:http/types@0.2.9",
            "wasi:http/client@0.3.0",
            "wasi:io/streams@0.2.6",
            "wasi:logging/logging@0.1.0-draft",
            "wasi:random/random@0.3.0",
            "wasi:sockets/ip-name-lookup@0.3.0",
        ],
        &["wasi:http/incoming-handler@0.2.0", "wasi:http/handler@0.3.0"],
    );
    assert_eq!((inspection.handler, inspection.needs_concurrency), (Handler::Http03, true));
    assert_eq!(offer::unmet(&inspection, &component(None, &[]), &"web".parse().unwrap()), []);
}

#[test]
fn what_wasi_03_does_not_have_is_refused() {
    let missing =
        ["wasi:http/handler@0.3.0", "wasi:io/poll@0.3.0", "wasi:clocks/timezone@0.3.0", "wasi:cli/run@0.3.0", "wasi:logging/logging@0.1.0"];
    for name in missing {
        assert!(!offer::is_offered(name), "{name}");
    }
    let inspection = file(&["wasi:http/handler@0.3.0", "wasi:sockets/tcp@0.3.0"], &["wasi:http/handler@0.3.0"]);
    let problems = offer::unmet(&inspection, &component(None, &[]), &"web".parse().unwrap());
    let told: String =
        problems.iter().map(|problem| format!("{} {}: {}; {}\n", problem.code, problem.message, problem.label, problem.help)).collect();
    expect![[r#"
        E0204 component `web` imports `wasi:http/handler@0.3.0`, and nothing provides it: a middleware: it passes requests on to another component, and no host is one; compose it with the component that exports it: `wac plug ./web.wasm --plug other.wasm -o composed.wasm`
        E0204 component `web` imports `wasi:sockets/tcp@0.3.0`, and nothing provides it: `wasi:sockets@0.3.0` has no `tcp` here; the host has types, ip-name-lookup of `wasi:sockets@0.3.0`
    "#]].assert_eq(&told);
}

/// Goal: bindings made for a larger world import `wasi:http/handler` for its types alone, and that asks nothing of a host.
#[test]
fn an_interface_that_only_names_types_is_no_need() {
    let check = |inside: &str, expected: &[&str]| {
        let text = format!(
            r#"(component
                 (import "wasi:http/types@0.3.0" (instance $types (export "response" (type (sub resource)))))
                 (type (list u8))
                 (alias export $types "response" (type $response))
                 (import "acme:named/type" (type (eq $response)))
                 (type $handler (instance (alias outer 1 $response (type $r)) (export "response" (type (eq $r))) {inside}))
                 (import "wasi:http/handler@0.3.0" (instance (type $handler))))"#
        );
        let inspection = inspect(&wat::parse_str(text).unwrap()).unwrap();
        let names: Vec<&str> = inspection.imports.iter().map(|import| import.name.as_str()).collect();
        assert_eq!(names, expected, "{inside}");
    };
    let without = ["wasi:http/types@0.3.0", "acme:named/type"];
    let with = ["wasi:http/types@0.3.0", "acme:named/type", "wasi:http/handler@0.3.0"];
    check("", &without);
    check(r#"(type $list (list u8)) (export "list" (type (eq $list)))"#, &without);
    check(r#"(export "handle" (func))"#, &with);
    check(r#"(export "own" (type (sub resource)))"#, &with);
}

#[track_caller]
fn check_concurrency(inside: &str, expected: bool) {
    let bytes = wat::parse_str(format!("(component {inside})")).unwrap();
    assert_eq!(inspect::needs_concurrency(&bytes), expected, "{inside}");
    assert_eq!(inspect(&bytes).unwrap().needs_concurrency, expected, "{inside}");
}

#[test]
fn anything_asynchronous_needs_concurrency() {
    for plain in [
        "",
        "(import \"wasi:http/types@0.2.0\" (instance))",
        "(import \"acme:a/b@0.3.0\" (instance))",
        "(type (list u8))",
        "(import \"f\" (func (param \"a\" string)))",
    ] {
        check_concurrency(plain, false);
    }
    for concurrent in [
        "(import \"wasi:clocks/types@0.3.0\" (instance))",
        "(type (stream u8))",
        "(type (future))",
        "(type (list error-context))",
        "(import \"f\" (func async (param \"a\" string)))",
        "(import \"acme:a/b\" (instance (type (future string))))",
        "(component (type (component (type (instance (type (stream)))))))",
        "(core func (canon waitable-set.new))",
        "(core func (canon task.cancel))",
        "(import \"f\" (func $f async)) (core func (canon lower (func $f) async))",
        "(core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) \
         (component (core func (canon backpressure.inc)))",
    ] {
        check_concurrency(concurrent, true);
    }
    assert!(!inspect::needs_concurrency(b"not wasm at all"));
}

#[test]
fn requests_at_once_need_wasi_03() {
    let name = "web".parse().unwrap();
    for (export, mode, refused) in [
        ("wasi:http/incoming-handler@0.2.0", ReuseMode::Concurrent, true),
        ("wasi:http/incoming-handler@0.2.0", ReuseMode::Serial, false),
        ("wasi:http/incoming-handler@0.2.0", ReuseMode::Fresh, false),
        ("wasi:http/handler@0.3.0", ReuseMode::Concurrent, false),
        ("wasi:http/handler@0.3.0", ReuseMode::Fresh, false),
        ("wasi:cli/run@0.2.0", ReuseMode::Concurrent, true),
    ] {
        let problems = offer::unmet(&file(&[], &[export]), &component(Some(mode), &[]), &name);
        let codes: Vec<&str> = problems.iter().map(|problem| problem.code.as_str()).collect();
        assert_eq!(codes, if refused { vec!["E0210"] } else { vec![] }, "{export} {mode:?}");
        assert!(
            problems
                .iter()
                .all(|problem| problem.help.contains("reuse: {mode: serial}") && problem.path == "spec.components.web.reuse.mode")
        );
    }
}

#[track_caller]
fn check_permissions(mode: Option<ReuseMode>, rules: &[&str], inspection: Option<&Inspection>, expected: Expect) {
    let told: String = permission::of(&component(mode, rules), inspection).iter().map(|one| format!("{one}\n")).collect();
    expected.assert_eq(&told);
}

#[test]
fn permissions_are_what_reaches_beyond_the_request() {
    let imports = [
        "wasi:io/poll@0.2.0",
        "wasi:http/types@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:sockets/tcp@0.2.0",
        "wasi:sockets/udp@0.2.0",
    ];
    let mut older = file(&imports, &["wasi:http/incoming-handler@0.2.0"]);
    check_permissions(
        None,
        &["https://api.example"],
        Some(&older),
        expect![[r#"
        reach https://api.example:443
        call wasi:http/outgoing-handler
        call wasi:sockets
    "#]],
    );
    older.language = Some("Python".into());
    check_permissions(
        Some(ReuseMode::Serial),
        &[],
        Some(&older),
        expect![[r#"
        keep a sandbox for several requests
        call wasi:http/outgoing-handler
    "#]],
    );
    older.language = Some("JavaScript".into());
    check_permissions(
        Some(ReuseMode::Fresh),
        &[],
        Some(&older),
        expect![[r#"
        call wasi:sockets
    "#]],
    );
    let newer = file(&["wasi:http/client@0.3.0"], &["wasi:http/handler@0.3.0"]);
    check_permissions(
        None,
        &[],
        Some(&newer),
        expect![[r#"
        keep a sandbox for several requests
        call wasi:http/outgoing-handler
    "#]],
    );
    check_permissions(
        Some(ReuseMode::Fresh),
        &[],
        Some(&newer),
        expect![[r#"
        call wasi:http/outgoing-handler
    "#]],
    );
    check_permissions(
        None,
        &["http://10.0.0.0/8", "https://api.example"],
        None,
        expect![[r#"
        reach http://10.0.0.0/8:80
        reach https://api.example:443
    "#]],
    );
}

#[test]
fn a_narrower_permission_is_not_gained() {
    let gained = |before: &[&str], after: &[&str]| {
        let [before, after] = [before, after].map(|rules| permission::of(&component(None, rules), None));
        permission::gained(&before, &after).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(gained(&["https://*.example"], &["https://a.example"]), [""; 0]);
    assert_eq!(gained(&["https://a.example"], &["https://*.example"]), ["reach https://*.example:443"]);
    assert_eq!(gained(&["https://a.example"], &[]), [""; 0]);
    assert_eq!(permission::gained(&BTreeSet::new(), &BTreeSet::new()).count(), 0);
}

#[test]
fn a_told_file_has_what_its_names_say() {
    let read = file(&["wasi:http/types@0.3.0"], &["wasi:http/handler@0.3.0"]);
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let told = Inspection::told(read.size, read.digest, None, &names(&["wasi:http/types@0.3.0"]), &names(&["wasi:http/handler@0.3.0"]));
    assert_eq!(told, read);
}

#[test]
fn what_a_language_brings_is_known() {
    for (language, import, brought) in [
        (Some("Python"), "wasi:sockets/tcp@0.2.0", true),
        (Some("Python"), "wasi:http/outgoing-handler@0.2.0", false),
        (Some("JavaScript"), "wasi:http/outgoing-handler@0.2.0", true),
        (Some("JavaScript"), "wasi:sockets/tcp@0.2.0", false),
        (Some("Rust"), "wasi:filesystem/types@0.2.0", true),
        (Some("Rust"), "wasi:sockets/tcp@0.2.0", false),
        (Some("Rust"), "acme:a/b@1.0.0", false),
        (None, "wasi:filesystem/types@0.2.0", false),
    ] {
        let mut inspection = file(&[import], &[]);
        inspection.language = language.map(str::to_owned);
        assert_eq!(inspection.is_of_the_runtime(&inspection.imports[0]), brought, "{language:?} {import}");
    }
}
