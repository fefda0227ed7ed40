//! The data directory of a node: its lock, its format number, its layout and who may read what. Must never know what the files in it say.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Seek, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::Instant,
};

use runtime::code_store::CodeStore;
use rustix::fs::FlockOperation;

use super::{
    below,
    limits::{FREE_BYTES_MIN, ORPHANS_WAIT_MAX},
    sandbox_process::User,
    start_error::StartError,
};

/// The format this program reads and writes.
const FORMAT: &str = "3";

/// A data directory that is ours as long as this value lives.
#[derive(Debug)]
pub struct DataDirectory {
    /// Its absolute path.
    pub path: PathBuf,
    /// Held shared by every child, so that the next supervisor can wait for them.
    children: File,
    /// Held alone by the supervisor.
    _lock: File,
}

impl DataDirectory {
    /// Makes the directory when absent, takes its lock, checks its format and waits for the children of an earlier server.
    pub fn open(path: &Path) -> Result<Self, StartError> {
        let make = |source| StartError::File { attempt: "make", path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(make)?;
        let path = fs::canonicalize(path).map_err(make)?;
        let lock = lock(&path)?;
        check_format(&path)?;
        let children = wait_for_orphans(&path)?;
        Ok(Self { path, children, _lock: lock })
    }

    /// Makes the directories inside, closed to everybody who need not look into them. `worker` is who the worker will be, when that is not us.
    pub fn lay_out(&self, worker: Option<User>) -> Result<(), StartError> {
        // A worker with another user id must pass through the data directory and the code; it must see nothing else.
        let passage = if worker.is_some() { 0o711 } else { 0o700 };
        let attempt = |attempt, name: &str| {
            let path = self.path.join(name);
            move |source| StartError::File { attempt, path, source }
        };
        let data = below::open(&self.path).and_then(|data| below::close_to(&data, passage).map(|()| data)).map_err(attempt("use", "."))?;
        below::directory(&data, "control", 0o700).map_err(attempt("make", "control"))?;
        below::directory(&data, "code", passage).map_err(attempt("make", "code"))?;
        let of_worker = below::directory(&data, "worker", 0o700).map_err(attempt("make", "worker"))?;
        below::directory(&of_worker, "logs", 0o700).map_err(attempt("make", "worker/logs"))?;
        below::directory(&of_worker, "incoming", 0o700).map_err(attempt("make", "worker/incoming"))?;
        // What a node writes there when it joins must not go where a worker once pointed to.
        below::existing(&of_worker, "identity").map_err(attempt("use", "worker/identity"))?;
        if let Some(user) = worker {
            below::give(&of_worker, user).map_err(attempt("give away", "worker"))?;
        }
        self.lend_code(worker.is_some())
    }

    /// Closes it to everybody else until it is laid out: what is restored into it is nobody's to read meanwhile.
    pub fn close(&self) -> Result<(), StartError> {
        let attempt = |source| StartError::File { attempt: "protect", path: self.path.clone(), source };
        below::open(&self.path).and_then(|data| below::close_to(&data, 0o700)).map_err(attempt)
    }

    /// One more handle on the children's lock, for a child.
    pub fn children_lock(&self) -> io::Result<OwnedFd> {
        self.children.try_clone().map(OwnedFd::from)
    }

    /// Clears the code directory of what nobody can use, and lets a worker with another user id read what was written before it had one.
    fn lend_code(&self, to_others: bool) -> Result<(), StartError> {
        let path = self.path.join("code");
        let attempt = |source| StartError::File { attempt: "read", path: path.clone(), source };
        // Compile children of an earlier server are gone, and so is the use of code that another version wrote.
        let store = CodeStore::new(&path);
        store.remove_leftovers().and_then(|_| store.retain(|_| true)).map_err(attempt)?;
        let mode = if to_others { 0o444 } else { 0o400 };
        for entry in fs::read_dir(&path).map_err(attempt)? {
            let entry = entry.map_err(attempt)?;
            if entry.path().extension().is_some_and(|extension| extension == "code") {
                fs::set_permissions(entry.path(), Permissions::from_mode(mode)).map_err(attempt)?;
            }
        }
        Ok(())
    }
}

fn lock(path: &Path) -> Result<File, StartError> {
    let file_path = path.join("lock");
    let attempt = |source| StartError::File { attempt: "lock", path: file_path.clone(), source };
    let mut file = open_lock(&file_path).map_err(attempt)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Err(StartError::Locked { path: path.to_owned(), holder: holder.trim().parse().ok() });
        }
        Err(error) => return Err(attempt(error.into())),
    }
    // Only for the words of whoever finds the lock taken; on a full disk they say less.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// Refuses when there is too little space at `path` for a log to go on.
pub fn check_space(path: &Path) -> Result<(), StartError> {
    let attempt = |error: rustix::io::Errno| StartError::File { attempt: "measure", path: path.to_owned(), source: error.into() };
    let figures = rustix::fs::statvfs(path).map_err(attempt)?;
    let free_bytes = figures.f_bavail.saturating_mul(figures.f_frsize);
    if free_bytes < FREE_BYTES_MIN { Err(StartError::DiskFull { path: path.to_owned(), free_bytes }) } else { Ok(()) }
}

fn check_format(path: &Path) -> Result<(), StartError> {
    let file = path.join("format");
    let found = match fs::read_to_string(&file) {
        Ok(text) if text.trim() == FORMAT => return Ok(()),
        Ok(text) => text.trim().chars().take(20).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.join("control").exists() => {
            return write_format(&file).map_err(|source| StartError::File { attempt: "write", path: file.clone(), source });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => "no number".to_owned(),
        Err(source) => return Err(StartError::File { attempt: "read", path: file, source }),
    };
    Err(StartError::Format { path: path.to_owned(), found, known: FORMAT })
}

fn write_format(file: &Path) -> io::Result<()> {
    write_whole(file, format!("{FORMAT}\n").as_bytes())
}

/// Writes `file` aside and renames it: it is there whole or not at all, also after a power cut.
pub fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = file.with_extension("new");
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&aside, file)?;
    File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn wait_for_orphans(path: &Path) -> Result<File, StartError> {
    let file_path = path.join("children.lock");
    let attempt = |source| StartError::File { attempt: "lock", path: file_path.clone(), source };
    let file = open_lock(&file_path).map_err(attempt)?;
    let start = Instant::now();
    let mut told = false;
    while let Err(error) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(attempt(error.into()));
        }
        if start.elapsed() > ORPHANS_WAIT_MAX {
            return Err(StartError::Orphans { path: path.to_owned(), waited_seconds: ORPHANS_WAIT_MAX.as_secs() });
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!(wait.seconds_max = ORPHANS_WAIT_MAX.as_secs(), "waiting for the processes of an earlier server to finish");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    rustix::fs::flock(&file, FlockOperation::LockShared).map_err(|error| attempt(error.into()))?;
    Ok(file)
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_is_refused_and_told_who_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        let first = DataDirectory::open(&path).unwrap();
        let error = DataDirectory::open(&path).unwrap_err();
        assert_eq!(error.code(), "E0602");
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(first);
        DataDirectory::open(&path).unwrap();
    }

    #[test]
    fn a_directory_of_another_format_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("format"), "1\n").unwrap();
        let error = DataDirectory::open(directory.path()).unwrap_err();
        assert_eq!(error.code(), "E0603");
        assert_eq!(fs::read_to_string(directory.path().join("format")).unwrap(), "1\n");
        fs::remove_file(directory.path().join("format")).unwrap();
        fs::create_dir(directory.path().join("control")).unwrap();
        assert_eq!(DataDirectory::open(directory.path()).unwrap_err().code(), "E0603", "data without a number");
    }

    /// Goal: whatever a worker that was escaped from leaves in its directory, the next start touches nothing outside.
    #[test]
    fn a_link_in_place_of_a_directory_is_refused_and_nothing_behind_it_is_touched() {
        use std::os::unix::fs::{MetadataExt, symlink};
        for name in ["worker", "worker/logs", "worker/incoming", "worker/identity", "code", "control"] {
            let directory = tempfile::tempdir().unwrap();
            let victim = directory.path().join("victim");
            fs::create_dir(&victim).unwrap();
            fs::write(victim.join("file"), "theirs").unwrap();
            fs::set_permissions(&victim, Permissions::from_mode(0o755)).unwrap();
            let before = fs::metadata(&victim).unwrap();
            let data = DataDirectory::open(&directory.path().join("data")).unwrap();
            let path = data.path.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(&victim, &path).unwrap();
            for worker in [None, crate::sandbox_process::worker_user()] {
                let error = data.lay_out(worker).unwrap_err();
                assert!(matches!(&error, StartError::File { path: named, .. } if *named == path), "{name}: {error:?}");
                let told = std::error::Error::source(&error).unwrap().to_string();
                assert!(told.contains("no directory"), "{name}: {told}");
            }
            let after = fs::metadata(&victim).unwrap();
            assert_eq!((before.mode(), before.uid()), (after.mode(), after.uid()), "{name}");
            assert_eq!(fs::metadata(victim.join("file")).unwrap().uid(), before.uid(), "{name}");
            fs::remove_file(&path).unwrap();
            data.lay_out(None).unwrap();
        }
    }

    #[test]
    fn nobody_else_may_look_inside() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(&directory.path().join("data")).unwrap();
        data.lay_out(None).unwrap();
        for name in [".", "control", "code", "worker", "worker/logs"] {
            let mode = fs::metadata(data.path.join(name)).unwrap().mode() & 0o777;
            assert_eq!(mode, 0o700, "{name}");
        }
    }
}
