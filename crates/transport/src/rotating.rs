//! The authority is replaced while nodes run, while one is away and while somebody holds the old key: handshakes in virtual time. Owns examples; must never sleep.

use std::{sync::Arc, time::Duration};

use model::id::Timestamp;
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::{
    AcceptError, Asks, Authorities, AuthorityList, AuthorityParts, Caller, Credentials, DialError, Expected, HANDSHAKE_MAX, Identity,
    Issue, KeyPair, Members, NODE_LIFETIME, Pin, Pinned, Protocol, Refusal, Role, dial_pinned,
    fixture::{HOUR, Lab, Machine, NOW, SetClock, after, before, members},
};

/// A cluster on its way from one authority to the next.
struct Rotation {
    old: Lab,
    new: Lab,
    cross: Vec<u8>,
}

impl Rotation {
    fn of(old: Lab) -> Self {
        let (new, cross) = old.successor();
        Self { old, new, cross }
    }

    fn set(version: u64, trusted: &[&Lab], retired: &[&Lab], crosses: &[&[u8]]) -> AuthorityList {
        let (trusted, retired) = (der(trusted), der(retired));
        let parts = AuthorityParts { version, trusted: &trusted, retired: &retired, crosses };
        Authorities::new(&parts).expect("a set").to_list()
    }

    /// Both are trusted, the old one signs.
    fn learning(&self) -> AuthorityList {
        Self::set(10, &[&self.old, &self.new], &[], &[&self.cross])
    }

    /// Both are trusted, the new one signs.
    fn renewing(&self) -> AuthorityList {
        Self::set(20, &[&self.new, &self.old], &[], &[&self.cross])
    }

    /// The new one alone.
    fn done(&self) -> AuthorityList {
        Self::set(30, &[&self.new], &[&self.old], &[&self.cross])
    }

    /// `credentials` over the same key, signed by the new one, in a cluster that goes by `list`.
    fn renewed(&self, credentials: &Credentials, list: &AuthorityList, now: Timestamp) -> Credentials {
        let (identity, key) = (credentials.identity(), credentials.key());
        let issue = Issue { identity, key: &key.public(), names: &[], now, lifetime: NODE_LIFETIME };
        let certificate = self.new.authority.issue(&issue).expect("a certificate");
        Credentials::new(key.clone(), &certificate, Authorities::from_list(list).expect("a set")).expect("they belong together")
    }

    fn learned(credentials: &Credentials, list: &AuthorityList) -> Credentials {
        let set = Authorities::from_list(list).expect("a set");
        Credentials::new(credentials.key().clone(), credentials.certificate(), set).expect("they belong together")
    }
}

fn der<'a>(labs: &[&'a Lab]) -> Vec<&'a [u8]> {
    labs.iter().map(|lab| lab.authority.certificate().der()).collect()
}

/// Whether `client` and `server` let each other in.
async fn meet(server: &Machine, client: &Machine) -> (Result<Caller, AcceptError>, Result<(), DialError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (acceptor, dialer) = (server.acceptor(Asks::Always), client.dialer());
    let expected = Expected::Node(server.identity.current().identity());
    let accepted = async {
        let (stream, from) = listener.accept().await.expect("a connection");
        acceptor.accept(stream, from).await.map(|accepted| accepted.caller)
    };
    tokio::join!(accepted, async {
        let (mut stream, _) = dialer.dial(&address, expected, Protocol::Http2).await?;
        // A refusal shows at the first read; who is let in sees the connection end.
        match stream.read(&mut [0; 1]).await {
            Err(source) if crate::tls::alert_in(&source).is_some() => {
                Err(DialError::RefusedUs { to: address.clone(), alert: crate::tls::alert_in(&source).unwrap_or_default() })
            }
            _ => Ok(()),
        }
    })
}

async fn both_ways(one: &Machine, other: &Machine, when: &str) {
    for (server, client) in [(one, other), (other, one)] {
        let (accepted, dialed) = meet(server, client).await;
        assert!(accepted.is_ok() && dialed.is_ok(), "{when}: {accepted:?} {dialed:?}");
    }
}

fn refused(accepted: Result<Caller, AcceptError>) -> Refusal {
    match accepted {
        Err(AcceptError::Refused { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nodes_at_every_two_steps_of_a_rotation_meet() {
    let rotation = Rotation::of(Lab::new());
    let (one, seven) = (rotation.old.node(1, Role::Server), rotation.old.node(7, Role::Worker));
    let list = || members(20, &[&one, &seven]);
    let steps = |of: &Credentials| {
        [
            ("before", of.clone()),
            ("learned", Rotation::learned(of, &rotation.learning())),
            ("told to renew", Rotation::learned(of, &rotation.renewing())),
            ("renewed", rotation.renewed(of, &rotation.renewing(), NOW)),
            ("done", rotation.renewed(of, &rotation.done(), NOW)),
        ]
    };
    for (at, one) in steps(&one) {
        for (then, seven) in steps(&seven) {
            both_ways(&Machine::new(&one, list()), &Machine::new(&seven, list()), &format!("{at}, {then}")).await;
        }
    }
}

#[tokio::test]
async fn who_was_away_for_the_whole_rotation_comes_back_whatever_the_clocks_say() {
    let rotation = Rotation::of(Lab::new());
    let (one, seven) = (rotation.old.node(1, Role::Server), rotation.old.node(7, Role::Server));
    // It knows the others by their keys, and the old authority alone.
    let away = Machine::new(&seven, members(20, &[&one, &seven]));
    let there = Machine::new(&rotation.renewed(&one, &rotation.done(), NOW), members(40, &[&one, &seven]));
    for (at_there, at_away) in [
        (NOW, NOW),
        (after(NOW, HOUR * 48), after(NOW, HOUR * 48)),
        (NOW, before(NOW, HOUR)),
        (NOW, after(NOW, HOUR)),
        (NOW, Timestamp(0)),
        (after(NOW, HOUR * 24 * 365), NOW),
    ] {
        there.clock.set(at_there);
        away.clock.set(at_away);
        both_ways(&there, &away, &format!("{at_there:?} {at_away:?}")).await;
    }
}

#[tokio::test]
async fn who_was_away_for_three_rotations_comes_back() {
    let first = Rotation::of(Lab::new());
    let second = Rotation::of(first.new.clone());
    let third = Rotation::of(second.new.clone());
    let (one, seven) = (first.old.node(1, Role::Server), first.old.node(7, Role::Server));
    let done = Rotation::set(90, &[&third.new], &[&third.old, &second.old, &first.old], &[&third.cross, &second.cross, &first.cross]);
    let (away, list) = (Machine::new(&seven, members(20, &[&one, &seven])), members(80, &[&one, &seven]));
    both_ways(&Machine::new(&third.renewed(&one, &done, NOW), list), &away, "after three").await;
}

#[tokio::test]
async fn the_old_authority_s_key_makes_no_node_any_more() {
    let rotation = Rotation::of(Lab::new());
    let one = rotation.old.node(1, Role::Server);
    let check = async |thief: &Credentials, list: &AuthorityList, expected: Option<Refusal>| {
        let server = Machine::new(&rotation.renewed(&one, list, NOW), members(20, &[&one]));
        let (accepted, dialed) = meet(&server, &Machine::new(thief, Members::default())).await;
        match expected {
            None => assert!(accepted.is_ok() && dialed.is_ok(), "{accepted:?} {dialed:?}"),
            Some(expected) => assert_eq!(refused(accepted), expected),
        }
    };
    // A number above the list's: a node that has just joined, for all that anybody knows.
    let new_node = rotation.old.node(30, Role::Server);
    check(&new_node, &rotation.renewing(), None).await;
    check(&new_node, &rotation.done(), Some(Refusal::Retired { identity: new_node.identity() })).await;
    // A member's number, with another key.
    let impostor = rotation.old.node(1, Role::Server);
    check(&impostor, &rotation.done(), Some(Refusal::OtherKey { identity: impostor.identity() })).await;
    // One that was removed.
    let removed = rotation.old.node(5, Role::Worker);
    check(&removed, &rotation.done(), Some(Refusal::Removed { identity: removed.identity() })).await;
    // The old authority vouches for another one of the thief's making, but nobody trusts its word.
    let own = Rotation::of(rotation.old.clone());
    // The thief knows the new one too, so that it is not the one who refuses.
    let theirs = Rotation::set(30, &[&own.new, &rotation.new], &[&own.old], &[&own.cross]);
    let made = own.renewed(&own.old.node(30, Role::Server), &theirs, NOW);
    check(&made, &rotation.done(), Some(Refusal::NotSigned { ours: rotation.old.authority.cluster() })).await;
}

async fn pinned(server: &Credentials, pin: &Lab, now: Timestamp) -> Result<Pinned, DialError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let acceptor = Machine::new(server, Members::default()).acceptor(Asks::Optionally);
    let pin = Pin {
        authority: pin.authority.digest(),
        clock: Arc::new(SetClock::at(now)),
        protocol: Protocol::Http1,
        connect_max: HANDSHAKE_MAX,
    };
    let accepted = async {
        let (stream, from) = listener.accept().await.expect("a connection");
        acceptor.accept(stream, from).await
    };
    tokio::join!(accepted, dial_pinned(&address, &pin)).1
}

#[tokio::test]
async fn a_pin_follows_its_authority_to_the_next() {
    let rotation = Rotation::of(Lab::new());
    let one = rotation.old.node(1, Role::Server);
    let check = async |server: &Credentials, pin: &Lab, expected: Option<&Lab>| match (pinned(server, pin, NOW).await, expected) {
        (Ok(pinned), Some(expected)) => assert_eq!(pinned.authority.digest(), expected.authority.digest()),
        (Err(DialError::Refused { .. }), None) => {}
        (found, _) => panic!("{:?}", found.map(|pinned| pinned.authority.digest())),
    };
    let Rotation { old, new, .. } = &rotation;
    check(&one, old, Some(old)).await;
    check(&one, new, None).await;
    check(&Rotation::learned(&one, &rotation.learning()), old, Some(old)).await;
    for list in [rotation.renewing(), rotation.done()] {
        let renewed = rotation.renewed(&one, &list, NOW);
        check(&renewed, old, Some(new)).await;
        check(&renewed, new, Some(new)).await;
    }
    let second = Rotation::of(rotation.new.clone());
    let done = Rotation::set(60, &[&second.new], &[&second.old, old], &[&second.cross, &rotation.cross]);
    check(&second.renewed(&one, &done, NOW), old, Some(&second.new)).await;
    // Without the link there is no way.
    let unlinked = Rotation::set(60, &[&second.new], &[&second.old, old], &[&second.cross]);
    check(&second.renewed(&one, &unlinked, NOW), old, None).await;
    // The dates count for whoever knows no members.
    let late = pinned(&rotation.renewed(&one, &rotation.done(), NOW), old, after(NOW, Duration::from_secs(48 * 3600))).await;
    assert!(matches!(late, Err(DialError::Refused { why: Refusal::Expired { .. }, .. })), "{late:?}");
}

#[test]
fn an_identity_goes_by_the_newest_set_it_was_told() {
    let rotation = Rotation::of(Lab::new());
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let one = rotation.old.node(1, Role::Server);
    one.write(path).expect("written");
    let identity = Identity::new(Credentials::read(path).expect("read"));
    let changes = identity.changes();
    let state = |of: &Credentials| (of.authorities().version(), of.is_due(NOW), of.authority().digest() == rotation.new.authority.digest());
    let check = |expected: (u64, bool, bool)| {
        assert_eq!(state(&identity.current()), expected);
        assert_eq!(state(&Credentials::read(path).expect("read")), expected, "after a start");
    };
    check((0, false, false));
    assert!(identity.learn(&rotation.learning(), path).expect("learned"));
    check((10, false, false));
    assert!(!identity.learn(&rotation.learning(), path).expect("known"), "the same again");
    assert!(identity.learn(&rotation.renewing(), path).expect("learned"));
    check((20, true, false));
    assert!(!identity.learn(&rotation.learning(), path).expect("older"), "a server that lags changes nothing");
    let renewed = rotation.renewed(&one, &rotation.renewing(), NOW);
    identity.renew(renewed.certificate(), Some(&rotation.learning()), path).expect("renewed");
    check((20, false, true));
    assert!(identity.learn(&rotation.done(), path).expect("learned"));
    check((30, false, true));
    assert_eq!(*changes.borrow(), 4);
    // One that was away is told everything with its certificate.
    one.write(path).expect("written");
    let identity = Identity::new(Credentials::read(path).expect("read"));
    identity.renew(renewed.certificate(), Some(&rotation.done()), path).expect("renewed");
    assert_eq!(state(&identity.current()), (30, false, true));
    // A set without the certificate's authority would leave a node that nobody believes.
    let other = Rotation::of(rotation.new.clone());
    assert!(identity.learn(&Rotation::set(99, &[&other.new], &[], &[]), path).is_err());
    assert!(identity.learn(&Rotation::set(99, &[&Lab::new()], &[], &[]), path).is_err(), "another cluster");
    assert_eq!(state(&identity.current()), (30, false, true));
    let key = KeyPair::generate();
    let foreign = rotation.renewed(&rotation.old.renewed(one.identity(), &key, NOW), &rotation.done(), NOW);
    assert!(identity.renew(foreign.certificate(), None, path).is_err(), "over another key");
}
