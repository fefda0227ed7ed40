//! Instances, nodes, version.

use std::sync::Arc;

use api::{
    limits::ARTIFACT_BYTES_MAX,
    v1::{InstanceView, List, NodeView, VersionView},
};
use axum::{Extension, extract::State};
use state::Placement;
use wishes::{caller::Caller, principal};

use super::apps::Selection;
use crate::{
    api_error::ApiError,
    core::Core,
    extract::{Answer, Query},
};

pub(crate) async fn instances(
    State(core): State<Arc<Core>>,
    Extension(caller): Extension<Caller>,
    Query(selection): Query<Selection>,
) -> Result<Answer<List<InstanceView>>, ApiError> {
    let only = principal::listed(&caller.principal, selection.namespace)?;
    let viewer = core.viewer();
    let of = |placement: &&Placement| {
        let namespace = &placement.instance.component.app.namespace;
        only.as_ref().is_none_or(|wanted| wanted == namespace)
    };
    let mut items: Vec<_> = viewer.state.placements().filter(of).map(|placement| viewer.instance(placement)).collect();
    items.sort_by(|left, right| (&left.instance, left.revision).cmp(&(&right.instance, right.revision)));
    Ok(Answer(List { resource_version: viewer.state.index(), items, next: None }))
}

pub(crate) async fn nodes(State(core): State<Arc<Core>>) -> Answer<List<NodeView>> {
    let viewer = core.viewer();
    Answer(List { resource_version: viewer.state.index(), items: viewer.state.nodes().map(|node| viewer.node(node)).collect(), next: None })
}

pub(crate) async fn version(State(core): State<Arc<Core>>) -> Answer<VersionView> {
    Answer(VersionView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: vec!["v1".to_owned()],
        node: core.settings.node.clone(),
        artifact_bytes_max: ARTIFACT_BYTES_MAX,
    })
}
