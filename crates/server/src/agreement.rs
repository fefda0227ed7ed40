//! Whether this member has the state that the others have. Owns saying what its state hashed to, and acting on what all of them said; what follows from that is
//! `membership::agreement`'s.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use api::peer::{ATTEST_PATH, AttestRequest};
use axum::{body::Body, http::Request};
use consensus::{Checkpoint, Leadership, Membership};
use data_encoding::HEXLOWER;
use membership::agreement::{Finding, Own};
use model::id::{Index, NodeId};
use state::{
    Applied, Command,
    command::{Attest, CommandV1},
};
use tokio::sync::watch;

use crate::{
    api_error::ApiError,
    core::Core,
    forward::no_leader,
    limits::{ATTEST_TRIES, ATTEST_WAIT, HANDLER_MAX},
    peers::Lane,
};

/// Why this member halted, once it did.
#[derive(Debug, Default)]
pub(crate) struct Agreement(OnceLock<String>);

impl Agreement {
    /// The sentence that names what differs, when something does.
    pub(crate) fn halted(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// Runs until the process stops or this member halts.
pub(crate) async fn run(core: Arc<Core>) {
    let heard = Heard { hashes: core.consensus.hashes(), membership: core.consensus.membership() };
    compare(core, heard).await;
}

/// What consensus tells.
#[derive(Debug)]
pub(crate) struct Heard {
    /// What the state of this member hashed to last.
    pub(crate) hashes: watch::Receiver<Option<Checkpoint>>,
    /// Whose votes count.
    pub(crate) membership: watch::Receiver<Membership>,
}

/// Compares what this member has with what all of them said.
pub(crate) async fn compare(core: Arc<Core>, Heard { mut hashes, membership }: Heard) {
    let mut applied = core.consensus.applied();
    let mut own = Own::default();
    loop {
        let said = tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            changed = hashes.changed() => match changed { Ok(()) => *hashes.borrow_and_update(), Err(_) => return },
            // Somebody said something: looked at only while something is open.
            changed = applied.changed(), if own.waits() => match changed { Ok(()) => None, Err(_) => return },
        };
        if let Some(checkpoint) = said {
            own.add(checkpoint);
            tell(&core, checkpoint).await;
        }
        let voters: BTreeSet<NodeId> = membership.borrow().voters.iter().map(|peer| NodeId(peer.id)).collect();
        match own.judge(&core.state(), core.node, &voters) {
            Finding::Nothing => {}
            Finding::Unsettled(sentence) => {
                core.metrics.divergences.inc();
                tracing::error!(code = "E0618", "{sentence}");
            }
            Finding::Halt(sentence) => {
                tracing::error!(code = "E0618", "{sentence}");
                let _ = core.agreement.0.set(sentence.clone());
                core.consensus.halt(sentence);
                return;
            }
        }
    }
}

/// Tells the leader. It is tried a few times: what is missed is said again at the next checkpoint.
async fn tell(core: &Core, Checkpoint { index, hash }: Checkpoint) {
    let attest = Attest { node: core.node, index: Index(index), hash };
    for _ in 0..ATTEST_TRIES {
        let leadership = core.consensus.leadership().borrow().clone();
        let told = match leadership {
            Leadership::Leading { .. } => say(core, attest.clone()).await,
            Leadership::Following { leader, .. } => ask(core, leader.id, &attest).await,
            Leadership::Unknown => Err(no_leader("no server leads at the moment")),
        };
        match told {
            Ok(()) => return,
            Err(error) => tracing::debug!(log.index = index, error = error.message(), "the hash of this state is not told yet"),
        }
        tokio::select! {
            () = core.stop.cancelled() => return,
            () = tokio::time::sleep(ATTEST_WAIT) => {}
        }
    }
}

/// Writes what a member says.
pub(crate) async fn say(core: &Core, attest: Attest) -> Result<(), ApiError> {
    match core.consensus.propose(Command::V1(CommandV1::Attest(attest))).await?.1 {
        // One that came too late to be kept is settled among the others.
        Ok(Applied::Attested { .. }) => Ok(()),
        Ok(other) => unreachable!("an attestation is answered by `Attested`, not {other:?}"),
        Err(refused) => Err(ApiError::new("E0408", refused.to_string(), "")),
    }
}

async fn ask(core: &Core, leader: u64, attest: &Attest) -> Result<(), ApiError> {
    let question = AttestRequest { index: attest.index, hash: HEXLOWER.encode(&attest.hash) };
    let body = serde_json::to_vec(&question).expect("wire types have string keys only");
    let request = Request::post(ATTEST_PATH).header("content-type", "application/json").body(Body::from(body));
    let request = request.expect("a constant path is one");
    core.peers.json::<serde_json::Value>(leader, Lane::Calls, request, HANDLER_MAX).await.map(drop)
}

/// What `node` says; `None` when the hash is none.
pub(crate) fn read(node: NodeId, request: &AttestRequest) -> Option<Attest> {
    let hash = HEXLOWER.decode(request.hash.as_bytes()).ok()?.try_into().ok()?;
    Some(Attest { node, index: request.index, hash })
}
