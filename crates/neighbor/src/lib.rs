//! Who is on the other end of a connection within this machine: the user its process runs as, asked of the kernel. Owns the question and what counts as an
//! answer; must never decide what a user may do beyond whether it is this process's own.

mod ask;
mod table;

use std::{io, net::SocketAddr};

/// A user id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User(pub u32);

/// Nobody knows who is on the other end.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// The other end is of another machine, or its process has let go of it already: what the kernel then says means nothing.
    #[error("no process of this machine holds the other end of the connection from {from}")]
    Nobody {
        /// The other end.
        from: SocketAddr,
    },
    /// Neither the kernel nor its table can be asked.
    #[error("the kernel cannot be asked who holds the other end of the connection from {from}")]
    Silent {
        /// The other end.
        from: SocketAddr,
        /// Why the table cannot be read.
        source: io::Error,
    },
}

/// One socket as the kernel tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    state: u8,
    user: u32,
    inode: u64,
}

/// `TCP_ESTABLISHED`.
const ESTABLISHED: u8 = 1;

/// `TCP_LISTEN`.
const LISTENS: u8 = 10;

impl User {
    /// Who this process runs as.
    pub fn of_this_process() -> Self {
        Self(rustix::process::geteuid().as_raw())
    }

    /// Whether it is root or who this process runs as: those who may do to this process what they like anyway.
    pub fn is_ours(self) -> bool {
        self.0 == 0 || self == Self::of_this_process()
    }
}

/// The user of the process at the end `from` of a TCP connection whose other end, `to`, this process holds. Both are addresses of this machine. Takes some
/// microseconds; where the kernel does not answer, it reads a table as long as the machine has connections.
///
/// # Errors
/// It cannot be found out. Whoever has closed its end by now is nobody: the kernel forgets the user of a socket without a process, and calls it root's.
pub fn of_connection(from: SocketAddr, to: SocketAddr) -> Result<User, Unknown> {
    let (from, to) = (canonical(from), canonical(to));
    let seen = match ask::kernel(from, to) {
        Ok(seen) => Some(seen),
        // It may lack the module that answers.
        Err(_) => table::find(from, to).map_err(|source| Unknown::Silent { from, source })?,
    };
    seen.and_then(Seen::user).ok_or(Unknown::Nobody { from })
}

/// The users who listen at `at` on this machine, on that address or on all of them: who a connection to it would end with. Reads a table as long as the
/// machine has connections.
///
/// # Errors
/// The table cannot be read.
pub fn of_listeners(at: SocketAddr) -> io::Result<Vec<User>> {
    let seen = table::listeners(canonical(at))?;
    Ok(seen.into_iter().map(|seen| User(seen.user)).collect())
}

impl Seen {
    /// The user, when a process holds the socket and has closed no end of it.
    fn user(self) -> Option<User> {
        (self.state == ESTABLISHED && self.inode != 0).then_some(User(self.user))
    }
}

/// An IPv4 address is never in its IPv6 form.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Shutdown, TcpListener, TcpStream},
    };

    use super::*;

    /// Both ends of a connection over `host`: the client's and the server's.
    fn pair(host: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn ends(server: &TcpStream) -> (SocketAddr, SocketAddr) {
        (server.peer_addr().unwrap(), server.local_addr().unwrap())
    }

    /// What the kernel says when asked, when it answers here at all, and what its table says.
    fn both(from: SocketAddr, to: SocketAddr) -> [Option<Seen>; 2] {
        let table = table::find(canonical(from), canonical(to)).unwrap();
        let asked = ask::kernel(canonical(from), canonical(to)).ok();
        if asked.is_none() && table.is_some() {
            eprintln!("SKIPPED: this kernel answers by its table only");
        }
        [asked.or(table), table]
    }

    #[test]
    fn the_user_of_a_neighbor_is_known_by_either_way() {
        for host in ["127.0.0.1", "::1"] {
            let Ok(_) = TcpListener::bind((host, 0)) else { continue };
            let (_client, server) = pair(host);
            let (from, to) = ends(&server);
            assert_eq!(of_connection(from, to).unwrap(), User::of_this_process(), "{host}");
            for seen in both(from, to) {
                assert_eq!(seen.and_then(Seen::user), Some(User::of_this_process()), "{host}");
            }
        }
    }

    #[test]
    fn another_user_is_another_user() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root can become another user");
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        // A socket is of the user of the thread that makes it.
        let client = std::thread::spawn(move || {
            let user = rustix::thread::Uid::from_raw(60_773);
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            TcpStream::connect(to).unwrap()
        });
        let client = client.join().unwrap();
        let (server, from) = listener.accept().unwrap();
        assert_eq!(of_connection(from, to).unwrap(), User(60_773));
        assert!(!User(60_773).is_ours() && User(0).is_ours() && User::of_this_process().is_ours());
        for seen in both(from, to) {
            assert_eq!(seen.and_then(Seen::user), Some(User(60_773)));
        }
        drop((client, server));
    }

    /// Goal: a request that was written and left behind is nobody's, though the kernel says that its socket is root's.
    #[test]
    fn whoever_has_gone_is_nobody() {
        let (mut client, mut server) = pair("127.0.0.1");
        let (from, to) = ends(&server);
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        drop(client);
        // Its end has come, and with it the last moment in which it was somebody's.
        server.read_to_end(&mut Vec::new()).unwrap();
        assert!(matches!(of_connection(from, to), Err(Unknown::Nobody { .. })));
        assert_eq!(both(from, to).map(|seen| seen.and_then(Seen::user)), [None, None]);

        let (client, mut server) = pair("127.0.0.1");
        client.shutdown(Shutdown::Write).unwrap();
        server.read_to_end(&mut Vec::new()).unwrap();
        let (from, to) = ends(&server);
        assert!(of_connection(from, to).is_err(), "half an end is none");
    }

    #[test]
    fn whoever_listens_is_known() {
        for host in ["127.0.0.1", "0.0.0.0", "::"] {
            let Ok(listener) = TcpListener::bind((host, 0)) else { continue };
            let at = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
            assert_eq!(of_listeners(at).unwrap(), [User::of_this_process()], "{host}");
            let (_client, _server) = (TcpStream::connect(at).unwrap(), listener.accept().unwrap());
            drop(listener);
            assert_eq!(of_listeners(at).unwrap(), [], "a connection is no listener");
        }
    }

    #[test]
    fn a_listener_and_a_stranger_are_no_neighbors() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(of_connection(other.local_addr().unwrap(), to).is_err(), "it listens, and is connected to nobody");
        assert!(of_connection("192.0.2.7:1".parse().unwrap(), to).is_err());
        assert!(of_connection("[2001:db8::7]:1".parse().unwrap(), to).is_err());
    }
}
