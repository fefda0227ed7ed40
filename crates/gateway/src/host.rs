//! Host names as requests spell them and as routes match them. Owns their one normal form; must never look one up.

/// Longest host name (RFC 1035), in bytes.
const HOST_BYTES_MAX: usize = 253;

/// Splits `host[:port]` and puts the host in its normal form: lower case, no port, no final dot. `None` when it is no host.
pub(crate) fn normal(authority: &str) -> Option<String> {
    let (host, port) = split_port(authority)?;
    if !port.bytes().all(|byte| byte.is_ascii_digit()) || port.len() > 5 {
        return None;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    is_host(host).then(|| host.to_ascii_lowercase())
}

/// The port of `host:port`; none when it says none, and 0 when what it says is none.
pub(crate) fn port(authority: &str) -> Option<u16> {
    let (_, port) = split_port(authority)?;
    port.parse().ok().or((!port.is_empty()).then_some(0))
}

/// Whether `host` is what a route may name: a host, `*.suffix` or `*`.
pub(crate) fn is_pattern(host: &str) -> bool {
    host == "*" || is_host(host.strip_prefix("*.").unwrap_or(host))
}

/// The names above `host`, nearest first: `b.c` and `c` for `a.b.c`.
pub(crate) fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    host.match_indices('.').map(|(at, _)| &host[at + 1..])
}

fn split_port(authority: &str) -> Option<(&str, &str)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        let host = &authority[..address.len() + 2];
        return if after.is_empty() { Some((host, "")) } else { Some((host, after.strip_prefix(':')?)) };
    }
    Some(authority.split_once(':').unwrap_or((authority, "")))
}

fn is_host(host: &str) -> bool {
    let label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let name = || host.split('.').all(|part| !part.is_empty() && part.bytes().all(label));
    !host.is_empty() && host.len() <= HOST_BYTES_MAX && (host.starts_with('[') || name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_form() {
        let check = |given: &str, wanted: Option<&str>| assert_eq!(normal(given).as_deref(), wanted, "{given:?}");
        check("example.com", Some("example.com"));
        check("EXAMPLE.com:8080", Some("example.com"));
        check("example.com.", Some("example.com"));
        check("example.com.:80", Some("example.com"));
        check("localhost:", Some("localhost"));
        check("127.0.0.1:8080", Some("127.0.0.1"));
        check("[::1]:8080", Some("[::1]"));
        check("[::1]", Some("[::1]"));
        check("[::1]x", None);
        check("[zz]", None);
        check("", None);
        check(":80", None);
        check(".", None);
        check("a..b", None);
        check("a b", None);
        check("a/b", None);
        check("user@host", None);
        check("host:80:90", None);
        check("host:port", None);
        check("host:123456", None);
        check(&"a".repeat(254), None);
    }

    #[test]
    fn a_port_is_said_or_not() {
        let check = |given: &str, wanted: Option<u16>| assert_eq!(port(given), wanted, "{given:?}");
        check("example.com", None);
        check("example.com:", None);
        check("example.com:8080", Some(8080));
        check("[::1]:8080", Some(8080));
        check("[::1]", None);
        // Nobody listens there, but something was said.
        check("example.com:99999", Some(0));
    }

    #[test]
    fn suffixes_come_nearest_first() {
        assert_eq!(suffixes("a.b.c").collect::<Vec<_>>(), ["b.c", "c"]);
        assert_eq!(suffixes("localhost").count(), 0);
    }
}
