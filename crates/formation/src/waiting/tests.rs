//! Machines that wait for each other over real sockets: they form one cluster, and whoever does not fit is told.

use std::net::TcpListener;

use api::v1::ReadyView;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transport::SystemClock;

use super::*;

/// Longest any single thing may take before it counts as broken.
const DEADLINE: Duration = Duration::from_secs(30);

/// A machine that listens, and does not answer yet.
struct Bound {
    data: TempDir,
    peer: TcpListener,
    api: TcpListener,
}

impl Bound {
    fn new() -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self { data: tempfile::tempdir().expect("a directory"), peer: listen(), api: listen() }
    }

    fn address(&self) -> String {
        self.peer.local_addr().expect("it is bound").to_string()
    }

    fn api(&self) -> String {
        self.api.local_addr().expect("it is bound").to_string()
    }

    fn open(&self, name: &str, token: &FormationToken, peers: &Peers) -> Waiting {
        let socket = self.data.path().join("api.sock");
        let _ = std::fs::remove_file(&socket);
        let doors = Doors {
            peer: self.peer.try_clone().expect("a socket"),
            api: self.api.try_clone().expect("a socket"),
            api_socket: std::os::unix::net::UnixListener::bind(socket).expect("a socket"),
            metrics: None,
        };
        let config = Config {
            token: token.clone(),
            peers: peers.clone(),
            name: name.to_owned(),
            advertised: None,
            data: self.data.path().to_owned(),
            clock: Arc::new(SystemClock),
        };
        Waiting::open(config, doors).expect("it waits")
    }
}

/// Machines in the order of their addresses, so that the first is the one that founds.
fn machines(count: usize) -> (Vec<Bound>, Peers) {
    let mut machines: Vec<Bound> = (0..count).map(|_| Bound::new()).collect();
    machines.sort_by_key(Bound::address);
    let addresses: Vec<String> = machines.iter().map(Bound::address).collect();
    (machines, Peers::new(count, &addresses).expect("a list"))
}

async fn settled(waiting: &mut Waiting) -> Result<Next, FormError> {
    tokio::time::timeout(DEADLINE, waiting.settle()).await.expect("it settles in time")
}

/// Lets `waiting` look around until it waits for something with `words`.
async fn waits_for(waiting: &mut Waiting, words: &str) {
    let mut waits = waiting.waits();
    let found = waits.wait_for(|waits| waits.iter().any(|wait| wait.to_string().contains(words)));
    tokio::select! {
        found = tokio::time::timeout(DEADLINE, found) => drop(found.expect("it is said in time").expect("it still waits")),
        settled = waiting.settle() => panic!("it settled: {settled:?}"),
    }
}

const AUTHORITY: AuthorityDigest = AuthorityDigest::from_bytes([9; 32]);

#[tokio::test]
async fn three_machines_agree_and_a_fourth_comes_too_late() {
    let (bound, peers) = machines(3);
    let token = FormationToken::create();
    let mut founder = bound[0].open("a", &token, &peers);
    let mut second = bound[1].open("b", &token, &peers);
    waits_for(&mut founder, &format!("{} to answer", bound[2].address())).await;
    let mut third = bound[2].open("c", &token, &peers);
    assert_eq!(settled(&mut founder).await.expect("it can"), Next::Begin);
    founder.begun(AUTHORITY).expect("it binds itself");
    let (founds, one, other) = tokio::join!(settled(&mut founder), settled(&mut second), settled(&mut third));
    assert_eq!(founds.expect("it can"), Next::Found(AUTHORITY));
    assert_eq!((one.expect("it can"), other.expect("it can")), (Next::Join(AUTHORITY), Next::Join(AUTHORITY)));
    assert_eq!(second.join_token(AUTHORITY), founder.join_token(AUTHORITY));
    assert_eq!(second.others(), [bound[0].address(), bound[2].address()]);

    // The second starts again: it is bound. The founder comes back empty: nobody is free for it.
    drop((second, founder));
    assert_eq!(settled(&mut bound[1].open("b", &token, &peers)).await.expect("it can"), Next::Join(AUTHORITY));
    std::fs::remove_file(bound[0].data.path().join("control/formation.json")).expect("it was bound");
    let _second = bound[1].open("b", &token, &peers);
    waits_for(&mut bound[0].open("a", &token, &peers), "which this machine does not found").await;
    // Another token does not free it either.
    let config = Config {
        token: FormationToken::create(),
        peers,
        name: "b".to_owned(),
        advertised: None,
        data: bound[1].data.path().to_owned(),
        clock: Arc::new(SystemClock),
    };
    assert_eq!(Machine::new(config).expect_err("it is bound").code(), "E0619");
}

#[tokio::test]
async fn whoever_has_another_token_or_another_list_is_told_and_waited_for() {
    let (bound, peers) = machines(3);
    let token = FormationToken::create();
    let mut founder = bound[0].open("a", &token, &peers);
    let stranger = bound[1].open("b", &FormationToken::create(), &peers);
    let other_list = Peers::new(2, &[bound[0].address(), bound[2].address()]).expect("a list");
    let mut third = bound[2].open("c", &token, &other_list);
    waits_for(&mut founder, &format!("{} to have the same formation token", bound[1].address())).await;
    waits_for(&mut founder, &format!("{} to have the same --peers", bound[2].address())).await;
    waits_for(&mut third, &format!("{} to have the same --peers", bound[0].address())).await;
    drop((stranger, third));
    // Both are mended; nobody else has to start again.
    let mut second = bound[1].open("b", &token, &peers);
    let third = bound[2].open("b", &token, &peers);
    waits_for(&mut founder, "to have a name of its own: `b`").await;
    drop(third);
    let _third = bound[2].open("c", &token, &peers);
    assert_eq!(settled(&mut founder).await.expect("it can"), Next::Begin);
    waits_for(&mut second, "the first of the peers, to found the cluster").await;
}

#[tokio::test]
async fn a_machine_that_nobody_named_says_so_and_ends() {
    let (bound, peers) = machines(2);
    let token = FormationToken::create();
    let _others = (bound[0].open("a", &token, &peers), bound[1].open("b", &token, &peers));
    let refused = settled(&mut Bound::new().open("c", &token, &peers)).await.expect_err("it is none of them");
    assert_eq!(refused.code(), "E0620");
}

#[tokio::test]
async fn who_looks_meanwhile_is_told_what_is_waited_for() {
    let (bound, peers) = machines(2);
    let mut founder = bound[0].open("a", &FormationToken::create(), &peers);
    waits_for(&mut founder, "to answer").await;
    let ask = async |path: &str| {
        let mut stream = tokio::net::TcpStream::connect(bound[0].api()).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it hears");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    };
    let ready = ask("/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    let view: ReadyView = serde_json::from_str(ready.split("\r\n\r\n").nth(1).expect("a body")).expect("the view");
    assert!(!view.ready && view.waits_for[0].starts_with(&format!("{} to answer", bound[1].address())), "{view:?}");
    assert!(ask("/healthz").await.ends_with("alive\n"));
    let other = ask("/v1/nodes").await;
    assert!(other.starts_with("HTTP/1.1 503") && other.contains("E0622") && other.contains("retry-after"), "{other}");
}

#[test]
fn waiting_becomes_a_warning_now_and_then() {
    let check =
        |lasts: Duration, warned: Option<Duration>, expected| assert_eq!(is_overdue(lasts, warned), expected, "{lasts:?} {warned:?}");
    check(WARN_AFTER / 2, None, false);
    check(WARN_AFTER, None, true);
    check(WARN_AFTER * 2, Some(WARN_AFTER), false);
    check(WARN_EVERY * 2, Some(WARN_EVERY), true);
}
