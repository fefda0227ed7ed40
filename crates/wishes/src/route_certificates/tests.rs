//! What is refused of routes and their certificates, on a state made by hand and at moments of choice.

use model::manifest::{self, Document};
use rcgen::{CertificateParams, KeyPair};
use state::{
    Command,
    command::{Change, CommandV1, Deploy, Found, NodeFacts, NodeKeys, PutSecret, Sealed},
};

use super::*;
use crate::documents::Checked;

/// When a certificate of these tests ends.
const ENDS: Timestamp = Timestamp(4_102_444_800_000);

struct World {
    state: State,
    key: ClusterKey,
    now: Timestamp,
}

/// What `revision` froze.
fn parsed(revision: &Revision) -> Option<Arc<App>> {
    serde_json::from_str(&revision.frozen.canonical).ok()
}

/// The chain and the key of a certificate for `hosts` that ends at [`ENDS`].
fn pair(hosts: &[&str]) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("names");
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

/// A Secret of type `tls` called `name`.
fn secret(name: &str, hosts: &[&str]) -> String {
    let (chain, key) = pair(hosts);
    let data = serde_json::json!({"tls.crt": chain, "tls.key": key});
    format!("apiVersion: shoal.dev/v1\nkind: Secret\nmetadata: {{name: {name}}}\nspec: {{type: tls, data: {data}}}\n")
}

fn opaque(name: &str) -> String {
    format!("apiVersion: shoal.dev/v1\nkind: Secret\nmetadata: {{name: {name}}}\nspec: {{data: {{a: b}}}}\n")
}

/// The App `hello` with these routes.
fn app(routes: &str) -> String {
    let source = model::id::Digest::of(b"artifact");
    format!(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: hello}}\nspec: {{components: {{web: {{source: \"{source}\", routes: [{routes}]}}}}}}\n"
    )
}

fn asked(texts: &[&str]) -> Asked {
    let mut asked = Asked::default();
    let documents = manifest::parse(&texts.join("---\n"), "app.yaml", &Default::default()).expect("right in themselves");
    for (number, document) in documents.into_iter().enumerate() {
        match document {
            Document::App(app) => asked.apps.push(Checked { number, app, facts: Vec::new(), told: Vec::new() }),
            other => asked.values.push((number, other)),
        }
    }
    asked
}

impl World {
    fn new() -> Self {
        let mut world = Self { state: State::empty(), key: ClusterKey::random(), now: Timestamp(1_700_000_000_000) };
        let node = NodeFacts {
            name: "one".into(),
            keys: NodeKeys { server: Some([1; 32]), worker: Some([2; 32]) },
            addresses: Default::default(),
            place: Default::default(),
            labels: Default::default(),
            memory_bytes: 1 << 40,
            cpu_millis: 1_000,
            release: "1".into(),
            schema: 1,
        };
        let (ca_certificate, ca_key) = (Vec::new(), Sealed(Vec::new()));
        let found = CommandV1::Found(Found { at: Timestamp(0), cluster: [0; 16], ca_certificate, ca_key, node });
        world.state.apply(world.state.index().next(), &Command::V1(found)).expect("it is allowed");
        world
    }

    /// What is said against `texts`: for each problem its document, its path and its message.
    fn told(&self, texts: &[&str]) -> Vec<String> {
        let known = Known { state: &self.state, parsed: &parsed, key: &self.key, now: self.now };
        let problems = known.problems(&asked(texts)).into_iter();
        problems.map(|(document, one)| format!("{document} {} {} {}", one.code, one.path, one.message)).collect()
    }

    /// Writes `texts`, whatever is said against them.
    fn write(&mut self, texts: &[&str]) {
        let asked = asked(texts);
        let secrets = asked.values.iter().map(|(_, document)| {
            let Document::Secret(secret) = document else { panic!("secrets and apps only") };
            let data = values::encoded(secret.spec.data.iter().filter_map(|(key, value)| Some((key, value.text()?))));
            let id = secret.id();
            Change::PutSecret(PutSecret {
                sealed: values::seal(&self.key, &id, self.state.secret(&id), &data.0),
                id,
                described: None,
                kind: secret.spec.kind.into(),
                keys: data.0.keys().cloned().collect(),
                expect: None,
            })
        });
        let secrets: Vec<_> = secrets.collect();
        let deploys = asked.apps.iter().map(|one| Change::Deploy(Deploy::of(&one.app).expect("a digest")));
        for change in secrets.into_iter().chain(deploys.collect::<Vec<_>>()) {
            let command = Command::user(Timestamp(0), "ana", change);
            self.state.apply(self.state.index().next(), &command).expect("it is allowed");
        }
    }
}

const ROUTE: &str = "{host: shop.test, tls: {secret: web}}";
const AT: &str = "spec.components.web.routes[0].tls.secret";

#[test]
fn a_route_gets_a_certificate_of_its_host_or_is_refused() {
    let mut world = World::new();
    assert_eq!(world.told(&[&secret("web", &["shop.test"]), &app(ROUTE)]), [""; 0]);
    assert_eq!(world.told(&[&app(ROUTE), &secret("web", &["other.test", "shop.test"])]), [""; 0], "whatever their order");
    let wild = "{host: \"*.shop.test\", tls: {secret: web}}";
    assert_eq!(world.told(&[&secret("web", &["*.shop.test"]), &app(wild)]), [""; 0]);
    let other = format!("0 E0513 {AT} the certificate of the Secret `web` is for `other.test`, `*.other.test`, and not for `shop.test`");
    assert_eq!(world.told(&[&app(ROUTE), &secret("web", &["other.test", "*.other.test"])]), [other]);
    let none = format!("1 E0513 {AT} the Secret `web` is of type opaque and has no certificate for `shop.test`");
    assert_eq!(world.told(&[&opaque("web"), &app(ROUTE)]), [none]);

    world.write(&[&secret("web", &["other.test"]), &opaque("text")]);
    assert_eq!(world.told(&[&app(ROUTE)]).len(), 1, "the Secret may be there already");
    assert_eq!(world.told(&[&app("{host: shop.test, tls: {secret: text}}")]).len(), 1);
    assert_eq!(world.told(&[&app("{host: shop.test, tls: {secret: absent}}")]), [""; 0], "that is refused elsewhere");
}

#[test]
fn a_wish_is_not_held_against_what_it_did_itself() {
    use crate::{caller::Caller, decision};
    let mut world = World::new();
    let principal = api::v1::Principal { name: "ana".into(), role: api::v1::ApiRole::Admin, namespace: None };
    let caller =
        |key: &str| Caller { principal: principal.clone(), by_token: false, token: None, from: String::new(), key: Some(key.to_owned()) };
    // As it was asked before the app was there.
    let wish = |key: &str| {
        let deploy = Change::Deploy(Deploy::of(&asked(&[&app(ROUTE)]).apps[0].app).expect("a digest"));
        decision::Wish::documents(&caller(key), "", Timestamp(1), vec![(0, deploy)], &Default::default()).holding(Some(vec![None]))
    };
    world.write(&[&secret("web", &["shop.test"])]);
    let (_, commands, _) = decision::decide(&world.state, &wish("k")).expect("it is new").into_parts();
    commands.iter().for_each(|command| drop(world.state.apply(world.state.index().next(), command).expect("it was decided")));
    let again = decision::decide(&world.state, &wish("k")).expect("asked again, it is answered as it was");
    assert!(matches!(again.applied[..], [state::Applied::Deployed { outcome: state::DeployOutcome::Created, .. }]));
    let problems = decision::decide(&world.state, &wish("other")).expect_err("somebody else changed the app");
    assert_eq!(problems[0].1.code, "E0403");
}

#[test]
fn a_secret_is_not_taken_from_the_routes_that_have_it() {
    let mut world = World::new();
    world.write(&[&secret("web", &["shop.test"]), &app(ROUTE)]);
    assert_eq!(world.told(&[&secret("web", &["shop.test"])]), [""; 0], "a renewed one");
    let broken =
        "0 E0513 spec.data `hello/web` answers for `shop.test` with the certificate of the Secret `web`, and the new one is for `b.test`";
    assert_eq!(world.told(&[&secret("web", &["b.test"])]), [broken]);
    let other = [secret("web", &["b.test"]), app("{host: b.test, tls: {secret: web}}")];
    assert_eq!(world.told(&[&other[0], &other[1]]), [""; 0], "the app moves along");

    let (chain, _) = pair(&["b.test"]);
    let data = Encoded::from([("tls.crt".to_owned(), BASE64.encode(chain.as_bytes()))]);
    let known = Known { state: &world.state, parsed: &parsed, key: &world.key, now: world.now };
    assert!(known.check_secret(&"default/web".parse().expect("an id"), SecretKind::Tls, &data).is_err(), "by itself as well");
    assert!(known.check_secret(&"default/new".parse().expect("an id"), SecretKind::Tls, &data).is_ok());
}

#[test]
fn an_app_does_not_go_back_to_a_host_that_its_certificate_has_left() {
    let mut world = World::new();
    world.write(&[&secret("web", &["shop.test"]), &app(ROUTE)]);
    let earlier = asked(&[&app(ROUTE)]).apps.remove(0).app;
    let back = |world: &World| Known { state: &world.state, parsed: &parsed, key: &world.key, now: world.now }.check_return(&earlier);
    assert!(back(&world).is_ok());
    world.write(&[&secret("web", &["b.test"]), &app("{host: b.test, tls: {secret: web}}")]);
    assert!(back(&world).is_err(), "nobody could ask for it with TLS");
    world.write(&[&secret("web", &["shop.test", "b.test"])]);
    assert!(back(&world).is_ok());
}

#[test]
fn what_has_ended_is_not_written_and_what_answers_with_it_stays_changeable() {
    let mut world = World::new();
    let web = secret("web", &["shop.test"]);
    world.write(&[&web, &app(ROUTE)]);
    world.now = ENDS;
    let ended = "ended 2100-01-01T00:00:00.000Z";
    assert_eq!(world.told(&[&secret("more", &["more.test"])]), [format!("0 E0513 spec.data the certificate of the Secret `more` {ended}")]);
    assert_eq!(world.told(&[&web]), [""; 0], "what is so already is no news");
    assert_eq!(world.told(&[&app(&format!("{ROUTE}, {{host: plain.test}}"))]), [""; 0], "its code must be mendable");
    let second = format!("{ROUTE}, {{host: shop.test, path: /more, tls: {{secret: web}}}}");
    assert_eq!(world.told(&[&app(&second)]), [""; 0], "the host is served with it already");
    let moved = format!("0 E0513 {AT} the certificate of the Secret `web` {ended}");
    world.write(&[&app("{host: plain.test}")]);
    assert_eq!(world.told(&[&app(ROUTE)]), [moved], "a route that is new is not begun with it");
}

#[test]
fn what_a_secret_says_of_its_certificate_is_no_more_than_everybody_is_shown() {
    let mut world = World::new();
    world.write(&[&secret("web", &["shop.test"]), &opaque("text")]);
    let told = |name: &str| facts(&world.key, world.state.secret(&name.parse().expect("an id")).expect("a secret"));
    let facts = told("default/web").expect("a certificate");
    assert_eq!((facts.hosts.as_slice(), time(facts.expires)), (["shop.test".to_owned()].as_slice(), ENDS.into()));
    assert_eq!(told("default/text"), None);
}
