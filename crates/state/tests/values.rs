//! Configs, secrets and namespaces: what apps may name, what is kept, and what holds them. Owns the examples.

mod support;

use expect_test::expect;
use model::id::{Index, PlacementId, RevisionNumber};
use state::{
    Applied, FOUNDER, PutOutcome, Refused, SecretNeed,
    command::{Ceilings, Change, Delete, DeleteNamespace, DeleteObject, Described, PutConfig, PutSecret, Sealed, SecretKind, Step, Undo},
    limits::{SEALED_BYTES_MAX, SECRET_BYTES_MAX, SECRET_VERSIONS_KEPT},
};
use support::{Cluster, Uses, Wish, config, deploy, namespace, object, route, secret, text};

fn naming(version: u8, uses: Uses) -> Wish {
    Wish { uses, ..deploy("hello", version, 1, &[]) }
}

fn reads(secret: &str, key: &str, version: Option<u64>) -> Uses {
    Uses { secrets: vec![(secret.into(), key.into(), version)], ..Uses::default() }
}

fn delete_secret(id: &str) -> Change {
    Change::DeleteSecret(DeleteObject { id: object(id), expect: None })
}

#[test]
fn a_config_is_put_compared_and_deleted() {
    let mut cluster = Cluster::new();
    let put = |version, number: Option<u64>, outcome| Ok(Applied::Put { version: Index(version), number, outcome });
    assert_eq!(cluster.ask(config("settings", &[("k", "v")])), put(2, None, PutOutcome::Created));
    assert_eq!(cluster.ask(config("settings", &[("k", "v")])), put(2, None, PutOutcome::Unchanged));
    assert_eq!(cluster.ask(config("settings", &[("k", "w")])), put(4, None, PutOutcome::Changed));
    let expecting = |index: u64| {
        let Change::PutConfig(put) = config("settings", &[("k", "x")]) else { unreachable!("that is what it makes") };
        Change::PutConfig(PutConfig { expect: Some(Index(index)), ..put })
    };
    let refused = cluster.ask(expecting(2)).expect_err("it has version 4");
    expect![[r#"
        E0403 Config `settings` was changed by somebody else: expected version 2, it has 4
        at metadata.resourceVersion 
        help: read it again, merge your change and apply that, or leave `resourceVersion` out
    "#]]
    .assert_eq(&text(&refused));
    assert!(cluster.ask(expecting(0)).is_err(), "it exists");
    assert_eq!(cluster.ask(expecting(4)), put(7, None, PutOutcome::Changed));
    let gone = || Change::DeleteConfig(DeleteObject { id: object("settings"), expect: None });
    assert_eq!(cluster.ask(gone()), Ok(Applied::ObjectDeleted));
    expect![[r#"
        E0402 Config `settings` does not exist
        at  
        help: `shoal get configs`, `shoal get secrets` and `shoal get namespaces` list what there is
    "#]]
    .assert_eq(&text(&cluster.ask(gone()).expect_err("it is gone")));
}

#[test]
fn values_alone_leave_what_was_said_beside_them() {
    let mut cluster = Cluster::new();
    let beside = Described { protected: true, ..Described::default() };
    let put = |value: &str, described: Option<Described>| {
        let data = [("k".to_owned(), value.to_owned())].into();
        Change::PutConfig(PutConfig { id: object("settings"), described, data, expect: None })
    };
    cluster.ask(put("v", Some(beside.clone()))).expect("puts");
    cluster.ask(put("w", None)).expect("puts");
    assert_eq!(cluster.state.config(&object("settings")).expect("it is there").described, beside);
    assert!(matches!(cluster.ask(put("w", None)), Ok(Applied::Put { outcome: PutOutcome::Unchanged, .. })));
    cluster.ask(put("w", Some(Described::default()))).expect("puts");
    assert!(!cluster.state.config(&object("settings")).expect("it is there").described.protected);
}

#[test]
fn what_an_app_names_is_there_before_it() {
    let mut cluster = Cluster::new();
    cluster.ask(secret("api", SecretKind::Opaque, &["token"])).expect("puts");
    let mut told = |uses: Uses| match cluster.deploy(naming(1, uses)) {
        Ok(applied) => format!("{applied:?}\n"),
        Err(refused) => text(&refused),
    };
    let told = [
        told(Uses { config: Some("settings".into()), ..Uses::default() }),
        told(reads("other", "token", None)),
        told(reads("api", "password", None)),
        told(reads("api", "token", Some(2))),
        told(Uses { certificates: vec!["api".into()], ..Uses::default() }),
    ];
    expect![[r#"
        E0402 deploying `hello/web`: the Config `settings` does not exist
        at spec.components.web.config 
        help: apply it first, in the same namespace, or in the same file as the app
        E0402 deploying `hello/web`: the Secret `other` does not exist
        at spec.components.web.secrets.other-token 
        help: apply it first, in the same namespace, or in the same file as the app
        E0402 deploying `hello/web`: the key `password` of the Secret `api` does not exist
        at spec.components.web.secrets.api-password 
        help: apply it first, in the same namespace, or in the same file as the app
        E0402 deploying `hello/web`: version 2 of the Secret `api` does not exist
        at spec.components.web.secrets.api-token 
        help: apply it first, in the same namespace, or in the same file as the app
        E0402 deploying `hello/web`: the Secret `api` of type tls does not exist
        at spec.components.web.routes 
        help: apply it first, in the same namespace, or in the same file as the app
    "#]]
    .assert_eq(&told.concat());
    cluster.deploy(naming(1, reads("api", "token", Some(1)))).expect("it is there");
    let elsewhere = Wish { app: "team/hello".into(), ..naming(1, reads("api", "token", None)) };
    assert!(matches!(cluster.deploy(elsewhere), Err(Refused::Missing { .. })), "another namespace has other secrets");
}

#[test]
fn what_an_app_names_stays_as_long_as_it_is_kept() {
    let mut cluster = Cluster::new();
    cluster.ask(secret("api", SecretKind::Opaque, &["token", "old"])).expect("puts");
    cluster.deploy(naming(1, reads("api", "token", None))).expect("deploys");
    expect![[r#"
        E0417 Secret `api` is still in use: r1 of app `hello` needs it
        at  
        help: deploy without it first; revisions that are only history go away after 50 newer ones
    "#]]
    .assert_eq(&text(&cluster.ask(delete_secret("api")).expect_err("it is needed")));
    let dropped = cluster.ask(secret("api", SecretKind::Opaque, &["old"])).expect_err("the key is needed");
    expect![[r#"
        E0417 the key `token` of Secret `api` is still in use: r1 of app `hello` needs it
        at  
        help: deploy without it first; revisions that are only history go away after 50 newer ones
    "#]]
    .assert_eq(&text(&dropped));
    let other = cluster.ask(secret("api", SecretKind::Tls, &["token"]));
    assert!(matches!(other, Err(Refused::Invalid { .. })), "a Secret keeps its type");
    // Only history needs it now: the key may go, the Secret may not, and going back is refused.
    cluster.deploy(naming(2, Uses::default())).expect("deploys");
    let serve = Step::Serve { app: support::app("hello"), revision: RevisionNumber(2) };
    cluster.carry(vec![serve]);
    assert!(matches!(cluster.ask(delete_secret("api")), Err(Refused::StillUsed { .. })));
    cluster.ask(secret("api", SecretKind::Opaque, &["old"])).expect("the key may go");
    let back = cluster.ask(Change::Undo(Undo { app: support::app("hello"), to: Some(RevisionNumber(1)) }));
    assert!(matches!(back, Err(Refused::Missing { .. })));
    cluster.ask(Change::Delete(Delete { app: support::app("hello") })).expect("deletes");
    assert_eq!(cluster.ask(delete_secret("api")), Ok(Applied::ObjectDeleted));
}

#[test]
fn the_last_versions_are_kept_and_those_that_are_named() {
    let mut cluster = Cluster::new();
    let put = || secret("api", SecretKind::Opaque, &["token"]);
    let first = cluster.ask(put());
    assert_eq!(first, Ok(Applied::Put { version: Index(2), number: Some(1), outcome: PutOutcome::Created }));
    cluster.ask(put()).expect("puts");
    cluster.deploy(naming(1, reads("api", "token", Some(2)))).expect("deploys");
    for _ in 0..20 {
        cluster.ask(put()).expect("puts");
    }
    let record = cluster.state.secret(&object("api")).expect("it is there");
    let kept: Vec<_> = record.versions.iter().map(|version| version.number).collect();
    assert_eq!(kept, [2, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22]);
    assert_eq!(kept.len() as u64, SECRET_VERSIONS_KEPT + 1);
    let long = PutSecret {
        id: object("long"),
        described: None,
        kind: SecretKind::Opaque,
        keys: Default::default(),
        sealed: Sealed(vec![0; SEALED_BYTES_MAX + 1]),
        expect: None,
    };
    assert!(!format!("{long:?}").contains("0, 0"), "{long:?}");
    assert!(matches!(cluster.ask(Change::PutSecret(long)), Err(Refused::LimitReached { .. })));
}

#[test]
fn a_placement_needs_the_secrets_of_its_component() {
    let mut cluster = Cluster::new();
    cluster.ask(secret("api", SecretKind::Opaque, &["token"])).expect("puts");
    cluster.ask(secret("api", SecretKind::Opaque, &["token"])).expect("puts");
    cluster.ask(secret("cert", SecretKind::Tls, &["tls.crt", "tls.key"])).expect("puts");
    let mut uses = reads("api", "token", None);
    uses.secrets.push(("api".into(), "token".into(), Some(1)));
    uses.certificates.push("cert".into());
    cluster.deploy(naming(1, uses)).expect("deploys");
    let instance = "hello/web.1".parse().expect("an instance");
    cluster.carry(vec![Step::Place { instance, revision: RevisionNumber(1), node: FOUNDER }]);
    let placement = cluster.state.placement(PlacementId(1)).expect("it was placed");
    let need = |name: &str, version| SecretNeed { secret: object(name), version };
    assert_eq!(Vec::from_iter(cluster.state.secrets_of(placement)), [need("api", 1), need("api", 2), need("cert", 1)]);
}

#[test]
fn whoever_deploys_is_held_against_the_ceilings_of_the_namespace() {
    let list = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    let ceilings = Ceilings {
        memory_bytes: Some(250 << 20),
        instances: Some(2),
        apps: Some(2),
        hosts: list(&["*.team.test"]),
        egress: Some(vec!["https://*.b.test".parse().expect("a rule")]),
        interfaces: list(&["wasi:keyvalue"]),
        ..Ceilings::default()
    };
    let wish = |app: &str, routes: &[&str], uses: Uses| {
        let routes: Vec<_> = routes.iter().map(|host| route(host, "/")).collect();
        Wish { uses, ..deploy(app, 1, 1, &routes) }
    };
    let mut cluster = Cluster::new();
    cluster.ask(namespace("team", ceilings)).expect("puts");
    let mut told = |wish: Wish| match cluster.deploy(wish) {
        Ok(_) => "deployed\n".to_owned(),
        Err(refused) => text(&refused),
    };
    let outside = |rule: &str| Uses { egress: vec![rule.into()], ..Uses::default() };
    let importing = |name: &str| Uses { imports: vec![name.into()], ..Uses::default() };
    let told = [
        told(wish("other/a", &["team.test"], outside("https://a.test"))),
        told(wish("team/a", &["team.test"], Uses::default())),
        told(wish("team/a", &["x.team.test"], outside("http://x.b.test"))),
        told(wish("team/a", &["x.team.test"], importing("wasi:config/store@0.2.0"))),
        told(Wish { uses: importing("wasi:keyvalue/store@0.2.0"), ..wish("team/a", &["x.team.test"], Uses::default()) }),
        told(wish("team/b", &[], outside("https://x.b.test"))),
        told(wish("team/c", &[], Uses::default())),
    ];
    expect![[r#"
        deployed
        E0418 deploying `team/a` over a ceiling of namespace `team`: the host `team.test` is not among those it may use: *.team.test
        at spec.components.web.routes 
        help: ask for less, or have an admin raise the ceiling: `shoal get namespace team -o yaml`
        E0418 deploying `team/a` over a ceiling of namespace `team`: the destination `http://x.b.test:80` is not within what it may reach: https://*.b.test:443
        at spec.components.web.egress.allow 
        help: ask for less, or have an admin raise the ceiling: `shoal get namespace team -o yaml`
        E0418 deploying `team/a` over a ceiling of namespace `team`: the interface `wasi:config/store@0.2.0` is not among those it may import: wasi:keyvalue
        at spec.components.web.source 
        help: ask for less, or have an admin raise the ceiling: `shoal get namespace team -o yaml`
        deployed
        deployed
        E0418 deploying `team/c` over a ceiling of namespace `team`: with it there are 3 apps, and its quota is 2
        at  
        help: ask for less, or have an admin raise the ceiling: `shoal get namespace team -o yaml`
    "#]].assert_eq(&told.concat());
    // A second worker runs everything again, which is over the quota from then on: what asks for no more is not held up by that, what is new is.
    cluster.join_workers(&["b"]);
    cluster.deploy(Wish { version: 2, ..wish("team/b", &[], Uses::default()) }).expect("no more than before");
    let new = cluster.deploy(wish("team/c", &[], Uses::default()));
    assert!(matches!(new, Err(Refused::Ceiling { component: None, .. })), "{new:?}");
}

#[test]
fn a_secret_is_bounded_with_all_its_versions_and_their_keys() {
    let mut cluster = Cluster::new();
    let mut put = PutSecret {
        id: object("cert"),
        described: None,
        kind: SecretKind::Opaque,
        keys: ["k".to_owned(), "l".repeat(90_000)].into(),
        sealed: Sealed(vec![1; 90_000]),
        expect: None,
    };
    // Every version is named by a revision, so that none of them goes.
    let refused = (1..).find_map(|number: u64| {
        put.sealed.0[0] = number as u8;
        if let Err(refused) = cluster.ask(Change::PutSecret(put.clone())) {
            return Some((number, refused));
        }
        let uses = reads("cert", "k", Some(number));
        cluster.deploy(Wish { uses, ..deploy(&format!("app-{}", number / 40), number as u8, 1, &[]) }).expect("deploys");
        None
    });
    let (number, refused) = refused.expect("there is a bound");
    assert_eq!(refused.code(), "E0405", "{refused}");
    assert_eq!(number, SECRET_BYTES_MAX / 180_001 + 1);
}

#[test]
fn a_namespace_goes_when_nothing_lies_in_it() {
    let mut cluster = Cluster::new();
    cluster.ask(namespace("team", Ceilings::default())).expect("puts");
    cluster.ask(config("team/settings", &[])).expect("puts");
    let delete = || Change::DeleteNamespace(DeleteNamespace { name: support::name("team"), expect: None });
    expect![[r#"
        E0417 Namespace `team` is still in use: Config `team/settings` needs it
        at  
        help: deploy without it first; revisions that are only history go away after 50 newer ones
    "#]]
    .assert_eq(&text(&cluster.ask(delete()).expect_err("a Config lies in it")));
    cluster.ask(Change::DeleteConfig(DeleteObject { id: object("team/settings"), expect: None })).expect("deletes");
    assert_eq!(cluster.ask(delete()), Ok(Applied::ObjectDeleted));
}
