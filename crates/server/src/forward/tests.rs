//! Which server a request goes to, what is sent there, and that nothing is sent on twice.

use super::*;

#[test]
fn handlers_do_not_hear_of_consistency() {
    let check = |from: &str, expected: Option<&str>| {
        let found = without_consistency(&from.parse().expect("a path"));
        assert_eq!(found.map(|uri| uri.to_string()).as_deref(), expected, "{from}");
    };
    check("/v1/apps", None);
    check("/v1/apps?namespace=a", None);
    check("/v1/apps?consistency=stale", Some("/v1/apps"));
    check("/v1/apps?namespace=a&consistency=stale&after=b", Some("/v1/apps?namespace=a&after=b"));
}

#[test]
fn writes_go_to_the_leader_and_reads_stay() {
    let check =
        |method: Method, path: &str, query: &str, expected| assert_eq!(place(&method, path, query), expected, "{method} {path}?{query}");
    check(Method::GET, "/healthz", "", Place::Here);
    check(Method::GET, "/v1/version", "", Place::Here);
    check(Method::GET, "/v1/apps", "", Place::Fresh);
    check(Method::GET, "/v1/apps", "namespace=a&consistency=stale", Place::Here);
    check(Method::GET, "/v1/apps", "namespace=a&consistency=known", Place::Fresh);
    check(Method::GET, "/v1/cluster", "", Place::Leader);
    check(Method::GET, "/v1/cluster", "consistency=known", Place::Leader);
    check(Method::GET, "/v1/cluster", "consistency=stale", Place::Here);
    check(Method::GET, "/v1/snapshot", "artifacts=true", Place::Fresh);
    // Passed on, it would not come over the socket any more, and the key would travel.
    check(Method::GET, "/v1/snapshot", "artifacts=true&keys=true", Place::Fresh);
    check(Method::POST, "/v1/plan", "", Place::Fresh);
    check(Method::POST, "/v1/plan", "consistency=stale", Place::Here);
    check(Method::POST, "/v1/apply", "", Place::Leader);
    check(Method::PUT, "/v1/artifacts/{digest}", "", Place::Here);
    check(Method::DELETE, "/v1/namespaces/{namespace}/apps/{app}", "consistency=stale", Place::Leader);
}

#[test]
fn what_was_passed_on_is_never_passed_on_again() {
    let leader = consensus::Peer { id: 7, address: String::new() };
    let (leading, following) = (Leadership::Leading { term: 3, since: 9 }, Leadership::Following { leader, term: 3 });
    let check = |leadership: &Leadership, forwarded, expected: &str| {
        assert_eq!(format!("{:?}", hop(leadership, forwarded)), expected, "{leadership:?}, passed on: {forwarded}");
    };
    check(&leading, false, "Here");
    check(&leading, true, "Here");
    check(&following, false, "To(7)");
    check(&following, true, "Nowhere(\"the server this was passed on to does not lead\")");
    check(&Leadership::Unknown, false, "Nowhere(\"no server leads at the moment\")");
    check(&Leadership::Unknown, true, "Nowhere(\"the server this was passed on to does not lead\")");
}

#[test]
fn what_is_passed_on_has_the_time_that_is_left_and_no_secret() {
    let principal = api::v1::Principal { name: "ana".into(), role: api::v1::ApiRole::Deployer, namespace: None };
    let caller = Caller { principal, by_token: true, token: None, from: "10.0.0.9".into(), key: None };
    let asked = |told: &str| {
        let request = Request::put("/v1/namespaces/a/configs/b?by=ana").header(header::AUTHORIZATION, "Bearer SHOAL").header("host", "a");
        let request = request.header(DEADLINE_HEADER, told).header("idempotency-key", "k").extension(caller.clone());
        request.body(Body::empty()).expect("a request")
    };
    // Who told less than everybody has keeps to it; nobody has more than everybody.
    let told = |text: &str| time_left(&asked(text));
    let expected = [Duration::from_millis(700), Duration::ZERO, HANDLER_MAX, HANDLER_MAX];
    assert_eq!([told("700"), told("0"), told("99000000"), told("soon")], expected);

    let sent = passed_on(asked("700"), Duration::from_millis(450)).expect("it can be passed on");
    assert_eq!(sent.uri(), "/peer/v1/forward/v1/namespaces/a/configs/b?by=ana");
    assert_eq!((time_left(&sent), &sent.headers()["idempotency-key"]), (Duration::from_millis(450), &HeaderValue::from_static("k")));
    assert!(sent.headers()[PRINCIPAL_HEADER].to_str().expect("text").contains("ana"));
    assert!([header::AUTHORIZATION, header::HOST].iter().all(|name| !sent.headers().contains_key(name)), "{:?}", sent.headers());
}

#[test]
fn what_the_leader_may_have_got_is_in_doubt() {
    let check = |sent, code: &str| assert_eq!(unanswered(sent, "gone").code(), code);
    check(Sent::Never, "E0422");
    check(Sent::Perhaps, "E0431");
}
