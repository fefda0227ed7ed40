//! What people do beside the state, and a line for all they do. Owns that such a deed is in the log before it is done, and that each entry of the audit log is a line
//! of the leader's log too: the ring in the state forgets the oldest, a journal need not. Must never hold the content of an object.

use std::sync::Arc;

use consensus::Leadership;
use model::problem::Problem;
use state::{
    AuditEntry, AuditOutcome,
    command::{Deed, Witness},
};
use tokio::time::Instant;
use wishes::{caller::Caller, decision::Wish};

use crate::{api_error::ApiError, clock, core::Core};

/// Writes down that `caller` is about to do `deed` to `object`, a kind and a name. Whoever reads the audit log finds it also when nothing came of it.
///
/// # Errors
/// It cannot be written; then it must not be done.
pub(crate) async fn witness(core: &Core, caller: &Caller, deed: Deed, object: String) -> Result<(), ApiError> {
    core.writer.write(Wish::witness(caller, clock::now(), Witness { deed, object })).await.map(drop)
}

/// Tells every entry of the audit log that comes while this server leads, until the process stops.
pub(crate) async fn keep(core: Arc<Core>) {
    let (mut applied, mut leadership) = (core.consensus.applied(), core.consensus.leadership());
    let mut told = core.state().newest_audit();
    loop {
        let ended = tokio::select! {
            () = core.stop.cancelled() => return,
            changed = applied.changed() => changed.is_err(),
            changed = leadership.changed() => changed.is_err(),
        };
        if ended {
            return;
        }
        let state = core.state();
        match *leadership.borrow_and_update() {
            Leadership::Leading { .. } => state.audit_after(told).for_each(tell),
            Leadership::Following { .. } => {}
            // What a leader that is gone did not come to tell, this server tells if it leads next: its line may then be there twice, with the same number.
            Leadership::Unknown => continue,
        }
        told = state.newest_audit();
    }
}

fn tell(entry: &AuditEntry) {
    let token = entry.token.as_ref().map(|token| token.as_str());
    let (outcome, code) = match &entry.outcome {
        AuditOutcome::Done => ("done", None),
        AuditOutcome::Begun => ("begun", None),
        AuditOutcome::Refused { code, .. } => ("refused", Some(code.as_str())),
    };
    tracing::info!(
        target: "audit",
        sequence = entry.sequence,
        log.index = entry.index.0,
        by = entry.by,
        token,
        from = entry.from,
        verb = entry.verb,
        object = entry.object,
        outcome,
        code,
        "somebody changed something"
    );
}

/// Counts a request that the state refuses. It changed nothing and is no entry: whoever sends such ones without end would push out what people did.
pub(crate) fn refused(core: &Core, wish: &Wish, problems: &[(usize, Problem)]) {
    core.metrics.writes_refused.inc();
    if let Some(times) = core.refused.count(Instant::now()) {
        let code = problems.first().map(|(_, problem)| problem.code.as_str());
        let (by, from) = wish.asked_by();
        tracing::info!(target: "audit", times, by, from, code, "changes were refused and changed nothing; the last of them by");
    }
}
