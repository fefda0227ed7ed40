//! Bytes as text that people copy and DNS carries: base32 in lower case, without padding. Owns the alphabet; must never know what the bytes mean.

use data_encoding::{Encoding, Specification};
use std::sync::LazyLock;

/// Letters and `2` to `7`: no pair that looks alike, nothing that a shell or a DNS name minds.
static ALPHABET: LazyLock<Encoding> = LazyLock::new(|| {
    let mut alphabet = Specification::new();
    alphabet.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    alphabet.encoding().expect("32 different symbols are an alphabet")
});

/// A text that is no such value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} has {characters} of the characters a-z and 2-7")]
pub struct InvalidText {
    /// What was read.
    pub what: &'static str,
    /// How many characters it has.
    pub characters: usize,
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    ALPHABET.encode(bytes)
}

/// The bytes, when there are exactly `N` of them.
pub(crate) fn decode<const N: usize>(what: &'static str, text: &str) -> Result<[u8; N], InvalidText> {
    let characters = (N * 8).div_ceil(5);
    let wrong = InvalidText { what, characters };
    if text.len() != characters {
        return Err(wrong);
    }
    let mut bytes = [0; N];
    match ALPHABET.decode_mut(text.as_bytes(), &mut bytes) {
        Ok(length) if length == N => Ok(bytes),
        _ => Err(wrong),
    }
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without randomness there is no secret and no handshake: nothing can go on.
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).expect("the system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes: [u8; 16]) {
            prop_assert_eq!(decode::<16>("it", &encode(&bytes)), Ok(bytes));
        }

        #[test]
        fn there_is_one_text_for_each_value(text in "[a-z2-7]{26}") {
            if let Ok(bytes) = decode::<16>("it", &text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }

        #[test]
        fn no_text_is_too_strange(text in ".*") {
            if let Ok(bytes) = decode::<16>("it", &text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
