//! What machines that have no cluster yet know of each other: one shared token. Owns its form, the proofs that both ends of a connection hold it, and the join
//! token that follows from it; must never decide who begins a cluster.
//!
//! The secret is never sent. A proof covers the authority that the answering side shows in its handshake, so whoever stands in between, with another
//! certificate, can pass on neither a question nor an answer.

use std::{fmt, str::FromStr};

use ring::hmac;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{
    digest::AuthorityDigest,
    identity::Role,
    text,
    token::{JoinToken, Secret, TokenError, TokenId, checksum},
};

/// What formation tokens begin with: as join tokens do, with a role of their own.
pub(crate) const FORMATION_PREFIX: &str = "SHOAL1-f-";

/// Lets machines with empty data directories form one cluster. `SHOAL1-f-SECRET-CHECKSUM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormationToken {
    secret: Secret,
}

/// Shows that whoever sent a message holds the token. Nothing about the token follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof([u8; 32]);

impl FormationToken {
    /// A new one.
    pub fn create() -> Self {
        Self { secret: Secret::random() }
    }

    /// What the token is called; no secret. It is also the id of the join token that follows from it.
    pub fn id(&self) -> TokenId {
        TokenId::from_bytes(first(&self.tag("join token id", &[])))
    }

    /// The token with which the other servers join the cluster with this authority.
    pub fn join_token(&self, authority: AuthorityDigest) -> JoinToken {
        let secret = Secret::from_bytes(first(&self.tag("join token secret", &[])));
        JoinToken::from_parts(Role::Server, authority, self.id(), secret)
    }

    /// Shows to whoever shows `authority` that `question` is asked by somebody with the token.
    pub fn prove_question(&self, authority: AuthorityDigest, question: &[u8]) -> Proof {
        Proof(self.tag("question", &[&authority.to_bytes(), question]))
    }

    /// Shows that `answer` is the answer to `question` by the one who shows `authority`. It is as fresh as what is random in the question.
    pub fn prove_answer(&self, authority: AuthorityDigest, question: &[u8], answer: &[u8]) -> Proof {
        Proof(self.tag("answer", &[&authority.to_bytes(), &Sha256::digest(question), answer]))
    }

    /// Every purpose has its own label, which ends where the parts begin; all parts but the last have a fixed length.
    fn tag(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.bytes());
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("shoal formation {purpose}\0").as_bytes());
        parts.iter().for_each(|part| context.update(part));
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn body(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(text::encode(self.secret.bytes()));
        Zeroizing::new(format!("{FORMATION_PREFIX}{}", *secret))
    }
}

fn first<const N: usize>(tag: &[u8; 32]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&tag[..N]);
    bytes
}

/// The whole token with its secret, for whoever carries it.
impl fmt::Display for FormationToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body();
        write!(out, "{}-{}", *body, checksum(&body))
    }
}

impl FromStr for FormationToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let Some(rest) = text.strip_prefix(FORMATION_PREFIX) else { return Err(TokenError::NotFormationToken) };
        let expected = FORMATION_PREFIX.len() + 26 + "-".len() + 4;
        let found = text.chars().count();
        if found != expected {
            return Err(TokenError::Length { found, expected });
        }
        let (body, check) = text.rsplit_once('-').ok_or(TokenError::Checksum)?;
        if checksum(body) != check {
            return Err(TokenError::Checksum);
        }
        let (secret, _) = rest.split_once('-').ok_or(TokenError::Checksum)?;
        Ok(Self { secret: Secret::parse(secret)? })
    }
}

impl Proof {
    /// Whether `shown`, as it came over the wire, is this proof; in constant time.
    pub fn is(&self, shown: &str) -> bool {
        let shown: Result<[u8; 32], _> = text::decode("a proof", shown);
        shown.is_ok_and(|shown| subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), shown.as_slice()).into())
    }
}

/// For the wire.
impl fmt::Display for Proof {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&text::encode(&self.0))
    }
}

/// 128 random bits as text: what makes a question another one than every question before, and one process another than the next.
pub fn nonce() -> String {
    text::encode(&text::random::<16>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHOWN: AuthorityDigest = AuthorityDigest::from_bytes([1; 32]);
    const OTHER: AuthorityDigest = AuthorityDigest::from_bytes([2; 32]);

    fn token() -> FormationToken {
        FormationToken { secret: Secret::from_bytes([3; 16]) }
    }

    #[test]
    fn the_form_of_a_token_and_what_follows_from_it_stay() {
        expect_test::expect!["SHOAL1-f-ambqgaydambqgaydambqgaydam-tg2f"].assert_eq(&token().to_string());
        expect_test::expect!["SHOAL1-s-aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq-7nnu75ih.reccwqmtyb6ez2ftrxuddaquvm-ygdf"]
            .assert_eq(&token().join_token(SHOWN).to_string());
        expect_test::expect!["l4v72pqyeb6o72fxq7cfn5w5aa4ifobiffqtd2afsrnuvej6h4yq"]
            .assert_eq(&token().prove_question(SHOWN, b"hello").to_string());
        expect_test::expect!["dxxvzzimrzzfkccu6w2gbz3zv2kifjtly37ywk5nnypsucjihwia"]
            .assert_eq(&token().prove_answer(SHOWN, b"hello", b"well").to_string());
    }

    #[test]
    fn what_is_no_token_is_told() {
        let whole = token().to_string();
        let check = |text: &str, expected: TokenError| assert_eq!(text.parse::<FormationToken>(), Err(expected), "{text}");
        check("", TokenError::NotFormationToken);
        check(&token().join_token(SHOWN).to_string(), TokenError::NotFormationToken);
        check(&whole[..20], TokenError::Length { found: 20, expected: 40 });
        check(&whole.to_uppercase().replace("SHOAL1-F", "SHOAL1-f"), TokenError::Checksum);
        assert_eq!(whole.parse::<JoinToken>(), Err(TokenError::Formation));
        assert_eq!(format!(" {whole}\n").parse(), Ok(token()));
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert!(!format!("{:?}", token()).contains("3, 3"));
    }

    #[test]
    fn a_proof_is_for_one_message_one_way_and_one_authority() {
        let proof = token().prove_question(SHOWN, b"hello");
        assert!(proof.is(&proof.to_string()));
        let others = [
            token().prove_question(OTHER, b"hello"),
            token().prove_question(SHOWN, b"hallo"),
            token().prove_answer(SHOWN, b"", b"hello"),
            FormationToken::create().prove_question(SHOWN, b"hello"),
        ];
        for other in others {
            assert!(!proof.is(&other.to_string()));
        }
        assert!(!proof.is("") && !proof.is(&proof.to_string()[1..]));
        let answer = token().prove_answer(SHOWN, b"question", b"answer");
        assert!(!answer.is(&token().prove_answer(SHOWN, b"another question", b"answer").to_string()));
    }

    proptest! {
        #[test]
        fn every_token_is_read_back(_ in 0..4_u8) {
            let token = FormationToken::create();
            prop_assert_eq!(token.to_string().parse(), Ok(token.clone()));
            prop_assert_eq!(token.join_token(SHOWN).to_string().parse(), Ok(token.join_token(SHOWN)));
        }

        #[test]
        fn no_text_is_too_strange(text in ".*") {
            prop_assert!(text.parse::<FormationToken>().is_err());
            let whole = format!("{FORMATION_PREFIX}{text}");
            prop_assert!(whole.parse::<FormationToken>().is_err());
        }
    }
}
