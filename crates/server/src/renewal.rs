//! This server's own certificate, and what it tells others of itself, kept fresh. Owns when; who may have which certificate is `handlers/peer.rs`'s.

use std::sync::Arc;

use api::peer::{CertificateRequest, Certified, MEMBER_PATH, MemberRequest, NodeRole, RENEW_PATH, RenewRequest};
use axum::{body::Body, http::Request};
use consensus::Leadership;
use founding::introduction;
use model::problem::chain;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};
use transport::Credentials;

use crate::{
    api_error::ApiError,
    clock,
    core::Core,
    forward::no_leader,
    handlers::peer,
    limits::{HANDLER_MAX, INTRODUCTION_RETRY, KNOWN_FILE, RENEWAL_LOOK_EVERY},
    peers::{self, Lane},
};

/// Looks until the process stops: at once when somebody else leads, and now and then.
pub(crate) async fn run(core: Arc<Core>) {
    let mut leadership = core.consensus.leadership();
    let mut ticks = interval(RENEWAL_LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = None;
    loop {
        tokio::select! {
            () = core.stop.cancelled() => return,
            changed = leadership.changed() => if changed.is_err() { return },
            _ = ticks.tick() => {}
        }
        match introduce(&core).await {
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(error = error.message(), "this node cannot introduce itself anew yet");
                // Until others know where it is, no leader reaches it.
                ticks.reset_after(INTRODUCTION_RETRY);
            }
        }
        if let Err(error) = renew(&core).await {
            tracing::warn!(error = error.message(), "the certificate of this server cannot be renewed yet");
        }
        keep_members(&core, &mut kept);
    }
}

/// Tells the leader what is new about this node.
async fn introduce(core: &Core) -> Result<(), ApiError> {
    let own = &core.settings.introduction;
    if introduction::is_introduced(&core.state(), core.node, own) {
        return Ok(());
    }
    let leadership = core.consensus.leadership().borrow().clone();
    let request = MemberRequest::Introduce { node: core.node, introduction: own.clone() };
    match leadership {
        Leadership::Leading { .. } => peer::introduce(core, core.node, own).await,
        Leadership::Following { leader, .. } => ask::<Value>(core, leader.id, MEMBER_PATH, &request).await.map(drop),
        // A leader that does not know where this node is by now cannot tell it that it leads: any other server passes the news on.
        Leadership::Unknown => {
            let mut last = no_leader("no server leads at the moment");
            for server in introduction::servers(&core.state()).into_iter().filter(|server| server.node != core.node) {
                match ask::<Value>(core, server.node.0, MEMBER_PATH, &request).await {
                    Ok(_) => return Ok(()),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

/// Exchanges the certificate once half of its life is over.
async fn renew(core: &Core) -> Result<(), ApiError> {
    let current = core.identity.current();
    if clock::now() < current.validity().renew_at() {
        return Ok(());
    }
    let request = CertificateRequest { role: NodeRole::Server, request: current.key().request() };
    let leadership = core.consensus.leadership().borrow().clone();
    let certified = match leadership {
        Leadership::Leading { .. } => peer::renew_own(core, &request)?,
        Leadership::Following { leader, .. } => {
            ask::<Certified>(core, leader.id, RENEW_PATH, &RenewRequest { request, node: None }).await?
        }
        Leadership::Unknown => return Err(no_leader("no server leads at the moment")),
    };
    let unusable =
        |error: &dyn std::error::Error| ApiError::new("E0407", format!("the new certificate cannot be used: {}", chain(error)), "");
    let fresh = Credentials::new(current.key().clone(), &certified.certificate, current.authority().clone());
    let fresh = fresh.map_err(|error| unusable(&error))?;
    fresh.write(&core.settings.data.join("control/identity")).map_err(|error| unusable(&error))?;
    core.identity.replace(fresh).map_err(|error| unusable(&error))?;
    tracing::info!("the certificate of this server is renewed");
    Ok(())
}

/// Writes the keys of all nodes beside this server's own, for a start at which every certificate has expired.
fn keep_members(core: &Core, kept: &mut Option<transport::Members>) {
    let members = peers::members(&core.state(), core.settings.cluster);
    if members.keys.is_empty() || kept.as_ref().is_some_and(|kept| kept.keys == members.keys) {
        return;
    }
    match members.write(&core.settings.data.join("control/identity").join(KNOWN_FILE)) {
        Ok(()) => *kept = Some(members),
        Err(error) => tracing::warn!(error = %chain(&error), "the list of nodes cannot be kept"),
    }
}

async fn ask<A: serde::de::DeserializeOwned>(
    core: &Core,
    leader: u64,
    path: &str,
    question: &impl serde::Serialize,
) -> Result<A, ApiError> {
    let body = serde_json::to_vec(question).expect("wire types have string keys only");
    let request = Request::post(path).header("content-type", "application/json").body(Body::from(body));
    core.peers.json(leader, Lane::Calls, request.expect("a constant path is one"), HANDLER_MAX).await
}
