//! Tokens that people carry from one machine to another. Owns their form, a check against typing errors, and comparing them without telling how much was right;
//! must never know who may have one.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    digest::AuthorityDigest,
    formation::FORMATION_PREFIX,
    identity::Role,
    text::{self, InvalidText},
};

/// What join tokens begin with. The number counts their forms.
const PREFIX: &str = "SHOAL1-";

/// What API tokens begin with, so that tools which look for leaked secrets find them.
const API_PREFIX: &str = "shoal_";

/// Of 32^4 typing errors, one is not seen.
const CHECKSUM_CHARACTERS: usize = 4;

/// Why a text is no token. None of these words comes out of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Something else.
    #[error("this is not a join token; one begins with SHOAL1-s- or SHOAL1-w- and is printed by `shoal join-token create`")]
    NotJoinToken,
    /// Something else.
    #[error("this is not an API token; one begins with shoal_ and is printed by `shoal token create`")]
    NotApiToken,
    /// Something else.
    #[error("this is not a formation token; one begins with SHOAL1-f- and is printed by `shoal formation-token create`")]
    NotFormationToken,
    /// It lets machines form a cluster, and nobody join one.
    #[error("this is a formation token: it goes with --expect and --peers, and lets nobody join a cluster that exists")]
    Formation,
    /// A later version's.
    #[error("this join token was made by a newer version of shoal; this one reads SHOAL1 tokens")]
    Newer,
    /// It ends too early or too late.
    #[error("the token is not whole: it has {found} characters in place of {expected}; copy it again, in one piece")]
    Length {
        /// Characters that it has.
        found: usize,
        /// Characters of every such token.
        expected: usize,
    },
    /// A character is wrong.
    #[error("the token has a typing error: its last four characters do not fit the rest; copy it again")]
    Checksum,
    /// A part of it is not what stands there.
    #[error("the token cannot be read: {0}")]
    Part(#[from] InvalidText),
}

/// What a token is called where it is listed; no secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; 5]);

impl TokenId {
    /// A new one: 40 random bits, told apart among thousands.
    pub fn random() -> Self {
        Self(text::random())
    }

    /// One as it was stored.
    pub const fn from_bytes(bytes: [u8; 5]) -> Self {
        Self(bytes)
    }

    /// To store it.
    pub const fn to_bytes(self) -> [u8; 5] {
        self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&text::encode(&self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "TokenId({self})")
    }
}

impl FromStr for TokenId {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        text::decode("a token's id", text).map(Self)
    }
}

impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// What is stored of a token. SHA-256 once is right here: a secret of 128 random bits cannot be guessed from it however fast the guesses are, while slow hashes
/// are for passwords, which can.
#[derive(Clone, Copy, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// One as it was stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// To store it.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

/// In constant time.
impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TokenHash(…)")
    }
}

/// 128 random bits that nobody else knows. Gone from memory with its owner; never shown but inside its token.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<[u8; 16]>);

impl Secret {
    pub(crate) fn random() -> Self {
        Self::from_bytes(text::random())
    }

    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    pub(crate) fn parse(text: &str) -> Result<Self, InvalidText> {
        text::decode("a token's secret", text).map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// `purpose` keeps the hash of one kind of token from being that of another.
    fn hash(&self, purpose: &str) -> TokenHash {
        TokenHash(Sha256::new().chain_update(purpose).chain_update([0]).chain_update(self.0.as_slice()).finalize().into())
    }
}

/// In constant time.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("…")
    }
}

/// Lets a machine join: it says which cluster, and proves that it may. `SHOAL1-s-AUTHORITY-ID.SECRET-CHECKSUM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// What the machine may become.
    pub role: Role,
    /// The cluster's authority, which is checked before the secret is sent.
    pub authority: AuthorityDigest,
    /// What the token is called in lists.
    pub id: TokenId,
    secret: Secret,
}

impl JoinToken {
    /// A new one.
    pub fn create(role: Role, authority: AuthorityDigest) -> Self {
        Self { role, authority, id: TokenId::random(), secret: Secret::random() }
    }

    pub(crate) fn from_parts(role: Role, authority: AuthorityDigest, id: TokenId, secret: Secret) -> Self {
        Self { role, authority, id, secret }
    }

    /// What is stored of it, and compared with.
    pub fn hash(&self) -> TokenHash {
        self.secret.hash("shoal join token")
    }

    fn body(&self) -> Zeroizing<String> {
        let role = if self.role == Role::Server { "s" } else { "w" };
        let secret = Zeroizing::new(text::encode(self.secret.0.as_slice()));
        Zeroizing::new(format!("{PREFIX}{role}-{}-{}.{}", self.authority, self.id, *secret))
    }
}

/// The whole token with its secret, for whoever carries it.
impl fmt::Display for JoinToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body();
        write!(out, "{}-{}", *body, checksum(&body))
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let Some(rest) = text.strip_prefix(PREFIX) else {
            let is_newer = text.strip_prefix("SHOAL").and_then(|rest| rest.split_once('-')).is_some_and(|(number, _)| is_number(number));
            return Err(if is_newer { TokenError::Newer } else { TokenError::NotJoinToken });
        };
        if text.starts_with(FORMATION_PREFIX) {
            return Err(TokenError::Formation);
        }
        let expected = PREFIX.len() + "s-".len() + 52 + "-".len() + 8 + ".".len() + 26 + "-".len() + CHECKSUM_CHARACTERS;
        let found = text.chars().count();
        if found != expected {
            return Err(TokenError::Length { found, expected });
        }
        let (body, check) = text.rsplit_once('-').ok_or(TokenError::Checksum)?;
        if checksum(body) != check {
            return Err(TokenError::Checksum);
        }
        let (role, rest) = rest.split_once('-').ok_or(TokenError::NotJoinToken)?;
        let role = match role {
            "s" => Role::Server,
            "w" => Role::Worker,
            _ => return Err(TokenError::NotJoinToken),
        };
        let (authority, rest) = rest.split_once('-').ok_or(TokenError::Checksum)?;
        let (rest, _) = rest.split_once('-').ok_or(TokenError::Checksum)?;
        let (id, secret) = rest.split_once('.').ok_or(TokenError::Checksum)?;
        Ok(Self { role, authority: authority.parse()?, id: id.parse()?, secret: Secret::parse(secret)? })
    }
}

/// Lets a person or a program use the API. `shoal_ID_SECRET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// What the token is called in lists.
    pub id: TokenId,
    secret: Secret,
}

impl ApiToken {
    /// A new one.
    pub fn create() -> Self {
        Self { id: TokenId::random(), secret: Secret::random() }
    }

    /// What is stored of it, and compared with.
    pub fn hash(&self) -> TokenHash {
        self.secret.hash("shoal api token")
    }
}

/// The whole token with its secret, for whoever carries it.
impl fmt::Display for ApiToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = Zeroizing::new(text::encode(self.secret.0.as_slice()));
        write!(out, "{API_PREFIX}{}_{}", self.id, *secret)
    }
}

impl FromStr for ApiToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let rest = text.strip_prefix(API_PREFIX).ok_or(TokenError::NotApiToken)?;
        let expected = API_PREFIX.len() + 8 + "_".len() + 26;
        let found = text.chars().count();
        if found != expected {
            return Err(TokenError::Length { found, expected });
        }
        let (id, secret) = rest.split_once('_').ok_or(TokenError::NotApiToken)?;
        Ok(Self { id: id.parse()?, secret: Secret::parse(secret)? })
    }
}

/// The first characters of the body's SHA-256. It is no protection, and need not be: the secret is.
pub(crate) fn checksum(body: &str) -> String {
    let digest = Sha256::new().chain_update("shoal token checksum\0").chain_update(body).finalize();
    let mut text = text::encode(&digest);
    text.truncate(CHECKSUM_CHARACTERS);
    text
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
