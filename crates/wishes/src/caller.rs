//! Who asks, once it is proven. Owns what the history calls them; must never know how they proved it.

use api::v1::Principal;
use model::id::{Timestamp, TokenId};
use state::State;

use crate::limits::BY_BYTES_MAX;

/// What a handler knows of its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who, and what they may.
    pub principal: Principal,
    /// Whether a token says so; if not, the name is what the caller calls itself.
    pub by_token: bool,
    /// Which one.
    pub token: Option<TokenId>,
    /// From where, for the audit log; empty when over no network.
    pub from: String,
    /// What the call is remembered by, when it is to be done only once.
    pub key: Option<String>,
}

impl Caller {
    /// Whether the token that let the caller in still does: a stream outlives the moment it was opened in.
    pub fn holds(&self, state: &State, now: Timestamp) -> bool {
        self.token.as_ref().is_none_or(|token| state.api_token(token).is_some_and(|known| !known.expired(now)))
    }

    /// The name the history shows: the token's, or what the owner of this machine calls itself.
    pub fn by(&self, claimed: &str) -> String {
        let claimed: String = claimed.chars().filter(|letter| !letter.is_control()).take(BY_BYTES_MAX / 4).collect();
        if self.by_token || claimed.is_empty() { self.principal.name.clone() } else { claimed }
    }
}
