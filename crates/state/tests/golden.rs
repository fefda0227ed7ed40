//! The bytes of every command are for ever: a log written today is read by every later version. Owns the golden bytes; a change here breaks clusters.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use model::{
    frozen::{AppSpecV1, ComponentSpecV1, Frozen, RouteKeyV1},
    id::{Digest, Index, NodeId, PlacementId, RevisionNumber, Timestamp},
};
use state::command::{Command, CommandV1, Delete, Deploy, Join, NodeEvent, NodeEventKind, Note, Observe, Plan, SeenPhase, Step, Undo};

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

#[test]
fn join() {
    check(
        CommandV1::Join(Join { at: Timestamp(1_000), name: "a".into(), memory_bytes: 1 << 30, cpu_millis: 2_000 }),
        expect![[r#"
            0000fbe8030161fc00000040fbd007                                   ......a....@...
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
    };
    check(
        CommandV1::Deploy(Deploy {
            at: Timestamp(1_000),
            by: "ann".into(),
            app: "team/hello".parse().expect("an app"),
            frozen: Frozen { canonical: "{}".into(), spec: AppSpecV1 { components: vec![component] } },
            identity: Digest([9; 32]),
            protected: true,
            expect: Some(Index(300)),
        }),
        expect![[r#"
            0001fbe80303616e6e0a7465616d2f68656c6c6f027b7d010377656247736861 ......ann.team/hello.{}..webGsha
            3235363a30373037303730373037303730373037303730373037303730373037 256:0707070707070707070707070707
            3037303730373037303730373037303730373037303730373037303730373037 07070707070707070707070707070707
            3037303702fc00000010640106682e74657374012f0101034745540103782d61 0707......d..h.test./...GET..x-a
            0131477368613235363a30393039303930393039303930393039303930393039 .1Gsha256:0909090909090909090909
            3039303930393039303930393039303930393039303930393039303930393039 09090909090909090909090909090909
            303930393039303930390101fb2c01                                   0909090909...,.
        "#]],
    );
}

#[test]
fn undo() {
    let app = "hello".parse().expect("an app");
    check(
        CommandV1::Undo(Undo { at: Timestamp(1_000), by: "ann".into(), app, to: Some(RevisionNumber(2)) }),
        expect![[r#"
        0002fbe80303616e6e0568656c6c6f0102                               ......ann.hello..
    "#]],
    );
}

#[test]
fn delete() {
    let app = "hello".parse().expect("an app");
    check(
        CommandV1::Delete(Delete { at: Timestamp(1_000), by: "ann".into(), app }),
        expect![[r#"
        0003fbe80303616e6e0568656c6c6f                                   ......ann.hello
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
    ];
    check(
        CommandV1::Carry(Plan { at: Timestamp(1_000), based_on: Index(9), steps }),
        expect![[r#"
        0004fbe8030907000b68656c6c6f2f7765622e3102010104036f6c6402056865 .........hello/web.1.....old..he
        6c6c6f02030568656c6c6f02054530333031026e6f0404050b68656c6c6f2f77 llo...hello..E0301.no....hello/w
        65622e3104726f6f6d060b68656c6c6f2f7765622e31                     eb.1.room..hello/web.1
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
        0005fbe803010501000201030204030504054530333031026e6f             ..................E0301.no
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
        00060103fbe803000002736ffbe80301010968656c6c6f2f77656202736ffbe8 ..........so......hello/web.so..
        0302010968656c6c6f2f77656202736f                                 ....hello/web.so
    "#]],
    );
}
