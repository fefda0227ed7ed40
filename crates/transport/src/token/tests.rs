//! Tokens are read back exactly, typing errors are told, and secrets stay inside. Owns examples; must never print a secret.

use proptest::prelude::*;

use super::*;

fn token() -> JoinToken {
    let secret = Secret(Zeroizing::new([3; 16]));
    JoinToken { role: Role::Server, authority: AuthorityDigest::from_bytes([1; 32]), id: TokenId([2; 5]), secret }
}

#[test]
fn the_form_of_a_token_stays() {
    expect_test::expect!["SHOAL1-s-aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq-aibaeaqc.ambqgaydambqgaydambqgaydam-6pdw"]
        .assert_eq(&token().to_string());
    let api = ApiToken { id: TokenId([2; 5]), secret: Secret(Zeroizing::new([3; 16])) };
    expect_test::expect!["shoal_aibaeaqc_ambqgaydambqgaydambqgaydam"].assert_eq(&api.to_string());
    expect_test::expect!["3qw67jxph43ajkl6p274vtbtpl4x2kmkysahsapt4hltb2bepwdq"].assert_eq(&text::encode(&token().hash().to_bytes()));
    expect_test::expect!["6pf3abo6zawix5dr36ix5nd23fdjdxmvis5hgrgqgb6ovg22wopa"].assert_eq(&text::encode(&api.hash().to_bytes()));
}

#[test]
fn what_is_no_token_is_told() {
    let whole = token().to_string();
    let check = |text: &str, expected: TokenError| assert_eq!(text.parse::<JoinToken>(), Err(expected), "{text}");
    check("", TokenError::NotJoinToken);
    check("hello", TokenError::NotJoinToken);
    check(&ApiToken::create().to_string(), TokenError::NotJoinToken);
    check(&whole.replacen('1', "2", 1), TokenError::Newer);
    check(&whole[..40], TokenError::Length { found: 40, expected: 102 });
    check(&format!("{whole}a"), TokenError::Length { found: 103, expected: 102 });
    check(&whole.replacen("-s-", "-w-", 1), TokenError::Checksum);
    check(&whole.to_uppercase(), TokenError::Checksum);
    let check = |text: &str, expected: TokenError| assert_eq!(text.parse::<ApiToken>(), Err(expected), "{text}");
    check(&whole, TokenError::NotApiToken);
    check("shoal_", TokenError::Length { found: 6, expected: 41 });
    assert_eq!(format!("\n {whole} \n").parse(), Ok(token()));
}

#[test]
fn a_secret_is_never_shown() {
    let token = token();
    let secret = text::encode(token.secret.0.as_slice());
    let shown = format!("{token:?} {:?} {:?}", token.hash(), ApiToken::create());
    assert!(!shown.contains(&secret) && !shown.contains("3, 3"), "{shown}");
}

#[test]
fn hashes_of_the_same_secret_differ_by_kind() {
    let token = token();
    let api = ApiToken { id: token.id, secret: token.secret.clone() };
    assert_ne!(token.hash(), api.hash());
    assert_eq!(token.hash(), token.clone().hash());
    assert_ne!(token.hash(), JoinToken::create(Role::Server, token.authority).hash());
}

#[test]
fn a_changed_character_is_found() {
    let whole = token().to_string();
    for at in 0..whole.len() {
        for other in "abcdefghijklmnopqrstuvwxyz234567".chars().filter(|other| !whole[at..].starts_with(*other)) {
            let text = format!("{}{other}{}", &whole[..at], &whole[at + 1..]);
            assert!(text.parse::<JoinToken>().is_err(), "{text}");
        }
    }
}

proptest! {
    #[test]
    fn every_token_is_read_back(authority: [u8; 32], is_server: bool) {
        let role = if is_server { Role::Server } else { Role::Worker };
        let token = JoinToken::create(role, AuthorityDigest::from_bytes(authority));
        let read: JoinToken = token.to_string().parse().expect("a token");
        prop_assert_eq!(&read, &token);
        prop_assert_eq!(read.hash(), token.hash());
        let token = ApiToken::create();
        prop_assert_eq!(token.to_string().parse::<ApiToken>(), Ok(token));
    }

    #[test]
    fn two_exchanged_characters_are_found(at in 9..97_usize) {
        let mut text = token().to_string().into_bytes();
        text.swap(at, at + 1);
        let text = String::from_utf8(text).expect("ASCII");
        prop_assert_eq!(text.parse::<JoinToken>().is_ok(), text == token().to_string());
    }

    #[test]
    fn no_text_is_too_strange(text in ".*", tail in "\\PC{95}") {
        prop_assert!(text.parse::<JoinToken>().is_err());
        let (join, api) = (format!("SHOAL1-s-{tail}"), format!("shoal_{}", &tail[..tail.ceil_char_boundary(35)]));
        prop_assert!(join.parse::<JoinToken>().is_err());
        prop_assert!(api.parse::<ApiToken>().is_err());
    }
}
