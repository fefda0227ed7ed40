//! What lets nodes and people in. Owns tokens and their use; must never see a secret, and forgets expired ones whenever one is made.

use model::id::TokenId;

use crate::{
    ApiTokenRecord, Applied, JoinTokenRecord, Refused, State,
    command::{ApiRole, CreateApiToken, CreateJoinToken, Join, NodeRole, UserCommand},
    limits::{API_TOKENS_MAX, JOIN_TOKENS_MAX, bounded},
    refused::NotAdmitted,
};

use super::wishes::refuse_above;

impl State {
    pub(super) fn create_join_token(&mut self, user: &UserCommand, create: &CreateJoinToken) -> Result<Applied, Refused> {
        let what = || format!("creating join token `{}`", create.id);
        self.refuse_known_token(&create.id)?;
        if create.expires_at <= user.at || create.uses == Some(0) {
            return Err(Refused::Invalid {
                what: what(),
                rule: "it has to let somebody in: its end lies ahead, and it has at least one use",
            });
        }
        let expired: Vec<_> = self.join_tokens.values().filter(|token| token.expired(user.at)).map(|token| token.id.clone()).collect();
        refuse_above(what(), "join tokens", (self.join_tokens.size() - expired.len()) as u64 + 1, JOIN_TOKENS_MAX as u64)?;
        expired.iter().for_each(|id| self.join_tokens.remove(id));
        self.join_tokens.insert(JoinTokenRecord {
            id: create.id.clone(),
            secret_hash: create.secret_hash,
            role: create.role,
            expires_at: create.expires_at,
            uses_left: create.uses,
            used: 0,
            created_at: user.at,
            created_by: bounded(&user.by),
            note: bounded(&create.note),
            version: self.index,
        });
        Ok(Applied::TokenCreated { id: create.id.clone() })
    }

    pub(super) fn revoke_join_token(&mut self, id: &TokenId) -> Result<Applied, Refused> {
        if !self.join_tokens.contains(id) {
            return Err(Refused::UnknownToken { id: id.clone() });
        }
        self.join_tokens.remove(id);
        Ok(Applied::TokenRevoked { id: id.clone() })
    }

    pub(super) fn create_api_token(&mut self, user: &UserCommand, create: &CreateApiToken) -> Result<Applied, Refused> {
        let what = || format!("creating token `{}`", create.id);
        self.refuse_known_token(&create.id)?;
        if create.expires_at.is_some_and(|end| end <= user.at) {
            return Err(Refused::Invalid { what: what(), rule: "its end lies ahead" });
        }
        if create.role == ApiRole::Admin && create.namespace.is_some() {
            return Err(Refused::Invalid { what: what(), rule: "an admin is not held to a namespace" });
        }
        let expired: Vec<_> = self.api_tokens.values().filter(|token| token.expired(user.at)).map(|token| token.id.clone()).collect();
        refuse_above(what(), "tokens", (self.api_tokens.size() - expired.len()) as u64 + 1, API_TOKENS_MAX as u64)?;
        expired.iter().for_each(|id| self.api_tokens.remove(id));
        self.api_tokens.insert(ApiTokenRecord {
            id: create.id.clone(),
            secret_hash: create.secret_hash,
            name: bounded(&create.name),
            role: create.role,
            namespace: create.namespace.clone(),
            expires_at: create.expires_at,
            created_at: user.at,
            created_by: bounded(&user.by),
            version: self.index,
        });
        Ok(Applied::TokenCreated { id: create.id.clone() })
    }

    pub(super) fn revoke_api_token(&mut self, id: &TokenId) -> Result<Applied, Refused> {
        if !self.api_tokens.contains(id) {
            return Err(Refused::UnknownToken { id: id.clone() });
        }
        self.api_tokens.remove(id);
        Ok(Applied::TokenRevoked { id: id.clone() })
    }

    /// Takes one use of the token `join` shows, in the same entry that admits the node, so that two nodes never share the last one.
    pub(super) fn use_join_token(&mut self, join: &Join) -> Result<(), Refused> {
        let id = self.admitting_token(join).map_err(|reason| Refused::NotAdmitted { name: join.node.name.clone(), reason })?;
        let index = self.index;
        if let Some(token) = self.join_tokens.get_mut(&id) {
            token.uses_left = token.uses_left.map(|left| left.saturating_sub(1));
            token.used = token.used.saturating_add(1);
            token.version = index;
        }
        Ok(())
    }

    fn admitting_token(&self, join: &Join) -> Result<TokenId, NotAdmitted> {
        let shown = join.admission.as_ref().ok_or(NotAdmitted::Nothing)?;
        let known = self.join_tokens.get(&shown.token).filter(|token| token.secret_hash == shown.secret_hash);
        let token = known.ok_or(NotAdmitted::Unknown)?;
        let wishes = if join.node.keys.server.is_some() { NodeRole::Server } else { NodeRole::Worker };
        if token.role != wishes {
            return Err(NotAdmitted::OtherRole { token: token.role, node: wishes });
        }
        if token.expired(join.at) {
            return Err(NotAdmitted::Expired);
        }
        if token.uses_left == Some(0) {
            return Err(NotAdmitted::UsedUp);
        }
        Ok(token.id.clone())
    }

    fn refuse_known_token(&self, id: &TokenId) -> Result<(), Refused> {
        if self.join_tokens.contains(id) || self.api_tokens.contains(id) {
            return Err(Refused::TokenExists { id: id.clone() });
        }
        Ok(())
    }
}
