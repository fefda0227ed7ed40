//! A node's key: made once, kept over every renewal of its certificate. Owns P-256 keys and their file; must never show or send the private half.

use std::{fmt, path::Path, sync::Arc};

use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use zeroize::Zeroizing;

use crate::{
    digest::KeyDigest,
    files::{self, FileError},
    limits::FILE_BYTES_MAX,
};

/// What stands before the point in the SubjectPublicKeyInfo of a P-256 key (RFC 5480): lengths, `ecPublicKey`, `prime256v1`.
pub(crate) const INFO_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01,
    0x07, 0x03, 0x42, 0x00,
];

/// An uncompressed point: a byte 4, then both coordinates.
pub(crate) const POINT_BYTES: usize = 65;

/// Why a key cannot be used. None of these words comes out of a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The bytes are no key of ours.
    #[error("the private key is no P-256 key in PKCS#8")]
    Invalid,
}

/// The public half of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; POINT_BYTES]);

impl PublicKey {
    pub(crate) fn from_point(point: [u8; POINT_BYTES]) -> Self {
        Self(point)
    }

    pub(crate) fn point(&self) -> &[u8; POINT_BYTES] {
        &self.0
    }

    /// The SHA-256 of its SubjectPublicKeyInfo.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(&[INFO_PREFIX.as_slice(), &self.0].concat())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PublicKey({})", self.digest())
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// Both halves. Cheap to clone.
#[derive(Clone)]
pub struct KeyPair(Arc<Halves>);

struct Halves {
    private: Zeroizing<Vec<u8>>,
    signer: EcdsaKeyPair,
    public: PublicKey,
}

impl KeyPair {
    /// A new key.
    pub fn generate() -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        // Fails only where the system gives no random bytes.
        let pkcs8 = pkcs8.expect("a key is made of random bytes");
        Self::from_pkcs8(pkcs8.as_ref()).expect("a key that was just made can be read")
    }

    /// Reads PKCS#8 in DER.
    ///
    /// # Errors
    /// The bytes are no P-256 key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &SystemRandom::new());
        let signer = signer.map_err(|_| KeyError::Invalid)?;
        let point = signer.public_key().as_ref().try_into().map_err(|_| KeyError::Invalid)?;
        Ok(Self(Arc::new(Halves { private: Zeroizing::new(pkcs8.to_vec()), signer, public: PublicKey(point) })))
    }

    /// PKCS#8 in DER, to seal it or to hand it to another process of this node.
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        self.0.private.clone()
    }

    /// Reads the PEM file that [`KeyPair::write`] wrote.
    ///
    /// # Errors
    /// The file cannot be read, others may read it too, or it holds no P-256 key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = Zeroizing::new(files::read_private(path, FILE_BYTES_MAX)?);
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|_| KeyError::Invalid)?;
        Self::from_pkcs8(pkcs8.secret_pkcs8_der())
    }

    /// Writes PEM that only this user may read, aside and renamed.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), KeyError> {
        let text = Zeroizing::new(files::pem("PRIVATE KEY", &self.0.private));
        Ok(files::write_private(path, text.as_bytes())?)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.0.public
    }

    /// The SHA-256 of the public half's SubjectPublicKeyInfo: what the key is called in the list of members.
    pub fn digest(&self) -> KeyDigest {
        self.0.public.digest()
    }

    /// As rustls takes it.
    pub(crate) fn for_tls(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.private.to_vec()).into()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyPair({})", self.digest())
    }
}

impl PublicKeyData for KeyPair {
    fn der_bytes(&self) -> &[u8] {
        self.0.public.point()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for KeyPair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.signer.sign(&SystemRandom::new(), message);
        signature.map(|signature| signature.as_ref().to_vec()).map_err(|_| rcgen::Error::RingUnspecified)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_key_is_the_same_after_its_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key.pem");
        let key = KeyPair::generate();
        key.write(&path).expect("written");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(KeyPair::read(&path).expect("read").digest(), key.digest());
        assert_ne!(KeyPair::generate().digest(), key.digest());
        assert_eq!(KeyPair::from_pkcs8(&key.to_pkcs8()).expect("a key").public(), key.public());
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key.pem");
        KeyPair::generate().write(&path).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changed");
        let error = KeyPair::read(&path).expect_err("too open").to_string();
        assert!(error.contains("chmod 600") && error.contains("key.pem"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_told_without_quoting_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key.pem");
        for text in ["", "secret", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"] {
            files::write_private(&path, text.as_bytes()).expect("written");
            let error = KeyPair::read(&path).expect_err("no key");
            assert!(matches!(error, KeyError::Invalid) && !format!("{error} {error:?}").contains("secret"));
        }
    }

    #[test]
    fn the_private_half_is_never_shown() {
        let shown = format!("{:?}", KeyPair::generate());
        assert!(shown.starts_with("KeyPair(") && shown.len() == "KeyPair()".len() + 52, "{shown}");
    }
}
