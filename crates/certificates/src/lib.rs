//! TLS certificates: which pairs lie in a directory, whether they can be used, which one answers for a name, which was the last good one.
//!
//! Read in the process that may read keys ([`Keeper`]), handed as texts to the one that serves ([`CertificateSet`]). Must never speak TLS, and never show or
//! write a key.

mod certificate;
mod dates;
mod directory;
mod keeper;
mod limits;
mod set;
mod validity;
mod watch;

pub use certificate::{Certificate, CertificateError, CertificatePair, Facts, KeyText};
pub use dates::{Dates, Standing};
pub use keeper::{Bundle, Keeper, Unusable};
pub use set::CertificateSet;
pub use watch::keep;
