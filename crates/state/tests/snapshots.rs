//! The records of a snapshot: their bytes are on disk and travel between versions. Owns the golden bytes, and what is refused.

mod support;

use std::{fmt::Write as _, io};

use expect_test::expect;
use model::id::{Index, PlacementId, RevisionNumber, Timestamp};
use state::{
    FOUNDER, State,
    command::{
        ApiRole, Attest, Ceilings, Change, CommandV1, CreateApiToken, NodeRole, Observe, RevokeJoinToken, SecretKind, SeenPhase, Step,
        Undo, UserCommand,
    },
};
use support::{Cluster, Wish, deploy, join_token, route};

/// A little of everything.
fn small() -> State {
    let mut cluster = Cluster::new();
    cluster.ask(Change::CreateJoinToken(join_token("w", NodeRole::Worker))).expect("makes a token");
    let token = CreateApiToken {
        id: support::token("ci"),
        secret_hash: [8; 32],
        name: "pipeline".into(),
        role: ApiRole::Deployer,
        namespace: Some("team".parse().expect("a name")),
        expires_at: Some(Timestamp(5_000)),
    };
    cluster.ask(Change::CreateApiToken(token)).expect("makes a token");
    cluster.deploy(Wish { protected: true, ..deploy("hello", 1, 1, &[route("h.test", "/")]) }).expect("deploys");
    let instance = || "hello/web.1".parse().expect("an instance");
    cluster.ask(support::config("settings", &[("k", "v")])).expect("puts");
    cluster.ask(support::secret("cert", SecretKind::Tls, &["tls.crt", "tls.key"])).expect("puts");
    let ceilings = Ceilings { memory_bytes: Some(1 << 30), hosts: Some(vec!["h.test".into()]), ..Ceilings::default() };
    cluster.ask(support::namespace("team", ceilings)).expect("puts");
    let place = Step::Place { instance: instance(), revision: RevisionNumber(1), node: FOUNDER };
    let wait = Step::Wait { instance: instance(), reason: "why".into() };
    assert_eq!(cluster.carry(vec![place, wait]), (2, 0));
    let failed = SeenPhase::Failed { code: "E0301".into(), message: "no".into() };
    cluster
        .wish(CommandV1::Observe(Observe { at: Timestamp(3), node: FOUNDER, phases: vec![(PlacementId(1), failed)] }))
        .expect("observes");
    let undo = Change::Undo(Undo { app: support::app("hello"), to: None });
    let again = |change| {
        CommandV1::User(UserCommand {
            at: Timestamp(4),
            by: "ann".into(),
            token: Some("t1".parse().expect("an id")),
            from: "10.0.0.1:9".into(),
            key: Some("k".into()),
            change,
        })
    };
    cluster.wish(again(undo)).expect_err("there is nothing to go back to");
    cluster.wish(again(Change::RevokeJoinToken(RevokeJoinToken { id: support::token("w") }))).expect("revokes");
    cluster.wish(CommandV1::Attest(Attest { node: FOUNDER, index: Index(0), hash: [5; 32] })).expect("attests");
    cluster.state
}

fn dump(state: &State) -> String {
    let mut text = String::new();
    for record in state.records() {
        for (number, line) in record.chunks(48).enumerate() {
            let hex: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
            let shown: String = line.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }).collect();
            writeln!(text, "{} {hex:96} {shown}", if number == 0 { '-' } else { ' ' }).expect("writing to a string");
        }
    }
    text
}

#[test]
fn the_bytes_of_every_record() {
    expect![[r#"
        - 00000c020908                                                                                     ......
        - 000107070707070707070707070707070707010201020203040101                                           ...........................
        - 00020101610118e1d694acb62ce1dcc2e30d9d4ab3dbfe6a7333962fa194a8229f909e0410fe014bd0b2556b6d4451e0 ....a.......,......J...js3./...".......K..UkmDQ.
          c9f1d0cdd8b2d25c445efeb463dc18e09a569bc28f5c06000000000000fc00000040fbd00705302e312e300101010001 .......\D^..c....V...\...........@....0.1.0.....
        - 0004026369080808080808080808080808080808080808080808080808080808080808080808706970656c696e650101 ...ci.................................pipeline..
          047465616d01fb88130103616e6e03                                                                   .team......ann.
        - 00050568656c6c6f0409010101000001010377656201010000010b68656c6c6f2f7765622e3103776879             ...hello..........web......hello/web.1.why
        - 00060568656c6c6f010103616e6e56312031205b526f7574654b65795631207b20686f73743a2022682e74657374222c ...hello...annV1 1 [RouteKeyV1 { host: "h.test",
          20706174683a20222f222c2065786163743a2066616c73652c206d6574686f64733a205b5d2c20686561646572733a20  path: "/", exact: false, methods: [], headers: 
          5b5d207d5d0103776562477368613235363a303130313031303130313031303130313031303130313031303130313031 [] }]..webGsha256:010101010101010101010101010101
          3031303130313031303130313031303130313031303130313031303130313031303101fc00004006640106682e746573 0101010101010101010101010101010101....@.d..h.tes
          74012f0000000000000000477368613235363a3138323962393839333861653436383738303362353561393765353264 t./........Gsha256:1829b98938ae4687803b55a97e52d
          616537656163666133323533626163323838353338336165633834333261663361326300                         ae7eacfa3253bac2885383aec8432af3a2c.
        - 0007010b68656c6c6f2f7765622e31010108fc00004006020004054530333031026e6f03                         ....hello/web.1......@.....E0301.no.
        - 00080873657474696e677300000001016b0176010105                                                     ...settings.....k.v...
        - 000904636572740000000101010103616e6e0207746c732e63727407746c732e6b65790a010101010101010101010106 ...cert........ann..tls.crt.tls.key.............
        - 000a047465616d00000001fc00000040000000010106682e7465737400000107                                 ...team........@......h.test....
        - 000b01011400016111666f756e646564206120636c7573746572                                             .......a.founded a cluster
        - 000b020100000161106a6f696e6564206173206e6f64652d31                                               .......a.joined as node-1
        - 000b030102010568656c6c6f0568656c6c6f09723120627920616e6e                                         .......hello.hello.r1 by ann
        - 000b040119000873657474696e677306627920616e6e                                                     .......settings.by ann
        - 000b05011b0004636572741076657273696f6e203120627920616e6e                                         .......cert.version 1 by ann
        - 000b06011d00047465616d06627920616e6e                                                             .......team.by ann
        - 000b07020b010568656c6c6f0b68656c6c6f2f7765622e31077231206f6e2061                                 .......hello.hello/web.1.r1 on a
        - 000b08020e010568656c6c6f0b68656c6c6f2f7765622e3103776879                                         .......hello.hello/web.1.why
        - 000b09030d010568656c6c6f0b68656c6c6f2f7765622e310e4530333031206f6e20613a206e6f                   .......hello.hello/web.1.E0301 on a: no
        - 000c01020103616e6e0000066372656174650c6a6f696e2d746f6b656e2f7700                                 ......ann...create.join-token/w.
        - 000c02030103616e6e00000663726561746508746f6b656e2f636900                                         ......ann...create.token/ci.
        - 000c03040103616e6e0000066465706c6f79096170702f68656c6c6f00                                       ......ann...deploy.app/hello.
        - 000c04050103616e6e0000037075740f636f6e6669672f73657474696e677300                                 ......ann...put.config/settings.
        - 000c05060103616e6e0000037075740b7365637265742f6365727400                                         ......ann...put.secret/cert.
        - 000c06070103616e6e0000037075740e6e616d6573706163652f7465616d00                                   ......ann...put.namespace/team.
        - 000c070a0403616e6e010274310a31302e302e302e313a3904756e646f096170702f68656c6c6f010545303430322561 ......ann..t1.10.0.0.1:9.undo.app/hello..E0402%a
          7070206068656c6c6f6020686173206e6f207265766973696f6e206265666f7265207231                         pp `hello` has no revision before r1
        - 000c080b0403616e6e010274310a31302e302e302e313a39067265766f6b650c6a6f696e2d746f6b656e2f7700       ......ann..t1.10.0.0.1:9.revoke.join-token/w.
        - 000df4daca35c548fd4562ef128b11339793040b4bdb2d46f93ec93ef48cd637d9ff004fce45bd94f865849aac716d35 .....5.H.Eb....3....K.-F.>.>...7...O.E...e...qm5
          cf66061d0b0177                                                                                   .f....w
        - 000e00010505050505050505050505050505050505050505050505050505050505050505                         ....................................
        - 000f1d                                                                                           ...
    "#]].assert_eq(&dump(&small()));
}

#[test]
fn the_empty_state_is_two_records() {
    let empty = State::empty();
    expect![[r#"
        - 000000010000                                                                                     ......
        - 000f01                                                                                           ...
    "#]]
    .assert_eq(&dump(&empty));
    let restored = State::restore(&mut empty.records().map(Ok)).expect("it is a state");
    assert_eq!(restored.hash(), empty.hash());
}

type Records = Vec<io::Result<Vec<u8>>>;

/// What restoring says of these records.
fn refused(records: Records) -> String {
    match State::restore(&mut records.into_iter()) {
        Ok(state) => format!("restored at {}", state.index()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_no_whole_state_is_refused() {
    let state = small();
    let records = || state.records().map(Ok).collect::<Records>();
    let with = |change: &dyn Fn(&mut Records)| {
        let mut changed = records();
        change(&mut changed);
        refused(changed)
    };
    let told = [
        with(&|_| ()),
        with(&|all| drop(all.pop())),
        with(&|all| all.truncate(0)),
        with(&|all| drop(all.remove(0))),
        with(&|all| drop(all.remove(3))),
        with(&|all| all.swap(1, 2)),
        with(&|all| all.insert(3, Ok(all[2].as_ref().expect("a record").clone()))),
        with(&|all| all.push(Ok(vec![0, 0]))),
        with(&|all| all[4].as_mut().expect("a record").push(0)),
        with(&|all| all[4] = Ok(vec![9])),
        with(&|all| all[4] = Err(io::Error::other("torn"))),
        // Without its app, and counted rightly.
        with(&|all| {
            drop(all.remove(5));
            let (last, count) = (all.len() - 1, u8::try_from(all.len() - 1).expect("few"));
            *all[last].as_mut().expect("a record").last_mut().expect("a byte") = count;
        }),
    ];
    expect![[r#"
        restored at 12
        a snapshot ends after 29 records, before its last one
        a snapshot ends after 0 records, before its last one
        record 1 of a snapshot does not stand where it belongs
        record 29 of a snapshot is there twice, or ends more than there is
        record 3 of a snapshot does not stand where it belongs
        record 4 of a snapshot is there twice, or ends more than there is
        record 31 of a snapshot is not one this version of shoal reads
        record 5 of a snapshot is longer than what it holds
        record 5 of a snapshot is not one this version of shoal reads
        reading record 5 of a snapshot
        a snapshot of index 12 breaks a rule of the state: hello holds r1, which is not kept"#]]
    .assert_eq(&told.join("\n"));
}
