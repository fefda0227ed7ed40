//! Top: what is used, asked of the worker and of the system. Owns putting both together; must never compute a rate.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    mesh::{FIGURES_PATH, WorkerFigures},
    v1::{NodeUsage, ProcessUsage, TopKind, TopQuery, TopView},
};
use axum::{Extension, extract::State};
use futures_util::future::join_all;
use state::NodeRecord;
use wishes::{caller::Caller, principal};

use crate::{
    api_error::ApiError,
    clock,
    core::Core,
    extract::{Answer, Query},
    mesh::Asked,
    process,
};

pub(crate) async fn top(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Query(question): Query<TopQuery>,
) -> Result<Answer<TopView>, ApiError> {
    if question.kind == TopKind::Nodes && caller.principal.namespace.is_some() {
        let help = "`shoal top apps` shows what its own apps use; `shoal get nodes` shows which nodes there are";
        return Err(principal::too_wide(&caller.principal, "the load of a node", help).into());
    }
    let question = TopQuery { namespace: principal::listed(&caller.principal, question.namespace)?, ..question };
    let mut view = TopView { at: clock::now().into(), nodes: Vec::new(), components: Vec::new(), instances: Vec::new() };
    match question.kind {
        TopKind::Nodes => view.nodes = nodes(&core).await,
        TopKind::Apps => {
            for told in ask_all(&core, &within("components=true", &question)).await? {
                view.at = view.at.max(told.at);
                view.components.extend(told.components);
            }
        }
        TopKind::Instances => {
            for told in ask_all(&core, &within("instances=true", &question)).await? {
                view.at = view.at.max(told.at);
                view.instances.extend(told.instances);
            }
        }
    }
    Ok(Answer(view))
}

fn within(what: &str, question: &TopQuery) -> String {
    question.namespace.as_ref().map_or_else(|| what.to_owned(), |namespace| format!("{what}&namespace={namespace}"))
}

async fn ask(core: &Core, worker: &Asked, query: &str) -> Result<WorkerFigures, ApiError> {
    let told = core.mesh.read(worker, FIGURES_PATH, query).await?;
    serde_json::from_slice(&told).map_err(|error| ApiError::new("E0407", format!("the worker's figures cannot be read: {error}"), ""))
}

/// What every worker says that answers.
///
/// # Errors
/// None does.
async fn ask_all(core: &Core, query: &str) -> Result<Vec<WorkerFigures>, ApiError> {
    let workers = core.mesh.workers(&core.state());
    let answers = join_all(workers.iter().map(|worker| ask(core, worker, query))).await;
    let (told, mut errors): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    match errors.pop() {
        Some(Err(error)) if told.is_empty() => Err(error),
        _ => Ok(told.into_iter().flatten().collect()),
    }
}

/// Every node; one whose worker is away is told with what is known: that is when people look. Only this node's processes can be looked at from here.
async fn nodes(core: &Arc<Core>) -> Vec<NodeUsage> {
    let workers = core.mesh.workers(&core.state());
    let told: BTreeMap<_, _> =
        join_all(workers.iter().map(|worker| async { (worker.id, ask(core, worker, "").await.ok()) })).await.into_iter().collect();
    let viewer = core.viewer();
    let usage_of = |node: &NodeRecord| NodeUsage {
        node: node.name.clone(),
        state: viewer.reports.state_of(node.id, viewer.now),
        control_plane: (node.id == core.node).then(|| usage(std::process::id())).flatten(),
        worker: viewer.reports.seen.get(&node.id).filter(|_| node.id == core.node).and_then(|seen| usage(seen.pid)),
        serving: told.get(&node.id).cloned().flatten().map(|told| told.worker),
    };
    viewer.state.nodes().map(usage_of).collect()
}

fn usage(pid: u32) -> Option<ProcessUsage> {
    let usage = process::usage(pid)?;
    // Hundredths of a second that fit into 64 bits for 500,000 years.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let cpu_micros = (usage.cpu_seconds * 1e6) as u64;
    Some(ProcessUsage { pid, cpu_micros, resident_bytes: usage.resident_bytes, anonymous_bytes: usage.anonymous_bytes })
}
