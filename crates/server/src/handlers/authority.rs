//! The cluster's authority: what it is, how far a rotation is, and beginning one. What it is made of is `rotation`'s.

use std::sync::Arc;

use api::v1::AuthorityView;
use axum::{Extension, extract::State};
use model::problem::chain;
use rotation::{next, view};
use state::command::Change;
use wishes::{caller::Caller, decision::Wish};

use crate::{api_error::ApiError, clock, core::Core, extract::Answer, forward::no_leader};

pub(crate) async fn read(State(core): State<Arc<Core>>) -> Result<Answer<AuthorityView>, ApiError> {
    let state = core.state();
    let cluster = state.cluster().ok_or_else(|| no_leader("the cluster is not founded yet"))?;
    let unreadable = |error| ApiError::new("E0407", format!("an authority cannot be read: {}", chain(&error)), "");
    view::authority(&state, cluster).map(Answer).map_err(unreadable)
}

pub(crate) async fn rotate(State(core): State<Arc<Core>>, Extension(caller): Extension<Caller>) -> Result<Answer<AuthorityView>, ApiError> {
    let now = clock::now();
    let change = next::make(&core.state(), &core.cluster_key, now)
        .map_err(|error| ApiError::new("E0407", format!("the authority cannot be rotated: {}", chain(&error)), "try again in a moment"))?;
    core.writer.write(Wish::change(&caller, "", now, Change::RotateAuthority(change))).await?;
    read(State(core)).await
}
