//! What is done to the data directory of a server that does not run: a snapshot is restored into it, or a group begins anew from it. Owns the lock meanwhile and
//! what is refused; what the files say is the control plane's.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use founding::{
    recovery::{Recovery, Survivor, SurvivorError},
    restore::{self, RestoreError, Restored},
};
use model::problem::chain;

use crate::{
    data_directory::{DataDirectory, check_space},
    enroll::Enrolled,
    explain,
    start_error::StartError,
};

/// What every data directory has that was opened once, and that means nothing.
const EMPTY: [&str; 4] = ["lock", "format", "children.lock", "lost+found"];

/// Restores the snapshot `file` into the data directory `data`, which is made when absent. `key` is a copy of `control/cluster.key` of any server of that cluster;
/// not needed when the file was saved with it.
///
/// # Errors
/// A [`model::problem::Problem`] when the refusal has a code: E0602, E0603, E0607, E0612. Nothing is left in the directory.
pub fn restore(file: &Path, data: &Path, key: Option<&Path>) -> anyhow::Result<Restored> {
    let refused = |why: String, remedy| explain(StartError::Restore { path: file.to_owned(), why, remedy });
    if let Some(name) = first_of(data)? {
        return Err(refused(
            format!("the data directory {} is not empty: it has {name}", data.display()),
            "restore into an empty directory:   --data-dir DIR",
        ));
    }
    let from = File::open(file).map_err(|error| refused(error.to_string(), "name a file that `shoal snapshot save` wrote"))?;
    let directory = DataDirectory::open(data).map_err(explain)?;
    check_space(&directory.path).map_err(explain)?;
    directory.close().map_err(explain)?;
    let restored = restore::restore(from, &directory.path, key).inspect_err(|_| {
        // What was written is unproven; the next try begins with an empty directory.
        let _ = fs::remove_dir_all(directory.path.join("control"));
    });
    restored.map_err(|error| refused(chain(&error), remedy(&error)))
}

fn remedy(error: &RestoreError) -> &'static str {
    match error {
        RestoreError::NoKey => {
            "add   --key-file FILE   with a copy of control/cluster.key of any server of that cluster, or save with --with-keys"
        }
        RestoreError::WrongKey(_) | RestoreError::Key(_) => "give the control/cluster.key of a server of the cluster that was saved",
        RestoreError::Write(_) => "free space, or restore into another directory with   --data-dir DIR",
        RestoreError::File(_) | RestoreError::State(_) | RestoreError::Wrong { .. } => "take another snapshot; nothing was restored",
    }
}

/// Something that is in `data`, if anything is.
fn first_of(data: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !EMPTY.contains(&name.as_str()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// A server that does not run, of a group that may be lost.
pub struct Stopped {
    /// What it has.
    pub survivor: Survivor,
    directory: DataDirectory,
    enrolled: Enrolled,
}

impl Stopped {
    /// Reads what the server in `data` has, and asks the others whether they are there.
    ///
    /// # Errors
    /// A [`model::problem::Problem`] when the refusal has a code: E0602 while the server runs, E0613.
    pub async fn open(data: &Path) -> anyhow::Result<Self> {
        let refused = |why: String, remedy| explain(StartError::Recover { path: data.to_owned(), why, remedy });
        const NO_SERVER: &str = "run it on a machine that has a server's data directory, with   --data-dir DIR";
        if !data.join("control").is_dir() {
            return Err(refused("there is no server in it".to_owned(), NO_SERVER));
        }
        let directory = DataDirectory::open(data).map_err(explain)?;
        let enrolled = Enrolled::read(&directory.path).map_err(explain)?;
        let enrolled = enrolled.ok_or_else(|| refused("the server in it belongs to no cluster".to_owned(), NO_SERVER))?;
        let survivor = Survivor::read(&directory.path, enrolled.node, enrolled.cluster).await;
        let survivor = survivor.map_err(|error| refused(chain(&error), remedy_of_log(&error)))?;
        let begun = Recovery::read(&directory.path).map_err(|error| refused(error.to_string(), NO_SERVER))?;
        // One that was cut short has written a group of its own already, which lacks nobody: it is finished.
        if survivor.has_quorum() && begun.is_none() {
            let there: Vec<&str> = survivor.others.iter().filter(|other| other.index.is_some()).map(|other| other.name.as_str()).collect();
            let why = match there.as_slice() {
                [] => "it is the only one with a vote, and needs nobody".to_owned(),
                there => format!("with {} a majority of the servers is there, and nothing is lost", there.join(" and ")),
            };
            return Err(refused(why, "start this server; the members elect a leader by themselves"));
        }
        Ok(Self { survivor, directory, enrolled })
    }

    /// Lets the group begin anew with this server alone.
    ///
    /// # Errors
    /// A file cannot be written; tried again, it goes on where it was.
    pub fn begin(self) -> anyhow::Result<()> {
        let Self { survivor, directory, enrolled } = self;
        let recovery = survivor.begin()?;
        Enrolled { group: Some(recovery.group), servers: Vec::new(), ..enrolled }.write(&directory.path).map_err(explain)
    }
}

fn remedy_of_log(error: &SurvivorError) -> &'static str {
    match error {
        SurvivorError::Unlisted => "recover from another server, or restore a snapshot:   shoal snapshot restore FILE --data-dir DIR",
        _ => "recover from another server, the one with the newest log; or restore a snapshot",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_directory_is_restored_into() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, data) = (directory.path().join("file"), directory.path().join("data"));
        let refused = |data: &Path| format!("{:#}", restore(&file, data, None).expect_err("refused"));
        assert!(refused(&data).contains("No such file"), "{}", refused(&data));
        fs::write(&file, b"something else").expect("written");
        assert!(refused(&data).contains("no snapshot"), "{}", refused(&data));
        assert!(refused(&data).contains("no snapshot"), "what failed leaves an empty directory");
        fs::write(data.join("node.json"), b"{}").expect("written");
        assert!(refused(&data).contains("is not empty: it has node.json"), "{}", refused(&data));
    }
}
