//! Listing and then watching: where it begins, that it goes on where it stopped, and who is told what.

use api::{
    client::{Client, Server, Token, Watch, Watched},
    v1::{ConfigRequest, EventQuery, ObjectEvent, ObjectQuery, Position},
};
use model::id::{Index, Name};

use super::fixture::{ControlPlane, FakeWorker, component, document, within};

/// What a watch says next that is no bookmark: op, kind, name and position.
async fn next(watch: &mut Watch) -> (&'static str, String, Position) {
    loop {
        let Watched::Event(event) = within(watch.next()).await.expect("a stream") else { panic!("it is forgotten") };
        let (op, change) = match event {
            ObjectEvent::Added(change) => ("added", change),
            ObjectEvent::Modified(change) => ("modified", change),
            ObjectEvent::Deleted(change) => ("deleted", change),
            ObjectEvent::Bookmark { .. } => continue,
            ObjectEvent::Compacted { .. } => panic!("the client ends with it"),
        };
        // What was there at the change may be gone by now, but nothing gone is shown.
        assert!(op != "deleted" || change.object.is_none(), "{change:?}");
        return (op, format!("{} {}", change.kind, change.name), change.at);
    }
}

async fn put(plane: &ControlPlane, namespace: &str, name: &str, value: &str) -> Index {
    let data = [("key".to_owned(), value.to_owned())].into();
    let path = (namespace.parse::<Name>().expect("a name"), name.parse::<Name>().expect("a name"));
    let request = ConfigRequest { data, expect: None };
    plane.client.put_config(&path.0, &path.1, &request).await.expect("it is written").index
}

#[tokio::test]
async fn a_watch_goes_on_where_the_list_or_another_watch_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    put(&plane, "default", "before", "1").await;
    let listed = plane.client.configs(None).await.expect("a list").resource_version;
    put(&plane, "default", "first", "1").await;
    put(&plane, "default", "first", "2").await;
    plane.client.delete_config(&"default".parse().expect("a name"), &"first".parse().expect("a name"), None).await.expect("it goes");
    let question = |after| ObjectQuery { after: Some(after), kind: Some("Config,App,Revision".into()), ..ObjectQuery::default() };
    let mut watch = plane.client.watch(question(Position::after(listed)));
    let expected = [("added", "Config first"), ("modified", "Config first"), ("deleted", "Config first")];
    let mut last = None;
    for (op, object) in expected {
        let (heard, what, at) = next(&mut watch).await;
        assert_eq!((heard, what.as_str()), (op, object));
        last = Some(at);
    }
    // One entry changes several objects: whoever was cut off between them hears the rest, and that only.
    let digest = plane.upload(&component("one")).await;
    plane.apply(vec![document("hello", &digest, "hello.localhost", 1)]).await.expect("a good app");
    let (heard, what, at) = next(&mut watch).await;
    assert_eq!((heard, what.as_str()), ("added", "App hello"));
    assert!(at > last.expect("there were three"));
    drop(watch);
    let mut again = plane.client.watch(question(at));
    let (heard, what, behind) = next(&mut again).await;
    assert_eq!((heard, what.as_str(), behind.index), ("added", "Revision hello.r1", at.index));
    let mut worker = FakeWorker::connect(&plane).await;
    worker.obey_until(|assignment| !assignment.programs.is_empty()).await;
    let (heard, what, _) = next(&mut again).await;
    assert_eq!((heard, what.as_str()), ("modified", "App hello"), "how the rollout goes is told too");
    plane.stop().await;
}

#[tokio::test]
async fn wrong_questions_are_refused_and_bookmarks_say_where_one_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let index = put(&plane, "default", "one", "1").await;
    let mut watch = plane.client.watch(ObjectQuery::default());
    let Watched::Event(ObjectEvent::Bookmark { at }) = within(watch.next()).await.expect("a stream") else { panic!("it begins with one") };
    assert!(at.index >= index && at.within.is_none(), "{at}");
    let status = async |query: &str| {
        let text = format!("GET /v1/watch?{query} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = plane.raw(plane.api, text.as_bytes()).await;
        answer.lines().next().unwrap_or_default().to_owned()
    };
    assert!(status("kind=Pod").await.contains("400"));
    assert!(status("after=x").await.contains("400"));
    plane.stop().await;
}

#[tokio::test]
async fn a_token_for_one_namespace_hears_of_no_other_and_ends_when_it_is_revoked() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let request = serde_json::json!({"name": "ci", "role": "viewer", "namespace": "team", "ttl": 3_600_000});
    let request = serde_json::from_value(request).expect("a request");
    let made = plane.client.create_token(&request).await.expect("a token");
    let token: Token = made.token.parse().expect("a token");
    let address = Server::Http(plane.api.to_string());
    let client = Client::new(address).with_token(token);
    let question = ObjectQuery { kind: Some("Config,JoinToken,ApiToken".into()), ..ObjectQuery::default() };
    let mut watch = client.watch(question);
    within(watch.next()).await.expect("a bookmark");
    put(&plane, "other", "hidden", "1").await;
    put(&plane, "team", "shown", "1").await;
    let (_, what, _) = next(&mut watch).await;
    assert_eq!(what, "Config shown");
    let refused = client.watch(ObjectQuery { namespace: "other".parse().ok(), ..ObjectQuery::default() }).next().await;
    assert_eq!(refused.expect_err("another namespace").code(), "E0421");
    let mut lines = client.watch_events(&EventQuery::default()).await.expect("a stream");
    plane.client.revoke_token(&made.id).await.expect("it is revoked");
    within(async { while let Ok(Some(_)) = lines.next().await {} }).await;
    let ended = within(async {
        loop {
            if let Err(error) = watch.next().await {
                break error;
            }
        }
    });
    assert_eq!(ended.await.code(), "E0423", "it is asked for again when the stream is opened anew");
    plane.stop().await;
}
