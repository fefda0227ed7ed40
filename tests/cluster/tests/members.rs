//! Several nodes that join one cluster: who is let in, who leads, what happens when the leader goes, and that nothing acknowledged is lost meanwhile.

use cluster_tests::{
    cluster::{Cluster, hello},
    eventually, guest,
    load::Load,
    node::{self, Node},
    raw,
};
use std::{process::Stdio, sync::atomic::Ordering::Relaxed};

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_and_a_worker_serve_what_any_of_them_is_told() {
    let mut cluster = Cluster::start(3, 1).await;
    for (turn, server) in cluster.nodes.iter().take(3).enumerate() {
        let said = server.apply(&hello(&guest("hello"), &format!("      env: {{TURN: \"{turn}\"}}\n"))).expect(0);
        assert!(said.out.contains("hello"), "{said:?}");
        // What an apply says is done is done at every gateway.
        for node in &cluster.nodes {
            let answer = raw::get(&node.http, "hello.localhost", "/").await.expect("a gateway answers");
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    for server in &cluster.nodes[..3] {
        let instances = server.shoal(&["get", "instances"]).expect(0).out;
        assert_eq!(instances.lines().filter(|line| line.contains("hello/web.") && line.contains("r3")).count(), 4, "{instances}");
        let apps = server.shoal(&["get", "apps"]).expect(0).out;
        assert!(apps.contains("hello") && apps.contains("4/4"), "{apps}");
    }
    let log = eventually("the access lines of all four nodes", || {
        let said = cluster.nodes[1].shoal(&["logs", "hello", "--access", "-o", "json"]).out;
        let nodes = ["node-a", "node-b", "node-c", "node-d"].iter().filter(|name| said.contains(&format!("\"{name}\""))).count();
        async move { (nodes == 4).then_some(said) }
    })
    .await;
    assert!(!log.is_empty());
    // Whoever waits for a new node meets what the others serve.
    cluster.join_worker("node-e").await;
    let answer = raw::get(&cluster.nodes[4].http, "hello.localhost", "/").await.expect("a gateway answers");
    assert_eq!(answer.status, 200, "{answer:?}");
    for server in &cluster.nodes[..3] {
        eventually("what the server measured", || async {
            let log = server.log();
            ["disk and network fit the profile", "may lose its leader"].iter().any(|said| log.contains(said)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deployed_before_its_bytes_lie_on_a_majority() {
    let cluster = Cluster::start(3, 0).await;
    let leader = cluster.leader().await;
    let artifacts = |place: usize| cluster.nodes[(leader + place) % 3].data().join("control/artifacts");
    for place in [1, 2] {
        std::fs::rename(artifacts(place), artifacts(place).with_extension("away")).expect("moved away");
        std::fs::write(artifacts(place), "no directory").expect("something in its place");
    }
    let manifest = hello(&guest("hello"), "");
    let path = cluster.nodes[leader].write("app.yaml", &manifest);
    let path = path.to_str().expect("a temporary path is text");
    let refused = cluster.nodes[leader].shoal(&["apply", "-f", path, "--detach"]);
    assert!(refused.code == 10 && refused.err.contains("E0407") && refused.err.contains("nothing was changed"), "{refused:?}");
    let apps = cluster.nodes[leader].shoal(&["get", "apps", "-o", "name"]).expect(0).out;
    assert!(apps.trim().is_empty(), "{apps}");

    std::fs::remove_file(artifacts(1)).expect("removed");
    std::fs::rename(artifacts(1).with_extension("away"), artifacts(1)).expect("brought back");
    cluster.nodes[leader].shoal(&["apply", "-f", path, "--detach"]).expect(0);
    let held = |place: usize| std::fs::read_dir(artifacts(place)).map_or(0, |entries| entries.count());
    assert!(held(0) > 0 && held(1) > 0, "what was accepted lies on two disks");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_killed_again_and_again_and_nothing_acknowledged_is_lost() {
    let cluster = Cluster::start(3, 0).await;
    cluster.nodes[0].apply(&hello(&guest("hello"), "")).expect(0);
    let load = Load::start(&cluster.nodes[1].http, "hello.localhost", 4);
    load.answered(50).await;
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        let leader = cluster.leader().await;
        node::kill(cluster.nodes[leader].child("control-plane").expect("it runs"));
        let survivor = &cluster.nodes[(leader + 1) % 3];
        let note = format!("round-{round}");
        let token = eventually("a write after the leader's death", || {
            let said = survivor.shoal(&["join-token", "create", "worker", "--note", &note, "-o", "json"]);
            async move { (said.code == 0).then(|| said.out.clone()) }
        })
        .await;
        assert!(token.contains("SHOAL1-w-"), "{token}");
        acknowledged.push(note);
        cluster.until_members(3, 3).await;
    }
    for server in &cluster.nodes {
        let listed = eventually("a list", || {
            let said = server.shoal(&["join-token", "list", "-o", "json"]);
            async move { (said.code == 0).then(|| said.out.clone()) }
        })
        .await;
        for note in &acknowledged {
            assert!(listed.contains(note), "{note} was acknowledged, and {listed} does not have it");
        }
    }
    let seen = load.finish().await;
    assert_eq!((seen.bad_status.load(Relaxed), seen.refused.load(Relaxed), seen.broken.load(Relaxed)), (0, 0, 0), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_stopped_hands_over_and_a_server_that_is_removed_is_gone() {
    let mut cluster = Cluster::start(3, 0).await;
    let leader = cluster.leader().await;
    let mut stopped = cluster.nodes.remove(leader);
    let name = stopped.ready()["node"].as_str().expect("a name").to_owned();
    stopped.terminate();
    assert_eq!(stopped.ended().await, 0);
    let said = stopped.log();
    assert!(said.contains("leadership is handed over") && !said.contains("cannot be handed over"), "{said}");
    let another = cluster.leader().await;
    let said = cluster.nodes[another].shoal(&["member", "remove", &name, "--yes"]).expect(0);
    assert!(said.out.contains(&name) || said.err.contains(&name), "{said:?}");
    cluster.until_members(2, 2).await;
    let nodes = cluster.nodes[another].shoal(&["get", "nodes"]).expect(0).out;
    assert!(!nodes.contains(&name), "{nodes}");
    let audit = cluster.nodes[another].shoal(&["audit", "-o", "json"]).expect(0).out;
    assert!(audit.contains(&format!("node/{name}")) && audit.contains("begun"), "{audit}");
    let object = format!("node/{name}");
    let journal = eventually("the entry in the leader's log", || {
        let log = cluster.nodes[another].log();
        let is_there = log.contains(&object);
        async move { is_there.then_some(log) }
    });
    assert!(journal.await.contains("somebody changed something"));
    let last = cluster.nodes[another].shoal(&["member", "remove", "nobody", "--yes"]);
    assert_eq!(last.code, 6, "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_is_removed_whichever_server_is_asked_and_stops() {
    let mut cluster = Cluster::start(4, 0).await;
    cluster.nodes[0].apply(&hello(&guest("hello"), "")).expect(0);
    for (asked, left) in [("the leader", 3), ("a follower", 2)] {
        let leader = cluster.leader().await;
        let mut leader = cluster.nodes.remove(leader);
        let name = leader.ready()["node"].as_str().expect("a name").to_owned();
        let asked = if asked == "the leader" { &leader } else { &cluster.nodes[0] };
        let said = asked.shoal(&["member", "remove", &name, "--yes"]).expect(0);
        assert!(said.err.contains("it stops") || said.out.contains("it stops"), "{said:?}");
        cluster.until_members(left, if left == 3 { 3 } else { 2 }).await;
        for turn in 0..3 {
            cluster.nodes[0].apply(&hello(&guest("hello"), &format!("      env: {{TURN: \"{left}-{turn}\"}}\n"))).expect(0);
        }
        let nodes = cluster.nodes[1].shoal(&["get", "nodes"]).expect(0).out;
        assert!(!nodes.contains(&name), "{nodes}");
        assert_eq!(leader.ended().await, 1);
        assert!(leader.log().contains("E0611") && leader.log().contains("was removed from the cluster"), "{}", leader.log());
        assert!(raw::get(&leader.http, "hello.localhost", "/").await.is_err(), "it serves no more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_removed_stops_now_and_whenever_it_comes_back() {
    let mut cluster = Cluster::start(1, 1).await;
    cluster.nodes[0].apply(&hello(&guest("hello"), "")).expect(0);
    let mut worker = cluster.nodes.pop().expect("two nodes");
    assert_eq!(raw::get(&worker.http, "hello.localhost", "/").await.expect("an answer").status, 200);
    let name = worker.ready()["node"].as_str().expect("a name").to_owned();
    cluster.nodes[0].shoal(&["node", "remove", &name, "--yes"]).expect(0);
    assert_eq!(worker.ended().await, 1);
    assert!(worker.log().contains("E0611"), "{}", worker.log());
    let flags = ["--name", &name, "--join", &cluster.peer];
    let mut again = Node::start_worker_in(worker.cut_power(), &flags).await;
    assert_eq!(again.ended().await, 1, "it has its place no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_finds_servers_that_took_the_place_of_those_it_joined() {
    let mut cluster = Cluster::start(1, 1).await;
    let worker = cluster.nodes.pop().expect("two nodes");
    let name = worker.ready()["node"].as_str().expect("a name").to_owned();
    for server in ["node-x", "node-y", "node-z"] {
        cluster.join_server(server).await;
    }
    cluster.until_members(4, 3).await;
    eventually("the worker to hear of all servers", || {
        let heard = std::fs::read_to_string(worker.data().join("worker/identity/servers.json")).unwrap_or_default();
        async move { (heard.matches("\"node\"").count() == 4).then_some(()) }
    })
    .await;
    let directory = worker.cut_power();
    let first = cluster.nodes.remove(0);
    let gone = first.ready()["node"].as_str().expect("a name").to_owned();
    cluster.nodes[0].shoal(&["member", "remove", &gone, "--yes"]).expect(0);
    drop(first);
    cluster.until_members(3, 3).await;
    cluster.nodes[0].apply(&hello(&guest("hello"), ""));
    let back = Node::start_worker_in(directory, &["--name", &name, "--join", &cluster.peer]).await;
    eventually("the app on the worker", || async {
        let answer = raw::get(&back.http, "hello.localhost", "/").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_whichever_server_is_asked() {
    let cluster = Cluster::start(3, 0).await;
    for turn in 0..6 {
        let leader = cluster.leader().await;
        // The leader itself, a follower that stays one, and the follower that takes over are all asked.
        let (asked, next) = (&cluster.nodes[turn % 3], &cluster.nodes[(leader + 1) % 3]);
        let name = next.ready()["node"].as_str().expect("a name").to_owned();
        let said = asked.shoal(&["member", "transfer", &name]).expect(0);
        assert!(said.err.contains(&name) || said.out.contains(&name), "{said:?}");
        eventually("the other one to lead", || async { (cluster.leader().await == (leader + 1) % 3).then_some(()) }).await;
    }
    let leader = cluster.leader().await;
    let name = cluster.nodes[leader].ready()["node"].as_str().expect("a name").to_owned();
    let said = cluster.nodes[(leader + 1) % 3].shoal(&["member", "transfer", &name]).expect(0);
    assert!(said.out.contains("leads already"), "{said:?}");
    // What happened once is told once, however many have led.
    let events = cluster.nodes[0].shoal(&["events"]).expect(0).out;
    assert_eq!(events.lines().filter(|line| line.contains("WorkerStarted")).count(), 3, "{events}");
    every_server_gives_its_owner_the_key_and_nobody_else(&cluster);
}

/// Whether it leads or not; the key never travels, and who got it is written down.
fn every_server_gives_its_owner_the_key_and_nobody_else(cluster: &Cluster) {
    for server in &cluster.nodes {
        let (file, data) = (server.data().with_file_name("all"), server.data());
        let (file, data) = (file.to_str().expect("text"), data.to_str().expect("text"));
        let refused = server.shoal(&["snapshot", "save", file, "--with-keys"]).expect(7);
        assert!(refused.err.contains("E0421"), "{refused:?}");
        let said = server.shoal(&["snapshot", "save", file, "--with-keys", "--data-dir", data]).expect(0);
        assert!(said.err.contains("holds the key"), "{said:?}");
        let audit = server.shoal(&["audit"]).expect(0).out;
        let name = server.ready()["node"].as_str().expect("a name");
        assert!(audit.lines().any(|line| line.contains("cluster/key") && line.contains(&format!("owner of {name}"))), "{audit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_reads_show_what_is_known_and_say_that_it_is_stale() {
    let mut cluster = Cluster::start(3, 0).await;
    cluster.nodes[0].apply(&hello(&guest("hello"), "")).expect(0);
    let left = cluster.nodes.remove(0);
    let gone: Vec<_> = cluster.nodes.drain(..).map(Node::cut_power).collect();
    for (args, known) in [
        (["get", "apps", "-o", "json"].as_slice(), "\"hello\""),
        (&["get", "instances"], "hello/web.1"),
        (&["describe", "app/hello"], "hello.localhost"),
        (&["member", "list"], "node-b"),
    ] {
        // As soon as one of them was not answered by the leader that is gone.
        let said = eventually("a stale answer", || {
            let said = left.shoal(args);
            async move { said.err.contains("what follows is stale: what node-a knows").then_some(said) }
        });
        let said = said.await.expect(10);
        assert!(said.out.contains(known), "{said:?}");
    }
    drop(gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_server_is_not_removed() {
    let node = Node::start().await;
    let name = node.ready()["node"].as_str().expect("a name").to_owned();
    let said = node.shoal(&["member", "remove", &name, "--yes"]);
    assert!(said.code != 0 && said.err.contains("E0413"), "{said:?}");
    assert_eq!(node.shoal(&["get", "apps"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_in_whom_it_names_and_nobody_else() {
    let cluster = Cluster::start(1, 0).await;
    let refused = async |kind: &str, token: &str| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("token"), token).expect("a token is written");
        let mut command = node::node_command(kind, &directory.path().join("data"), &directory.path().join("ready.json"));
        command.args(["--mesh", "127.0.0.1:0", "--join", &cluster.peer, "--token-file"]).arg(directory.path().join("token"));
        if kind == "server" {
            command.args(["--peer", "127.0.0.1:0", "--api", "127.0.0.1:0"]);
        }
        let ended = tokio::task::spawn_blocking(move || command.stdout(Stdio::null()).stderr(Stdio::piped()).output().expect("it runs"));
        let ended = ended.await.expect("it ends");
        assert!(!ended.status.success());
        String::from_utf8_lossy(&ended.stderr).into_owned()
    };
    let read = |role: &str| std::fs::read_to_string(cluster.token(role)).expect("a token");
    let worker = read("worker");
    let said = refused("server", &worker).await;
    assert!(said.contains("E0609") && said.contains("workers only"), "{said}");

    let other_letter = if worker[20..].starts_with('x') { 'y' } else { 'x' };
    let mistyped = format!("{}{other_letter}{}", &worker[..20], &worker[21..]);
    let said = refused("worker", &mistyped).await;
    assert!(said.contains("E0609"), "{said}");

    let other = Node::start().await;
    let foreign = other.ready()["join"]["worker"].as_str().expect("a token").to_owned();
    let said = refused("worker", &foreign).await;
    assert!(said.contains("E0609"), "{said}");

    let list = cluster.nodes[0].shoal(&["join-token", "list", "-o", "json"]).expect(0).out;
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    let tokens = list["items"].as_array().or(list.as_array()).expect("a list").clone();
    let id = tokens.iter().find(|token| token["role"] == "worker").expect("one for workers")["id"].as_str().expect("an id").to_owned();
    cluster.nodes[0].shoal(&["join-token", "revoke", &id]).expect(0);
    let said = refused("worker", &worker).await;
    assert!(said.contains("E0609") && said.contains("not one of this cluster"), "{said}");
    // Who was turned away has left nothing in the log.
    let audit = cluster.nodes[0].shoal(&["audit", "-o", "json"]).expect(0).out;
    assert!(audit.contains("revoke") && !audit.contains("not one of this cluster"), "{audit}");
}
