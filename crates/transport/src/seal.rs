//! Secrets at rest: sealed before they enter the log, opened by whoever holds the cluster's key. Owns that key, its file and the layout of what is sealed; must
//! never keep or show what is inside.

use std::{fmt, path::Path, str::FromStr};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    files::{self, FileError},
    limits::FILE_BYTES_MAX,
    text::{self, InvalidText},
};

/// What the key's file begins with. The number counts its forms.
const FILE_PREFIX: &str = "shoal-cluster-key-1 ";

/// The layout of [`Sealed`]; its first byte.
const LAYOUT: u8 = 1;

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// Bytes before the ciphertext: layout, key id, place, the wrapped key with its nonce, the nonce of the text.
const HEAD_BYTES: usize = 1 + 8 + 8 + NONCE_LEN + KEY_BYTES + TAG_BYTES + NONCE_LEN;

/// Why something cannot be sealed, opened or read. None of these words comes out of a key or a secret.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Another cluster key sealed it.
    #[error("it was sealed with the cluster key {sealed_with}, this node holds {held}")]
    OtherKey {
        /// Which one it was.
        sealed_with: KeyId,
        /// Which one was tried.
        held: KeyId,
    },
    /// It is the right key, but the text belongs elsewhere.
    #[error("it was not sealed for {place}: it is another secret's, or another version")]
    OtherPlace {
        /// Where it was to be opened.
        place: String,
    },
    /// It is not what was sealed.
    #[error("what was sealed for {place} has been changed since, or is damaged")]
    Damaged {
        /// Where it was to be opened.
        place: String,
    },
    /// The bytes are no sealed text.
    #[error("these bytes are not a sealed text of this version")]
    Layout,
    /// The key's file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key's file holds something else.
    #[error("{path} does not hold a cluster key")]
    NoKey {
        /// The file.
        path: String,
    },
}

/// What a cluster key is called: no secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// One as it was stored.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// To store it.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&text::encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        text::decode("a key's id", text).map(Self)
    }
}

/// What a sealed text belongs to. It opens nowhere else, so that nobody who can write the log passes one secret off as another, or an old version as the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Which secret, such as `secret/default/db`.
    pub id: &'a str,
    /// Which version of it.
    pub version: u64,
}

impl Place<'_> {
    /// No two places have the same bytes: the number has a fixed length.
    fn bytes(&self) -> Vec<u8> {
        [b"shoal sealed place\0".as_slice(), &self.version.to_be_bytes(), self.id.as_bytes()].concat()
    }

    fn digest(&self) -> [u8; 8] {
        prefix(&self.bytes())
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} version {}", self.id, self.version)
    }
}

/// The key of the cluster: 256 random bits that every server holds, in a file of its own and never in the log. Gone from memory with its owner.
#[derive(Clone)]
pub struct ClusterKey(Zeroizing<[u8; KEY_BYTES]>);

impl ClusterKey {
    /// A new one.
    pub fn random() -> Self {
        Self(Zeroizing::new(text::random()))
    }

    /// One as another server sent it.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// To send it to a new server, over mutual TLS only.
    pub fn to_bytes(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        self.0.clone()
    }

    /// What the key is called.
    pub fn id(&self) -> KeyId {
        KeyId(prefix(&Zeroizing::new([b"shoal cluster key id\0".as_slice(), self.0.as_slice()].concat())))
    }

    /// Reads the file that [`ClusterKey::write`] wrote.
    ///
    /// # Errors
    /// The file cannot be read, others may read it too, or it holds something else.
    pub fn read(path: &Path) -> Result<Self, SealError> {
        let bytes = Zeroizing::new(files::read_private(path, FILE_BYTES_MAX)?);
        let no_key = || SealError::NoKey { path: path.display().to_string() };
        let text = std::str::from_utf8(&bytes).map_err(|_| no_key())?;
        let text = text.trim_end().strip_prefix(FILE_PREFIX).ok_or_else(no_key)?;
        Ok(Self::from_bytes(text::decode("a cluster key", text).map_err(|_| no_key())?))
    }

    /// Writes a file that only this user may read, aside and renamed.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), SealError> {
        let key = Zeroizing::new(text::encode(self.0.as_slice()));
        Ok(files::write_private(path, Zeroizing::new(format!("{FILE_PREFIX}{}\n", *key)).as_bytes())?)
    }

    /// The same for the same text under the same key, and for nobody without the key to be compared with anything.
    pub fn mark(&self, text: &[u8]) -> [u8; 32] {
        let own = Zeroizing::new([b"shoal mark of a text\0".as_slice(), self.0.as_slice()].concat());
        let key = hmac::Key::new(hmac::HMAC_SHA256, Sha256::digest(&*own).as_slice());
        hmac::sign(&key, text).as_ref().try_into().expect("a mark has the length of a sha256")
    }

    /// Seals a text for one place, with a key made for it alone, which this key wraps: changing the cluster key means wrapping anew, not encrypting anew.
    pub fn seal(&self, text: &[u8], place: Place<'_>) -> Sealed {
        let data_key = Zeroizing::new(text::random::<KEY_BYTES>());
        let (key_id, place_digest) = (self.id(), place.digest());
        let associated = associated(key_id, &place);
        let (key_nonce, nonce) = (text::random(), text::random());
        let mut wrapped_key = data_key.to_vec();
        encrypt(&self.0, key_nonce, &associated, &mut wrapped_key);
        // Room for the tag, so that no copy of the text stays behind where the vector was.
        let mut ciphertext = Vec::with_capacity(text.len() + TAG_BYTES);
        ciphertext.extend_from_slice(text);
        encrypt(&data_key, nonce, &associated, &mut ciphertext);
        let wrapped_key = wrapped_key.try_into().expect("a wrapped key has the length of a key and a tag");
        Sealed { key_id, place: place_digest, key_nonce, wrapped_key, nonce, ciphertext }
    }

    /// Opens what was sealed for that place.
    ///
    /// # Errors
    /// Another key sealed it, it belongs elsewhere, or it is not what was sealed.
    pub fn open(&self, sealed: &Sealed, place: Place<'_>) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let held = self.id();
        if sealed.key_id != held {
            return Err(SealError::OtherKey { sealed_with: sealed.key_id, held });
        }
        if sealed.place != place.digest() {
            return Err(SealError::OtherPlace { place: place.to_string() });
        }
        let damaged = || SealError::Damaged { place: place.to_string() };
        let associated = associated(held, &place);
        let data_key = decrypt(&self.0, sealed.key_nonce, &associated, &sealed.wrapped_key).ok_or_else(damaged)?;
        let data_key: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(data_key.as_slice().try_into().map_err(|_| damaged())?);
        decrypt(&data_key, sealed.nonce, &associated, &sealed.ciphertext).ok_or_else(damaged)
    }
}

/// In constant time.
impl PartialEq for ClusterKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for ClusterKey {}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ClusterKey({})", self.id())
    }
}

/// A sealed text: what the log and snapshots hold. Serialized as its bytes, or as their base64 where the format is for people.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sealed {
    key_id: KeyId,
    place: [u8; 8],
    key_nonce: [u8; NONCE_LEN],
    wrapped_key: [u8; KEY_BYTES + TAG_BYTES],
    nonce: [u8; NONCE_LEN],
    ciphertext: Vec<u8>,
}

impl Sealed {
    /// Which cluster key opens it.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Its layout: one byte 1, key id, place, nonce and wrapped data key, nonce and ciphertext.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { key_id, place, key_nonce, wrapped_key, nonce, ciphertext } = self;
        [&[LAYOUT], key_id.0.as_slice(), place, key_nonce, wrapped_key, nonce, ciphertext].concat()
    }

    /// Reads that layout.
    ///
    /// # Errors
    /// The bytes have another layout, or end too early.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        if bytes.len() < HEAD_BYTES + TAG_BYTES || bytes[0] != LAYOUT {
            return Err(SealError::Layout);
        }
        let mut rest = &bytes[1..];
        let key_id = KeyId(take(&mut rest)?);
        let (place, key_nonce, wrapped_key, nonce) = (take(&mut rest)?, take(&mut rest)?, take(&mut rest)?, take(&mut rest)?);
        Ok(Self { key_id, place, key_nonce, wrapped_key, nonce, ciphertext: rest.to_vec() })
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Sealed({} bytes with {})", self.ciphertext.len().saturating_sub(TAG_BYTES), self.key_id)
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return to.serialize_str(&data_encoding::BASE64.encode(&self.to_bytes()));
        }
        to.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() { from.deserialize_str(Bytes) } else { from.deserialize_byte_buf(Bytes) }
    }
}

/// Reads either form.
struct Bytes;

impl de::Visitor<'_> for Bytes {
    type Value = Sealed;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a sealed text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Sealed, E> {
        let bytes = data_encoding::BASE64.decode(text.as_bytes()).map_err(|_| E::custom(SealError::Layout))?;
        self.visit_bytes(&bytes)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Sealed, E> {
        Sealed::from_bytes(bytes).map_err(E::custom)
    }
}

/// What both encryptions are bound to.
fn associated(key_id: KeyId, place: &Place<'_>) -> Vec<u8> {
    [&[LAYOUT], key_id.0.as_slice(), &place.bytes()].concat()
}

/// Random nonces of 96 bits are good for 2^32 texts per key: the data key has one, and the cluster key one per version of a secret.
fn encrypt(key: &[u8; KEY_BYTES], nonce: [u8; NONCE_LEN], associated: &[u8], text: &mut Vec<u8>) {
    let sealed = cipher(key).seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), text);
    sealed.expect("a text below 64 GiB can be encrypted");
}

fn decrypt(key: &[u8; KEY_BYTES], nonce: [u8; NONCE_LEN], associated: &[u8], ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(ciphertext.to_vec());
    let opened = cipher(key).open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(associated), bytes.as_mut_slice());
    let length = opened.ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}

fn cipher(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are a key of AES-256"))
}

fn prefix(bytes: &[u8]) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let mut prefix = [0; 8];
    prefix.copy_from_slice(&digest[..8]);
    prefix
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], SealError> {
    let (first, after) = rest.split_first_chunk().ok_or(SealError::Layout)?;
    *rest = after;
    Ok(*first)
}

#[cfg(test)]
mod tests;
