//! What the log and the state hold of tokens, keys and secrets shows none of it where it is printed. Owns the list of these types. What is a secret here is a
//! hash or sealed already; a log needs neither.

use std::fmt::Debug;

use model::{
    id::{NodeId, Timestamp},
    object::Given,
};
use state::{
    Command, State,
    command::{
        Addresses, Admission, ApiRole, Change, CommandV1, CreateApiToken, CreateJoinToken, Found, Join, NodeFacts, NodeKeys, NodeRole,
        PutSecret, Sealed, SecretKind,
    },
};

/// A byte that is nowhere else, and how a list of it prints.
const BYTE: u8 = 0xA7;
const PRINTED: &str = "167, 167";

#[track_caller]
fn check(what: &(impl Debug + ?Sized)) {
    let printed = format!("{what:?}");
    let lines = format!("{what:#?}");
    let shows = printed.contains(PRINTED) || lines.lines().any(|line| line.trim() == "167,") || printed.contains("canary");
    assert!(!shows, "a secret is shown: {printed}");
}

fn facts() -> NodeFacts {
    NodeFacts {
        name: "one".into(),
        keys: NodeKeys { server: Some([1; 32]), worker: None },
        addresses: Addresses::default(),
        place: Default::default(),
        labels: Default::default(),
        memory_bytes: 1,
        cpu_millis: 1,
        release: "0.1.0".into(),
        schema: state::command::SCHEMA,
    }
}

#[test]
fn the_canary_is_seen_where_nothing_hides_it() {
    assert!(format!("{:?}", [BYTE; 32]).contains(PRINTED));
    assert!(format!("{:#?}", [BYTE; 32]).lines().any(|line| line.trim() == "167,"));
}

#[test]
fn no_command_and_no_record_prints_what_lets_in_or_opens() {
    let (id, secret_hash, sealed) = ("t".parse().expect("an id"), [BYTE; 32], Sealed(vec![BYTE; 32]));
    let at = Timestamp(1);
    let found = Found { at, cluster: [7; 16], ca_certificate: Vec::new(), ca_key: sealed.clone(), node: facts() };
    let join_token = CreateJoinToken { id, secret_hash, role: NodeRole::Server, expires_at: Timestamp(9), uses: None, note: String::new() };
    let api_token = CreateApiToken {
        id: "a".parse().expect("an id"),
        secret_hash,
        name: "ci".into(),
        role: ApiRole::Admin,
        namespace: None,
        expires_at: None,
    };
    let secret = PutSecret {
        id: "default/s".parse().expect("an id"),
        described: None,
        kind: SecretKind::Opaque,
        keys: ["key".to_owned()].into(),
        sealed,
        expect: None,
    };
    let admission = Admission { token: join_token.id.clone(), secret_hash };
    check(&admission);
    let node = NodeFacts { name: "two".into(), keys: NodeKeys { server: Some([2; 32]), worker: None }, ..facts() };
    let mut state = State::empty();
    for command in [
        Command::V1(CommandV1::Found(found)),
        Command::user(at, "ana", Change::CreateJoinToken(join_token)),
        Command::user(at, "ana", Change::CreateApiToken(api_token)),
        Command::user(at, "ana", Change::PutSecret(secret)),
        Command::V1(CommandV1::Join(Join { at, admission: Some(admission), node })),
    ] {
        check(&command);
        check(&state.apply(state.index().next(), &command).expect("it is in order"));
    }
    check(state.cluster().expect("it was founded"));
    check(state.node(NodeId(5)).expect("it joined"));
    state.join_tokens().for_each(|token| check(token));
    state.api_tokens().for_each(|token| check(token));
    state.secrets().for_each(|secret| check(secret));
    check(&state);
}

#[test]
fn a_value_prints_where_it_comes_from_and_not_what_it_is() {
    check(&Given::Text("canary".into()));
    assert_eq!(format!("{:?}", Given::Text("canary".into())), "Text(6 bytes)");
    check(&vec![Some(Given::Text("canary".into()))]);
}
