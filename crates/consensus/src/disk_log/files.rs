//! The log's files as files: which there are, how they are settled and cut, and which of them an error is about. Owns what is done to them beside the
//! write-ahead log crate; must never know what is in them.

use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::limits::READ_BUFFER_BYTES;

/// The log's files and where each starts, in order. The names are the crate's: `r-00_000_000_000_000_000_000.wal`.
fn files(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let start = raft_log::chunked_wal::Config::parse_chunk_file_name(&entry.file_name().to_string_lossy());
        files.extend(start.ok().map(|start| (start, entry.path())));
    }
    files.sort();
    Ok(files)
}

/// Writes the newest two files once more and flushes every file; says where the last one ends.
///
/// After a flush that failed the system takes what it was of for written: it can be read, and the next flush succeeds without it. Only writing it again brings
/// it to the disk. The newest file may have been made a moment ago, because the crate (chunked-wal 0.2.3) writes no more to one whose torn end it has cut off: that
/// one is then the second. Older files need it not: the crate flushes one before it writes to the next, and gives up when that fails.
pub(super) fn settle_files(directory: &Path) -> io::Result<u64> {
    let (mut end, files) = (0, files(directory)?);
    for (number, (start, path)) in files.iter().enumerate() {
        let file = fs::File::options().read(true).write(true).open(path)?;
        if number + 2 >= files.len() {
            write_again(&file)?;
        }
        file.sync_all()?;
        end = start + file.metadata()?.len();
    }
    fs::File::open(directory)?.sync_all()?;
    Ok(end)
}

/// Puts every byte of `file` where it is. Cut off in the middle, it leaves what was there.
fn write_again(file: &fs::File) -> io::Result<()> {
    let (mut buffer, mut at) = (vec![0; READ_BUFFER_BYTES], 0);
    loop {
        let count = file.read_at(&mut buffer, at)?;
        if count == 0 {
            return Ok(());
        }
        file.write_all_at(&buffer[..count], at)?;
        at += count as u64;
    }
}

/// Cuts off everything after `end`: it was written but never acknowledged. Needs no free space.
pub(super) fn cut_files(directory: &Path, end: u64) -> io::Result<()> {
    for (start, path) in files(directory)?.into_iter().rev() {
        if start >= end && start > 0 {
            fs::remove_file(&path)?;
        } else {
            let file = fs::OpenOptions::new().write(true).open(&path)?;
            if file.metadata()?.len() > end - start {
                file.set_len(end - start)?;
            }
            file.sync_all()?;
            break;
        }
    }
    fs::File::open(directory)?.sync_all()
}

/// Refuses an empty file before one that is not: no kill leaves that, as a file gets its first byte after the one before it is flushed, and the crate panics.
pub(super) fn check_files(directory: &Path) -> io::Result<()> {
    let mut empty: Option<PathBuf> = None;
    for (_, path) in files(directory)? {
        let length = fs::metadata(&path)?.len();
        match &empty {
            Some(empty) if length > 0 => return Err(unreadable(empty, "it is empty, though the log goes on after it")),
            None if length == 0 => empty = Some(path),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a log that lacks the entry `missing`, though files before its first one were removed only when all they held was purged. Nothing was removed
/// before a file that starts at byte 0.
pub(super) fn check_start(directory: &Path, missing: Option<u64>) -> io::Result<()> {
    match (missing, files(directory)?.first()) {
        (Some(missing), Some((start, path))) if *start > 0 => Err(unreadable(
            path,
            &format!("the log starts with it, at byte {start}, and lacks entry {missing}: a file before it is missing"),
        )),
        _ => Ok(()),
    }
}

/// `error`, with the name of the file it is about. The crate says only at which byte of the log the file starts, which is a part of the name.
pub(super) fn name_damaged_file(directory: &Path, error: io::Error) -> io::Error {
    let (said, files) = (error.to_string(), files(directory).unwrap_or_default());
    let ends = |(start, path): &(u64, PathBuf)| start + fs::metadata(path).map_or(0, |file| file.len());
    if let Some([before, (start, after)]) = files.array_windows().find(|[before, after]| ends(before) != after.0) {
        let end = ends(before);
        let reason = format!("it ends at byte {end} of the log, and the next file, {}, starts at byte {start}", after.display());
        return unreadable(&before.1, &reason);
    }
    let about = |(_, path): &&(u64, PathBuf)| {
        let start = path.file_stem().and_then(|stem| stem.to_str()?.strip_prefix("r-"));
        start.is_some_and(|start| said.contains(start))
    };
    match files.iter().find(about) {
        Some((_, path)) => io::Error::new(error.kind(), format!("{} cannot be read: {said}", path.display())),
        None => error,
    }
}

fn unreadable(path: &Path, reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} cannot be read: {reason}", path.display()))
}
