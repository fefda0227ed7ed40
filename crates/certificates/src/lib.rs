//! TLS certificates: which pairs lie in a directory, whether they can be used, which one answers for a name, which was the last good one.
//!
//! Read in the process that may read keys ([`Keeper`]), handed as texts to the one that serves ([`CertificateSet`]). Must never speak TLS, and never show or
//! write a key.

mod certificate;
mod directory;
mod keeper;
mod limits;
mod validity;
mod watch;

pub use certificate::{Certificate, CertificateError, CertificatePair, CertificateSet, KeyText};
pub use keeper::{Bundle, Keeper, Unusable};
pub use watch::keep;
