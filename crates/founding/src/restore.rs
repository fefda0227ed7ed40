//! A cluster from a snapshot, below an empty data directory. Owns that it is there whole or not at all, and what proves it; the file's layout is `backup`'s.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use backup::{About, BackupError, Kind, Part, Reader};
use consensus::{RecoverError, Remains};
use model::id::{Digest, NodeId};
use sha2::{Digest as _, Sha256};
use transport::{ClusterId, ClusterKey, SealError};
use zeroize::Zeroizing;

use crate::{
    cluster::{Founding, FoundingError, open_authority},
    machine::Machine,
    recovery::{self, Recovery},
};

/// Why a snapshot is not restored. What was written is to be removed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] BackupError),
    /// The state in it cannot be used.
    #[error("the state in the snapshot cannot be used")]
    State(#[from] RecoverError),
    /// Parts of it do not belong together.
    #[error("the snapshot is damaged: {what}")]
    Wrong {
        /// What does not match.
        what: String,
    },
    /// Nothing opens its secrets.
    #[error("the snapshot holds no cluster key, and without it neither its secrets nor the authority that certifies nodes can be opened")]
    NoKey,
    /// Another key than the one that sealed.
    #[error("the cluster key that was given is not the one of this cluster")]
    WrongKey(#[source] FoundingError),
    /// The key cannot be read or written.
    #[error("cannot use the cluster key")]
    Key(#[from] SealError),
    /// The directory cannot be written.
    #[error("cannot write below the data directory")]
    Write(#[from] io::Error),
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the file said of itself.
    pub about: About,
    /// The hash of the state that is there now, before the group's first entry.
    pub state_hash: Digest,
    /// The id of the only server.
    pub node: NodeId,
    /// Artifacts that were brought along.
    pub artifacts: u64,
    /// Artifacts that apps name and that were not in the file.
    pub missing: Vec<Digest>,
    /// Nodes that the state lists.
    pub nodes: usize,
}

/// Writes the cluster in `from` below `data`, which holds nothing else. `key` is a copy of `control/cluster.key` of any server, when the file has none.
///
/// # Errors
/// The file is torn, damaged or of something else; the key is missing or wrong; the directory cannot be written.
pub fn restore(from: impl Read, data: &Path, key: Option<&Path>) -> Result<Restored, RestoreError> {
    let control = data.join("control");
    fs::create_dir_all(control.join("artifacts"))?;
    let mut reader = Reader::open(from)?;
    let (mut remains, mut found_key, mut artifacts) = (None, None, BTreeSet::new());
    while let Some(part) = reader.next_part()? {
        match part.kind.clone() {
            Kind::State => remains = Some(Remains::<Machine>::of_snapshot(part)?),
            Kind::Key => found_key = Some(key_of(Zeroizing::new(part.whole()?))?),
            Kind::Artifact(digest) => {
                store(part, &control.join("artifacts"), &digest)?;
                artifacts.insert(digest);
            }
            Kind::About => return Err(wrong("it says twice what it is of")),
        }
    }
    File::open(control.join("artifacts"))?.sync_all()?;
    let about = reader.about().clone();
    let remains = remains.ok_or_else(|| wrong("it has no state"))?;
    let state_hash = Digest(remains.machine().0.hash());
    if state_hash != about.state_hash {
        return Err(wrong(&format!("the state in it hashes to {state_hash}, and it was saved as {}", about.state_hash)));
    }
    if about.artifacts.is_some_and(|count| count != artifacts.len() as u64) {
        return Err(wrong("it has not as many artifacts as it says"));
    }
    let key = match key {
        Some(path) => ClusterKey::read(path)?,
        None => found_key.ok_or(RestoreError::NoKey)?,
    };
    let restored = Restored {
        state_hash,
        node: NodeId(recovery::counts_from(&remains.machine().0, remains.last())),
        artifacts: artifacts.len() as u64,
        missing: remains.machine().0.artifacts().into_iter().filter(|digest| !artifacts.contains(digest)).collect(),
        nodes: remains.machine().0.nodes().count(),
        about,
    };
    settle(remains, data, &key, restored.node)?;
    Ok(restored)
}

/// Writes what is proven: the key, the log, and last of all that the group begins anew.
fn settle(remains: Remains<Machine>, data: &Path, key: &ClusterKey, node: NodeId) -> Result<(), RestoreError> {
    let cluster = remains.machine().0.cluster().cloned().ok_or_else(|| wrong("its state is of no cluster"))?;
    let authority = Founding { certificate: cluster.ca_certificate.clone(), key: cluster.ca_key.0.clone() };
    open_authority(&authority.certificate, &authority.key, key).map_err(RestoreError::WrongKey)?;
    key.write(&data.join("control/cluster.key"))?;
    let cluster = ClusterId::from_bytes(cluster.id);
    let recovery = Recovery { cluster, group: ClusterId::random(), node, authority: Some(authority) };
    recovery::begin(remains, data, &recovery)?;
    Ok(recovery.write(data)?)
}

fn key_of(bytes: Zeroizing<Vec<u8>>) -> Result<ClusterKey, RestoreError> {
    let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| wrong("its cluster key is none"))?;
    Ok(ClusterKey::from_bytes(bytes))
}

/// Writes an artifact aside, holds it against its digest, and renames it.
fn store<R: Read>(mut part: Part<'_, R>, directory: &Path, digest: &Digest) -> Result<(), RestoreError> {
    let (path, aside) = (directory.join(format!("{}.wasm", digest.hex())), directory.join("restoring"));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    let (mut sum, mut buffer) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        let read = part.read(&mut buffer).map_err(BackupError::from)?;
        if read == 0 {
            break;
        }
        sum.update(&buffer[..read]);
        file.write_all(&buffer[..read])?;
    }
    if Digest(sum.finalize().into()) != *digest {
        return Err(wrong(&format!("the bytes of artifact {digest} are others")));
    }
    file.sync_all()?;
    Ok(fs::rename(aside, path)?)
}

fn wrong(what: &str) -> RestoreError {
    RestoreError::Wrong { what: what.to_owned() }
}
