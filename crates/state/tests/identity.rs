//! What makes a wish another revision, from the manifest on.

use std::collections::BTreeMap;

use model::{
    app::App,
    id::{Index, Timestamp},
    manifest::{Document, parse},
};
use state::{
    Command, DeployOutcome, State,
    command::{Change, Deploy},
};

const MANIFEST: &str = "
apiVersion: shoal.dev/v1
kind: App
metadata: {name: hello}
spec:
  components:
    web:
      source: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
      env: {GREETING: hello}
      routes: [{host: hello.localhost, path: /}]
";

fn app() -> App {
    let documents = parse(MANIFEST, "app.yaml", &BTreeMap::new()).expect("the manifest is right");
    let Some(Document::App(app)) = documents.into_iter().next() else { panic!("the manifest holds an app") };
    app
}

/// What deploying `after` does once the manifest is deployed.
fn check(after: impl FnOnce(&mut App), expected: DeployOutcome) {
    let mut state = State::empty();
    let mut deploy = |index, app: &App| {
        let deploy = Deploy::of(app).expect("its source is a digest");
        match state.apply(Index(index), &Command::user(Timestamp(1), "ann", Change::Deploy(deploy))) {
            Ok(state::Applied::Deployed { outcome, .. }) => outcome,
            other => panic!("expected a deploy, got {other:?}"),
        }
    };
    assert_eq!(deploy(1, &app()), DeployOutcome::Created);
    let mut changed = app();
    after(&mut changed);
    assert_eq!(deploy(2, &changed), expected);
}

#[test]
fn a_revision_is_all_but_scale_protection_and_the_expected_version() {
    let web = |app: &mut App| app.spec.components.remove("web").expect("the component");
    check(|_| (), DeployOutcome::Unchanged);
    check(|app| app.metadata.resource_version = Some(Index(1)), DeployOutcome::Unchanged);
    check(|app| app.metadata.protected = true, DeployOutcome::Adjusted);
    check(|app| app.spec.components.values_mut().for_each(|component| component.env.clear()), DeployOutcome::Revised);
    check(|app| app.spec.components.values_mut().for_each(|component| component.routes.clear()), DeployOutcome::Revised);
    check(|app| app.metadata.labels.extend([("a".to_owned(), "b".to_owned())]), DeployOutcome::Revised);
    check(
        |app| {
            let component = web(app);
            app.spec.components.insert("other".parse().expect("a name"), component);
        },
        DeployOutcome::Revised,
    );
}
