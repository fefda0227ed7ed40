//! Servers that nobody named: a socket in the working directory, the usual port. Owns the check that whoever answers there is root or the user of this process,
//! because anybody may have put something there; must never decide where to look.

use std::{
    fmt, io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use neighbor::User;

use crate::limits::CONNECT_MAX;

/// Where a server may be that nobody named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A Unix socket.
    Socket(PathBuf),
    /// `HOST:PORT` on this machine, without TLS.
    Http(String),
}

impl Found {
    /// Whether one is there that may be spoken to. Nothing is sent. Inside a tokio runtime only.
    ///
    /// # Errors
    /// Nobody is there, or somebody who is neither root nor the user of this process: `PermissionDenied`.
    pub fn knock(&self) -> io::Result<()> {
        match self {
            Self::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                check_socket(&tokio::net::UnixStream::from_std(stream)?)
            }
            Self::Http(authority) => {
                let at = authority.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
                TcpStream::connect_timeout(&at, CONNECT_MAX)?;
                check_listener(at)
            }
        }
    }
}

/// Whether whoever listens behind a connection is root or the user of this process.
pub(super) fn check_socket(stream: &tokio::net::UnixStream) -> io::Result<()> {
    check(&[User(stream.peer_cred()?.uid())])
}

/// The same of who listens at `at`.
pub(super) fn check_listener(at: SocketAddr) -> io::Result<()> {
    check(&neighbor::of_listeners(at)?)
}

fn check(users: &[User]) -> io::Result<()> {
    match users.iter().find(|user| !user.is_ours()) {
        Some(User(user)) => Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {user} runs it"))),
        None if users.is_empty() => Err(io::Error::new(io::ErrorKind::PermissionDenied, "it cannot be told who runs it")),
        None => Ok(()),
    }
}

impl fmt::Display for Found {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(out, "unix:{}", path.display()),
            Self::Http(authority) => write!(out, "http://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_own_user_are_spoken_to() {
        let kind = |users: &[User]| check(users).map_err(|error| error.kind());
        assert_eq!(kind(&[User(0), User::of_this_process()]), Ok(()));
        assert_eq!(kind(&[User(0), User(60_773)]), Err(io::ErrorKind::PermissionDenied));
        assert_eq!(kind(&[]), Err(io::ErrorKind::PermissionDenied), "whoever cannot be known is nobody's");
    }

    #[tokio::test]
    async fn a_socket_and_a_port_of_this_process_are_ours() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("api.sock");
        assert_eq!(Found::Socket(path.clone()).knock().expect_err("nobody").kind(), io::ErrorKind::NotFound);
        let _socket = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        Found::Socket(path).knock().expect("it is ours");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        Found::Http(listener.local_addr().expect("bound").to_string()).knock().expect("it is ours");
    }

    #[tokio::test]
    async fn a_port_of_another_user_is_not() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root can become another user");
            return;
        }
        // A socket is of the user of the thread that makes it, and root here is no other user's.
        let binding = std::thread::spawn(|| {
            let user = rustix::thread::Uid::from_raw(60_773);
            rustix::thread::set_thread_res_uid(user, user, user).expect("root may");
            std::net::TcpListener::bind("127.0.0.1:0").expect("a free port")
        });
        let listener = binding.join().expect("bound");
        let refused = Found::Http(listener.local_addr().expect("bound").to_string()).knock().expect_err("it is another user's");
        assert_eq!((refused.kind(), refused.to_string().as_str()), (io::ErrorKind::PermissionDenied, "user 60773 runs it"));
    }
}
