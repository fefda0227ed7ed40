//! The authority of a running cluster is replaced: nobody notices, who was away comes back, who holds the old key does not get in, and who pinned the old one
//! is led to the new one.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cluster_tests::{
    cluster::{Cluster, hello},
    eventually, guest,
    load::Load,
    node::{self, Node, Said},
};
use model::id::{NodeId, Timestamp};
use serde_json::Value;
use transport::{
    Authority, AuthorityDigest, Channel, ChannelConfig, ClusterKey, Credentials, Dialer, Expected, HANDSHAKE_MAX, Identity, Issue, KeyPair,
    Known, Members, NODE_LIFETIME, NodeIdentity, Role, Sealed, SystemClock, empty_body,
};

/// Longest time one question may take.
const ASK_MAX: Duration = Duration::from_secs(10);

/// What a server gives to servers alone.
const KEY_PATH: &str = "/peer/v1/cluster-key";

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Timestamp(u64::try_from(since.as_millis()).expect("before the year 500,000,000"))
}

/// The authority as a thief has it who got at the disk of a server: its certificate, and behind it in the log the sealed key.
fn stolen(data: &Path) -> Authority {
    let own = Credentials::read(&data.join("control/identity")).expect("a server has credentials");
    let key = ClusterKey::read(&data.join("control/cluster.key")).expect("a server has the key of the cluster");
    let certificate = own.authority().der().to_vec();
    let files = std::fs::read_dir(data.join("control/log")).expect("a server has a log");
    let sealed = files.filter_map(|file| std::fs::read(file.ok()?.path()).ok()).find_map(|bytes| {
        let at = bytes.windows(certificate.len()).position(|window| window == certificate)? + certificate.len();
        // A length of 251 or more is written as that number and two bytes.
        let (start, length) = match *bytes.get(at)? {
            251 => (at + 3, usize::from(u16::from_le_bytes([*bytes.get(at + 1)?, *bytes.get(at + 2)?]))),
            short => (at + 1, usize::from(short)),
        };
        Sealed::from_bytes(bytes.get(start..start + length)?).ok()
    });
    Authority::open(&certificate, &sealed.expect("the founding of the cluster is in the log"), &key).expect("the key opens it")
}

/// A server that the holder of `authority` makes up.
fn made_up(authority: &Authority) -> Credentials {
    let identity = NodeIdentity { cluster: authority.cluster(), node: NodeId(1_000_000), role: Role::Server };
    let key = KeyPair::generate();
    let issue = Issue { identity, key: &key.public(), names: &[], now: now(), lifetime: NODE_LIFETIME };
    let certificate = authority.issue(&issue).expect("the authority signs");
    Credentials::new(key, &certificate, authority.certificate().clone()).expect("they belong together")
}

/// Whether the server at `address` gives the key of the cluster to whoever shows `credentials`.
async fn opens(address: &str, credentials: Credentials) -> bool {
    let (identity, known) = (Identity::new(credentials), Known::new(Members::default()));
    let dialer = Dialer { identity, known, clock: Arc::new(SystemClock), connect_max: HANDSHAKE_MAX };
    let channel = Channel::new(ChannelConfig::new(dialer, address, Expected::AnyServer));
    let request = http::Request::get(KEY_PATH).body(empty_body()).expect("a constant path is one");
    channel.request(request, ASK_MAX).await.is_ok_and(|answer| answer.status().is_success())
}

/// What `shoal ca show` says on `node`, when it says something.
fn authority(node: &Node) -> Option<Value> {
    let said = node.shoal(&["ca", "show", "-o", "json"]);
    if said.code == 0 { serde_json::from_str(&said.out).ok() } else { None }
}

/// Waits until no rotation is under way and returns what is said then.
async fn until_over(node: &Node, before: &str) -> Value {
    eventually("the end of the rotation", || {
        let view = authority(node);
        async move { view.filter(|view| view["rotation"].is_null() && view["digest"] != before) }
    })
    .await
}

fn digest(view: &Value) -> String {
    view["digest"].as_str().expect("there is one").to_owned()
}

/// Who signed the certificates that lie below `data`, by role.
fn issuers(data: &Path) -> Vec<AuthorityDigest> {
    let roles = ["control/identity", "worker/identity"];
    let present = roles.into_iter().filter(|role| data.join(role).join("chain.pem").exists());
    present.map(|role| Credentials::read(&data.join(role)).expect("it is whole").authority().digest()).collect()
}

/// Waits until all that `node` shows is of `authority`.
async fn until_of(node: &Node, authority: &str) {
    let data = node.data();
    eventually("certificates of the new authority", || {
        let all = issuers(&data);
        async move { (!all.is_empty() && all.iter().all(|one| one.to_string() == authority)).then_some(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_is_replaced_under_traffic_and_who_was_away_comes_back() {
    let mut cluster = Cluster::start(3, 1).await;
    cluster.nodes[0].apply(&hello(&guest("hello"), "")).expect(0);
    let before = authority(&cluster.nodes[0]).expect("a cluster has an authority");
    assert!(before["rotation"].is_null() && before["notAfter"].as_str().is_some_and(|end| end > "2030"), "{before}");
    let old = digest(&before);
    let refused = cluster.nodes[0].shoal(&["ca", "rotate"]).expect(64);
    assert!(refused.err.contains("--yes"), "{refused:?}");

    // The third server stops for the whole rotation.
    let away = cluster.nodes.remove(2);
    let flags = away.flags().to_vec();
    let directory = away.cut_power();
    let thief = made_up(&stolen(&cluster.nodes[0].data()));
    let peer = cluster.nodes[0].ready()["peer"].as_str().expect("a server listens for others").to_owned();
    assert!(opens(&peer, thief.clone()).await, "as long as the authority is trusted its key makes servers");
    let loads = [Load::start(&cluster.nodes[1].http, "hello.localhost", 2), Load::start(&cluster.nodes[2].http, "hello.localhost", 2)];

    let said = cluster.nodes[1].shoal(&["ca", "rotate", "--yes"]).expect(0);
    assert!(said.out.contains("takes over"), "{said:?}");
    let refused = cluster.nodes[0].shoal(&["ca", "rotate", "--yes"]).expect(9);
    assert!(refused.err.contains("E0430") && refused.err.contains("shoal ca show"), "{refused:?}");
    let after = until_over(&cluster.nodes[0], &old).await;
    let new = digest(&after);
    let behind = after["behind"].as_array().expect("the one that is away").clone();
    assert!(!behind.is_empty() && behind.iter().all(|holder| holder["node"] == "node-c"), "{after}");
    assert_eq!(after["retired"][0]["digest"], old, "{after}");
    for node in &cluster.nodes {
        until_of(node, &new).await;
    }
    // The log says that it is over; each server goes by that a moment later.
    eventually("that the old authority's key makes no server any more", || {
        let opens = opens(&peer, thief.clone());
        async move { (!opens.await).then_some(()) }
    })
    .await;
    let shown = cluster.nodes[0].shoal(&["ca", "show"]).expect(0).out;
    assert!(shown.contains("behind    node-c (server, worker)"), "{shown}");
    let events = cluster.nodes[0].shoal(&["events"]).expect(0).out;
    for kind in ["AuthorityRotating", "AuthoritySigning", "AuthorityRotated"] {
        assert!(events.contains(kind), "{kind} is missing: {events}");
    }

    // It knows the old authority alone, and shows a certificate of it.
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let back = Node::start_in(directory, &flags).await;
    until_of(&back, &new).await;
    cluster.nodes.push(back);
    cluster.until_members(3, 3).await;
    eventually("nobody behind", || {
        let view = authority(&cluster.nodes[0]);
        async move { view.filter(|view| view["behind"].is_null()) }
    })
    .await;

    // A token from before the rotation carries the digest of the old authority, which vouches for the new one.
    cluster.join_worker("node-e").await;
    until_of(cluster.nodes.last().expect("it joined"), &new).await;
    cluster.nodes[0].apply(&hello(&guest("hello"), "      env: {TURN: \"2\"}\n")).expect(0);
    for load in loads {
        load.answered(20).await;
        let seen = load.finish().await;
        assert_eq!(seen.failed(), 0, "{seen:?}");
    }
    assert!(!opens(&peer, thief).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_seen_to_its_end_by_whoever_leads() {
    let cluster = Cluster::start(3, 0).await;
    let mut old = digest(&authority(&cluster.nodes[0]).expect("a cluster has an authority"));
    for _ in 0..2 {
        let leader = cluster.leader().await;
        eventually("a rotation", || {
            let said = cluster.nodes[(leader + 1) % 3].shoal(&["ca", "rotate", "--yes"]);
            // One that was begun before the answer was lost is as good.
            async move { (said.code == 0 || said.err.contains("E0430")).then_some(()) }
        })
        .await;
        node::kill(cluster.nodes[leader].child("control-plane").expect("it runs"));
        let new = digest(&until_over(&cluster.nodes[(leader + 1) % 3], &old).await);
        for node in &cluster.nodes {
            until_of(node, &new).await;
        }
        cluster.until_members(3, 3).await;
        old = new;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_pinned_the_old_authority_is_led_to_the_new_one() {
    let node = Node::start_in(tempfile::tempdir().expect("a temporary directory"), &["--api", "0.0.0.0:0"]).await;
    let url = node.ready()["api"].as_str().expect("it has an API").replace("0.0.0.0", "127.0.0.1");
    let data = node.data();
    let run = |args: &[&str], change: &dyn Fn(&mut std::process::Command)| -> Said {
        let mut command = node.command(args);
        command.env_remove("SHOAL_SERVER");
        change(&mut command);
        command.output().expect("shoal runs").into()
    };
    let here = |args: &[&str]| run(&[args, &["--data-dir", data.to_str().expect("a temporary path is text")]].concat(), &|_| {});
    let view = |said: Said| serde_json::from_str::<Value>(&said.expect(0).out).expect("JSON");
    let old = digest(&view(here(&["ca", "show", "-o", "json"])));
    let made = view(here(&["token", "create", "ana", "--role", "admin", "--ttl", "1h", "-o", "json"]));
    let token = made["token"].as_str().expect("a token").to_owned();
    let file = node.write("token", &token);
    let log_in = |name: &str| {
        let file = file.to_str().expect("a temporary path is text").to_owned();
        run(&["login", &url, "--ca-digest", &old, "--token-file", &file, "--name", name], &|_| {})
    };
    log_in("lab").expect(0);
    run(&["ca", "rotate", "--yes"], &|_| {}).expect(0);
    let new = eventually("the end of the rotation", || {
        let view = view(here(&["ca", "show", "-o", "json"]));
        let over = (view["rotation"].is_null() && digest(&view) != old).then(|| digest(&view));
        async move { over }
    })
    .await;
    until_of(&node, &new).await;

    let pinned =
        || std::fs::read_to_string(data.parent().expect("it is below a directory").join("shoal/config.toml")).expect("the contexts");
    assert!(pinned().contains(&old), "nothing has asked since");
    let said = run(&["get", "nodes"], &|_| {}).expect(0);
    assert!(said.err.contains("context lab pins the new one"), "{said:?}");
    assert!(pinned().contains(&new) && !pinned().contains(&old), "{}", pinned());
    let said = run(&["get", "nodes"], &|_| {}).expect(0);
    assert!(!said.err.contains("rotated"), "it is told once: {said:?}");
    // By variables the same, and whoever logs in with the digest of before.
    let by_variables = |digest: &str| {
        run(&["whoami"], &|command| {
            command.env("SHOAL_SERVER", &url).env("SHOAL_TOKEN", &token).env("SHOAL_CA_DIGEST", digest);
        })
    };
    let said = by_variables(&old).expect(0);
    assert!(said.err.contains(&format!("SHOAL_CA_DIGEST={new}")), "{said:?}");
    by_variables(&new).expect(0);
    log_in("other").expect(0);
    let foreign = Node::start().await;
    let theirs = digest(&authority(&foreign).expect("a cluster has an authority"));
    let refused = by_variables(&theirs);
    assert!(refused.code != 0 && refused.err.contains("E0610"), "{refused:?}");
}
