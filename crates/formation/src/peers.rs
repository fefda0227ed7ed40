//! The machines that are to form a cluster, as every one of them was told. Owns the order, which is the same on all of them however the list was written; must
//! never know which one is this one.

use crate::limits::PEERS_MAX;

/// The port servers listen on for others, unless an address names one.
const PEER_PORT: u16 = 7071;

/// `HOST:PORT` of the peer port of each machine: sorted, none twice, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers(Vec<String>);

/// Why a list of peers is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPeers {
    /// There are more or fewer than expected.
    #[error("--expect {expected} and --peers with {found} {}: every machine that is expected has its address there, this one too", if *found == 1 { "address" } else { "addresses" })]
    Count {
        /// As `--expect` says.
        expected: usize,
        /// As many as are named.
        found: usize,
    },
    /// One is named twice.
    #[error("--peers names {address} twice")]
    Twice {
        /// Which.
        address: String,
    },
    /// What stands there is no address.
    #[error("`{text}` of --peers is not HOST or HOST:PORT")]
    Address {
        /// What stands there.
        text: String,
    },
    /// There are too many.
    #[error("--peers names {found} machines; at most {PEERS_MAX} form a cluster by themselves")]
    TooMany {
        /// How many.
        found: usize,
    },
}

impl Peers {
    /// Reads addresses, of which there are to be `expected`.
    ///
    /// # Errors
    /// They are not that many, not different, or no addresses.
    pub fn new(expected: usize, told: &[String]) -> Result<Self, InvalidPeers> {
        let mut peers = told.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
        peers.sort();
        if let Some(pair) = peers.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(InvalidPeers::Twice { address: pair[0].clone() });
        }
        if peers.is_empty() || peers.len() != expected {
            return Err(InvalidPeers::Count { expected, found: peers.len() });
        }
        if peers.len() > PEERS_MAX {
            return Err(InvalidPeers::TooMany { found: peers.len() });
        }
        Ok(Self(peers))
    }

    /// The one that founds.
    pub fn first(&self) -> &str {
        &self.0[0]
    }

    /// All of them, in order.
    pub fn all(&self) -> &[String] {
        &self.0
    }

    /// Whether `address` is one of them.
    pub fn has(&self, address: &str) -> bool {
        self.0.iter().any(|peer| peer == address)
    }
}

fn address(text: &str) -> Result<String, InvalidPeers> {
    let trimmed = text.trim().to_lowercase();
    let odd = |character: char| character.is_whitespace() || matches!(character, '/' | '@' | ',');
    let address = with_port(&trimmed);
    let host = address.rsplit_once(':').map_or("", |(host, _)| host);
    if host.is_empty() || trimmed.contains(odd) {
        return Err(InvalidPeers::Address { text: text.to_owned() });
    }
    Ok(address)
}

/// `HOST` with the port servers listen on for others, unless it names one.
pub fn with_port(address: &str) -> String {
    let bracketed = address.rsplit_once(']').map_or(address, |(_, rest)| rest);
    let has_port = bracketed.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { address.to_owned() } else { format!("{address}:{PEER_PORT}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(expected: usize, told: &[&str]) -> Result<Vec<String>, String> {
        let told: Vec<String> = told.iter().map(|&text| text.to_owned()).collect();
        Peers::new(expected, &told).map(|peers| peers.0).map_err(|error| error.to_string())
    }

    #[test]
    fn however_it_is_written_the_list_is_one() {
        let expected = Ok(vec!["10.0.0.9:7071".to_owned(), "a.example:7071".to_owned(), "b.example:17071".to_owned()]);
        assert_eq!(peers(3, &["a.example", "b.example:17071", "10.0.0.9"]), expected);
        assert_eq!(peers(3, &[" B.example:17071", "10.0.0.9:7071", "A.example"]), expected);
        assert_eq!(peers(1, &["[fd00::1]"]), Ok(vec!["[fd00::1]:7071".to_owned()]));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let check = |expected: usize, told: &[&str], words: &str| {
            let error = peers(expected, told).expect_err("no list");
            assert!(error.contains(words), "{error}");
        };
        check(3, &["a", "b"], "--expect 3 and --peers with 2 addresses");
        check(2, &["a"], "--peers with 1 address:");
        check(0, &[], "--peers with 0 addresses");
        check(2, &["a", "A:7071"], "names a:7071 twice");
        check(2, &["a", ""], "`` of --peers is not HOST");
        check(2, &["a", "https://b"], "`https://b` of --peers is not HOST");
        check(10, &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"], "at most 9");
    }

    #[test]
    fn the_port_of_servers_need_not_be_said() {
        for (told, expected) in [
            ("a.example", "a.example:7071"),
            ("a.example:1", "a.example:1"),
            ("10.0.0.1", "10.0.0.1:7071"),
            ("[::1]", "[::1]:7071"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(with_port(told), expected);
        }
    }
}
