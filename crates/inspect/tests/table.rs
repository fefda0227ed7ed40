//! What `inspect` says about one component of every kind, and what stands between it and running. Each row is a component in the text format.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use inspect::{InspectError, inspect, offer};
use model::{
    app::{Component, Resources, Route, Scale, Source},
    problem::Problem,
    quantity::{Bytes, CpuMillis, Millis},
};

/// A component as a manifest would give it, with a route or without.
fn component(routed: bool) -> Component {
    let route = Route {
        host: "hello.localhost".into(),
        path: "/".into(),
        exact: false,
        methods: Vec::new(),
        headers: BTreeMap::new(),
        rewrite: None,
        timeout: Millis(30_000),
        idle_timeout: Millis(300_000),
        max_body: Bytes(10 << 20),
        tls: None,
        https: None,
    };
    let resources = Resources {
        memory: Bytes(64 << 20),
        instance_memory: Bytes(256 << 20),
        cpu: CpuMillis(100),
        max_in_flight: 100,
        queue_length: 1024,
        queue_wait: Millis(5_000),
        timeout: Millis(30_000),
        cpu_time: Millis(5_000),
    };
    Component {
        source: Source::File("./web.wasm".into()),
        build: None,
        env: BTreeMap::new(),
        config: BTreeMap::new(),
        config_from: None,
        secrets: BTreeMap::new(),
        args: Vec::new(),
        files: Vec::new(),
        routes: if routed { vec![route] } else { Vec::new() },
        scale: Scale { replicas: 1 },
        resources,
        reuse: None,
        egress: Default::default(),
    }
}

fn told(problem: &Problem) -> String {
    format!("{} {}\n  {}: {}\n  help: {}\n", problem.code, problem.message, problem.path, problem.label, problem.help)
}

#[track_caller]
fn check_bytes(bytes: &[u8], routed: bool, expected: Expect) {
    let name = "web".parse().unwrap();
    let text = match inspect(bytes) {
        Err(error) => told(&error.problem(&name)),
        Ok(inspection) => {
            let problems: String = offer::unmet(&inspection, &component(routed), &name).iter().map(told).collect();
            format!("{:?}\n{problems}", inspection.handler)
        }
    };
    expected.assert_eq(&text);
}

#[track_caller]
fn check(text: &str, expected: Expect) {
    check_bytes(&wat::parse_str(text).unwrap(), true, expected);
}

/// A component with these imports that answers requests.
fn with_imports(names: &[&str]) -> String {
    let imports: String = names.iter().map(|name| format!("(import \"{name}\" (instance))")).collect();
    format!("(component {imports} (instance $i) (export \"wasi:http/incoming-handler@0.2.12\" (instance $i)))")
}

#[test]
fn what_the_host_offers_is_met_in_any_patch_version() {
    check(
        &with_imports(&[
            "wasi:cli/environment@0.2.0",
            "wasi:io/streams@0.2.6",
            "wasi:clocks/wall-clock@0.2.10",
            "wasi:http/types@0.2.99",
            "wasi:http/outgoing-handler@0.2.12",
            "wasi:sockets/tcp@0.2.3",
            "wasi:config/store@0.2.0-rc.1",
        ]),
        expect![[r#"
            Http02
        "#]],
    );
}

#[test]
fn an_unknown_import_is_refused_with_what_mends_it() {
    check(
        &with_imports(&[
            "acme:billing/ledger@1.2.0",
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:keyvalue/atomics@0.2.0-draft",
            "wasi:http/types@0.2.0",
        ]),
        expect![[r#"
            Http02
            E0204 component `web` imports `acme:billing/ledger@1.2.0`, and nothing provides it
              spec.components.web: `acme:billing` is not a package of this host
              help: compose it with the component that exports it: `wac plug ./web.wasm --plug other.wasm -o composed.wasm`
            E0204 component `web` imports `wasi:keyvalue/store@0.2.0-draft`, and nothing provides it
              spec.components.web: key-value stores are not supported yet; it also imports `wasi:keyvalue/atomics@0.2.0-draft`
              help: build the component without `wasi:keyvalue`; there is no line in the manifest that grants it yet
        "#]],
    );
    check(
        &with_imports(&["wasi:http/types@0.1.0", "wasi:http/types@0.2.0-rc-2023-11-10"]),
        expect![[r#"
            Http02
            E0204 component `web` imports `wasi:http/types@0.1.0`, and nothing provides it
              spec.components.web: version 0.1.0, and the host has 0.2.12 and 0.3.0; it also imports `wasi:http/types@0.2.0-rc-2023-11-10`
              help: build the component against `wasi:http/types@0.2.12`
        "#]],
    );
    check(
        &with_imports(&["wasi:clocks/timezone@0.2.0", "wasi:config/runtime@0.2.0-draft", "wasi:threads/spawn@0.1.0"]),
        expect![[r#"
            Http02
            E0204 component `web` imports `wasi:clocks/timezone@0.2.0`, and nothing provides it
              spec.components.web: `wasi:clocks@0.2.12` has no `timezone` here
              help: the host has monotonic-clock, wall-clock of `wasi:clocks@0.2.12`
            E0204 component `web` imports `wasi:config/runtime@0.2.0-draft`, and nothing provides it
              spec.components.web: the host has `wasi:config/store@0.2.0-rc.1`
              help: build the component against `wasi:config/store@0.2.0-rc.1`
            E0204 component `web` imports `wasi:threads/spawn@0.1.0`, and nothing provides it
              spec.components.web: `wasi:threads` is not supported
              help: build the component without `wasi:threads`
        "#]],
    );
    check(
        &with_imports(&["wasi:http/incoming-handler@0.2.0", "wasi:io/poll"]),
        expect![[r#"
            Http02
            E0204 component `web` imports `wasi:http/incoming-handler@0.2.0`, and nothing provides it
              spec.components.web: a middleware: it passes requests on to another component, and no host is one
              help: compose it with the component that exports it: `wac plug ./web.wasm --plug other.wasm -o composed.wasm`
            E0204 component `web` imports `wasi:io/poll`, and nothing provides it
              spec.components.web: an import without a version, and the host has 0.2.12 and 0.3.0
              help: build the component against `wasi:io/poll@0.2.12`
        "#]],
    );
    check(
        r#"(component (import "log" (func)) (instance $i) (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#,
        expect![[r#"
        Http02
        E0204 component `web` imports `log`, and nothing provides it
          spec.components.web: a function of no interface
          help: compose it with the component that exports it: `wac plug ./web.wasm --plug other.wasm -o composed.wasm`
    "#]],
    );
}

#[test]
fn a_type_that_is_only_named_needs_no_provider() {
    check(
        r#"(component (type $t string) (import "name" (type (eq $t))) (instance $i) (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#,
        expect![[r#"
            Http02
        "#]],
    );
}

#[test]
fn candidates_of_wasi_03_are_refused_and_releases_are_not() {
    let made_for = |version: &str| {
        format!(
            "(component (import \"wasi:http/types@{version}\" (instance)) (instance $i) (export \"wasi:http/handler@{version}\" (instance $i)))"
        )
    };
    check(
        &made_for("0.3.0-rc-2025-09-16"),
        expect![[r#"
            Http03
            E0203 component `web` is made for WASI 0.3.0-rc-2025-09-16, a release candidate, and this host runs none
              spec.components.web.source: answers requests by `wasi:http/handler`
              help: build it for the final WASI 0.3.0 with a newer toolchain, or for WASI 0.2
        "#]],
    );
    check(
        &with_imports(&["wasi:clocks/monotonic-clock@0.3.0-draft"]),
        expect![[r#"
        Http02
        E0203 component `web` is made for WASI 0.3.0-draft, a release candidate, and this host runs none
          spec.components.web.source: imports interfaces of WASI 0.3
          help: build it for the final WASI 0.3.0 with a newer toolchain, or for WASI 0.2
    "#]],
    );
    check(
        &made_for("0.3.0"),
        expect![[r#"
        Http03
    "#]],
    );
    check(
        &made_for("0.3.7"),
        expect![[r#"
        Http03
    "#]],
    );
    check(
        &made_for("0.4.0"),
        expect![[r#"
        Http03
        E0204 component `web` imports `wasi:http/types@0.4.0`, and nothing provides it
          spec.components.web: version 0.4.0, and the host has 0.2.12 and 0.3.0
          help: build the component against `wasi:http/types@0.2.12`
        E0205 component `web` has routes, but exports no `wasi:http/incoming-handler` or `wasi:http/handler`
          spec.components.web.routes: it exports `wasi:http/handler@0.4.0`
          help: export `wasi:http/incoming-handler@0.2.12` (in Rust `#[wstd::http_server]`), or take `routes` out
    "#]],
    );
}

#[test]
fn a_candidate_in_an_encoding_of_its_time_is_still_called_by_its_name() {
    let mut bytes = wat::parse_str("(component (import \"wasi:http/types@0.3.0-rc-2025-09-16\" (instance)))").unwrap();
    // A section kind that no reader of today knows.
    bytes.extend([0x7f, 0x00]);
    check_bytes(
        &bytes,
        true,
        expect![[r#"
            None
            E0203 component `web` is made for WASI 0.3.0-rc-2025-09-16, a release candidate, and this host runs none
              spec.components.web.source: imports interfaces of WASI 0.3
              help: build it for the final WASI 0.3.0 with a newer toolchain, or for WASI 0.2
        "#]],
    );
}

#[test]
fn routes_need_a_handler() {
    check(
        "(component)",
        expect![[r#"
            None
            E0205 component `web` has routes, but exports no `wasi:http/incoming-handler` or `wasi:http/handler`
              spec.components.web.routes: it exports nothing
              help: export `wasi:http/incoming-handler@0.2.12` (in Rust `#[wstd::http_server]`), or take `routes` out
        "#]],
    );
    check_bytes(
        &wat::parse_str("(component)").unwrap(),
        false,
        expect![[r#"
            None
        "#]],
    );
    check(
        "(component (instance $i) (export \"wasi:cli/run@0.2.12\" (instance $i)))",
        expect![[r#"
            Command
            E0205 component `web` has routes, but exports no `wasi:http/incoming-handler` or `wasi:http/handler`
              spec.components.web.routes: a program that runs once (`wasi:cli/run`)
              help: answer requests instead of running once (in Rust `#[wstd::http_server]`), or take `routes` out
        "#]],
    );
    check(
        "(component (instance $i) (export \"wasi:http/incoming-handler@0.1.0\" (instance $i)))",
        expect![[r#"
            None
            E0205 component `web` has routes, but exports no `wasi:http/incoming-handler` or `wasi:http/handler`
              spec.components.web.routes: it exports `wasi:http/incoming-handler@0.1.0`
              help: export `wasi:http/incoming-handler@0.2.12` (in Rust `#[wstd::http_server]`), or take `routes` out
        "#]],
    );
}

#[test]
fn a_core_module_is_told_how_it_becomes_a_component() {
    let import = r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#;
    check(
        &format!("(module {import} (func (export \"_start\")))"),
        expect![[r#"
        E0202 the source of component `web` is a core module, not a component
          spec.components.web.source: a program for WASI preview 1
          help: build for the target wasm32-wasip2 instead of wasm32-wasip1, or wrap it: `wasm-tools component new x.wasm --adapt wasi_snapshot_preview1.command.wasm -o y.wasm`
    "#]],
    );
    check(
        &format!("(module {import} (func (export \"_initialize\")))"),
        expect![[r#"
        E0202 the source of component `web` is a core module, not a component
          spec.components.web.source: a library for WASI preview 1
          help: build for the target wasm32-wasip2 instead of wasm32-wasip1, or wrap it: `wasm-tools component new x.wasm --adapt wasi_snapshot_preview1.reactor.wasm -o y.wasm`
    "#]],
    );
    check(
        "(module (func (export \"_start\")))",
        expect![[r#"
        E0202 the source of component `web` is a core module, not a component
          spec.components.web.source: a core module without WASI
          help: build for the target wasm32-wasip2, or wrap it: `wasm-tools component new x.wasm -o y.wasm`
    "#]],
    );
}

#[test]
fn what_is_not_a_component_is_told_what_it_seems_to_be() {
    check_bytes(
        b"",
        true,
        expect![[r#"
        E0201 the source of component `web` is not WebAssembly: it is empty
          spec.components.web.source: not WebAssembly
          help: name the `.wasm` file your build makes
    "#]],
    );
    check_bytes(
        b"not wasm at all",
        true,
        expect![[r#"
        E0201 the source of component `web` is not WebAssembly: it does not begin with the four bytes `\0asm`
          spec.components.web.source: not WebAssembly
          help: name the `.wasm` file your build makes
    "#]],
    );
    check_bytes(
        b"  (component)",
        true,
        expect![[r#"
        E0201 the source of component `web` is not WebAssembly: it is the text format, which must be parsed first
          spec.components.web.source: the text format
          help: parse it first: `wasm-tools parse x.wat -o x.wasm`
    "#]],
    );
    check_bytes(
        b"\x7fELF\x02\x01",
        true,
        expect![[r#"
        E0201 the source of component `web` is not WebAssembly: it is an ELF file; code compiled elsewhere is never accepted, only the component itself
          spec.components.web.source: not WebAssembly
          help: name the `.wasm` file your build makes
    "#]],
    );
    check_bytes(
        b"\x1f\x8b\x08",
        true,
        expect![[r#"
        E0201 the source of component `web` is not WebAssembly: it is an archive or compressed
          spec.components.web.source: not WebAssembly
          help: name the `.wasm` file your build makes
    "#]],
    );
    check_bytes(
        b"\0asm",
        true,
        expect![[r#"
        E0201 the source of component `web` is cut short: it ends in the middle of the part at byte 4
          spec.components.web.source: cut short
          help: build or copy it again: the end of the file is missing
    "#]],
    );
    let whole = wat::parse_str(with_imports(&["wasi:http/types@0.2.0"])).unwrap();
    check_bytes(
        &whole[..whole.len() / 2],
        true,
        expect![[r#"
        E0201 the source of component `web` is cut short: it ends in the middle of the part at byte 48
          spec.components.web.source: cut short
          help: build or copy it again: the end of the file is missing
    "#]],
    );
    let mut damaged = wat::parse_str("(component (core module) (core instance (instantiate 0)))").unwrap();
    let index = damaged.len() - 2;
    assert_eq!(
        damaged[index - 4..],
        [0x02, 0x04, 0x01, 0x00, 0x00, 0x00],
        "a section with one instance: of the module 0, without arguments"
    );
    damaged[index] = 7;
    check_bytes(
        &damaged,
        true,
        expect![[r#"
        E0201 the source of component `web` is not valid WebAssembly: unknown module 7: module index out of bounds (at byte 21)
          spec.components.web.source: not valid
          help: build it again; `wasm-tools validate x.wasm` says more
    "#]],
    );
}

#[test]
fn more_than_any_real_component_has_is_refused() {
    let names: Vec<String> = (0..=inspect::limits::EXTERNS_MAX).map(|number| format!("a:b/c{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    check(
        &with_imports(&names),
        expect![[r#"
        E0201 the source of component `web` has more than 1000 imports
          spec.components.web.source: beyond the limits
          help: split it into several components
    "#]],
    );
    let long = format!("a:b/{}", "c".repeat(inspect::limits::NAME_BYTES_MAX));
    check(
        &with_imports(&[&long]),
        expect![[r#"
        E0201 the source of component `web` has more than 512 bytes in the name of an import or export
          spec.components.web.source: beyond the limits
          help: split it into several components
    "#]],
    );
    let deep = (0..=inspect::limits::NESTING_MAX).fold(String::new(), |inner, _| format!("(component {inner})"));
    check(
        &format!("(component {deep})"),
        expect![[r#"
        E0201 the source of component `web` has more than 32 components in components
          spec.components.web.source: beyond the limits
          help: split it into several components
    "#]],
    );
}

/// A component with one section of types in which every level is a component type with one declaration, of a component type: three bytes per level.
fn nested_types(levels: usize) -> Vec<u8> {
    let mut section = vec![0x01];
    for _ in 0..levels {
        section.extend([0x41, 0x01, 0x01]);
    }
    let mut bytes = b"\0asm\x0d\0\x01\0\x07".to_vec();
    let mut length = section.len();
    while length >= 0x80 {
        bytes.push(0x80 | u8::try_from(length & 0x7f).unwrap());
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend(section);
    bytes
}

#[test]
fn types_nested_without_end_do_not_overflow_the_stack() {
    // A quarter of the stack that threads get.
    let stack = std::thread::Builder::new().stack_size(512 << 10);
    let checked = stack.spawn(|| {
        assert!(inspect(&nested_types(inspect::limits::NESTED_TYPES_MAX)).is_err(), "validated, and refused");
        assert!(inspect(&nested_types(1_000_000)).is_ok(), "left to the compiler, which runs in a process of its own");
    });
    checked.unwrap().join().unwrap();
}

#[test]
fn facts_are_read_from_the_file() {
    let bytes = wat::parse_str(
        r#"(component
            (core module (@producers (language "C11" "") (processed-by "clang" "19")) (func))
            (import "wasi:io/poll@0.2.0" (instance))
            (instance $i)
            (export "wasi:http/incoming-handler@0.2.0" (instance $i))
            (@custom "x" "y"))"#,
    )
    .unwrap();
    let inspection = inspect(&bytes).unwrap();
    assert_eq!(inspection.size, u64::try_from(bytes.len()).unwrap());
    assert_eq!(inspection.digest, model::id::Digest::of(&bytes));
    assert_eq!(inspection.language.as_deref(), Some("C"));
    assert_eq!(inspection.imports[0].to_string(), "wasi:io/poll@0.2.0");
    assert_eq!(inspection.exports[0].to_string(), "wasi:http/incoming-handler@0.2.0");
}

#[test]
fn a_file_of_the_largest_size_is_not_even_read_when_one_byte_longer() {
    let size = usize::try_from(inspect::limits::COMPONENT_BYTES_MAX).unwrap() + 1;
    // Zeroed pages are never touched, so this costs no memory.
    assert_eq!(inspect(&vec![0; size]), Err(InspectError::TooLarge { size: u64::try_from(size).unwrap() }));
}
