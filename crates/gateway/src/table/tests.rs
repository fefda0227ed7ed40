//! The order of preference as a table of requests, and against a matcher that is too simple to be wrong.

use std::cmp::Reverse;

use proptest::prelude::*;

use super::*;

fn rule(component: &str, route: &str) -> RouteRule {
    let mut words = route.split_whitespace();
    let (host, path) = words.next().and_then(|target| target.split_once('/')).expect("a test route starts with host/path");
    let mut rule = RouteRule {
        https: model::app::Https::Both,
        component: component.parse().expect("a valid id"),
        revision: RevisionNumber(1),
        host: host.to_owned(),
        path: format!("/{path}"),
        exact: false,
        methods: Vec::new(),
        headers: Vec::new(),
        rewrite: None,
        timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(300),
        max_body_bytes: 10,
    };
    for word in words {
        match word.split_once('=') {
            None if word == "exact" => rule.exact = true,
            Some(("methods", methods)) => rule.methods = methods.split(',').map(str::to_owned).collect(),
            Some(("rewrite", to)) => rule.rewrite = Some(to.to_owned()),
            Some((name, value)) => rule.headers.push((name.to_owned(), value.to_owned())),
            None => panic!("{word}?"),
        }
    }
    rule
}

fn table(routes: &[(&str, &str)]) -> Arc<RoutingTable> {
    let mut builder = Builder::new();
    for (component, route) in routes {
        builder.route(rule(component, route)).expect("a valid route");
    }
    builder.build()
}

/// `METHOD host/path name=value …` → component and rewritten path, `405 allow`, or `404`.
fn ask(table: &RoutingTable, request: &str) -> String {
    let mut words = request.split_whitespace();
    let method: Method = words.next().and_then(|method| method.parse().ok()).expect("a test request has a method");
    let (host, path) = words.next().and_then(|target| target.split_once('/')).expect("a test request has a target");
    let header = |word: &str| {
        let (name, value) = word.split_once('=').expect("a header");
        (name.parse::<HeaderName>().expect("a name"), value.parse::<HeaderValue>().expect("a value"))
    };
    let headers: HeaderMap = words.map(header).collect();
    let path = format!("/{path}");
    match table.answer(Ask { host, path: &path, method: &method, headers: &headers }) {
        Answer::Route(route) => match route.rewritten(&path) {
            Some(path) => format!("{} {path}", route.rule.component),
            None => route.rule.component.to_string(),
        },
        Answer::Methods(methods) => format!("405 {methods:?}"),
        Answer::Nothing => "404".to_owned(),
    }
}

fn check(routes: &[(&str, &str)], requests: &[(&str, &str)]) {
    let table = table(routes);
    for (request, wanted) in requests {
        assert_eq!(ask(&table, request), *wanted, "{request}");
    }
}

#[test]
fn exact_host_beats_longest_wildcard_beats_any() {
    check(
        &[("a/any", "*/"), ("a/wide", "*.com/"), ("a/wild", "*.example.com/"), ("a/exact", "api.example.com/v1")],
        &[
            ("GET api.example.com/v1/x", "a/exact"),
            ("GET api.example.com/", "a/wild"),
            ("GET deep.api.example.com/", "a/wild"),
            ("GET example.com/", "a/wide"),
            ("GET com/", "a/any"),
            ("GET /", "a/any"),
        ],
    );
}

#[test]
fn prefixes_match_whole_elements_longest_first() {
    check(
        &[("a/root", "h/"), ("a/v1", "h/v1"), ("a/deep", "h/v1/drones/"), ("a/exact", "h/v1/drones exact")],
        &[
            ("GET h/", "a/root"),
            ("GET h/v10", "a/root"),
            ("GET h/v1", "a/v1"),
            ("GET h/v1/", "a/v1"),
            ("GET h/v1/drone", "a/v1"),
            ("GET h/v1/drones", "a/exact"),
            ("GET h/v1/drones/", "a/deep"),
            ("GET h/v1/drones/7/track", "a/deep"),
            ("GET other/", "404"),
        ],
    );
}

#[test]
fn a_wrong_method_ends_the_search_and_a_missing_header_does_not() {
    check(
        &[
            ("a/web", "h/"),
            ("a/read", "h/v1 methods=GET,HEAD"),
            ("a/write", "h/v1 methods=POST"),
            ("a/any", "h/v2"),
            ("a/get", "h/v2 methods=GET"),
            ("a/canary", "h/v1 methods=GET x-canary=1"),
            ("a/blue", "h/v1 methods=GET x-canary=1 x-blue=yes"),
            ("a/only", "h/v3 x-only=1"),
        ],
        &[
            ("GET h/v1/x", "a/read"),
            ("POST h/v1/x", "a/write"),
            ("DELETE h/v1/x", "405 [GET, HEAD, POST]"),
            ("DELETE h/x", "a/web"),
            ("GET h/v2", "a/get"),
            ("PUT h/v2", "a/any"),
            ("GET h/v1 x-canary=1", "a/canary"),
            ("GET h/v1 x-canary=2", "a/read"),
            ("GET h/v1 x-canary=1 x-blue=yes", "a/blue"),
            ("GET h/v3", "a/web"),
            ("GET h/v3 x-only=1", "a/only"),
        ],
    );
}

#[test]
fn rewrites_replace_the_matched_part() {
    check(
        &[
            ("a/api", "h/v1 rewrite=/api"),
            ("a/strip", "h/strip rewrite=/"),
            ("a/page", "h/page exact rewrite=/index.html"),
            ("a/deep", "h/d/ rewrite=/x/"),
        ],
        &[
            ("GET h/v1", "a/api /api"),
            ("GET h/v1/", "a/api /api/"),
            ("GET h/v1/a/b", "a/api /api/a/b"),
            ("GET h/strip", "a/strip /"),
            ("GET h/strip/a", "a/strip /a"),
            ("GET h/page", "a/page /index.html"),
            ("GET h/d", "a/deep /x/"),
            ("GET h/d/a", "a/deep /x/a"),
        ],
    );
}

#[test]
fn what_cannot_occur_in_a_request_is_refused() {
    let refused = |route: &str| Builder::new().route(rule("a/b", route)).expect_err(route).to_string();
    assert_eq!(refused("h/a/../b"), "route of `a/b`: `/a/../b` is not a path in its normal form");
    assert_eq!(refused("h/a rewrite=b"), "route of `a/b`: `b` is not a path in its normal form");
    assert_eq!(refused("h/a?b"), "route of `a/b`: `/a?b` is not a path in its normal form");
    assert_eq!(refused("*.*.h/"), "route of `a/b`: `*.*.h` is not a host, `*.suffix` or `*`");
    assert_eq!(refused("h/ methods=G(T"), "route of `a/b`: `G(T` is not a method");
    assert_eq!(refused("h/ x(y=1"), "route of `a/b`: `x(y` is not a header to match on");
}

/// Every rule that matches, one after the other, and the best of them by the documented order.
fn naive(rules: &[RouteRule], ask: Ask<'_>) -> String {
    let host_rank = |rule: &RouteRule| match rule.host.strip_prefix("*.") {
        _ if rule.host == ask.host => Some(usize::MAX),
        _ if rule.host == "*" => Some(0),
        Some(suffix) if ask.host.ends_with(&format!(".{suffix}")) => Some(suffix.len()),
        _ => None,
    };
    let path_rank = |rule: &RouteRule| {
        let prefix = rule.path.trim_end_matches('/');
        let under = ask.path == prefix || ask.path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
        match rule.exact {
            true => (ask.path == rule.path).then_some((true, usize::MAX)),
            false => under.then_some((false, prefix.len())),
        }
    };
    let headers = |rule: &RouteRule| rule.headers.iter().all(|(name, value)| ask.headers.get(name).is_some_and(|given| given == value));
    let mut found: Vec<_> =
        rules.iter().filter(|rule| headers(rule)).filter_map(|rule| Some(((host_rank(rule)?, path_rank(rule)?), rule))).collect();
    found.sort_by_key(|(rank, rule)| (Reverse(*rank), Reverse((!rule.methods.is_empty(), rule.headers.len()))));
    let Some(best) = found.first().map(|(rank, _)| *rank) else { return "404".to_owned() };
    let level: Vec<_> = found.into_iter().filter(|(rank, _)| *rank == best).map(|(_, rule)| rule).collect();
    let takes = |rule: &&&RouteRule| rule.methods.is_empty() || rule.methods.iter().any(|method| method == ask.method.as_str());
    level.iter().find(takes).map_or_else(|| "405".to_owned(), |rule| rule.component.to_string())
}

fn any_rule() -> impl Strategy<Value = RouteRule> {
    let host = prop::sample::select(vec!["*", "a.b", "b", "*.b", "*.a.b", "c.a.b"]);
    let path = prop::sample::select(vec!["/", "/x", "/x/", "/x/y", "/x/y/z", "/xy", "/x/yz"]);
    let methods = prop::sample::select(vec!["", "GET", "POST", "GET POST"]);
    let headers = prop::sample::select(vec!["", "k=1", "l=1", "k=1 l=1"]);
    (host, path, any::<bool>(), methods, headers).prop_map(|(host, path, exact, methods, headers)| {
        let mut rule = rule("a/b", &format!("{host}{path} {headers}"));
        rule.exact = exact;
        rule.methods = methods.split_whitespace().map(str::to_owned).collect();
        rule
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn answers_as_the_simple_matcher_does(
        rules in prop::collection::vec(any_rule(), 0..12),
        host in prop::sample::select(vec!["", "b", "a.b", "c.a.b", "d.c.a.b", "z.b", "z"]),
        path in "(/(x|y|z|xy|yz)){0,4}/?",
        post in any::<bool>(),
        given in prop::sample::select(vec!["", "k", "l", "kl"]),
    ) {
        let mut builder = Builder::new();
        let mut kept: Vec<RouteRule> = Vec::new();
        for (number, mut rule) in rules.into_iter().enumerate() {
            rule.component = format!("a/c{number}").parse().expect("a valid id");
            // `/x` and `/x/` are one prefix: a collision that apply refuses.
            let key = |rule: &RouteRule| {
                let path = if rule.exact { rule.path.as_str() } else { rule.path.trim_end_matches('/') };
                (rule.host.clone(), path.to_owned(), rule.exact)
            };
            let collides = kept.iter().any(|other| {
                key(other) == key(&rule)
                    && other.methods.is_empty() == rule.methods.is_empty()
                    && other.headers.len() == rule.headers.len()
            });
            if !collides {
                builder.route(rule.clone()).expect("a valid route");
                kept.push(rule);
            }
        }
        let table = builder.build();
        let path = if path.is_empty() { "/" } else { &path };
        let method = if post { Method::POST } else { Method::GET };
        let mut headers = HeaderMap::new();
        for name in given.chars() {
            headers.insert(HeaderName::from_bytes(name.to_string().as_bytes()).expect("a name"), HeaderValue::from_static("1"));
        }
        let ask = Ask { host, path, method: &method, headers: &headers };
        let answer = match table.answer(ask) {
            Answer::Route(route) => route.rule.component.to_string(),
            Answer::Methods(_) => "405".to_owned(),
            Answer::Nothing => "404".to_owned(),
        };
        prop_assert_eq!(answer, naive(&kept, ask));
    }
}
