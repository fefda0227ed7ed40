//! A watch over a cluster: the server that it is connected to dies, another one goes on with it, and nothing is missing or told twice.

use std::time::Duration;

use api::{
    client::{Client, Watched},
    v1::{ConfigRequest, ObjectEvent, ObjectQuery},
};
use cluster_tests::{cluster::Cluster, eventually, node};
use model::id::Index;
use tokio::time::timeout;

const WRITES: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_survives_its_server_without_a_gap_or_a_repetition() {
    let cluster = Cluster::start(3, 0).await;
    let servers: Vec<_> = cluster.nodes.iter().map(|node| node.api.parse().expect("an address")).collect();
    let client = Client::of(servers).with_patience(Duration::from_secs(60));
    let (namespace, name) = ("default".parse().expect("a name"), "counter".parse().expect("a name"));
    let mut watch = client.watch(ObjectQuery { kind: Some("Config".into()), ..ObjectQuery::default() });
    assert!(matches!(watch.next().await, Ok(Watched::Event(ObjectEvent::Bookmark { .. }))));
    let writer = client.clone();
    let (done, mut all) = tokio::sync::watch::channel(None);
    let writing = tokio::spawn(async move {
        let (mut acknowledged, mut tries) = (Vec::new(), 0);
        for number in 1..=WRITES {
            let written = eventually("an acknowledged write", || {
                // What broke off may be done or not. Written again as it was it would change nothing, and there would be nothing to tell.
                tries += 1;
                let data = [("number".to_owned(), number.to_string()), ("try".to_owned(), tries.to_string())].into();
                let (writer, path) = (&writer, (&namespace, &name));
                async move { writer.put_config(path.0, path.1, &ConfigRequest { data, expect: None }).await.ok() }
            });
            // The entry that changed it: one that was sent again is answered by a later entry, which changes nothing.
            acknowledged.push(written.await.version.expect("a config has a version"));
        }
        done.send_replace(Some(acknowledged));
    });
    let (mut heard, mut killed) = (Vec::new(), 0);
    let hearing = async {
        let is_last = |heard: &[Index], all: &Option<Vec<Index>>| all.as_ref().is_some_and(|all| heard.last() >= all.last());
        while !is_last(&heard, &all.borrow_and_update()) {
            let told = tokio::select! {
                told = watch.next() => told,
                _ = all.changed(), if all.has_changed().is_ok() => continue,
            };
            let Watched::Event(event) = told.expect("some server answers") else { panic!("so little is not forgotten") };
            let (ObjectEvent::Added(change) | ObjectEvent::Modified(change)) = event else { continue };
            heard.push(change.at.index);
            // The servers take turns to die; the one that serves the watch is among them.
            if heard.len() % 15 == 0 && killed < 3 {
                node::kill(cluster.nodes[killed].child("control-plane").expect("it runs"));
                killed += 1;
            }
        }
    };
    let heard_all = timeout(Duration::from_secs(120), hearing).await;
    assert!(heard_all.is_ok(), "the last write is told; these were: {heard:?}, and {killed} servers died");
    writing.await.expect("the writer ends");
    let acknowledged = all.borrow().clone().expect("it said what it wrote");
    assert!(heard.windows(2).all(|pair| pair[0] < pair[1]), "in order and once each: {heard:?}");
    let missing: Vec<_> = acknowledged.iter().filter(|index| !heard.contains(index)).collect();
    assert!(missing.is_empty(), "{missing:?} were acknowledged, and {heard:?} was told");
    assert!(killed > 0 && acknowledged.len() as u64 == WRITES, "{killed} servers died, {} writes were acknowledged", acknowledged.len());
}
