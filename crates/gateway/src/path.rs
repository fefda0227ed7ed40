//! The one normal form of a path, so that what is routed and what the component sees cannot differ. Owns the rules of
//! docs/decisions; must never know a route.
//!
//! - Percent-encoded unreserved characters are decoded (`%61` is `a`, `%2e` is `.`): RFC 3986 calls them equivalent. Other escapes get upper-case digits.
//! - Repeated slashes become one.
//! - `.` and `..` elements are refused, also where an encoded slash or a backslash would make them one: clients resolve them before they send.
//! - An encoded slash is data inside an element, never a separator, and reaches the component as it is.
//! - A broken escape and `%00` are refused.

use std::borrow::Cow;

/// Why a path has no normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Does not start with `/`.
    #[error("the path does not start with a slash")]
    NoSlash,
    /// A `.` or `..` element.
    #[error("the path has a dot element")]
    DotElement,
    /// `%` without two hex digits.
    #[error("the path has a broken percent escape")]
    BrokenEscape,
    /// A zero byte.
    #[error("the path has an encoded zero byte")]
    ZeroByte,
}

/// The normal form of `path` (without query); borrowed when it was normal already.
pub(crate) fn normal(path: &str) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NoSlash);
    }
    if !needs_care(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let path = decode(path)?;
    if dot_element(&path) {
        return Err(PathError::DotElement);
    }
    Ok(path)
}

/// Whether `path` is its own normal form.
pub(crate) fn is_normal(path: &str) -> bool {
    matches!(normal(path), Ok(normal) if normal == path)
}

/// Whether there is anything in `path` that a rule speaks of; most paths pass here without a copy.
fn needs_care(path: &[u8]) -> bool {
    path.iter().any(|&byte| byte == b'%' || byte == b'\\') || path.windows(2).any(|pair| pair == b"//" || pair == b"/.")
}

fn decode(path: &str) -> Result<Cow<'_, str>, PathError> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match character {
            '%' => {
                let digits = rest.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or(PathError::BrokenEscape)?;
                rest = &rest[2..];
                match byte {
                    0 => return Err(PathError::ZeroByte),
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
                    _ => out.push_str(&format!("%{byte:02X}")),
                }
            }
            '/' if out.ends_with('/') => {}
            _ => out.push(character),
        }
    }
    Ok(if out == path { Cow::Borrowed(path) } else { Cow::Owned(out) })
}

/// Whether any reader of `path`, even one that decodes `%2F` or takes `\` for `/`, finds a `.` or `..` element. `path` is decoded already.
fn dot_element(path: &str) -> bool {
    let separated = path.replace("%2F", "/").replace("%5C", "/").replace('\\', "/");
    separated.split('/').any(|element| element == "." || element == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        let check =
            |given: &str, wanted: Result<&str, PathError>| assert_eq!(normal(given).as_deref(), wanted.as_ref().copied(), "{given:?}");
        check("/", Ok("/"));
        check("/v1/drones", Ok("/v1/drones"));
        check("/v1/drones/", Ok("/v1/drones/"));
        check("/%76%31", Ok("/v1"));
        check("/a%20b", Ok("/a%20b"));
        check("/a%c3%a9", Ok("/a%C3%A9"));
        check("//admin", Ok("/admin"));
        check("/a///b//", Ok("/a/b/"));
        check("/.well-known/x", Ok("/.well-known/x"));
        check("/a/..b/c..", Ok("/a/..b/c.."));
        check("/file%2etxt", Ok("/file.txt"));
        check("/group%2fproject", Ok("/group%2Fproject"));
        check("/a\\b", Ok("/a\\b"));
        check("/..", Err(PathError::DotElement));
        check("/a/../b", Err(PathError::DotElement));
        check("/a/./b", Err(PathError::DotElement));
        check("/a/.", Err(PathError::DotElement));
        check("/a/%2e%2e/b", Err(PathError::DotElement));
        check("/a/.%2E/b", Err(PathError::DotElement));
        check("/a/..%2fadmin", Err(PathError::DotElement));
        check("/a%2f..", Err(PathError::DotElement));
        check("/a\\..\\b", Err(PathError::DotElement));
        check("/a%5c%2e%2e%5cb", Err(PathError::DotElement));
        check("/a%", Err(PathError::BrokenEscape));
        check("/a%2", Err(PathError::BrokenEscape));
        check("/a%zz", Err(PathError::BrokenEscape));
        check("/a%\u{e9}1", Err(PathError::BrokenEscape));
        check("/a%00", Err(PathError::ZeroByte));
        check("*", Err(PathError::NoSlash));
        check("", Err(PathError::NoSlash));
    }

    proptest::proptest! {
        #[test]
        fn normal_paths_stay_as_they_are(path in "/[a-c./%2eEfF5cC\\\\]{0,12}") {
            if let Ok(once) = normal(&path) {
                let twice = normal(&once);
                proptest::prop_assert_eq!(twice.as_deref(), Ok(&*once));
            }
        }
    }
}
