//! The join token that a cluster has from its beginning, when it was formed by several machines at once: on its way from a file of the founder into the log. Owns
//! that file; must never hold the token's secret.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use consensus::{Consensus, ProposeError};
use model::{id::Timestamp, problem::chain};
use serde::{Deserialize, Serialize};
use state::{
    Applied, Command, Refused,
    command::{Change, CreateJoinToken, NodeRole},
};
use transport::{Clock as _, JoinToken, SystemClock, TokenId};

use crate::{
    cluster::write_aside,
    first_entry::{First, FirstEntryError},
    machine::Machine,
};

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
///
/// # Errors
/// The file cannot be read or removed, or the entry not be written.
pub async fn give_out(consensus: &Consensus<Machine>, first: &First<'_>) -> Result<(), FirstEntryError> {
    let io = |attempt: &'static str| move |source| FirstEntryError::Io { attempt, source };
    let path = Invitation::path(first.data);
    let invitation: Invitation = match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| io("read control/invitation.json")(error.into()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(io("read control/invitation.json")(source)),
    };
    let failed = |message: String| first.failed(message);
    let id = invitation.id.to_string().parse().map_err(|error: model::id::InvalidId| failed(error.to_string()))?;
    let at = SystemClock.now();
    let create = CreateJoinToken {
        id,
        secret_hash: invitation.secret_hash,
        role: NodeRole::Server,
        expires_at: Timestamp(at.0.saturating_add(invitation.life_ms)),
        uses: Some(invitation.uses),
        note: "for the servers that formed the cluster".to_owned(),
    };
    let proposed = consensus.propose(Command::user(at, "formation", Change::CreateJoinToken(create))).await;
    match proposed.map(|(_, answer)| answer) {
        Ok(Ok(Applied::TokenCreated { .. }) | Err(Refused::TokenExists { .. })) => {}
        // Only who was let in by it leads in the place of the founder.
        Err(ProposeError::NotLeader { .. }) => {}
        Ok(Ok(other)) => unreachable!("a token that is made is answered by `TokenCreated`, not {other:?}"),
        Ok(Err(refused)) => return Err(failed(refused.to_string())),
        Err(error) => return Err(failed(chain(&error))),
    }
    fs::remove_file(&path).map_err(io("remove control/invitation.json"))
}

#[cfg(test)]
mod tests {
    use transport::{AuthorityDigest, FormationToken};

    use super::*;

    #[test]
    fn the_file_holds_what_the_log_compares_and_no_secret() {
        let data = tempfile::tempdir().expect("a directory");
        fs::create_dir(data.path().join("control")).expect("a directory");
        let token = FormationToken::create().join_token(AuthorityDigest::from_bytes([1; 32]));
        let invitation = Invitation::of(&token, 2, Duration::from_secs(86_400));
        invitation.write(data.path()).expect("writable");
        let text = fs::read_to_string(Invitation::path(data.path())).expect("it is there");
        let whole = token.to_string();
        let (_, secret) = whole.split_once('.').expect("a token has a secret");
        let (secret, _) = secret.split_once('-').expect("a token has a checksum");
        assert!(!text.contains(secret), "{text}");
        assert!(text.contains(&token.id.to_string()) && text.contains(r#""uses":2,"lifeMs":86400000"#), "{text}");
        assert_eq!(serde_json::from_str::<Invitation>(&text).expect("readable"), invitation);
    }
}
