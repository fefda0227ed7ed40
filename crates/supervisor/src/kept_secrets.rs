//! The secret values of the last worker, for the next one: a file in memory that the worker sealed. Owns keeping and lending it; must never read it.

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::OwnedFd,
    sync::{Mutex, PoisonError},
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::{io::Interest, net::UnixDatagram};
use worker::handover::SEALS;

/// What the newest worker left, if it left anything.
#[derive(Debug, Default)]
pub struct KeptSecrets(Mutex<Option<OwnedFd>>);

impl KeptSecrets {
    /// A copy of the descriptor.
    pub fn lend(&self) -> io::Result<Option<OwnedFd>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map(OwnedFd::try_clone).transpose()
    }

    /// Keeps whatever comes over `from`, each in the place of the one before; goes on until it is dropped.
    ///
    /// # Errors
    /// When the socket breaks.
    pub async fn keep(&self, from: &UnixDatagram) -> io::Result<()> {
        loop {
            self.put(from.async_io(Interest::READABLE, || receive(from)).await?);
        }
    }

    /// Takes what a worker that has ended left and nobody has looked at yet.
    pub fn drain(&self, from: &UnixDatagram) {
        while let Ok(left) = receive(from) {
            self.put(left);
        }
    }

    fn put(&self, file: Option<OwnedFd>) {
        if file.is_some() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = file;
        }
    }
}

/// A file that nobody can change any more; what else a worker may send is dropped.
fn receive(from: &UnixDatagram) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut word = [0; 1];
    rustix::net::recvmsg(from, &mut [IoSliceMut::new(&mut word)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let files = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    Ok(files.flatten().find(|file| rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SEALS))))
}

#[cfg(test)]
mod tests {
    use std::{
        io::IoSlice,
        os::fd::{AsFd, BorrowedFd},
    };

    use rustix::{
        fs::MemfdFlags,
        net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags},
    };

    use super::*;

    fn send(to: &UnixDatagram, file: BorrowedFd<'_>) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let files = [file];
        ancillary.push(SendAncillaryMessage::ScmRights(&files));
        rustix::net::sendmsg(to, &[IoSlice::new(b"s")], &mut ancillary, SendFlags::empty()).unwrap();
    }

    #[tokio::test]
    async fn only_what_nobody_can_change_is_kept_and_the_newest_of_it() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let kept = KeptSecrets::default();
        assert!(kept.lend().unwrap().is_none());
        let file = |name: &str, seals| {
            let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
            rustix::io::write(&file, name.as_bytes()).unwrap();
            rustix::fs::fcntl_add_seals(&file, seals).unwrap();
            file
        };
        let lent = || {
            let mut text = [0; 16];
            let file = kept.lend().unwrap().unwrap();
            let length = rustix::io::pread(&file, &mut text, 0).unwrap();
            String::from_utf8_lossy(&text[..length]).into_owned()
        };
        send(&theirs, file("first", SEALS).as_fd());
        send(&theirs, file("second", SEALS).as_fd());
        send(&theirs, file("open", rustix::fs::SealFlags::empty()).as_fd());
        kept.drain(&ours);
        assert_eq!(lent(), "second");
        send(&theirs, file("third", SEALS).as_fd());
        drop(theirs);
        kept.drain(&ours);
        assert_eq!(lent(), "third", "what a worker that has ended left is not lost");
    }
}
