//! What callers see of openraft's state: who leads, who is in the group, whether it still runs. Owns the translation; must never change anything.

use std::sync::{Arc, PoisonError};

use openraft::{AsyncRuntime, RaftMetrics, ServerState, alias::WatchReceiverOf, async_runtime::watch::WatchReceiver};
use tokio::sync::watch;

use crate::{
    Leadership, Membership, Peer, StateMachine,
    group::Shape,
    health::Status,
    raft::{Shared, StoredMembers, Types, TypesOf},
};

/// Where it is published.
pub(crate) struct Published {
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) membership: watch::Sender<Membership>,
}

/// Translates until openraft ends, then says how it ended.
pub(crate) async fn watch_raft<M: StateMachine, R: AsyncRuntime>(
    mut metrics: WatchReceiverOf<TypesOf<M, R>, RaftMetrics<TypesOf<M, R>>>,
    shared: Arc<Shared<M>>,
    published: Published,
    status: Status,
) {
    loop {
        // What is there at first says nothing: openraft has not looked at its log yet.
        if metrics.changed().await.is_err() {
            status.fail("consensus ended without a word".to_owned());
            break;
        }
        let (leadership, membership, ended) = {
            let metrics = metrics.borrow_and_update();
            let term = *shared.term.lock().unwrap_or_else(PoisonError::into_inner);
            let ended = metrics.running_state.as_ref().err().map(ToString::to_string);
            (leadership_of(&metrics, term), membership_of(&metrics.membership_config), ended)
        };
        if let Some(reason) = ended {
            status.fail(format!("consensus ended: {reason}"));
            break;
        }
        published.membership.send_if_modified(|before| replace(before, membership));
        published.leadership.send_if_modified(|before| replace(before, leadership));
    }
    published.leadership.send_replace(Leadership::Unknown);
    shared.end();
}

/// `applied` is the term of the last applied entry and the first entry of that term: when it is this leader's own, everything before is applied too.
fn leadership_of<A: Send + 'static, R: AsyncRuntime>(metrics: &RaftMetrics<Types<A, R>>, applied: (u64, u64)) -> Leadership {
    let term = metrics.current_term;
    if metrics.state == ServerState::Leader {
        return if applied.0 == term { Leadership::Leading { term, since: applied.1 } } else { Leadership::Unknown };
    }
    let others = metrics.current_leader.filter(|leader| *leader != metrics.id);
    match others.and_then(|leader| metrics.membership_config.get_node(&leader).map(|address| address.peer(leader))) {
        Some(leader) => Leadership::Following { leader, term },
        None => Leadership::Unknown,
    }
}

pub(crate) fn membership_of(stored: &StoredMembers) -> Membership {
    let membership = stored.membership();
    let peers = |ids: &mut dyn Iterator<Item = u64>| -> Vec<Peer> {
        ids.filter_map(|id| membership.get_node(&id).map(|address| address.peer(id))).collect()
    };
    Membership {
        index: stored.log_id().as_ref().map(|id| id.index),
        voters: peers(&mut membership.voter_ids()),
        learners: peers(&mut membership.learner_ids()),
        shape: if membership.get_joint_config().len() > 1 { Shape::Joint } else { Shape::Uniform },
    }
}

fn replace<T: PartialEq>(before: &mut T, now: T) -> bool {
    let changes = *before != now;
    if changes {
        *before = now;
    }
    changes
}
