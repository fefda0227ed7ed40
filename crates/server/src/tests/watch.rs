//! Listing and then watching: where it begins, that it goes on where it stopped, and who is told what.

use std::{sync::Arc, time::Duration};

use api::{
    client::{Client, Server, Token, Watch, Watched},
    v1::{ApiRole, ConfigRequest, EventQuery, ObjectEvent, ObjectQuery, Position, Principal},
};
use futures_util::{Stream, StreamExt};
use model::id::{Index, Name};
use state::limits::CHANGES_MAX;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use views::watched::Selection;
use wishes::caller::Caller;

use super::fixture::{self, ControlPlane, FakeWorker, component, document, within};
use crate::{core::Core, watch};

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

/// What is answered to a watch with `query` and the further `headers`, until it says `end`.
async fn raw(plane: &ControlPlane, query: &str, headers: &str, end: &str) -> String {
    let mut stream = TcpStream::connect(plane.api).await.expect("it listens");
    let request = format!("GET /v1/watch?{query} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains(end) {
        let count = within(stream.read_buf(&mut heard)).await.expect("it answers");
        assert!(count > 0, "it ends without `{end}`: {}", String::from_utf8_lossy(&heard));
    }
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_what_is_forgotten_is_told_to_list_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let core = fixture::core(directory.path()).await;
    fixture::tick(&core, CHANGES_MAX + 10).await;
    core.consensus.shutdown().await;
    drop(core);
    let plane = ControlPlane::start(directory.path()).await;
    let refused = raw(&plane, "after=1", "", "}").await;
    assert!(refused.starts_with("HTTP/1.1 410 Gone") && refused.contains("\"code\":\"E0428\""), "{refused}");
    assert!(refused.contains("list again, and watch from the `resourceVersion`"), "{refused}");
    let refused = raw(&plane, "", "last-event-id: 1.0\r\n", "}").await;
    assert!(refused.starts_with("HTTP/1.1 410 Gone"), "where a browser was cut off counts as much: {refused}");
    let after = |index| ObjectQuery { after: Some(Position::after(index)), ..ObjectQuery::default() };
    let told = within(plane.client.watch(after(Index(1))).next()).await.expect("an answer");
    assert_eq!(told, Watched::Compacted);
    // What it is told to do helps.
    let listed = plane.client.configs(None).await.expect("a list").resource_version;
    let told = within(plane.client.watch(after(listed)).next()).await.expect("an answer");
    assert!(matches!(told, Watched::Event(_)), "{told:?}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_browser_was_cut_off_counts_for_more_than_the_question() {
    let directory = tempfile::tempdir().expect("a directory");
    let plane = ControlPlane::start(directory.path()).await;
    let first = put(&plane, "default", "first", "1").await;
    let second = put(&plane, "default", "second", "1").await;
    let seen = format!("last-event-id: {first}.0\r\n", first = first.0);
    let heard = raw(&plane, &format!("kind=Config&after={}", second.0), &seen, "\n\n").await;
    let body = heard.split_once("\r\n\r\n").expect("a head").1;
    assert!(body.contains("event: added") && body.contains("\"name\":\"second\"") && !body.contains("\"first\""), "{heard}");
    assert!(body.contains(&format!("id: {}.", second.0)), "the id of an event is where to go on: {heard}");
    let refused = raw(&plane, "", "last-event-id: x\r\n", "}").await;
    assert!(refused.starts_with("HTTP/1.1 400") && refused.contains("E0408"), "{refused}");
    plane.stop().await;
}

/// What the owner of the machine is told of Configs from now on.
fn told(core: &Arc<Core>, silence_max: Duration) -> std::pin::Pin<Box<dyn Stream<Item = ObjectEvent> + Send>> {
    let principal = Principal { name: "ana".to_owned(), role: ApiRole::Admin, namespace: None };
    let caller = Caller { principal: principal.clone(), by_token: false, token: None, from: String::new(), key: None };
    let selection = Selection { kinds: vec!["Config".to_owned()], namespace: None, principal };
    let at = Position::after(core.state().index());
    watch::events(core, watch::Watch { caller, selection, at, silence_max }).boxed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_is_too_slow_is_told_so_and_nothing_more() {
    let directory = tempfile::tempdir().expect("a directory");
    let core = fixture::core(directory.path()).await;
    let mut slow = told(&core, Duration::MAX);
    assert!(matches!(within(slow.next()).await, Some(ObjectEvent::Bookmark { .. })));
    fixture::tick(&core, 1).await;
    assert!(matches!(within(slow.next()).await, Some(ObjectEvent::Added(_))));
    let seen = core.state().index();
    fixture::tick(&core, CHANGES_MAX + 10).await;
    let Some(ObjectEvent::Compacted { oldest }) = within(slow.next()).await else { panic!("what comes next is forgotten") };
    assert!(oldest > seen && core.state().changes_after(oldest).is_ok() && core.state().changes_after(Index(oldest.0 - 1)).is_err());
    assert_eq!(within(slow.next()).await, None);
    let Ok(event) = watch::sent(&ObjectEvent::Compacted { oldest });
    let text = format!("{event:?}");
    assert!(text.contains("event: compacted") && text.contains(&oldest.0.to_string()), "{text}");
    core.consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_with_nothing_to_hear_is_told_how_far_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let core = fixture::core(directory.path()).await;
    let mut idle = told(&core, Duration::from_millis(1));
    let mut last = None;
    for _ in 0..3 {
        let Some(ObjectEvent::Bookmark { at }) = within(idle.next()).await else { panic!("nothing has changed") };
        assert!(last.is_none_or(|last| last <= at));
        last = Some(at);
    }
    // What it did not ask for moves where it is, and is not told.
    let token = state::command::RevokeJoinToken { id: "t".parse().expect("an id") };
    let command = state::Command::user(model::id::Timestamp(1), "ann", state::command::Change::RevokeJoinToken(token));
    let (index, _) = core.consensus.propose(command).await.expect("it leads");
    within(async { while !matches!(idle.next().await, Some(ObjectEvent::Bookmark { at }) if at >= Position::after(Index(index))) {} })
        .await;
    core.consensus.shutdown().await;
}
