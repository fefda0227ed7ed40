//! What lies below a directory that belongs to somebody who may be hostile, touched by descriptors alone: nothing is followed, and what was looked at is what is
//! changed. Owns those steps; must never know which directories there are.

use std::{
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags},
    io::Errno,
    process::{Gid, Uid},
};

use crate::{limits::DEPTH_MAX, sandbox_process::User};

/// Opens a directory that is to be read, and no link.
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens whatever has a name, and not what it points to. It can be looked at and given away, nothing else.
const NAME: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens the directory `path`, which nobody but us names.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(fs::openat(CWD, path, DIRECTORY, Mode::empty())?)
}

/// Makes the directory `name` in `parent` when absent, with exactly `mode`.
///
/// # Errors
/// Something else has the name.
pub fn directory(parent: &OwnedFd, name: &str, mode: u32) -> io::Result<OwnedFd> {
    match fs::mkdirat(parent, name, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let directory = fs::openat(parent, name, DIRECTORY, Mode::empty()).map_err(no_directory)?;
    close_to(&directory, mode)?;
    Ok(directory)
}

/// The directory `name` in `parent`, when there is anything of that name.
///
/// # Errors
/// Something else has the name.
pub fn existing(parent: &OwnedFd, name: &str) -> io::Result<Option<OwnedFd>> {
    match fs::openat(parent, name, DIRECTORY, Mode::empty()) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(no_directory(error)),
    }
}

/// The whole file `path`, which is followed nowhere; it may lie in somebody else's directory.
///
/// # Errors
/// It is no file, or longer than `bytes_max`.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    // Not waiting for anybody: a pipe may stand there.
    let file = fs::openat(CWD, path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    if FileType::from_raw_mode(fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    let mut text = Vec::new();
    std::fs::File::from(file).take(bytes_max + 1).read_to_end(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too long"));
    }
    Ok(text)
}

/// Gives `directory` exactly `mode`.
pub fn close_to(directory: &OwnedFd, mode: u32) -> io::Result<()> {
    Ok(fs::fchmod(directory, Mode::from_raw_mode(mode))?)
}

/// Makes `directory` and everything in it the user's. What it is not alone in naming is left: it may be a name for somebody else's file.
///
/// # Errors
/// It goes deeper than anything of ours does, or its file system knows no owners.
pub fn give(directory: &OwnedFd, user: User) -> io::Result<()> {
    give_below(directory, user, DEPTH_MAX)
}

fn give_below(directory: &OwnedFd, user: User, depth_left: usize) -> io::Result<()> {
    own(directory, user)?;
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let found = match fs::openat(directory, name, NAME, Mode::empty()) {
            Ok(found) => found,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        let stat = fs::fstat(&found)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            // The same directory, opened to be read: by the descriptor, not by a name that may be another's by now.
            let below = fs::openat(&found, ".", DIRECTORY, Mode::empty())?;
            drop(found);
            let depth_left = depth_left.checked_sub(1).ok_or_else(|| io::Error::other("its directories are too deep; remove them"))?;
            give_below(&below, user, depth_left)?;
        } else if stat.st_nlink == 1 {
            own(&found, user)?;
        }
    }
    Ok(())
}

/// Makes `path` itself, not what it points to, the user's.
///
/// # Errors
/// It has other names too.
pub fn give_one(path: &Path, user: User) -> io::Result<()> {
    let found = fs::openat(CWD, path, NAME, Mode::empty())?;
    if fs::fstat(&found)?.st_nlink != 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has several names"));
    }
    own(&found, user)
}

/// Makes the directory `path` and everything in it the user's.
///
/// # Errors
/// It is none.
pub fn give_all(path: &Path, user: User) -> io::Result<()> {
    give(&fs::openat(CWD, path, DIRECTORY, Mode::empty()).map_err(no_directory)?, user)
}

fn own(found: impl AsFd, User(user): User) -> io::Result<()> {
    if fs::fstat(&found)?.st_uid == user {
        return Ok(());
    }
    Ok(fs::chownat(&found, "", Some(Uid::from_raw(user)), Some(Gid::from_raw(user)), AtFlags::EMPTY_PATH)?)
}

fn no_directory(error: Errno) -> io::Error {
    match error {
        Errno::LOOP | Errno::NOTDIR => {
            let told = "it is no directory: a link or a file was put there. Look who did, and move it away";
            io::Error::new(io::ErrorKind::NotADirectory, told)
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs as std_fs,
        os::unix::fs::{MetadataExt, symlink},
    };

    use super::*;

    #[test]
    fn what_a_directory_has_is_given_away_and_nothing_else() {
        let Some(user) = crate::sandbox_process::worker_user() else {
            eprintln!("SKIPPED: only root can give files away");
            return;
        };
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        std_fs::create_dir_all(at("own/deep")).unwrap();
        std_fs::create_dir(at("outside")).unwrap();
        for name in ["own/file", "own/deep/file", "outside/file", "outside/shared"] {
            std_fs::write(at(name), "bytes").unwrap();
        }
        symlink(at("outside"), at("own/link")).unwrap();
        symlink(at("outside/file"), at("own/deep/link")).unwrap();
        std_fs::hard_link(at("outside/shared"), at("own/shared")).unwrap();
        give_all(&at("own"), user).unwrap();
        let owner = |name: &str| std_fs::symlink_metadata(at(name)).unwrap().uid();
        for name in ["own", "own/file", "own/deep", "own/deep/file", "own/link", "own/deep/link"] {
            assert_eq!(owner(name), user.0, "{name}");
        }
        for name in ["outside", "outside/file", "outside/shared"] {
            assert_eq!(owner(name), 0, "{name}");
        }
        assert!(give_all(&at("own/link"), user).unwrap_err().to_string().contains("no directory"));
        assert!(give_one(&at("own/shared"), user).is_err());
    }

    #[test]
    fn a_name_is_a_directory_or_refused() {
        let place = tempfile::tempdir().unwrap();
        let parent = open(place.path()).unwrap();
        directory(&parent, "new", 0o700).unwrap();
        assert_eq!(std_fs::metadata(place.path().join("new")).unwrap().mode() & 0o777, 0o700);
        directory(&parent, "new", 0o711).unwrap();
        assert_eq!(std_fs::metadata(place.path().join("new")).unwrap().mode() & 0o777, 0o711);
        assert!(existing(&parent, "absent").unwrap().is_none() && existing(&parent, "new").unwrap().is_some());
        std_fs::write(place.path().join("file"), "").unwrap();
        symlink("new", place.path().join("link")).unwrap();
        for name in ["file", "link"] {
            assert!(directory(&parent, name, 0o700).unwrap_err().to_string().contains("no directory"), "{name}");
            assert!(existing(&parent, name).is_err(), "{name}");
        }
    }
}
