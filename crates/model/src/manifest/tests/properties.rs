//! What holds for every text and every app: nothing panics, and what is printed is read back.

use proptest::{collection, option, prelude::*};

use super::*;
use crate::{
    app::{AppSpec, Build, Component, FileMount, Https, Metadata, Resources, Reuse, ReuseMode, Route, RouteTls, Scale, Source},
    egress::Egress,
    id::{Digest, Index, Name},
    quantity::{Bytes, Millis},
};

fn name() -> impl Strategy<Value = Name> {
    "[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?".prop_map(|name| name.parse().expect("the pattern makes names"))
}

/// Text that YAML could take for something else, and any text at all.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_]{1,8}",
        "[ -~\u{a0}-\u{2ff}\n\t]{0,24}",
        Just(String::new()),
        proptest::sample::select(vec![
            "no",
            "true",
            "null",
            "~",
            "1.10",
            "0x1f",
            "1e3",
            "- a",
            "a: b",
            "#",
            "${var.x}",
            "$${var.x}",
            "---",
            "*a",
            "&a",
            "!t",
            "|",
            "'",
            "\"",
            "{",
            "<<"
        ])
        .prop_map(str::to_owned),
    ]
}

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    collection::btree_map("[A-Za-z_.-]{1,8}|no|1|~", text(), 0..4)
}

fn route(index: usize) -> impl Strategy<Value = Route> {
    let methods = proptest::sample::subsequence(vec!["DELETE".to_owned(), "GET".to_owned(), "POST".to_owned()], 0..3);
    let headers = collection::btree_map("x-[a-z]{1,4}", "[ -~]{0,8}", 0..3);
    let times = (1..=3_600_000_u64, 1..=86_400_000_u64, 0..=(64_u64 << 30));
    // With a certificate only the one that is not said by it, and without one only the other.
    let secure = proptest::sample::select(vec![(false, None), (false, Some(Https::Redirect)), (true, None), (true, Some(Https::Both))]);
    (any::<bool>(), any::<bool>(), methods, headers, option::of("(/[a-z]{1,3}){1,3}"), times, secure).prop_map(
        move |(wild, exact, methods, headers, rewrite, (timeout, idle_timeout, max_body), (tls, https))| Route {
            host: format!("{}h{index}.example", if wild { "*." } else { "" }),
            path: "/v1".to_owned(),
            exact,
            methods,
            headers,
            rewrite,
            timeout: Millis(timeout),
            tls: tls.then(|| RouteTls { secret: "web".parse().expect("a name") }),
            https,
            idle_timeout: Millis(idle_timeout),
            max_body: Bytes(max_body),
        },
    )
}

/// What was there from the start stays one tuple; these came later.
fn abilities() -> impl Strategy<Value = (Vec<FileMount>, Option<Reuse>, Egress)> {
    let digest = any::<[u8; 32]>().prop_map(|bytes| Source::Digest { digest: Digest(bytes), from: Digest(bytes).to_string() });
    let file = (prop_oneof![digest, "\\./[a-z ]{1,8}".prop_map(Source::File)], "/[a-z]{1,9}");
    let files = collection::btree_map(Just(()), file, 0..2)
        .prop_map(|files| files.into_values().map(|(source, to)| FileMount { source, to }).collect());
    let mode = option::of(proptest::sample::select(vec![ReuseMode::Fresh, ReuseMode::Serial, ReuseMode::Concurrent]));
    let reuse = (mode, option::of(1..9_u32), 1..99_u32, 0..300_u32, option::of((1..9_999_u64).prop_map(Millis)))
        .prop_map(|(mode, sandboxes, max_concurrent, max_requests, max_age)| Reuse {
            mode,
            sandboxes,
            max_concurrent,
            max_requests,
            max_age,
        })
        .prop_filter("the defaults are left out", |reuse| *reuse != Reuse::default());
    let rule = "https?://([a-z]{1,5}\\.[a-z]{2}|\\*\\.[a-z]{2}|10\\.0\\.0\\.[0-9]|10\\.1\\.0\\.0/16|\\[2001:db8::[1-9]\\]):[1-9][0-9]{0,3}";
    let egress = collection::btree_set(rule.prop_map(|rule| rule.parse().expect("the pattern makes rules")), 0..4)
        .prop_map(|rules| Egress { allow: rules.into_iter().collect() });
    (files, option::of(reuse), egress)
}

fn component(index: usize) -> impl Strategy<Value = Component> {
    let build = option::of((text(), "[a-z]{1,5}", collection::vec("[a-z]{1,5}", 0..3)).prop_map(|(command, dir, watch)| Build {
        command,
        dir,
        watch,
    }));
    let source = prop_oneof![
        any::<[u8; 32]>().prop_map(|bytes| Source::Digest { digest: Digest(bytes), from: Digest(bytes).to_string() }),
        "\\./[a-z ]{1,8}\\.wasm".prop_map(Source::File),
    ];
    let routes = (route(2 * index), route(2 * index + 1)).prop_map(|(one, other)| vec![one, other]);
    let memory = (1_u64 << 20)..=(256 << 20);
    (source, build, texts(), texts(), collection::vec(text(), 0..3), routes, 1..=1_000_u32, memory, abilities()).prop_map(
        |(source, build, env, config, args, routes, replicas, memory, (files, reuse, egress))| Component {
            config_from: None,
            secrets: BTreeMap::new(),
            source,
            build,
            env,
            config,
            args,
            files,
            routes,
            scale: Scale { replicas },
            resources: Resources { memory: Bytes(memory), ..Resources::default() },
            reuse,
            egress,
        },
    )
}

fn app() -> impl Strategy<Value = App> {
    let labels = collection::btree_map("[a-z]{1,6}", "[a-zA-Z0-9 ]{0,8}", 0..3);
    let metadata = (name(), name(), labels, texts(), any::<bool>(), option::of(any::<u64>())).prop_map(
        |(name, namespace, labels, annotations, protected, version)| Metadata {
            name,
            namespace,
            labels,
            annotations,
            protected,
            resource_version: version.map(Index),
        },
    );
    let components = (collection::btree_set(name(), 1..3), component(0), component(1))
        .prop_map(|(names, one, other)| names.into_iter().zip([one, other]).collect::<BTreeMap<_, _>>());
    (metadata, components).prop_map(|(metadata, components)| App { metadata, spec: AppSpec { components } })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_is_read_back(app in app()) {
        let text = to_yaml(&app);
        let parsed = parse(&text, "app.yaml", &BTreeMap::new());
        prop_assert_eq!(parsed, Ok(vec![Document::App(app)]), "{}", text);
    }

    #[test]
    fn no_text_panics(text in "(\\PC|[\n\t:{}\\[\\]&*!|>'\"#%@`,?-])*", given in texts()) {
        let parsed = parse(&text, "app.yaml", &given);
        if let Err(problems) = parsed {
            prop_assert!(!problems.is_empty());
            render(&problems, |_| Some(text.clone()), true);
        }
    }

    /// A manifest with one piece replaced: most texts above are no YAML, these nearly all are.
    #[test]
    fn no_damaged_manifest_panics(at in any::<prop::sample::Index>(), cut in 0..12_usize, piece in text()) {
        let whole: Vec<char> = include_str!("drones.yaml").chars().collect();
        let at = at.index(whole.len());
        let rest = &whole[(at + cut).min(whole.len())..];
        let text: String = whole[..at].iter().copied().chain(piece.chars()).chain(rest.iter().copied()).collect();
        let problems = parse(&text, "drones.yaml", &BTreeMap::new()).expect_err("the drone tracker asks for what is not built");
        render(&problems, |_| Some(text.clone()), false);
    }
}
