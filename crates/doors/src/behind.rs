//! Who is behind a connection that comes over no network: the owner of this machine's server, or anybody else. Owns when that is asked; what it opens is
//! whoever is behind the door's, and how it is found out the crate `neighbor`'s.

use std::net::SocketAddr;

use neighbor::User;
use tokio::net::{TcpStream, UnixStream};

use model::problem::chain;

use crate::via::Via;

/// What is known of the other end when a connection is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// It does not matter: the listener is one kind of caller's.
    Anyone,
    /// The user who connected to the API's socket; none when the kernel does not say.
    Socket(Option<User>),
    /// Both ends over loopback; none when they are gone already.
    Loopback(Option<(SocketAddr, SocketAddr)>),
}

impl Behind {
    /// Of the API's socket.
    pub fn socket(stream: &UnixStream) -> Self {
        Self::Socket(stream.peer_cred().ok().map(|who| User(who.uid())))
    }

    /// Of the API's port on loopback.
    pub fn loopback(stream: &TcpStream) -> Self {
        Self::Loopback(stream.peer_addr().ok().zip(stream.local_addr().ok()))
    }

    /// How the requests of the connection come. Asked once, before the first is read: later the caller may have gone, and be nobody.
    pub async fn via(self) -> Option<Via> {
        let (user, owner) = match self {
            Self::Anyone => return None,
            Self::Socket(user) => (user, Via::Socket),
            Self::Loopback(ends) => (user_of(ends).await, Via::Loopback),
        };
        Some(if user.is_some_and(User::is_ours) { owner } else { Via::Stranger(user.map(|user| user.0)) })
    }
}

async fn user_of(ends: Option<(SocketAddr, SocketAddr)>) -> Option<User> {
    let (from, to) = ends?;
    // Where the kernel is not asked but its table is read, that takes as long as there are connections.
    let found = tokio::task::spawn_blocking(move || neighbor::of_connection(from, to)).await.ok()?;
    found.inspect_err(|error| tracing::debug!(error = %chain(error), "nobody knows who calls; a token is asked for")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_owner_is_let_in_without_a_token() {
        let own = User::of_this_process();
        let check = async |behind: Behind, expected| assert_eq!(behind.via().await, expected, "{behind:?}");
        check(Behind::Anyone, None).await;
        check(Behind::Socket(Some(own)), Some(Via::Socket)).await;
        check(Behind::Socket(Some(User(0))), Some(Via::Socket)).await;
        check(Behind::Socket(Some(User(60_773))), Some(Via::Stranger(Some(60_773)))).await;
        check(Behind::Socket(None), Some(Via::Stranger(None))).await;
        check(Behind::Loopback(None), Some(Via::Stranger(None))).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        let (server, _) = listener.accept().await.expect("a connection");
        check(Behind::loopback(&server), Some(Via::Loopback)).await;
        drop(client);
    }
}
