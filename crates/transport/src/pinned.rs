//! Calls from outside: by whoever has no certificate, but knows the digest of the cluster's authority, from a join token or a saved context. Owns that nothing is
//! said before the digest was found and the server's certificate proven under it; must never take the first chain on trust.

use std::{sync::Arc, time::Duration};

use rustls::pki_types::CertificateDer;
use tokio::time::timeout;

use crate::{
    authorities::Authorities,
    certificate::{AuthorityCertificate, Side},
    clock::Clock,
    dial::{DialError, Expected, Offer, connect, handshake},
    digest::AuthorityDigest,
    identity::DOMAIN,
    members::Members,
    refusal::Refusal,
    tls::{Peer, Protocol, Stream, Verifier},
    verify::{self, Shown},
};

/// How to call a cluster from outside.
#[derive(Debug, Clone)]
pub struct Pin {
    /// The SHA-256 of its authority's certificate.
    pub authority: AuthorityDigest,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What to speak.
    pub protocol: Protocol,
    /// How long connecting and the handshake may take together; [`crate::HANDSHAKE_MAX`] at most.
    pub connect_max: Duration,
}

/// A connection to a server of the pinned cluster: secrets may be sent over it.
#[derive(Debug)]
pub struct Pinned {
    /// The connection.
    pub stream: Stream,
    /// The authority that signed the server's certificate: the one whose digest was pinned, or one that took its place and that it vouches for.
    pub authority: AuthorityCertificate,
    /// Which server answered.
    pub server: Peer,
}

/// Calls `to` (`host:port`) and makes sure that a server of the pinned cluster answers. Nothing but a handshake is sent before.
///
/// # Errors
/// Nobody answers in time, or it is not a server of that cluster; see [`DialError`].
pub async fn dial_pinned(to: &str, pin: &Pin) -> Result<Pinned, DialError> {
    let digest = pin.authority;
    let (stream, (authority, server)) = dial(to, pin.protocol, pin.clock.clone(), pin.connect_max, move |others| {
        let authority = others.iter().find(|other| AuthorityDigest::of(other) == digest).ok_or(Refusal::NotPinned)?;
        AuthorityCertificate::from_der(authority).map_err(|error| Refusal::Malformed(error.to_string()))
    })
    .await?;
    Ok(Pinned { stream, authority, server })
}

/// Calls `to` (`host:port`) and takes whoever answers as a server of whichever cluster: its certificate is proven under the authority it shows, and nothing
/// proves the authority. Whoever uses the connection proves it inside, as [`crate::FormationToken`] does, and believes nothing before.
///
/// # Errors
/// Nobody answers in time, or it is no server of any cluster; see [`DialError`].
pub async fn dial_unproven(to: &str, clock: Arc<dyn Clock>, connect_max: Duration) -> Result<Pinned, DialError> {
    let (stream, (authority, server)) = dial(to, Protocol::Http1, clock, connect_max, first_shown).await?;
    Ok(Pinned { stream, authority, server })
}

/// The authority that whoever answers at `to` (`host:port`) shows, for a person to compare before it is pinned. The server's certificate is proven under it, but
/// nothing proves the authority: no connection comes out of this, and nothing is sent.
///
/// # Errors
/// Nobody answers in time, or it is no server of any cluster; see [`DialError`].
pub async fn shown_authority(to: &str, clock: Arc<dyn Clock>, connect_max: Duration) -> Result<AuthorityCertificate, DialError> {
    let (_, (authority, _)) = dial(to, Protocol::Http1, clock, connect_max, first_shown).await?;
    Ok(authority)
}

fn first_shown(others: &[CertificateDer<'_>]) -> Result<AuthorityCertificate, Refusal> {
    let shown = others.iter().find_map(|other| AuthorityCertificate::from_der(other).ok());
    shown.ok_or_else(|| Refusal::Malformed("it shows no authority of a cluster".to_owned()))
}

/// Connects, and takes the server that is proven under the authority that `choose` picks from what it shows behind its own certificate, or under one that this
/// authority vouches for.
async fn dial(
    to: &str,
    protocol: Protocol,
    clock: Arc<dyn Clock>,
    within: Duration,
    choose: impl Fn(&[CertificateDer<'_>]) -> Result<AuthorityCertificate, Refusal> + Send + Sync + 'static,
) -> Result<(Stream, (AuthorityCertificate, Peer)), DialError> {
    let verifier = Verifier::new(clock.clone(), move |certificate, behind, now| {
        let trusted = Authorities::from(choose(behind)?);
        // Whoever is outside knows no members, so the dates must hold.
        let judged = verify::judge(&trusted, &Members::default(), Shown { certificate, behind }, Side::Server, now)?;
        Ok((judged.authority, Expected::AnyServer.check(judged.peer)?))
    });
    let dialed = async {
        let stream = connect(to, within).await?;
        handshake(stream, to, DOMAIN, Offer { protocol, clock, credentials: None }, verifier).await
    };
    timeout(within, dialed).await.map_err(|_| DialError::Late { to: to.to_owned(), within })?
}
