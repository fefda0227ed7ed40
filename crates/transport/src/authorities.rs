//! Which authorities a node goes by: those it trusts, those it trusted before, and the certificates by which each vouches for the next. Owns that set, its form
//! in files and messages, and that an older set never takes the place of a newer one; must never judge a peer.

use std::{path::Path, sync::Arc};

use data_encoding::BASE64;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::{
    certificate::{AuthorityCertificate, CertificateError},
    digest::AuthorityDigest,
    files::{self, FileError},
    identity::ClusterId,
    limits::{FILE_BYTES_MAX, RETIRED_MAX},
};

/// Why a set of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// One of its certificates cannot be read.
    #[error("one of the authorities cannot be used")]
    Certificate(#[from] CertificateError),
    /// A certificate is no base64.
    #[error("one of the authorities is not written as base64")]
    Encoding(#[source] data_encoding::DecodeError),
    /// It trusts nobody, several clusters, or has more than a set may have.
    #[error("this is no set of authorities: {0}")]
    Shape(&'static str),
    /// Its file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its file is something else.
    #[error("{path} is not a set of authorities")]
    Format {
        /// The file.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// A set of authorities as files and messages have it; each certificate is DER as base64.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityList {
    /// The log index of the last change. A list with a lower one is older.
    pub version: u64,
    /// Those that are trusted. The first one signs.
    pub trusted: Vec<String>,
    /// Those that were, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<String>,
    /// Certificates of authorities that the one before them signed, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crosses: Vec<String>,
}

/// The authorities a node goes by. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authorities(Arc<Set>);

#[derive(Debug)]
struct Set {
    version: u64,
    trusted: Vec<AuthorityCertificate>,
    retired: Vec<AuthorityCertificate>,
    crosses: Vec<CertificateDer<'static>>,
}

/// What a set is made of, in DER.
#[derive(Debug, Clone, Copy)]
pub struct AuthorityParts<'a> {
    /// See [`AuthorityList::version`].
    pub version: u64,
    /// See [`AuthorityList::trusted`].
    pub trusted: &'a [&'a [u8]],
    /// See [`AuthorityList::retired`].
    pub retired: &'a [&'a [u8]],
    /// See [`AuthorityList::crosses`].
    pub crosses: &'a [&'a [u8]],
}

impl Authorities {
    /// Puts a set together.
    ///
    /// # Errors
    /// A certificate is no authority's, nobody is trusted, or they are not all of one cluster.
    pub fn new(parts: &AuthorityParts<'_>) -> Result<Self, AuthoritiesError> {
        let read = |list: &[&[u8]]| list.iter().map(|der| AuthorityCertificate::from_der(der)).collect::<Result<Vec<_>, _>>();
        let set = Set {
            version: parts.version,
            trusted: read(parts.trusted)?,
            retired: read(parts.retired)?,
            crosses: parts.crosses.iter().map(|der| CertificateDer::from(der.to_vec())).collect(),
        };
        let Some(first) = set.trusted.first() else { return Err(AuthoritiesError::Shape("it trusts nobody")) };
        let cluster = first.cluster();
        if set.trusted.iter().chain(&set.retired).any(|one| one.cluster() != cluster) {
            return Err(AuthoritiesError::Shape("they are of several clusters"));
        }
        if set.trusted.len() > 2 || set.retired.len() > RETIRED_MAX || set.crosses.len() > RETIRED_MAX + 1 {
            return Err(AuthoritiesError::Shape("they are more than a cluster has"));
        }
        Ok(Self(Arc::new(set)))
    }

    /// The set in a message.
    ///
    /// # Errors
    /// As [`Authorities::new`], or a certificate is not written as it should be.
    pub fn from_list(list: &AuthorityList) -> Result<Self, AuthoritiesError> {
        let decode = |texts: &[String]| texts.iter().map(|text| BASE64.decode(text.as_bytes())).collect::<Result<Vec<_>, _>>();
        let read = |texts: &[String]| decode(texts).map_err(AuthoritiesError::Encoding);
        let (trusted, retired, crosses) = (read(&list.trusted)?, read(&list.retired)?, read(&list.crosses)?);
        Self::new(&AuthorityParts {
            version: list.version,
            trusted: &slices(&trusted),
            retired: &slices(&retired),
            crosses: &slices(&crosses),
        })
    }

    /// As messages have it.
    pub fn to_list(&self) -> AuthorityList {
        let encode = |list: &[AuthorityCertificate]| list.iter().map(|one| BASE64.encode(one.der())).collect();
        AuthorityList {
            version: self.0.version,
            trusted: encode(&self.0.trusted),
            retired: encode(&self.0.retired),
            crosses: self.0.crosses.iter().map(|cross| BASE64.encode(cross)).collect(),
        }
    }

    /// Reads the file that [`Authorities::write`] wrote; none when there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, AuthoritiesError> {
        if !path.exists() {
            return Ok(None);
        }
        let text = files::read(path, FILE_BYTES_MAX)?;
        let list = serde_json::from_slice(&text).map_err(|source| AuthoritiesError::Format { path: path.display().to_string(), source })?;
        Self::from_list(&list).map(Some)
    }

    /// Writes it aside and renames it.
    pub(crate) fn write(&self, path: &Path) -> Result<(), FileError> {
        let mut text = serde_json::to_vec_pretty(&self.to_list()).expect("a list holds text and a number");
        text.push(b'\n');
        files::write_private(path, &text)
    }

    /// The log index of the last change; 0 before the first.
    pub fn version(&self) -> u64 {
        self.0.version
    }

    /// The cluster that all of them speak for.
    pub fn cluster(&self) -> ClusterId {
        self.signing().cluster()
    }

    /// The one that signs new certificates: whose own is of another one asks for the next.
    pub fn signing(&self) -> &AuthorityCertificate {
        self.0.trusted.first().expect("`new` lets no set in that trusts nobody")
    }

    /// Those that are trusted, first of all the one that signs.
    pub fn trusted(&self) -> &[AuthorityCertificate] {
        &self.0.trusted
    }

    /// Those that were trusted before: their word counts for members alone, whose keys are known.
    pub fn retired(&self) -> &[AuthorityCertificate] {
        &self.0.retired
    }

    /// The one with this digest, trusted or retired.
    pub fn find(&self, digest: &AuthorityDigest) -> Option<&AuthorityCertificate> {
        self.0.trusted.iter().chain(&self.0.retired).find(|one| one.digest() == *digest)
    }

    /// What is shown behind a certificate that `issuer` signed: first `issuer`, then all by which somebody who trusts an older one finds the way.
    pub(crate) fn behind(&self, issuer: &AuthorityCertificate) -> Vec<CertificateDer<'static>> {
        let others = self.0.trusted.iter().chain(&self.0.retired).filter(|one| one.digest() != issuer.digest());
        let crosses = self.0.crosses.iter().cloned();
        std::iter::once(issuer.for_tls().clone()).chain(crosses).chain(others.map(|one| one.for_tls().clone())).collect()
    }
}

/// A cluster whose authority was never another.
impl From<AuthorityCertificate> for Authorities {
    fn from(only: AuthorityCertificate) -> Self {
        Self(Arc::new(Set { version: 0, trusted: vec![only], retired: Vec::new(), crosses: Vec::new() }))
    }
}

fn slices(list: &[Vec<u8>]) -> Vec<&[u8]> {
    list.iter().map(Vec::as_slice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Lab, NOW};

    #[test]
    fn a_set_is_the_same_after_its_file_and_its_message() {
        let lab = Lab::new();
        let (next, cross) = lab.successor();
        let (old, new) = (lab.authority.certificate().der(), next.authority.certificate().der());
        let set = Authorities::new(&AuthorityParts { version: 7, trusted: &[new], retired: &[old], crosses: &[&cross] }).expect("a set");
        assert_eq!((set.version(), set.signing().digest()), (7, next.authority.digest()));
        assert_eq!(Authorities::from_list(&set.to_list()).expect("its own").to_list(), set.to_list());
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("authorities.json");
        assert!(Authorities::read(&path).expect("none").is_none());
        set.write(&path).expect("written");
        assert_eq!(Authorities::read(&path).expect("read").expect("there").to_list(), set.to_list());
        std::fs::write(&path, "[]").expect("written");
        assert!(matches!(Authorities::read(&path), Err(AuthoritiesError::Format { .. })));
        assert!(set.find(&lab.authority.digest()).is_some() && set.find(&Lab::new().authority.digest()).is_none());
    }

    #[test]
    fn what_is_no_set_is_told() {
        let (lab, other) = (Lab::new(), Lab::new());
        let (ours, theirs) = (lab.authority.certificate().der(), other.authority.certificate().der());
        let cross = lab.successor().1;
        let check = |trusted: &[&[u8]], retired: &[&[u8]], crosses: &[&[u8]], expected: &str| {
            let error = Authorities::new(&AuthorityParts { version: 1, trusted, retired, crosses }).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&[], &[ours], &[], "trusts nobody");
        check(&[ours, theirs], &[], &[], "several clusters");
        check(&[ours], &[theirs], &[], "several clusters");
        check(&[ours; 3], &[], &[], "more than");
        check(&[ours], &[ours; RETIRED_MAX + 1], &[], "more than");
        check(&[b"none"], &[], &[], "cannot be used");
        check(&[&cross], &[], &[], "cannot be used");
        let node = lab.renewed(lab.identity(7, crate::Role::Server), &crate::KeyPair::generate(), NOW);
        check(&[node.certificate()], &[], &[], "cannot be used");
        let list = AuthorityList { trusted: vec!["?".to_owned()], ..AuthorityList::default() };
        assert!(matches!(Authorities::from_list(&list), Err(AuthoritiesError::Encoding(_))));
    }
}
