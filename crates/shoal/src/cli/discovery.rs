//! Finding the server: which addresses are tried, in which order, and what is said when none answers. Owns the order; the dialing is passed in.

use std::path::Path;

use api::client::{Found, Server};
use model::problem::Problem;
use transport::AuthorityDigest;

use super::failure::{Exit, Failure};

/// Where a system-wide server keeps its data.
pub const SYSTEM_DATA_DIRECTORY: &str = "/var/lib/shoal";
/// Where `shoal dev` keeps its data, relative to where it is started.
pub const DEV_DATA_DIRECTORY: &str = ".shoal";
/// The socket of a node's API inside its data directory.
pub const API_SOCKET: &str = "api.sock";
/// Where a server's API listens when nothing else was said.
pub const DEFAULT_API: &str = "127.0.0.1:7070";

/// Reads `--server`: `unix:PATH`, `http://HOST:PORT` or `HOST:PORT`.
///
/// # Errors
/// A usage failure when it is none of them, or asks for TLS.
pub fn parse(text: &str) -> Result<Server, Failure> {
    text.parse().map_err(|_| no_address(text))
}

/// Reads `https://HOST:PORT` of a cluster with a known authority.
///
/// # Errors
/// A usage failure when it is written otherwise.
pub fn pinned(text: &str, authority: AuthorityDigest) -> Result<Server, Failure> {
    Server::pinned(text, authority).map_err(|_| no_address(text))
}

fn no_address(text: &str) -> Failure {
    let message = format!("`{text}` is not an address of a server");
    Failure::usage(message, "write it as https://10.0.0.1:7070, http://127.0.0.1:7070 or unix:/var/lib/shoal/api.sock")
}

/// The addresses to try, first to last. An explicit one is the only one.
///
/// # Errors
/// As [`parse`].
pub fn candidates(server: Option<&str>, data_directory: Option<&Path>) -> Result<Vec<Server>, Failure> {
    let socket = |directory: &Path| Server::Socket(directory.join(API_SOCKET));
    match (server, data_directory) {
        (Some(server), _) => Ok(vec![parse(server)?]),
        (None, Some(directory)) => Ok(vec![socket(directory)]),
        (None, None) => {
            let here = Path::new(".").join(DEV_DATA_DIRECTORY).join(API_SOCKET);
            // Whoever owns the working directory, or was first at the port, may be anybody; only root puts something where the system keeps its data.
            let (here, port) = (Server::Found(Found::Socket(here)), Server::Found(Found::Http(DEFAULT_API.to_owned())));
            Ok(vec![here, socket(Path::new(SYSTEM_DATA_DIRECTORY)), port])
        }
    }
}

/// The first address that `dial` reaches.
///
/// # Errors
/// E0605 naming every address and why it did not answer.
pub fn first_reachable<C>(addresses: Vec<Server>, mut dial: impl FnMut(&Server) -> std::io::Result<C>) -> Result<(Server, C), Failure> {
    let mut tried = Vec::new();
    let mut denied = None;
    for address in addresses {
        match dial(&address) {
            Ok(connection) => return Ok((address, connection)),
            Err(error) => {
                tried.push(format!("{address} ({})", reason(&error)));
                if error.kind() == std::io::ErrorKind::PermissionDenied && matches!(address, Server::Socket(_) | Server::Found(_)) {
                    denied.get_or_insert(address);
                }
            }
        }
    }
    Err(denied.map_or_else(|| unreachable(&tried), |address| not_yours(&address)))
}

/// A server that only another user may speak to, or that another user runs and nobody named.
fn not_yours(address: &Server) -> Failure {
    let message = match address {
        Server::Found(_) => format!("{address} belongs to another user, and nobody named it"),
        _ => format!("{address} belongs to another user: permission denied"),
    };
    let help = "run the command as the user the server runs as, for example with `sudo`, or name the server with --server or --data-dir";
    Failure::sentence(Exit::NotAllowed, message, help)
}

/// E0605 with what was tried.
pub fn unreachable(tried: &[String]) -> Failure {
    let message = format!("no server answers; tried {}", tried.join(", "));
    let help = "start one with `shoal dev` or `shoal server`, name one with --server or SHOAL_SERVER, or `shoal login URL`";
    Failure::of(Problem::new("E0605", message).help(help))
}

/// An I/O error in a user's words.
pub fn reason(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "no such socket".to_owned(),
        ErrorKind::ConnectionRefused => "nobody listens".to_owned(),
        ErrorKind::PermissionDenied if error.raw_os_error().is_some() => "permission denied".to_owned(),
        ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    fn shown(server: Option<&str>, data: Option<&str>) -> Vec<String> {
        candidates(server, data.map(Path::new)).unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_said_explicitly_is_the_only_address() {
        assert_eq!(shown(Some("http://10.0.0.1:7070/"), Some("/data")), ["http://10.0.0.1:7070"]);
        assert_eq!(shown(Some("unix:/run/api.sock"), None), ["unix:/run/api.sock"]);
        assert_eq!(shown(Some("localhost:7070"), None), ["http://localhost:7070"]);
        assert_eq!(shown(None, Some("/data")), ["unix:/data/api.sock"]);
        assert_eq!(shown(None, None), ["unix:./.shoal/api.sock", "unix:/var/lib/shoal/api.sock", "http://127.0.0.1:7070"]);
        for wrong in ["https://a:1", "ftp://a", "http://", "http://a:1/b c"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_socket_of_another_user_is_said_to_be_one() {
        let dial = |address: &Server| match address {
            Server::Socket(path) if path.starts_with(SYSTEM_DATA_DIRECTORY) => Err(Error::from(ErrorKind::PermissionDenied)),
            Server::Socket(_) | Server::Found(Found::Socket(_)) => Err(Error::from(ErrorKind::NotFound)),
            Server::Http(_) | Server::Https(..) | Server::Found(_) => Err::<(), _>(Error::from(ErrorKind::ConnectionRefused)),
        };
        let failure = first_reachable(candidates(None, None).unwrap_or_default(), dial).expect_err("nobody answers");
        assert_eq!(failure.exit as u8, 7);
        let message = failure.render(false);
        assert!(message.contains("unix:/var/lib/shoal/api.sock belongs to another user") && message.contains("sudo"), "{message}");
        let failure = first_reachable(candidates(None, None).unwrap_or_default(), |address| match address {
            Server::Found(Found::Socket(_)) => Err::<(), _>(Error::new(ErrorKind::PermissionDenied, "user 7 runs it")),
            _ => Err(Error::from(ErrorKind::ConnectionRefused)),
        });
        let message = failure.expect_err("it is not ours").render(false);
        assert!(
            message.contains("./.shoal/api.sock belongs to another user, and nobody named it") && message.contains("--server"),
            "{message}"
        );
    }

    #[test]
    fn the_first_that_answers_is_taken_and_silence_names_what_was_tried() {
        let all = candidates(None, None).unwrap_or_default();
        let found = first_reachable(all.clone(), |address| match address {
            Server::Found(Found::Http(_)) => Ok(7),
            _ => Err(Error::from(ErrorKind::NotFound)),
        });
        assert_eq!(found.ok(), Some((Server::Found(Found::Http(DEFAULT_API.to_owned())), 7)));
        let failure = first_reachable(all, |_| Err::<(), _>(Error::from(ErrorKind::ConnectionRefused))).expect_err("nobody answers");
        assert_eq!(failure.exit as u8, 10);
        let message = failure.render(false);
        assert!(message.contains("./.shoal/api.sock (nobody listens)") && message.contains("http://127.0.0.1:7070"), "{message}");
    }
}
