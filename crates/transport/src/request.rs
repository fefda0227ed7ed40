//! Requests for a certificate: PKCS#10, signed with the key they ask for, so that nobody gets a certificate for a key that is not theirs. Owns writing them
//! and reading the only two things that count, key and signature; must never take a name or a right from one: those are the authority's to give.

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use crate::{
    key::{INFO_PREFIX, KeyPair, POINT_BYTES, PublicKey},
    limits::REQUEST_BYTES_MAX,
};

/// Why a request is not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It is no PKCS#10 request.
    #[error("the certificate request cannot be read: it is no PKCS#10 request in DER")]
    Malformed,
    /// It asks for a kind of key that nodes do not have.
    #[error("the certificate request is for another kind of key than P-256 with SHA-256")]
    Key,
    /// Who sent it does not hold the key.
    #[error("the certificate request is not signed with the key it asks for")]
    Signature,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// `ecdsa-with-SHA256` (RFC 5758), as an AlgorithmIdentifier's content.
const ECDSA_WITH_SHA256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

impl KeyPair {
    /// A request for a certificate of this key, PKCS#10 in DER.
    pub fn request(&self) -> Vec<u8> {
        let mut parameters = rcgen::CertificateParams::default();
        // The authority names the node; nothing here would be read.
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        let request = parameters.serialize_request(self);
        request.expect("a request without names is always well formed").der().to_vec()
    }
}

impl PublicKey {
    /// The key that a request (PKCS#10 in DER) is for, proven to be held by who made the request.
    ///
    /// # Errors
    /// It cannot be read, is for another kind of key, or is not signed with that key.
    pub fn from_request(der: &[u8]) -> Result<Self, RequestError> {
        let malformed = || RequestError::Malformed;
        if der.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::Malformed);
        }
        let mut outer = Reader(der);
        let mut request = outer.expect(SEQUENCE).filter(|_| outer.0.is_empty()).ok_or_else(malformed)?.content;
        let signed = request.expect(SEQUENCE).ok_or_else(malformed)?;
        let algorithm = request.expect(SEQUENCE).ok_or_else(malformed)?;
        let signature = request.expect(BIT_STRING).filter(|_| request.0.is_empty()).ok_or_else(malformed)?;
        // A bit string's first byte counts the bits that do not belong to it.
        let signature = signature.content.0.strip_prefix(&[0]).ok_or_else(malformed)?;
        let mut information = signed.content;
        information.expect(INTEGER).ok_or_else(malformed)?;
        information.expect(SEQUENCE).ok_or_else(malformed)?; // the subject
        let key = information.expect(SEQUENCE).ok_or_else(malformed)?.whole;
        let point = key.strip_prefix(&INFO_PREFIX).ok_or(RequestError::Key)?;
        let point: [u8; POINT_BYTES] = point.try_into().map_err(|_| RequestError::Key)?;
        if algorithm.content.0 != ECDSA_WITH_SHA256 {
            return Err(RequestError::Key);
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
        key.verify(signed.whole, signature).map_err(|_| RequestError::Signature)?;
        Ok(Self::from_point(point))
    }
}

/// What is left of a DER encoding.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

/// One value of it.
struct Value<'a> {
    /// With tag and length.
    whole: &'a [u8],
    content: Reader<'a>,
}

impl<'a> Reader<'a> {
    /// The next value, if it has this tag.
    fn expect(&mut self, tag: u8) -> Option<Value<'a>> {
        let start = self.0;
        let (&found, rest) = start.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Up to two bytes of length: no request is longer.
            0x81..=0x82 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        let whole = start.get(..start.len() - rest.len())?;
        (found == tag).then_some(Value { whole, content: Reader(content) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_gives_its_key() {
        let key = KeyPair::generate();
        assert_eq!(PublicKey::from_request(&key.request()), Ok(key.public()));
    }

    #[test]
    fn names_in_a_request_are_not_looked_at() {
        let key = KeyPair::generate();
        let parameters = rcgen::CertificateParams::new(vec!["node-1.server.x.shoal.internal".to_owned()]).expect("a name");
        let request = parameters.serialize_request(&key).expect("a request");
        assert_eq!(PublicKey::from_request(request.der()), Ok(key.public()));
    }

    #[test]
    fn another_key_s_signature_is_refused() {
        let (mine, other) = (KeyPair::generate(), KeyPair::generate());
        let mut request = mine.request();
        let at = request.windows(POINT_BYTES).position(|window| window == mine.public().point()).expect("the key is in it");
        request[at..at + POINT_BYTES].copy_from_slice(other.public().point());
        assert_eq!(PublicKey::from_request(&request), Err(RequestError::Signature));
    }

    #[test]
    fn another_kind_of_key_is_refused() {
        for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
            let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
            let request = rcgen::CertificateParams::default().serialize_request(&key).expect("a request");
            assert_eq!(PublicKey::from_request(request.der()), Err(RequestError::Key));
        }
    }

    #[test]
    fn no_part_of_a_request_is_one() {
        let request = KeyPair::generate().request();
        for length in 0..request.len() {
            assert_eq!(PublicKey::from_request(&request[..length]), Err(RequestError::Malformed), "cut at {length}");
        }
        assert_eq!(PublicKey::from_request(&[request.as_slice(), &[0]].concat()), Err(RequestError::Malformed));
        assert_eq!(PublicKey::from_request(&vec![0x30; REQUEST_BYTES_MAX + 1]), Err(RequestError::Malformed));
    }

    proptest! {
        #[test]
        fn no_changed_request_is_granted(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let key = KeyPair::generate();
            let mut request = key.request();
            let at = at.index(request.len());
            request[at] ^= 1 << bit;
            prop_assert!(PublicKey::from_request(&request).is_err(), "bit {} of byte {}", bit, at);
        }

        #[test]
        fn no_bytes_are_too_strange(bytes: Vec<u8>) {
            prop_assert!(PublicKey::from_request(&bytes).is_err());
        }
    }
}
