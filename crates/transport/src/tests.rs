//! Handshakes over loopback: who gets in, who does not, and what both sides are told. Owns examples; must never sleep.

use std::{error::Error, sync::Arc, time::Duration};

use model::id::Timestamp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    AcceptError, Accepted, Acceptor, AcceptorConfig, Asks, Caller, Credentials, DialError, Expected, HANDSHAKE_MAX, Members, Peer, Pin,
    Protocol, Refusal, Role, Stream, dial_pinned,
    fixture::{HOUR, Lab, Machine, NOW, SetClock, after, before, members},
};

const DAYS: Duration = Duration::from_secs(48 * 3600);

type Outcome = (Result<Caller, AcceptError>, Result<(Stream, Peer), DialError>);

/// One listener on a free port.
async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

async fn accept(listener: &TcpListener, acceptor: &Acceptor) -> Result<Accepted<tokio::net::TcpStream>, AcceptError> {
    let (stream, from) = listener.accept().await.expect("a connection");
    acceptor.accept(stream, from).await
}

/// `client` calls `server`, expecting `expected`.
async fn call(server: &Machine, client: &Machine, expected: Expected) -> Outcome {
    let (listener, address) = listen().await;
    let acceptor = server.acceptor(Asks::Always);
    // An accepted connection is closed at once, which ends the client's read.
    let accepted = async { accept(&listener, &acceptor).await.map(|accepted| accepted.caller) };
    tokio::join!(accepted, async {
        let dialed = client.dialer().dial(&address, expected, Protocol::Http2).await;
        match dialed {
            // A refusal shows at the first read.
            Ok((mut stream, peer)) => match stream.read(&mut [0; 1]).await {
                Ok(_) => Ok((stream, peer)),
                Err(source) => Err(match crate::tls::alert_in(&source) {
                    Some(alert) => DialError::RefusedUs { to: address.clone(), alert },
                    None => DialError::Left { to: address.clone(), source },
                }),
            },
            Err(error) => Err(error),
        }
    })
}

/// Both are let in; the connection carries bytes both ways.
async fn check_in(server: &Machine, client: &Machine) {
    let (listener, address) = listen().await;
    let acceptor = server.acceptor(Asks::Optionally);
    let dialer = client.dialer();
    let expected = Expected::Node(server.identity.current().identity());
    let (accepted, dialed) = tokio::join!(accept(&listener, &acceptor), dialer.dial(&address, expected, Protocol::Http2));
    let mut accepted = accepted.expect("accepted");
    let (mut stream, peer) = dialed.expect("dialed");
    let shown = |machine: &Machine| {
        let credentials = machine.identity.current();
        Peer { identity: credentials.identity(), key: credentials.key_digest() }
    };
    assert_eq!((accepted.caller, accepted.protocol), (Caller::Node(shown(client)), Protocol::Http2));
    assert_eq!(peer, shown(server));
    stream.write_all(b"ping").await.expect("sent");
    let mut read = [0; 4];
    accepted.stream.read_exact(&mut read).await.expect("received");
    assert_eq!(&read, b"ping");
    accepted.stream.write_all(b"pong").await.expect("sent");
    stream.read_exact(&mut read).await.expect("received");
    assert_eq!(&read, b"pong");
}

fn two(lab: &Lab) -> (Credentials, Credentials) {
    (lab.node(1, Role::Server), lab.node(7, Role::Server))
}

#[tokio::test]
async fn members_meet_after_two_days_and_with_wrong_clocks() {
    let lab = Lab::new();
    let (one, seven) = two(&lab);
    let list = || members(20, &[&one, &seven]);
    let (server, client) = (Machine::new(&one, list()), Machine::new(&seven, list()));
    let check = async |at_server: Timestamp, at_client: Timestamp| {
        server.clock.set(at_server);
        client.clock.set(at_client);
        check_in(&server, &client).await;
    };
    check(NOW, NOW).await;
    check(after(NOW, DAYS), after(NOW, DAYS)).await;
    check(NOW, before(NOW, HOUR)).await;
    check(before(NOW, HOUR), NOW).await;
    check(NOW, after(NOW, HOUR)).await;
    check(after(NOW, DAYS), before(NOW, DAYS)).await;
    check(Timestamp(0), NOW).await;
}

#[tokio::test]
async fn who_just_joined_meets_those_who_have_not_heard_of_it() {
    let lab = Lab::new();
    let (one, seven) = two(&lab);
    let (old, new) = (Machine::new(&one, members(5, &[&one])), Machine::new(&seven, members(7, &[&one, &seven])));
    check_in(&old, &new).await;
    check_in(&new, &old).await;
}

#[tokio::test]
async fn both_sides_are_told_why_nobody_gets_in() {
    let (lab, other) = (Lab::new(), Lab::new());
    let (one, seven) = two(&lab);
    let list = || members(20, &[&one, &seven]);
    let refused = async |client: &Machine, client_told: &str, server_told: &str| {
        let server = Machine::new(&one, list());
        let expected = Expected::Node(one.identity());
        let (accepted, dialed) = call(&server, client, expected).await;
        let chain = |error: &dyn Error| format!("{error}: {}", error.source().map(ToString::to_string).unwrap_or_default());
        let (accepted, dialed) = (chain(&accepted.expect_err("refused")), chain(&dialed.expect_err("refused")));
        assert!(dialed.contains(client_told), "client: {dialed}");
        assert!(accepted.contains(server_told), "server: {accepted}");
    };
    let removed = Machine::new(&lab.node(9, Role::Server), list());
    refused(&removed, "this node was removed from the cluster", "server node-9 was removed").await;
    let rekeyed = Machine::new(&lab.node(7, Role::Server), list());
    refused(&rekeyed, "knows this node by another key", "the key of server node-7 is not the one").await;
    let late = Machine::new(&lab.node(30, Role::Worker), list());
    let late_server_told = "the certificate of worker node-30 ended at";
    let server = Machine::new(&one, list());
    server.clock.set(after(NOW, DAYS));
    let (accepted, dialed) = call(&server, &late, Expected::AnyServer).await;
    let (accepted, dialed) = (accepted.expect_err("refused"), dialed.expect_err("refused"));
    assert!(accepted.source().expect("why").to_string().contains(late_server_told), "{accepted}");
    assert!(dialed.to_string().contains("does not hold now"), "{dialed}");
    let stranger = Machine::new(&other.node(7, Role::Server), Members::default());
    refused(&stranger, "its certificate is for cluster", "refused this node's certificate").await;
}

#[tokio::test]
async fn who_answers_must_be_who_was_called() {
    let lab = Lab::new();
    let (one, seven) = two(&lab);
    let worker = lab.node(1, Role::Worker);
    let list = || members(20, &[&one, &seven, &worker]);
    let client = Machine::new(&seven, list());
    let check = async |server: &Credentials, expected: Expected, told: Option<&str>| {
        let (_, dialed) = call(&Machine::new(server, list()), &client, expected).await;
        match (dialed, told) {
            // Nobody refuses; the server closes, which is what the read sees.
            (Ok(_), None) | (Err(DialError::Left { .. }), None) => {}
            (Err(DialError::Refused { why, .. }), Some(told)) => assert_eq!(why.to_string(), told),
            (found, told) => panic!("{found:?} in place of {told:?}"),
        }
    };
    check(&one, Expected::Node(one.identity()), None).await;
    check(&one, Expected::AnyServer, None).await;
    check(&worker, Expected::Node(worker.identity()), None).await;
    check(&one, Expected::Node(seven.identity()), Some("server node-1 answered instead of server node-7")).await;
    check(&worker, Expected::Node(one.identity()), Some("worker node-1 answered instead of server node-1")).await;
    check(&worker, Expected::AnyServer, Some("worker node-1 answered instead of a server")).await;
}

fn pin(lab: &Lab, clock: &SetClock) -> Pin {
    Pin { authority: lab.authority.digest(), clock: Arc::new(clock.clone()), protocol: Protocol::Http1, connect_max: HANDSHAKE_MAX }
}

#[tokio::test]
async fn a_pin_finds_its_cluster_and_no_other() {
    let (lab, other) = (Lab::new(), Lab::new());
    let clock = SetClock::at(NOW);
    let check = async |server: &Credentials, pin: &Pin| {
        let server = Machine::new(server, Members::default());
        let (listener, address) = listen().await;
        let acceptor = server.acceptor(Asks::Optionally);
        tokio::join!(accept(&listener, &acceptor), dial_pinned(&address, pin))
    };
    let one = lab.node(1, Role::Server);
    let (accepted, pinned) = check(&one, &pin(&lab, &clock)).await;
    let (accepted, pinned) = (accepted.expect("accepted"), pinned.expect("a server of the cluster"));
    assert_eq!((accepted.caller, accepted.protocol), (Caller::Anonymous, Protocol::Http1));
    assert_eq!((pinned.authority.digest(), pinned.server.identity), (lab.authority.digest(), one.identity()));
    let why = |result: Result<crate::Pinned, DialError>| match result {
        Err(DialError::Refused { why, .. }) => why,
        found => panic!("{found:?}"),
    };
    assert_eq!(why(check(&one, &pin(&other, &clock)).await.1), Refusal::NotPinned);
    let worker = lab.node(1, Role::Worker);
    assert!(matches!(why(check(&worker, &pin(&lab, &clock)).await.1), Refusal::Unexpected { .. }));
    clock.set(before(NOW, DAYS));
    let told = why(check(&one, &pin(&lab, &clock)).await.1).to_string();
    assert!(told.contains("this machine's clock says 2026-11-19"), "{told}");
    clock.set(after(NOW, DAYS));
    assert!(matches!(why(check(&one, &pin(&lab, &clock)).await.1), Refusal::Expired { .. }));
}

#[tokio::test]
async fn connections_live_on_when_credentials_are_exchanged() {
    let lab = Lab::new();
    let (one, seven) = two(&lab);
    let server = Machine::new(&one, Members::default());
    let client = Machine::new(&seven, Members::default());
    let (listener, address) = listen().await;
    let (acceptor, dialer) = (server.acceptor(Asks::Always), client.dialer());
    let connect = async || {
        let dialed = dialer.dial(&address, Expected::AnyServer, Protocol::Http2);
        let (accepted, dialed) = tokio::join!(accept(&listener, &acceptor), dialed);
        (accepted.map(|accepted| accepted.stream), dialed.map(|(stream, _)| stream))
    };
    let (accepted, dialed) = connect().await;
    let (mut accepted, mut dialed) = (accepted.expect("accepted"), dialed.expect("dialed"));
    // A day later the old certificates have ended, and neither knows the other.
    let later = after(NOW, HOUR * 25);
    server.clock.set(later);
    client.clock.set(later);
    assert!(connect().await.1.is_err());
    server.identity.replace(lab.renewed(one.identity(), one.key(), later)).expect("the same node");
    client.identity.replace(lab.renewed(seven.identity(), seven.key(), later)).expect("the same node");
    let (new_accepted, new_dialed) = connect().await;
    assert!(new_accepted.is_ok() && new_dialed.is_ok());
    dialed.write_all(b"still").await.expect("sent");
    let mut read = [0; 5];
    accepted.read_exact(&mut read).await.expect("received");
    assert_eq!(&read, b"still");
    assert!(server.identity.replace(seven).is_err());
}

#[tokio::test]
async fn a_certificate_without_its_key_opens_nothing() {
    let lab = Lab::new();
    let (one, seven) = two(&lab);
    let list = || members(20, &[&one, &seven]);
    let (server, client) = (Machine::new(&one, list()), Machine::new(&seven, list()));
    let expected = Expected::Node(one.identity());
    let (accepted, dialed) = call(&server, &Machine::new(&seven.without_key(), list()), expected).await;
    assert!(accepted.is_err() && dialed.is_err(), "{accepted:?} {dialed:?}");
    let (accepted, dialed) = call(&Machine::new(&one.without_key(), list()), &client, expected).await;
    assert!(accepted.is_err() && dialed.is_err(), "{accepted:?} {dialed:?}");
}

#[tokio::test]
async fn ports_ask_for_certificates_as_they_are_told() {
    let lab = Lab::new();
    let (one, seven) = two(&lab);
    let (server, client) = (Machine::new(&one, Members::default()), Machine::new(&seven, Members::default()));
    let clock = SetClock::at(NOW);
    let check = async |asks: Asks, with: bool| {
        let (listener, address) = listen().await;
        let acceptor = server.acceptor(asks);
        let dialed = async {
            // Held until the server is done.
            if with {
                client.dialer().dial(&address, Expected::AnyServer, Protocol::Http1).await.map(|(stream, _)| stream)
            } else {
                dial_pinned(&address, &pin(&lab, &clock)).await.map(|pinned| pinned.stream)
            }
        };
        let (accepted, _) = tokio::join!(accept(&listener, &acceptor), dialed);
        accepted.map(|accepted| accepted.caller)
    };
    let peer = Caller::Node(Peer { identity: seven.identity(), key: seven.key_digest() });
    assert_eq!(check(Asks::Optionally, true).await.expect("a member"), peer);
    assert_eq!(check(Asks::Optionally, false).await.expect("anyone"), Caller::Anonymous);
    assert_eq!(check(Asks::Always, true).await.expect("a member"), peer);
    assert!(matches!(check(Asks::Always, false).await, Err(AcceptError::Refused { why: Refusal::NoCertificate, .. })));
    assert_eq!(check(Asks::Never, true).await.expect("anyone"), Caller::Anonymous);
    assert_eq!(check(Asks::Never, false).await.expect("anyone"), Caller::Anonymous);
}

#[tokio::test]
async fn what_is_no_node_is_told() {
    let lab = Lab::new();
    let (one, seven) = two(&lab);
    let (server, client) = (Machine::new(&one, Members::default()), Machine::new(&seven, Members::default()));
    let (listener, address) = listen().await;
    let acceptor = server.acceptor(Asks::Optionally);
    let speak = async |said: &[u8]| {
        let mut stream = tokio::net::TcpStream::connect(&address).await.expect("connected");
        stream.write_all(said).await.expect("sent");
        drop(stream);
    };
    let (accepted, ()) = tokio::join!(accept(&listener, &acceptor), speak(b"GET / HTTP/1.1\r\n\r\n"));
    assert!(matches!(accepted, Err(AcceptError::NotTls { .. })), "{accepted:?}");
    let (accepted, ()) = tokio::join!(accept(&listener, &acceptor), speak(b""));
    assert!(matches!(accepted, Err(AcceptError::Left { .. })), "{accepted:?}");
    // Somebody who speaks HTTP where a node is called, somebody who hangs up, nobody, and a name that leads nowhere.
    let dialer = client.dialer();
    let answer = async |said: &[u8]| {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        // All of the greeting, so that closing takes nothing back.
        assert_ne!(stream.read(&mut [0; 16 << 10]).await.expect("a greeting"), 0);
        stream.write_all(said).await.expect("sent");
    };
    let dial = || dialer.dial(&address, Expected::AnyServer, Protocol::Http2);
    let ((), dialed) = tokio::join!(answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"), dial());
    assert!(matches!(dialed, Err(DialError::NotTls { .. })), "{dialed:?}");
    let ((), dialed) = tokio::join!(answer(b""), dial());
    assert!(matches!(dialed, Err(DialError::Left { .. })), "{dialed:?}");
    drop(listener);
    let nobody = dialer.dial(&address, Expected::AnyServer, Protocol::Http2).await;
    assert!(matches!(nobody, Err(DialError::Connect { .. })), "{nobody:?}");
    let nowhere = dialer.dial("no port", Expected::AnyServer, Protocol::Http2).await;
    assert!(matches!(nowhere, Err(DialError::Resolve { .. })), "{nowhere:?}");
}

#[tokio::test]
async fn who_speaks_plain_http_is_told_and_others_get_in() {
    let lab = Lab::new();
    let (one, seven) = two(&lab);
    let (server, client) = (Machine::new(&one, Members::default()), Machine::new(&seven, Members::default()));
    let (listener, address) = listen().await;
    let acceptor = server.acceptor(Asks::Never);
    let accept = async || {
        let (stream, from) = listener.accept().await.expect("a connection");
        acceptor.accept_tcp(stream, from).await
    };
    let plain = async {
        let mut stream = tokio::net::TcpStream::connect(&address).await.expect("connected");
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    };
    let (accepted, answer) = tokio::join!(accept(), plain);
    assert!(matches!(accepted, Err(AcceptError::PlainHttp { .. })), "{accepted:?}");
    let (head, text) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert_eq!(text, "this port speaks TLS: use https:// in place of http://\n");
    assert!(head.starts_with("HTTP/1.1 400 ") && head.contains(&format!("content-length: {}", text.len())), "{head}");
    let dialer = client.dialer();
    let (accepted, dialed) = tokio::join!(accept(), dialer.dial(&address, Expected::AnyServer, Protocol::Http1));
    assert!(dialed.is_ok());
    assert_eq!(accepted.expect("anyone").caller, Caller::Anonymous);
}

#[tokio::test]
async fn a_silent_other_side_is_given_up() {
    let lab = Lab::new();
    let (one, seven) = two(&lab);
    let (listener, address) = listen().await;
    let silent = tokio::net::TcpStream::connect(&address).await.expect("connected");
    let (stream, from) = listener.accept().await.expect("a connection");
    let Machine { identity, known, clock } = Machine::new(&one, Members::default());
    let handshake_max = Duration::from_millis(20);
    let config = AcceptorConfig { identity, known, clock: Arc::new(clock), asks: Asks::Always, handshake_max };
    assert!(matches!(Acceptor::new(config).accept(stream, from).await, Err(AcceptError::Late { .. })));
    drop(silent);
    // Connects in the system's queue, and nobody takes it from there.
    let dialer = crate::Dialer { connect_max: handshake_max, ..Machine::new(&seven, Members::default()).dialer() };
    let late = dialer.dial(&address, Expected::AnyServer, Protocol::Http2).await;
    assert!(matches!(late, Err(DialError::Late { .. })), "{late:?}");
}
