//! A cluster that was switched off for longer than its certificates last comes back; a stranger whose certificate has expired is not let in; a worker's
//! certificate is renewed however long its servers were away.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cluster_tests::{
    clients::{Clients, Workload},
    cluster::{Cluster, hello},
    eventually, guest,
    node::Node,
    raw,
};
use model::id::{NodeId, Timestamp};
use transport::{
    Authority, Channel, ChannelConfig, ClusterKey, Credentials, Dialer, Expected, HANDSHAKE_MAX, Identity, Issue, KeyPair, Known, Members,
    NODE_LIFETIME, NodeIdentity, Role, Sealed, SystemClock, empty_body,
};

/// How long the cluster was off: twice as long as a certificate lasts.
const OFF: Duration = Duration::from_secs(2 * 24 * 3600);

/// Longest time one question may take.
const ASK_MAX: Duration = Duration::from_secs(10);

/// Where a server asks another for the key of the cluster.
const KEY_PATH: &str = "/peer/v1/cluster-key";

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Timestamp(u64::try_from(since.as_millis()).expect("before the year 500,000,000"))
}

/// The authority of the cluster, out of the log of a server that is stopped: its certificate stands there as everybody knows it, and its sealed key behind it.
fn authority(data: &Path) -> Authority {
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

/// A certificate that has expired, for `key` and `identity`.
fn expired(authority: &Authority, key: &KeyPair, identity: NodeIdentity) -> Credentials {
    issued(authority, key, identity, OFF)
}

/// A certificate for `key` and `identity` that was given `age` ago.
fn issued(authority: &Authority, key: &KeyPair, identity: NodeIdentity, age: Duration) -> Credentials {
    let then = Timestamp(now().0 - u64::try_from(age.as_millis()).expect("a few days"));
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let issue = Issue { identity, key: &key.public(), names: &names, now: then, lifetime: NODE_LIFETIME };
    let certificate = authority.issue(&issue).expect("the authority signs");
    Credentials::new(key.clone(), &certificate, authority.certificate().clone()).expect("they belong together")
}

/// Whether the server at `address` gives the key of the cluster to whoever shows `credentials`.
async fn opens(address: &str, credentials: Credentials, known: Members) -> bool {
    let dialer =
        Dialer { identity: Identity::new(credentials), known: Known::new(known), clock: Arc::new(SystemClock), connect_max: HANDSHAKE_MAX };
    let channel = Channel::new(ChannelConfig::new(dialer, address, Expected::AnyServer));
    let request = http::Request::get(KEY_PATH).body(empty_body()).expect("a constant path is one");
    channel.request(request, ASK_MAX).await.is_ok_and(|answer| answer.status().is_success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_off_for_two_days_comes_back_and_lets_no_stranger_in() {
    let (mut cluster, _network) = Cluster::behind_doors(3).await;
    let workload = Workload { servers: cluster.apis(), clients: 2, keys: 2 };
    let mut clients = Clients::start(&workload);
    clients.acknowledged(20).await;
    clients.pause().await;
    let stopped: Vec<_> = cluster.nodes.drain(..).map(|node| (node.flags().to_vec(), node.cut_power())).collect();
    let authority = authority(&stopped[0].1.path().join("data"));
    for (_, directory) in &stopped {
        for role in ["control/identity", "worker/identity"] {
            let place = directory.path().join("data").join(role);
            let own = Credentials::read(&place).expect("every role has credentials");
            expired(&authority, own.key(), own.identity()).write(&place).expect("the directory is writable");
        }
    }
    let member = Credentials::read(&stopped[0].1.path().join("data/control/identity")).expect("they were just written");
    let starting = stopped.into_iter().map(|(flags, directory)| async move {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Node::start_in(directory, &flags).await
    });
    let mut started = tokio::task::JoinSet::new();
    starting.for_each(|start| drop(started.spawn(start)));
    while let Some(node) = started.join_next().await {
        cluster.nodes.push(node.expect("it starts"));
    }
    cluster.nodes.sort_by_key(|node| node.ready()["node"].to_string());
    cluster.until_all_answer().await;
    cluster.until_members(3, 3).await;
    for node in &cluster.nodes {
        let place = node.data().join("control/identity");
        let renewed = || Credentials::read(&place).is_ok_and(|own| own.validity().renew_at() > now());
        eventually("a new certificate", || async { renewed().then_some(()) }).await;
    }

    let peer = cluster.nodes[0].ready()["peer"].as_str().expect("a server listens for others").to_owned();
    let known = Members::read(&cluster.nodes[0].data().join("control/identity/members.json")).expect("every server keeps the list");
    assert!(opens(&peer, member.clone(), known.clone()).await, "a member's expired certificate opens");
    let stranger = expired(&authority, &KeyPair::generate(), member.identity());
    assert!(!opens(&peer, stranger, known.clone()).await, "another key under a member's name does not");
    let mut beyond = member.identity();
    beyond.node = model::id::NodeId(1_000_000);
    let stranger = expired(&authority, &KeyPair::generate(), beyond);
    assert!(!opens(&peer, stranger, known).await, "a node that nobody knows does not, once its certificate has expired");

    clients.moved(cluster.apis());
    clients.finish().await;
}

/// Whether the worker at `mesh` shows a certificate that is good by itself, to a server that knows nobody's key.
async fn shows_a_good_one(mesh: &str, worker: NodeIdentity, server: Credentials) -> bool {
    let (identity, known) = (Identity::new(server), Known::new(Members::default()));
    let dialer = Dialer { identity, known, clock: Arc::new(SystemClock), connect_max: HANDSHAKE_MAX };
    let channel = Channel::new(ChannelConfig::new(dialer, mesh, Expected::Node(worker)));
    let request = http::Request::get("/").body(empty_body()).expect("a constant path is one");
    channel.request(request, ASK_MAX).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_renewed_once_its_servers_are_back_and_shows_the_new_certificate() {
    let (mut cluster, _network) = Cluster::behind_doors(1).await;
    cluster.join_worker("node-b").await;
    cluster.nodes[0].apply(&hello(&guest("hello"), "")).expect(0);
    let join = ["--name".to_owned(), "node-b".to_owned(), "--join".to_owned(), cluster.peer.clone()];
    let flags: Vec<&str> = join.iter().map(String::as_str).collect();
    let worker = cluster.nodes.pop().expect("two nodes").cut_power();
    let server = cluster.nodes.pop().expect("one node");
    let (server_flags, server) = (server.flags().to_vec(), server.cut_power());
    let authority = authority(&server.path().join("data"));
    let place = worker.path().join("data/worker/identity");
    let own = Credentials::read(&place).expect("a worker has credentials");
    expired(&authority, own.key(), own.identity()).write(&place).expect("the directory is writable");
    let beyond = NodeIdentity { cluster: authority.cluster(), node: NodeId(1_000_000), role: Role::Server };
    let asking = issued(&authority, &KeyPair::generate(), beyond, Duration::ZERO);
    let renewed = |place: &Path| Credentials::read(place).is_ok_and(|own| own.validity().renew_at() > now());

    // It serves, asks for another certificate again and again, and has none yet.
    let worker = Node::start_worker_in(worker, &flags).await;
    let mesh = worker.ready()["mesh"].as_str().expect("a worker listens for servers").to_owned();
    assert_eq!(raw::get(&worker.http, "hello.localhost", "/").await.expect("an answer").status, 200);
    eventually("three renewals that failed", || {
        let failed = worker.log().matches("the certificate of this worker cannot be renewed yet").count();
        async move { (failed >= 3).then_some(()) }
    })
    .await;
    let place = worker.data().join("worker/identity");
    assert!(!renewed(&place) && !shows_a_good_one(&mesh, own.identity(), asking.clone()).await);

    let server_flags: Vec<&str> = server_flags.iter().map(String::as_str).collect();
    let server = Node::start_in(server, &server_flags).await;
    eventually("a new certificate", || async { renewed(&place).then_some(()) }).await;
    eventually("that it is shown", || async { shows_a_good_one(&mesh, own.identity(), asking.clone()).await.then_some(()) }).await;
    assert!(worker.log().contains("the certificate of this worker is renewed"));
    server.apply(&hello(&guest("hello"), "      env: {TURN: \"2\"}\n")).expect(0);

    // More than half of its life is over, and its servers are there.
    let worker = worker.cut_power();
    let aged = Duration::from_secs(NODE_LIFETIME.as_secs() / 2 + 3_600);
    let place = worker.path().join("data/worker/identity");
    issued(&authority, own.key(), own.identity(), aged).write(&place).expect("the directory is writable");
    let worker = Node::start_worker_in(worker, &flags).await;
    let place = worker.data().join("worker/identity");
    eventually("a new certificate before the old one ends", || async { renewed(&place).then_some(()) }).await;
    assert_eq!(raw::get(&worker.http, "hello.localhost", "/").await.expect("an answer").status, 200);
}
