//! The first thing a new cluster says: how others join it. Owns asking its own API for two tokens; must never keep them.

use api::{
    client::{Client, Server},
    v1::{JoinRole, JoinTokenRequest},
};
use model::quantity::Millis;

use super::{
    limits::INVITATION_LIFE,
    node::Node,
    options::{JoinTokens, Ready},
    sockets::connectable,
};

/// Puts tokens for servers and workers, and the commands that use them, into `ready`. Without them the node is ready all the same.
pub async fn invite(node: &Node, ready: &mut Ready) {
    let made = async {
        let reachable = connectable(&node.directory.path.join("api.sock"))?;
        let client = Client::new(Server::Socket(reachable.path().to_owned()));
        let request = |role| JoinTokenRequest {
            role,
            ttl: Millis(u64::try_from(INVITATION_LIFE.as_millis()).unwrap_or(u64::MAX)),
            uses: None,
            note: "made when the cluster began".to_owned(),
        };
        let server = client.create_join_token(&request(JoinRole::Server)).await?;
        let worker = client.create_join_token(&request(JoinRole::Worker)).await?;
        anyhow::Ok((server, worker))
    };
    match made.await {
        Ok((server, worker)) => {
            ready.join = Some(JoinTokens { server: server.token, worker: worker.token });
            ready.join_command = Some(JoinTokens { server: server.command, worker: worker.command });
        }
        Err(error) => tracing::warn!(error = format!("{error:#}"), "no join tokens were made; make them with   shoal join-token create"),
    }
}
