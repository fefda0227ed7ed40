//! The file that says whose directory this is. Owns its bytes; must never change it once it is written, but for [`rewrite`].

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{
    GroupId, Identity, OpenError,
    frame::{self, Schema},
};

const NAME: &str = "identity";

/// Variants are only ever appended, their fields never change.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1 { group: GroupId, node_id: u64 },
}

/// Makes `directory` this member's, or checks that it is.
pub(crate) fn claim(directory: &Path, identity: Identity) -> Result<(), OpenError> {
    let failed = |source| OpenError::Log { dir: directory.to_owned(), source };
    match read(directory).map_err(failed)? {
        None => rewrite(directory, identity).map_err(failed),
        Some(found) if found == identity => Ok(()),
        Some(found) => Err(OpenError::Identity { dir: directory.to_owned(), found: name(found), expected: name(identity) }),
    }
}

/// Whose directory it is; nobody's while nothing was opened in it.
pub(crate) fn read(directory: &Path) -> io::Result<Option<Identity>> {
    let bytes = match fs::read(directory.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let Stored::V1 { group, node_id } =
        frame::decode(Schema::Identity, &bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some(Identity { group, node_id }))
}

/// Makes `directory` the one of `identity`, whosesoever it was.
pub(crate) fn rewrite(directory: &Path, identity: Identity) -> io::Result<()> {
    let stored = Stored::V1 { group: identity.group, node_id: identity.node_id };
    let bytes = frame::encode(Schema::Identity, &stored).map_err(io::Error::other)?;
    let aside = directory.join(format!("{NAME}.part"));
    let mut file = File::create(&aside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(aside, directory.join(NAME))?;
    File::open(directory)?.sync_all()
}

fn name(identity: Identity) -> String {
    format!("{} of group {}", identity.node_id, identity.group)
}
