//! Who a node is, and how nodes talk: identities in certificates, the cluster's authority, mutual TLS that survives a wrong clock, join tokens, sealed secrets.
//!
//! The only door to rustls between nodes. Must never decide who may join or what a caller may do: it says who called, and its callers judge that. Must never
//! know Raft, HTTP routes or what is inside a request.
//!
//! Start with [`NodeIdentity`] for who a node is, [`Authority`] for who says so, [`Members`] for who still belongs, then [`Acceptor`] and [`Dialer`].

mod accept;
mod authorities;
mod authority;
mod certificate;
mod channel;
mod clock;
mod credentials;
mod dial;
mod digest;
mod files;
#[cfg(test)]
mod fixture;
mod formation;
mod identity;
mod key;
mod limits;
mod members;
mod pinned;
mod refusal;
mod request;
#[cfg(test)]
mod rotating;
mod seal;
#[cfg(test)]
mod tests;
mod text;
mod tls;
mod token;
mod verify;

pub use accept::{AcceptError, Accepted, Acceptor, AcceptorConfig, Asks};
pub use authorities::{Authorities, AuthoritiesError, AuthorityList, AuthorityParts};
pub use authority::{Authority, AuthorityError, Issue};
pub use certificate::{AuthorityCertificate, CertificateError, Validity};
pub use channel::{Body, Channel, ChannelConfig, ChannelError, Sent, body, empty_body};
pub use clock::{Clock, SystemClock};
pub use credentials::{Credentials, CredentialsError, Identity};
pub use dial::{DialError, Dialer, Expected};
pub use digest::{AuthorityDigest, KeyDigest};
pub use files::FileError;
pub use formation::{FormationToken, Proof, nonce};
pub use identity::{ClusterId, NodeIdentity, Role};
pub use key::{KeyError, KeyPair, PublicKey};
pub use limits::{AUTHORITY_LIFETIME, BACKDATE, HANDSHAKE_MAX, NODE_LIFETIME, PING_EVERY, PING_MAX, RETIRED_MAX};
pub use members::{Known, Members, MembersError, Standing};
pub use pinned::{Pin, Pinned, dial_pinned, dial_unproven, shown_authority};
pub use refusal::Refusal;
pub use request::RequestError;
pub use seal::{ClusterKey, KeyId, Place, SealError, Sealed};
pub use text::InvalidText;
pub use tls::{Caller, Peer, Protocol, Stream};
pub use token::{ApiToken, JoinToken, TokenError, TokenHash, TokenId};
