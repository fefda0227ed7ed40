//! The bytes of every command are for ever: a log written today is read by every later version. Owns the golden bytes; a change here breaks clusters.

use std::{collections::BTreeMap, fmt::Write as _};

use expect_test::{Expect, expect};
use model::{
    frozen::{AppSpecV1, CertificateUseV1, ComponentSpecV1, Frozen, RouteKeyV1, SecretUseV1},
    id::{Digest, Index, NodeId, PlacementId, RevisionNumber, Timestamp},
};
use state::command::{
    Addresses, Admission, ApiRole, Attest, Ceilings, Change, Command, CommandV1, CreateApiToken, CreateJoinToken, Deed, Delete,
    DeleteNamespace, DeleteObject, Deploy, Described, Found, Join, NodeEvent, NodeEventKind, NodeFacts, NodeKeys, NodeRole, Note, Observe,
    Place, Plan, PutConfig, PutNamespace, PutSecret, Recover, RemoveNode, RevokeApiToken, RevokeJoinToken, Sealed, SecretKind, SeenPhase,
    Step, Undo, UpdateNode, UserCommand, Witness,
};

fn check(command: CommandV1, expected: Expect) {
    let command = Command::V1(command);
    let bytes = bincode::serde::encode_to_vec(&command, bincode::config::standard()).expect("encodes");
    let (read, used): (Command, usize) = bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).expect("decodes");
    assert_eq!((read, used), (command, bytes.len()));
    let mut text = String::new();
    for line in bytes.chunks(32) {
        let hex: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = line.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' });
        writeln!(text, "{hex:64} {}", shown.collect::<String>()).expect("writing to a string");
    }
    expected.assert_eq(&text);
}

fn check_change(change: Change, expected: Expect) {
    let user = UserCommand {
        at: Timestamp(1_000),
        by: "ann".into(),
        token: Some("t1".parse().expect("an id")),
        from: "10.0.0.1:9".into(),
        key: Some("k".into()),
        change,
    };
    check(CommandV1::User(user), expected);
}

fn facts() -> NodeFacts {
    NodeFacts {
        name: "a".into(),
        keys: NodeKeys { server: Some([1; 32]), worker: Some([2; 32]) },
        addresses: Addresses { peer: "p:1".into(), mesh: "m:2".into(), api: "i:3".into() },
        place: Place { zone: "z".into(), region: "r".into() },
        labels: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        memory_bytes: 1 << 30,
        cpu_millis: 2_000,
        release: "0.1.0".into(),
        schema: 1,
    }
}

fn join_of() -> Join {
    let admission = Admission { token: "t1".parse().expect("an id"), secret_hash: [3; 32] };
    Join { at: Timestamp(1_000), admission: Some(admission), node: facts() }
}

#[test]
fn found() {
    let found = Found { at: Timestamp(1_000), cluster: [9; 16], ca_certificate: vec![4, 5], ca_key: Sealed(vec![6, 7]), node: facts() };
    check(
        CommandV1::Found(found),
        expect![[r#"
        0000fbe803090909090909090909090909090909090204050206070161010101 ............................a...
        0101010101010101010101010101010101010101010101010101010101010102 ................................
        0202020202020202020202020202020202020202020202020202020202020203 ................................
        703a31036d3a3203693a33017a017201016b0176fc00000040fbd00705302e31 p:1.m:2.i:3.z.r..k.v....@....0.1
        2e3001                                                           .0.
    "#]],
    );
}

#[test]
fn join() {
    check(
        CommandV1::Join(join_of()),
        expect![[r#"
        0001fbe803010274310303030303030303030303030303030303030303030303 .......t1.......................
        0303030303030303030161010101010101010101010101010101010101010101 ..........a.....................
        0101010101010101010101010102020202020202020202020202020202020202 ................................
        0202020202020202020202020203703a31036d3a3203693a33017a017201016b ..............p:1.m:2.i:3.z.r..k
        0176fc00000040fbd00705302e312e3001                               .v....@....0.1.0.
    "#]],
    );
}

#[test]
fn replace() {
    check(
        CommandV1::Replace(join_of()),
        expect![[r#"
        0002fbe803010274310303030303030303030303030303030303030303030303 .......t1.......................
        0303030303030303030161010101010101010101010101010101010101010101 ..........a.....................
        0101010101010101010101010102020202020202020202020202020202020202 ................................
        0202020202020202020202020203703a31036d3a3203693a33017a017201016b ..............p:1.m:2.i:3.z.r..k
        0176fc00000040fbd00705302e312e3001                               .v....@....0.1.0.
    "#]],
    );
}

#[test]
fn update_node() {
    check(
        CommandV1::UpdateNode(UpdateNode { at: Timestamp(1_000), node: NodeId(3), facts: facts() }),
        expect![[r#"
        0003fbe803030161010101010101010101010101010101010101010101010101 .......a........................
        0101010101010101010102020202020202020202020202020202020202020202 ................................
        0202020202020202020203703a31036d3a3203693a33017a017201016b0176fc ...........p:1.m:2.i:3.z.r..k.v.
        00000040fbd00705302e312e3001                                     ...@....0.1.0.
    "#]],
    );
}

#[test]
fn recover() {
    check(
        CommandV1::Recover(Recover { at: Timestamp(1_000), node: NodeId(3), facts: facts() }),
        expect![[r#"
        0009fbe803030161010101010101010101010101010101010101010101010101 .......a........................
        0101010101010101010102020202020202020202020202020202020202020202 ................................
        0202020202020202020203703a31036d3a3203693a33017a017201016b0176fc ...........p:1.m:2.i:3.z.r..k.v.
        00000040fbd00705302e312e3001                                     ...@....0.1.0.
    "#]],
    );
}

#[test]
fn tokens() {
    let id = || "t1".parse().expect("an id");
    let create = CreateJoinToken {
        id: id(),
        secret_hash: [3; 32],
        role: NodeRole::Worker,
        expires_at: Timestamp(2_000),
        uses: Some(2),
        note: "n".into(),
    };
    check_change(
        Change::CreateJoinToken(create),
        expect![[r#"
            0004fbe80303616e6e010274310a31302e302e302e313a3901016b0302743103 ......ann..t1.10.0.0.1:9..k..t1.
            0303030303030303030303030303030303030303030303030303030303030301 ................................
            fbd0070102016e                                                   ......n
        "#]],
    );
    check_change(
        Change::RevokeJoinToken(RevokeJoinToken { id: id() }),
        expect![[r#"
            0004fbe80303616e6e010274310a31302e302e302e313a3901016b04027431   ......ann..t1.10.0.0.1:9..k..t1
        "#]],
    );
    let create = CreateApiToken {
        id: id(),
        secret_hash: [3; 32],
        name: "ci".into(),
        role: ApiRole::Deployer,
        namespace: Some("team".parse().expect("a name")),
        expires_at: Some(Timestamp(2_000)),
    };
    check_change(
        Change::CreateApiToken(create),
        expect![[r#"
            0004fbe80303616e6e010274310a31302e302e302e313a3901016b0502743103 ......ann..t1.10.0.0.1:9..k..t1.
            0303030303030303030303030303030303030303030303030303030303030302 ................................
            63690101047465616d01fbd007                                       ci...team....
        "#]],
    );
    check_change(
        Change::RevokeApiToken(RevokeApiToken { id: id() }),
        expect![[r#"
            0004fbe80303616e6e010274310a31302e302e302e313a3901016b06027431   ......ann..t1.10.0.0.1:9..k..t1
        "#]],
    );
}

#[test]
fn remove_node() {
    check_change(
        Change::RemoveNode(RemoveNode { node: NodeId(3), lost: true }),
        expect![[r#"
            0004fbe80303616e6e010274310a31302e302e302e313a3901016b070301     ......ann..t1.10.0.0.1:9..k...
        "#]],
    );
}

#[test]
fn values() {
    let id = || "team/one".parse().expect("an id");
    let described = || Described {
        labels: BTreeMap::from([("l".to_owned(), "1".to_owned())]),
        annotations: BTreeMap::from([("n".to_owned(), "2".to_owned())]),
        protected: true,
    };
    let expect = Some(Index(7));
    let data = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    check_change(
        Change::PutConfig(PutConfig { id: id(), described: Some(described()), data, expect }),
        expect![[r#"
            0004fbe80303616e6e010274310a31302e302e302e313a3901016b0808746561 ......ann..t1.10.0.0.1:9..k..tea
            6d2f6f6e650101016c013101016e01320101016b01760107                 m/one...l.1..n.2...k.v..
        "#]],
    );
    check_change(
        Change::DeleteConfig(DeleteObject { id: id(), expect }),
        expect![[r#"
            0004fbe80303616e6e010274310a31302e302e302e313a3901016b0908746561 ......ann..t1.10.0.0.1:9..k..tea
            6d2f6f6e650107                                                   m/one..
        "#]],
    );
    let put = PutSecret {
        id: id(),
        described: Some(described()),
        kind: SecretKind::ApiKeys,
        keys: ["k".to_owned()].into(),
        sealed: Sealed(vec![1, 2, 3]),
        expect,
    };
    check_change(
        Change::PutSecret(put),
        expect![[r#"
            0004fbe80303616e6e010274310a31302e302e302e313a3901016b0a08746561 ......ann..t1.10.0.0.1:9..k..tea
            6d2f6f6e650101016c013101016e0132010301016b030102030107           m/one...l.1..n.2....k......
        "#]],
    );
    check_change(
        Change::DeleteSecret(DeleteObject { id: id(), expect }),
        expect![[r#"
            0004fbe80303616e6e010274310a31302e302e302e313a3901016b0b08746561 ......ann..t1.10.0.0.1:9..k..tea
            6d2f6f6e650107                                                   m/one..
        "#]],
    );
    let ceilings = Ceilings {
        memory_bytes: Some(1),
        cpu_millis: Some(2),
        instances: Some(3),
        apps: Some(4),
        hosts: Some(vec!["*.a.test".into()]),
        egress: Some(vec!["https://b.test".parse().expect("a rule")]),
        interfaces: Some(vec!["wasi:keyvalue".into()]),
    };
    let name = || "team".parse().expect("a name");
    check_change(
        Change::PutNamespace(PutNamespace { name: name(), described: described(), ceilings, expect }),
        expect![[r#"
            0004fbe80303616e6e010274310a31302e302e302e313a3901016b0c04746561 ......ann..t1.10.0.0.1:9..k..tea
            6d01016c013101016e01320101010102010301040101082a2e612e7465737401 m..l.1..n.2............*.a.test.
            011268747470733a2f2f622e746573743a34343301010d776173693a6b657976 ..https://b.test:443...wasi:keyv
            616c75650107                                                     alue..
        "#]],
    );
    check_change(
        Change::DeleteNamespace(DeleteNamespace { name: name(), expect: None }),
        expect![[r#"
            0004fbe80303616e6e010274310a31302e302e302e313a3901016b0d04746561 ......ann..t1.10.0.0.1:9..k..tea
            6d00                                                             m.
        "#]],
    );
}

#[test]
fn attest() {
    check(
        CommandV1::Attest(Attest { node: NodeId(3), index: Index(2_000), hash: [5; 32] }),
        expect![[r#"
        000803fbd0070505050505050505050505050505050505050505050505050505 ................................
        050505050505                                                     ......
    "#]],
    );
}

#[test]
fn deploy() {
    let route = RouteKeyV1 {
        host: "h.test".into(),
        path: "/".into(),
        exact: true,
        methods: vec!["GET".into()],
        headers: vec![("x-a".into(), "1".into())],
    };
    let component = ComponentSpecV1 {
        name: "web".parse().expect("a name"),
        digest: Digest([7; 32]),
        replicas: 2,
        instance_memory_bytes: 256 << 20,
        cpu_millis: 100,
        routes: vec![route],
        config: Some("c".parse().expect("a name")),
        secrets: vec![SecretUseV1 { name: "TOKEN".into(), secret: "s".parse().expect("a name"), key: "k".into(), version: Some(3) }],
        certificates: vec![CertificateUseV1 { host: "h.test".into(), secret: "t".parse().expect("a name") }],
        egress: vec!["https://b.test".parse().expect("a rule")],
        imports: vec!["wasi:keyvalue/store".into()],
    };
    check_change(
        Change::Deploy(Deploy {
            app: "team/hello".parse().expect("an app"),
            frozen: Frozen { canonical: "{}".into(), spec: AppSpecV1 { components: vec![component] } },
            identity: Digest([9; 32]),
            protected: true,
            expect: Some(Index(300)),
        }),
        expect![[r#"
            0004fbe80303616e6e010274310a31302e302e302e313a3901016b000a746561 ......ann..t1.10.0.0.1:9..k..tea
            6d2f68656c6c6f027b7d0103776562477368613235363a303730373037303730 m/hello.{}..webGsha256:070707070
            3730373037303730373037303730373037303730373037303730373037303730 70707070707070707070707070707070
            373037303730373037303730373037303730373037303702fc00000010640106 70707070707070707070707......d..
            682e74657374012f0101034745540103782d6101310101630105544f4b454e01 h.test./...GET..x-a.1..c..TOKEN.
            73016b01030106682e746573740174011268747470733a2f2f622e746573743a s.k....h.test.t..https://b.test:
            3434330113776173693a6b657976616c75652f73746f7265477368613235363a 443..wasi:keyvalue/storeGsha256:
            3039303930393039303930393039303930393039303930393039303930393039 09090909090909090909090909090909
            3039303930393039303930393039303930393039303930393039303930393039 09090909090909090909090909090909
            0101fb2c01                                                       ...,.
        "#]],
    );
}

#[test]
fn undo() {
    let app = "hello".parse().expect("an app");
    check_change(
        Change::Undo(Undo { app, to: Some(RevisionNumber(2)) }),
        expect![[r#"
            0004fbe80303616e6e010274310a31302e302e302e313a3901016b010568656c ......ann..t1.10.0.0.1:9..k..hel
            6c6f0102                                                         lo..
        "#]],
    );
}

#[test]
fn delete() {
    let app = "hello".parse().expect("an app");
    check_change(
        Change::Delete(Delete { app }),
        expect![[r#"
            0004fbe80303616e6e010274310a31302e302e302e313a3901016b020568656c ......ann..t1.10.0.0.1:9..k..hel
            6c6f                                                             lo
        "#]],
    );
}

#[test]
fn carry() {
    let instance = || "hello/web.1".parse().expect("an instance");
    let app = || "hello".parse().expect("an app");
    let revision = RevisionNumber(2);
    let steps = vec![
        Step::Place { instance: instance(), revision, node: NodeId(1) },
        Step::Stop { placement: PlacementId(4), why: "old".into() },
        Step::Serve { app: app(), revision },
        Step::Fail { app: app(), revision, code: "E0301".into(), message: "no".into() },
        Step::Forget { placement: PlacementId(4) },
        Step::Wait { instance: instance(), reason: "room".into() },
        Step::Resume { instance: instance() },
        Step::Settle { app: app(), revision },
    ];
    check(
        CommandV1::Carry(Plan { at: Timestamp(1_000), based_on: Index(9), steps }),
        expect![[r#"
            0005fbe8030908000b68656c6c6f2f7765622e3102010104036f6c6402056865 .........hello/web.1.....old..he
            6c6c6f02030568656c6c6f02054530333031026e6f0404050b68656c6c6f2f77 llo...hello..E0301.no....hello/w
            65622e3104726f6f6d060b68656c6c6f2f7765622e31070568656c6c6f02     eb.1.room..hello/web.1..hello.
        "#]],
    );
}

#[test]
fn observe() {
    let phases = [
        SeenPhase::Preparing,
        SeenPhase::Ready,
        SeenPhase::Draining,
        SeenPhase::Stopped,
        SeenPhase::Failed { code: "E0301".into(), message: "no".into() },
    ];
    let phases = phases.into_iter().zip(1..).map(|(phase, id)| (PlacementId(id), phase)).collect();
    check(
        CommandV1::Observe(Observe { at: Timestamp(1_000), node: NodeId(1), phases }),
        expect![[r#"
            0006fbe803010501000201030204030504054530333031026e6f             ..................E0301.no
        "#]],
    );
}

#[test]
fn witness() {
    let deeds = [Deed::Promote, Deed::Transfer, Deed::RemoveMember, Deed::GiveKey];
    let told: Vec<u8> =
        deeds.iter().flat_map(|deed| bincode::serde::encode_to_vec(deed, bincode::config::standard()).expect("encodes")).collect();
    assert_eq!(told, [0, 1, 2, 3]);
    check_change(
        Change::Witness(Witness { deed: Deed::GiveKey, object: "cluster/key".into() }),
        expect![[r#"
        0004fbe80303616e6e010274310a31302e302e302e313a3901016b0e030b636c ......ann..t1.10.0.0.1:9..k...cl
        75737465722f6b6579                                               uster/key
    "#]],
    );
}

#[test]
fn note() {
    let kinds = [NodeEventKind::WorkerStarted, NodeEventKind::CodeCompiled, NodeEventKind::GuestsTrapped];
    let component = |kind| (kind != NodeEventKind::WorkerStarted).then(|| "hello/web".parse().expect("a component"));
    let event = |kind| NodeEvent { at: Timestamp(1_000), kind, component: component(kind), message: "so".into() };
    check(
        CommandV1::Note(Note { node: NodeId(1), events: kinds.map(event).into() }),
        expect![[r#"
            00070103fbe803000002736ffbe80301010968656c6c6f2f77656202736ffbe8 ..........so......hello/web.so..
            0302010968656c6c6f2f77656202736f                                 ....hello/web.so
        "#]],
    );
}
