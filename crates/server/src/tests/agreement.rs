//! Whether what servers say of their states is said, kept and acted on: by a whole control plane, and by one whose state is another than that of most members.

use std::{path::Path, sync::Arc};

use api::v1::SnapshotQuery;
use backup::{Kind, Reader};
use consensus::{Checkpoint, Membership, Peer, Remains};
use founding::machine::Machine;
use model::id::{Index, NodeId, Timestamp};
use state::{
    Applied, Command, State,
    command::{Addresses, Admission, Attest, Change, CommandV1, CreateJoinToken, Join, NodeFacts, NodeKeys, NodeRole},
    limits::CHECKPOINT_EVERY,
};
use tokio::sync::watch;

use super::fixture::{self, ControlPlane, within};
use crate::{FOUNDER, RunError, agreement, core::Core, log_failed};

/// The state as the control plane would save it.
async fn state_of(plane: &ControlPlane) -> State {
    let mut download = plane.client.snapshot(&SnapshotQuery { artifacts: false, keys: false }).await.expect("it begins");
    let mut file = Vec::new();
    while let Some(piece) = within(download.next()).await.expect("it goes on") {
        file.extend_from_slice(&piece);
    }
    let mut reader = Reader::open(file.as_slice()).expect("a snapshot");
    while let Some(part) = reader.next_part().expect("it is whole") {
        if part.kind == Kind::State {
            return Remains::<Machine>::of_snapshot(part).expect("a state").machine().0.clone();
        }
    }
    panic!("a snapshot has a state");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_writes_what_its_state_hashes_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let checkpoint = Index(CHECKPOINT_EVERY);
    let core = fixture::core(directory.path()).await;
    let before = usize::try_from(CHECKPOINT_EVERY - core.state().index().0).expect("it is new") - 10;
    fixture::tick(&core, before).await;
    core.consensus.shutdown().await;
    drop(core);

    let plane = ControlPlane::start(directory.path()).await;
    let (namespace, name) = ("default".parse().expect("a name"), "tock".parse().expect("a name"));
    for number in 0.. {
        let request = serde_json::json!({"data": {"number": number.to_string()}});
        let request = serde_json::from_value(request).expect("a request");
        if plane.client.put_config(&namespace, &name, &request).await.expect("it is written").index >= checkpoint {
            break;
        }
    }
    let said = |state: &State| state.attestations().map(|(at, node, _)| (at, node)).collect::<Vec<_>>();
    plane.until("said", async |plane| said(&state_of(plane).await) == [(checkpoint, FOUNDER)]).await;
    plane.stop().await;
}

/// A server named `name` that joins.
async fn join(core: &Core, name: &str) -> NodeId {
    let admission = Some(Admission { token: "t".parse().expect("an id"), secret_hash: [1; 32] });
    let node = NodeFacts {
        name: name.into(),
        keys: NodeKeys { server: Some([name.as_bytes()[0]; 32]), worker: None },
        addresses: Addresses::default(),
        place: Default::default(),
        labels: Default::default(),
        memory_bytes: 1,
        cpu_millis: 1,
        release: "0.1.0".into(),
        schema: state::command::SCHEMA,
    };
    match write(core, Command::V1(CommandV1::Join(Join { at: Timestamp(1), admission, node }))).await {
        Applied::Joined { node, .. } => node,
        other => panic!("{other:?}"),
    }
}

async fn write(core: &Core, command: Command) -> Applied {
    core.consensus.propose(command).await.expect("it leads").1.expect("it is in order")
}

/// A control plane that hears of itself and two more voters, both of which say `theirs` of entry 1,000, and whose own state hashed to `mine` there.
async fn among_three(data: &Path, mine: [u8; 32], theirs: [u8; 32]) -> Arc<Core> {
    let core = fixture::core(data).await;
    let token = CreateJoinToken {
        id: "t".parse().expect("an id"),
        secret_hash: [1; 32],
        role: NodeRole::Server,
        expires_at: Timestamp(9),
        uses: None,
        note: String::new(),
    };
    write(&core, Command::user(Timestamp(1), "ann", Change::CreateJoinToken(token))).await;
    let others = [join(&core, "b").await, join(&core, "c").await];
    fixture::tick(&core, usize::try_from(CHECKPOINT_EVERY).expect("it is small")).await;
    let index = Index(CHECKPOINT_EVERY);
    for node in others {
        let said = write(&core, Command::V1(CommandV1::Attest(Attest { node, index, hash: theirs }))).await;
        assert_eq!(said, Applied::Attested { kept: true });
    }
    let voters = [FOUNDER].into_iter().chain(others).map(|node| Peer { id: node.0, address: String::new() }).collect();
    let (_membership, membership) = watch::channel(Membership { voters, ..Membership::default() });
    let (hashes, heard) = watch::channel(None);
    let comparing = tokio::spawn(agreement::compare(core.clone(), agreement::Heard { hashes: heard, membership }));
    hashes.send(Some(Checkpoint { index: index.0, hash: mine })).expect("it listens");
    // It ends when it halts, and when nothing more can come.
    drop(hashes);
    within(comparing).await.expect("it does not panic");
    core
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_differs_from_most_halts_its_control_plane() {
    let directory = tempfile::tempdir().expect("a directory");
    let core = among_three(directory.path(), [1; 32], [2; 32]).await;
    let error = within(log_failed(&core)).await;
    assert!(matches!(&error, RunError::Diverged { message } if message.contains("after entry 1000")), "{error:?}");
    assert_eq!(error.code(), "E0618");
    let late = Attest { node: FOUNDER, index: Index(CHECKPOINT_EVERY), hash: [2; 32] };
    assert!(core.consensus.propose(Command::V1(CommandV1::Attest(late))).await.is_err(), "it writes nothing any more");
    core.consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_agrees_with_most_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let core = among_three(directory.path(), [2; 32], [2; 32]).await;
    assert_eq!(core.agreement.halted(), None);
    fixture::tick(&core, 1).await;
    core.consensus.shutdown().await;
}
