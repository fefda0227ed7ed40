//! Whose host it is: between namespaces, with wildcards, with an admin's word, and with certificates. Owns the examples.

mod support;

use expect_test::expect;
use state::{
    Refused,
    command::{Ceilings, Change, Delete, SecretKind, Undo},
};
use support::{Cluster, Uses, Wish, app, deploy, namespace, route, secret, text};

fn on(id: &str, version: u8, host: &str, path: &str) -> Wish {
    deploy(id, version, 1, &[route(host, path)])
}

fn listing(hosts: &[&str]) -> Ceilings {
    Ceilings { hosts: Some(hosts.iter().map(|host| (*host).to_owned()).collect()), ..Ceilings::default() }
}

/// Whether `host` of the namespace `team` is refused once `held` is `bank`'s.
fn refused(held: &str, host: &str, listed: Option<&[&str]>) -> bool {
    let mut cluster = Cluster::new();
    cluster.deploy(on("bank/first", 1, held, "/")).expect("the first has it");
    if let Some(hosts) = listed {
        cluster.ask(namespace("team", listing(hosts))).expect("an admin says so");
    }
    match cluster.deploy(on("team/second", 1, host, "/other")) {
        Ok(_) => false,
        Err(Refused::HostTaken(at)) => {
            assert_eq!((at.host.as_str(), at.held.as_str(), at.holder.as_str()), (host, held, "bank"));
            true
        }
        Err(other) => panic!("refused otherwise: {other:?}"),
    }
}

#[test]
fn a_host_that_another_namespace_holds_is_refused_unless_an_admin_listed_it() {
    let check = |held: &str, host: &str, expected: bool| assert_eq!(refused(held, host, None), expected, "{host} beside {held}");
    check("a.test", "a.test", true);
    check("a.test", "b.test", false);
    check("a.test", "xa.test", false);
    check("*.a.test", "x.a.test", true);
    check("*.a.test", "x.y.a.test", true);
    check("*.a.test", "a.test", false);
    check("*.a.test", "xa.test", false);
    check("*.a.test", "*.a.test", true);
    check("*.a.test", "*.x.a.test", true);
    check("*.x.a.test", "*.a.test", true);
    check("x.a.test", "*.a.test", true);
    check("x.a.test", "*.test", true);
    check("x.a.test", "y.a.test", false);
    check("a.localhost", "b.localhost", false);
    check("*.localhost", "b.localhost", true);
    let listed = |hosts: &[&str], expected: bool| assert_eq!(refused("x.a.test", "x.a.test", Some(hosts)), expected, "{hosts:?}");
    listed(&["x.a.test"], false);
    listed(&["*.a.test"], false);
    listed(&["b.test", "*.test"], false);
    assert!(refused("*.a.test", "x.a.test", None) && !refused("*.a.test", "x.a.test", Some(&["x.a.test"])));
}

#[test]
fn a_refusal_names_the_holder_and_what_an_admin_can_do() {
    let mut cluster = Cluster::new();
    cluster.deploy(on("bank/first", 1, "*.bank.test", "/")).expect("the first has it");
    let refused = cluster.deploy(on("team/second", 1, "pay.bank.test", "/login")).expect_err("it is the bank's");
    expect![[r#"
        E0419 deploying `team/second/web`: its host `pay.bank.test` is held by the namespace `bank`, which serves `*.bank.test`
        at spec.components.web.routes[0].host held by the namespace `bank`
        help: choose another host, or have an admin list `pay.bank.test` in `hosts` of the Namespace `team`
    "#]]
    .assert_eq(&text(&refused));
    // An admin who listed others has not listed this one: then it is over a ceiling, as before.
    cluster.ask(namespace("team", listing(&["team.test"]))).expect("an admin says so");
    assert!(matches!(cluster.deploy(on("team/second", 1, "pay.bank.test", "/")), Err(Refused::Ceiling { .. })));
}

#[test]
fn within_one_namespace_hosts_are_shared_by_path() {
    let mut cluster = Cluster::new();
    cluster.deploy(on("first", 1, "app.localhost", "/")).expect("deploys");
    cluster.deploy(on("second", 1, "app.localhost", "/api")).expect("another path");
    cluster.deploy(on("third", 1, "*.localhost", "/")).expect("the wildcard beside");
    assert!(matches!(cluster.deploy(on("fourth", 1, "app.localhost", "/api")), Err(Refused::RouteCollision(_))));
}

#[test]
fn who_holds_a_host_goes_on_with_it_and_who_leaves_it_does_not_hold_it() {
    let mut cluster = Cluster::new();
    cluster.deploy(on("bank/first", 1, "a.test", "/")).expect("the first has it");
    cluster.ask(namespace("team", listing(&["a.test"]))).expect("an admin says so");
    cluster.deploy(on("team/second", 1, "a.test", "/other")).expect("it is listed");
    // The bank changes what it has, although somebody else is there too, and nobody listed anything for it.
    cluster.deploy(on("bank/first", 2, "a.test", "/new")).expect("its own host");
    cluster.deploy(on("bank/more", 1, "a.test", "/more")).expect("its own host");
    // The listing is withdrawn: what is there goes on.
    cluster.ask(namespace("team", Ceilings::default())).expect("an admin says so");
    cluster.deploy(on("team/second", 2, "a.test", "/other")).expect("it holds it by now");
    for id in ["team/second", "bank/more"] {
        cluster.ask(Change::Delete(Delete { app: app(id) })).expect("goes");
    }
    assert!(matches!(cluster.deploy(on("team/third", 1, "a.test", "/x")), Err(Refused::HostTaken(_))));
    cluster.deploy(on("bank/first", 3, "b.test", "/")).expect("moves away");
    // Revision 2 never served, so nobody holds the old host; and the way back is closed once somebody else is there.
    cluster.deploy(on("team/third", 1, "a.test", "/x")).expect("it is free");
    let back = cluster.ask(Change::Undo(Undo { app: app("bank/first"), to: None }));
    assert!(matches!(back, Err(Refused::HostTaken(_))), "{back:?}");
}

#[test]
fn one_host_has_one_certificate() {
    let with = |id: &str, version: u8, host: &str, path: &str, secret: &str| Wish {
        uses: Uses { certificates: vec![secret.into()], ..Uses::default() },
        ..on(id, version, host, path)
    };
    let mut cluster = Cluster::new();
    for id in ["shop", "other", "team/mine"] {
        cluster.ask(secret(id, SecretKind::Tls, &["tls.crt", "tls.key"])).expect("puts");
    }
    cluster.deploy(with("first", 1, "shop.test", "/", "shop")).expect("deploys");
    cluster.deploy(with("second", 1, "shop.test", "/api", "shop")).expect("the same one");
    cluster.deploy(on("third", 1, "shop.test", "/plain")).expect("without one");
    cluster.deploy(with("fourth", 1, "*.shop.test", "/", "other")).expect("another host");
    let refused = cluster.deploy(with("third", 2, "shop.test", "/plain", "other")).expect_err("it has one");
    expect![[r#"
        E0420 deploying `third`: the host `shop.test` cannot have the certificate of the Secret `other`, because it has that of `default/shop`
        at  
        help: name the Secret `shop` in every route of the host; a new certificate is a new version of that Secret
    "#]]
    .assert_eq(&text(&refused));
    cluster.ask(namespace("team", listing(&["shop.test"]))).expect("an admin says so");
    let refused = cluster.deploy(with("team/guest", 1, "shop.test", "/guest", "mine")).expect_err("it has one");
    assert!(text(&refused).contains("E0420") && text(&refused).contains("leave `tls` out"), "{}", text(&refused));
    cluster.deploy(on("team/guest", 1, "shop.test", "/guest")).expect("under the certificate it has");
    // An app alone changes its mind freely.
    cluster.deploy(with("fourth", 2, "*.shop.test", "/", "shop")).expect("its own host");
    let both =
        Wish { uses: Uses { certificates: vec!["shop".into(), "other".into()], ..Uses::default() }, ..on("fifth", 1, "x.test", "/") };
    assert!(matches!(cluster.deploy(both), Err(Refused::OtherCertificate(_))), "nor has one app two");
}
