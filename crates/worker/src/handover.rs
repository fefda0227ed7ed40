//! Secret values for the next worker of this node: a sealed file in memory that the supervisor holds and nobody can change. Owns its making and its reading;
//! must never give it a name on a disk.

use std::{
    fs::File,
    io::{self, IoSlice, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::FileExt, net::UnixDatagram},
    },
    sync::Arc,
};

use rustix::{
    fs::{MemfdFlags, SealFlags},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags},
};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::{limits::HANDOVER_BYTES_MAX, secrets::Vault};

/// What every file handed over is sealed with: nobody writes it, makes it longer or shorter, or takes a seal away.
pub const SEALS: SealFlags = SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Both ends of a worker's life as far as secrets go.
#[derive(Debug)]
pub struct Handover {
    /// What the worker before left.
    pub last: Option<OwnedFd>,
    /// The way to the supervisor.
    pub to: UnixDatagram,
}

/// What the worker before left; nothing when it cannot be read, and then a server is waited for.
pub fn read(last: Option<OwnedFd>) -> Vault {
    let Some(file) = last.map(File::from) else { return Vault::default() };
    parse(&file).unwrap_or_else(|error| {
        // A parser's complaint may quote what it read.
        tracing::error!(error.kind = %error.kind(), "the secrets of the worker before cannot be read; waiting for a server");
        Vault::default()
    })
}

fn parse(file: &File) -> io::Result<Vault> {
    let length = file.metadata()?.len();
    if length > HANDOVER_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    // Every worker reads through the same open file, so its position says nothing.
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or(0)]);
    file.read_exact_at(&mut bytes, 0)?;
    serde_json::from_slice(&bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Leaves every new set with the supervisor; ends when there will be no more.
pub async fn keep(to: UnixDatagram, mut vaults: watch::Receiver<Arc<Vault>>) {
    while vaults.changed().await.is_ok() {
        let vault = vaults.borrow_and_update().clone();
        if let Err(error) = seal(&vault).and_then(|file| send(&to, &file)) {
            tracing::error!(error = %error, "the next worker of this node will wait for secrets from a server");
        }
    }
    // Whoever waits for parts of the worker to end must not take this for one that failed.
    std::future::pending().await
}

/// `vault` in a file that only exists in memory.
fn seal(vault: &Vault) -> io::Result<OwnedFd> {
    let bytes = Zeroizing::new(serde_json::to_vec(vault)?);
    let file = rustix::fs::memfd_create("secrets", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(file);
    file.write_all(&bytes)?;
    rustix::fs::fcntl_add_seals(&file, SEALS)?;
    Ok(file.into())
}

fn send(to: &UnixDatagram, file: &OwnedFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&files));
    rustix::net::sendmsg(to, &[IoSlice::new(b"s")], &mut ancillary, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use api::node::{AssignedSecret, SecretText};

    use super::*;
    use crate::{fixtures::assignment, fixtures::place, secrets::taken_from};

    fn vault() -> Vault {
        let mut part = api::node::AssignmentPart::from(assignment(1, vec![place("hello/web", 1, 7, api::node::Wanted::Run)]));
        let values = [("password".to_owned(), SecretText::new("canary".to_owned()))].into();
        part.apps[0].secrets = vec![AssignedSecret { secret: "db".parse().unwrap(), version: 1, values }];
        let mut vault = Vault::default();
        vault.learn(taken_from(&mut part));
        vault
    }

    #[test]
    fn what_was_sealed_is_read_again_and_cannot_be_changed() {
        let file = seal(&vault()).unwrap();
        for _ in 0..2 {
            assert_eq!(read(Some(file.try_clone().unwrap())), vault());
        }
        assert_eq!(rustix::fs::fcntl_get_seals(&file).unwrap(), SEALS);
        assert!(File::from(file).write_all(b"x").is_err());
    }

    #[test]
    fn what_is_no_set_of_secrets_is_none() {
        let file = rustix::fs::memfd_create("other", MemfdFlags::CLOEXEC).unwrap();
        File::from(file.try_clone().unwrap()).write_all(b"[canary").unwrap();
        assert!(read(Some(file)).is_empty() && read(None).is_empty());
    }
}
