//! Why a machine does not form a cluster with the others, each with its code and remedy. Must never be printed here.

use std::{io, path::PathBuf};

use transport::{AuthorityDigest, TokenError};

use crate::decide::Refusal;

/// A machine does not form a cluster.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    /// The token is none.
    #[error("cannot form a cluster: {0}")]
    Token(#[from] TokenError),
    /// There is none.
    #[error("cannot form a cluster: it takes a formation token, the same on every machine")]
    NoToken,
    /// It was bound by another token.
    #[error(
        "cannot form a cluster: this data directory is bound, by another formation token, to the cluster with the authority {authority}"
    )]
    OtherBond {
        /// To which.
        authority: AuthorityDigest,
    },
    /// What the others say rules it out.
    #[error("cannot form a cluster: {0}")]
    Refused(#[from] Refusal),
    /// A file cannot be used.
    #[error("cannot {attempt} {}", path.display())]
    File {
        /// `read`, `write`, `remove`.
        attempt: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A socket cannot be used.
    #[error("cannot listen while the cluster is being formed")]
    Listen(#[source] io::Error),
    /// What it shows in handshakes cannot be made.
    #[error("cannot make what this machine shows to the others: {why}")]
    Shown {
        /// Why.
        why: String,
    },
}

impl FormError {
    /// `E0619` and the like; empty where there is only the machine's own word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Token(_) | Self::NoToken | Self::OtherBond { .. } => "E0619",
            Self::Refused(refusal) => refusal.code(),
            Self::File { .. } | Self::Listen(_) | Self::Shown { .. } => "",
        }
    }

    /// The line that mends it; empty where there is none.
    pub fn help(&self) -> String {
        match self {
            Self::Token(_) | Self::NoToken => {
                "make one with   shoal formation-token create --out FILE   give every machine the same file, and name it with --token-file"
                    .to_owned()
            }
            Self::OtherBond { .. } => {
                "start it with the token it was started with first, or give it an empty directory with   --data-dir DIR".to_owned()
            }
            Self::Refused(refusal) => refusal.help(),
            Self::File { .. } | Self::Listen(_) | Self::Shown { .. } => String::new(),
        }
    }
}
