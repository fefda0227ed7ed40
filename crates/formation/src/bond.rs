//! The file that binds a machine to the cluster that is being formed: from the moment it is on disk, the machine founds or joins that one and no other. Owns the
//! file; must never be changed, only removed once the machine has its place.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize};
use transport::{AuthorityDigest, TokenId};

use crate::error::FormError;

/// Where it is, below the data directory.
const FILE: &str = "control/formation.json";

/// What a machine is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bond {
    /// The token by which it came about.
    pub token: TokenId,
    /// The cluster's authority.
    pub authority: AuthorityDigest,
    /// What the machine is in it.
    pub part: Part,
}

/// What a machine is in the cluster that is being formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// It has the authority and its key, and founds when all others are bound.
    Founder,
    /// It joins.
    Member,
}

impl Bond {
    /// Reads it; none when the machine below whose data directory it would be is free.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(data: &Path) -> Result<Option<Self>, FormError> {
        let path = data.join(FILE);
        match fs::read(&path) {
            Ok(text) => {
                let bond = serde_json::from_slice(&text);
                bond.map(Some).map_err(|error| FormError::File { attempt: "read", path, source: error.into() })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FormError::File { attempt: "read", path, source }),
        }
    }

    /// Writes it aside and renames it: on disk, also after a power cut, when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, data: &Path) -> Result<(), FormError> {
        let path = data.join(FILE);
        self.write_to(&path).map_err(|source| FormError::File { attempt: "write", path, source })
    }

    fn write_to(&self, path: &Path) -> io::Result<()> {
        let (aside, directory) = (path.with_extension("new"), path.parent().unwrap_or(Path::new(".")));
        fs::create_dir_all(directory)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        File::open(directory)?.sync_all()
    }

    /// Removes it, once the machine has its place.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(data: &Path) -> Result<(), FormError> {
        let path = data.join(FILE);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(FormError::File { attempt: "remove", path, source }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_binds_is_read_back_until_it_is_removed() {
        let data = tempfile::tempdir().expect("a directory");
        assert_eq!(Bond::read(data.path()).expect("readable"), None);
        let bond = Bond { token: TokenId::from_bytes([1; 5]), authority: AuthorityDigest::from_bytes([2; 32]), part: Part::Member };
        bond.write(data.path()).expect("writable");
        assert_eq!(Bond::read(data.path()).expect("readable"), Some(bond));
        let text = fs::read_to_string(data.path().join(FILE)).expect("it is there");
        expect_test::expect![[
            r#"{"token":"aeaqcaib","authority":"aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba","part":"member"}"#
        ]]
        .assert_eq(&text);
        Bond::remove(data.path()).expect("removable");
        Bond::remove(data.path()).expect("nothing to remove");
        assert_eq!(Bond::read(data.path()).expect("readable"), None);
    }

    #[test]
    fn what_is_damaged_does_not_count_as_free() {
        let data = tempfile::tempdir().expect("a directory");
        fs::create_dir(data.path().join("control")).expect("a directory");
        fs::write(data.path().join(FILE), "{").expect("written");
        assert!(Bond::read(data.path()).is_err());
    }
}
