//! Why a peer's certificate was refused, in words of whoever runs the cluster. Owns the words and the alert that the peer gets to see; must never decide.

use model::id::Timestamp;

use crate::{
    clock::tell,
    identity::{ClusterId, NodeIdentity},
};

/// What is wrong with the certificate that a peer showed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no certificate.
    #[error("its certificate cannot be read: {0}")]
    Malformed(String),
    /// It says another cluster.
    #[error("its certificate is for cluster {theirs}, and this is cluster {ours}")]
    OtherCluster {
        /// What it says; nobody has checked that.
        theirs: ClusterId,
        /// Ours.
        ours: ClusterId,
    },
    /// Somebody else signed it.
    #[error("its certificate was not signed by the authority of cluster {ours}")]
    NotSigned {
        /// Ours.
        ours: ClusterId,
    },
    /// It may not be used on that side of a connection.
    #[error("its certificate is not made for this: {0}")]
    Purpose(String),
    /// It says no node, or several.
    #[error("its certificate does not name one node")]
    NoIdentity,
    /// It has ended, and the list of members does not speak for it.
    #[error(
        "the certificate of {identity} ended at {}, and this machine's clock says {}; one of the two clocks is wrong, or that node was cut off too long",
        tell(*not_after), tell(*now)
    )]
    Expired {
        /// Whose it is.
        identity: NodeIdentity,
        /// When it ended.
        not_after: Timestamp,
        /// What our clock says.
        now: Timestamp,
    },
    /// It has not begun, and the list of members does not speak for it.
    #[error(
        "the certificate of {identity} begins at {}, and this machine's clock says {}; set the clock of the machine that is wrong",
        tell(*not_before), tell(*now)
    )]
    NotYetValid {
        /// Whose it is.
        identity: NodeIdentity,
        /// When it begins.
        not_before: Timestamp,
        /// What our clock says.
        now: Timestamp,
    },
    /// An authority signed it that the cluster has replaced, and the list of members does not speak for it.
    #[error(
        "the certificate of {identity} is of an authority that this cluster has replaced; make a new token and let the node join with it"
    )]
    Retired {
        /// Whose it is.
        identity: NodeIdentity,
    },
    /// The node does not belong to the cluster any more.
    #[error("{identity} was removed from the cluster; to come back it must join anew with an empty data directory")]
    Removed {
        /// Whose it is.
        identity: NodeIdentity,
    },
    /// The cluster knows that node by another key.
    #[error("the key of {identity} is not the one by which the cluster knows that node")]
    OtherKey {
        /// Who it says it is.
        identity: NodeIdentity,
    },
    /// Somebody else answered.
    #[error("{found} answered instead of {expected}")]
    Unexpected {
        /// Who was called.
        expected: String,
        /// Who answered.
        found: NodeIdentity,
    },
    /// The chain does not hold the certificate that was pinned.
    #[error("it shows the certificate of another authority than the one that is pinned here")]
    NotPinned,
    /// A node must show who it is here, and it did not.
    #[error("it shows no certificate")]
    NoCertificate,
}

impl Refusal {
    /// As rustls tells it to the peer: an alert is all that the peer learns.
    pub(crate) fn to_tls(&self) -> rustls::Error {
        use rustls::CertificateError as Tls;
        rustls::Error::InvalidCertificate(match self {
            Self::Malformed(_) => Tls::BadEncoding,
            Self::OtherCluster { .. } | Self::NotSigned { .. } | Self::NotPinned | Self::Retired { .. } => Tls::UnknownIssuer,
            Self::Purpose(_) => Tls::InvalidPurpose,
            Self::NoIdentity | Self::Unexpected { .. } => Tls::NotValidForName,
            Self::Expired { .. } => Tls::Expired,
            Self::NotYetValid { .. } => Tls::NotValidYet,
            Self::Removed { .. } => Tls::Revoked,
            Self::OtherKey { .. } | Self::NoCertificate => Tls::ApplicationVerificationFailure,
        })
    }
}
