//! Top: what is used, asked of the worker and of the system. Owns putting both together; must never compute a rate.

use std::sync::Arc;

use api::{
    mesh::{FIGURES_PATH, WorkerFigures},
    v1::{NodeUsage, ProcessUsage, TopKind, TopQuery, TopView},
};
use axum::extract::State;

use crate::{
    api_error::ApiError,
    clock,
    core::Core,
    extract::{Answer, Query},
    process,
};

pub(crate) async fn top(State(core): State<Arc<Core>>, Query(question): Query<TopQuery>) -> Result<Answer<TopView>, ApiError> {
    let mut view = TopView { at: clock::now().into(), nodes: Vec::new(), components: Vec::new(), instances: Vec::new() };
    match question.kind {
        // A node whose worker is away is told with what is known: that is when people look.
        TopKind::Nodes => view.nodes = nodes(&core, ask(&core, "").await.ok()),
        TopKind::Apps => {
            let told = ask(&core, &within("components=true", &question)).await?;
            (view.at, view.components) = (told.at, told.components);
        }
        TopKind::Instances => {
            let told = ask(&core, &within("instances=true", &question)).await?;
            (view.at, view.instances) = (told.at, told.instances);
        }
    }
    Ok(Answer(view))
}

fn within(what: &str, question: &TopQuery) -> String {
    question.namespace.as_ref().map_or_else(|| what.to_owned(), |namespace| format!("{what}&namespace={namespace}"))
}

async fn ask(core: &Core, query: &str) -> Result<WorkerFigures, ApiError> {
    let told = core.mesh.read(FIGURES_PATH, query).await?;
    serde_json::from_slice(&told).map_err(|error| ApiError::new("E0407", format!("the worker's figures cannot be read: {error}"), ""))
}

/// Every node. Only this one's processes can be looked at from here.
fn nodes(core: &Arc<Core>, mut told: Option<WorkerFigures>) -> Vec<NodeUsage> {
    let viewer = core.viewer();
    let control_plane = usage(std::process::id()).unwrap_or_default();
    let nodes = viewer.state.nodes().filter(|node| node.id == core.node);
    nodes
        .map(|node| NodeUsage {
            node: node.name.clone(),
            state: core.live.state_of(node.id, viewer.now),
            control_plane,
            worker: viewer.seen.get(&node.id).and_then(|seen| usage(seen.pid)),
            serving: told.take().map(|told| told.worker),
        })
        .collect()
}

fn usage(pid: u32) -> Option<ProcessUsage> {
    let usage = process::usage(pid)?;
    // Hundredths of a second that fit into 64 bits for 500,000 years.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let cpu_micros = (usage.cpu_seconds * 1e6) as u64;
    Some(ProcessUsage { pid, cpu_micros, resident_bytes: usage.resident_bytes, anonymous_bytes: usage.anonymous_bytes })
}
