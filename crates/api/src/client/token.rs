//! A token of the API on its way to a server. Owns its form as a header; must never show it.

use std::str::FromStr;

use http::{HeaderMap, HeaderValue, header};

/// A token as it is sent with every call. Its Debug form says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(HeaderValue);

/// The text cannot be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token is one line of letters, digits, `_`, `-` and `.`")]
pub struct InvalidToken;

impl Token {
    /// Puts it into the headers of a request.
    pub(super) fn sign(&self, headers: &mut HeaderMap) {
        headers.insert(header::AUTHORIZATION, self.0.clone());
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if text.is_empty() || !text.bytes().all(fits) {
            return Err(InvalidToken);
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| InvalidToken)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_and_never_shown() {
        let token: Token = " shoal_abc_def\n".parse().expect("a token");
        let mut headers = HeaderMap::new();
        token.sign(&mut headers);
        assert_eq!(headers[header::AUTHORIZATION], "Bearer shoal_abc_def");
        assert!(!format!("{token:?} {headers:?}").contains("abc"), "{headers:?}");
        for wrong in ["", "  ", "two words", "line\nbreak", "tök"] {
            assert_eq!(wrong.parse::<Token>(), Err(InvalidToken), "{wrong:?}");
        }
    }
}
