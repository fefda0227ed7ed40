//! The join token that a cluster has from its beginning, when it was formed by several machines at once: on its way from a file of the founder into the log. Owns
//! that file; must never hold the token's secret.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use model::id::Timestamp;
use serde::{Deserialize, Serialize};
use state::{
    Applied, Command, Refused,
    command::{Change, CommandV1, CreateJoinToken, NodeRole, UserCommand},
};
use transport::{JoinToken, TokenId};

use crate::{RunError, api_error::chain, clock, core::Core, founding::write_aside};

/// Where it is, below the data directory.
const FILE: &str = "control/invitation.json";

/// A join token for servers, until the log has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    id: TokenId,
    /// The sha256 of its secret.
    secret_hash: [u8; 32],
    /// How many servers it lets in.
    uses: u32,
    /// How long, in milliseconds from when the log has it.
    life_ms: u64,
}

impl Invitation {
    /// Of `token`, which lets in `uses` servers for `life`.
    pub fn of(token: &JoinToken, uses: u32, life: Duration) -> Self {
        let life_ms = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        Self { id: token.id, secret_hash: token.hash().to_bytes(), uses, life_ms }
    }

    /// Where it is kept below the data directory `data`.
    pub fn path(data: &Path) -> PathBuf {
        data.join(FILE)
    }

    /// Writes it aside and renames it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, data: &Path) -> io::Result<()> {
        write_aside(&Self::path(data), self)
    }
}

/// Writes the token that the founder's file holds into the log, when there is one, and removes the file. Done already: nothing happens.
pub(crate) async fn give_out(core: &Core) -> Result<(), RunError> {
    let path = Invitation::path(&core.settings.data);
    let io = |attempt: &str| {
        let attempt = format!("{attempt} {FILE}");
        move |source| RunError::Io { attempt, source }
    };
    let invitation: Invitation = match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| io("read")(error.into()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(io("read")(source)),
    };
    let failed = |message: String| RunError::Join { node: core.settings.node.clone(), message };
    let id = invitation.id.to_string().parse().map_err(|error: model::id::InvalidId| failed(error.to_string()))?;
    let at = clock::now();
    let create = CreateJoinToken {
        id,
        secret_hash: invitation.secret_hash,
        role: NodeRole::Server,
        expires_at: Timestamp(at.0.saturating_add(invitation.life_ms)),
        uses: Some(invitation.uses),
        note: "for the servers that formed the cluster".to_owned(),
    };
    let user = UserCommand { at, by: "formation".to_owned(), from: String::new(), key: None, change: Change::CreateJoinToken(create) };
    let proposed = core.consensus.propose(Command::V1(CommandV1::User(user))).await;
    match proposed.map_err(|error| failed(chain(&error)))?.1 {
        Ok(Applied::TokenCreated { .. }) | Err(Refused::TokenExists { .. }) => {}
        Ok(other) => unreachable!("a token that is made is answered by `TokenCreated`, not {other:?}"),
        Err(refused) => return Err(failed(refused.to_string())),
    }
    fs::remove_file(&path).map_err(io("remove"))
}
