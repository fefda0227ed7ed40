//! Snapshots in a directory. Owns that a file is flushed before it has a name, and its name before anybody relies on it. Must never read a snapshot.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::shelf::{Draft, Readable, Shelf};

/// A directory for snapshots.
pub struct DiskShelf {
    directory: PathBuf,
    drafts: AtomicU64,
}

const UNFINISHED: &str = "part";
const DAMAGED: &str = "damaged";

impl DiskShelf {
    /// Opens `directory`, which is made if it is not there. Removes what an earlier process did not finish.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == UNFINISHED) {
                fs::remove_file(path)?;
            }
        }
        Ok(Self { directory: directory.to_owned(), drafts: AtomicU64::new(0) })
    }
}

impl Shelf for DiskShelf {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !name.ends_with(UNFINISHED) && !name.ends_with(DAMAGED) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Readable>> {
        Ok(Box::new(File::open(self.directory.join(name))?))
    }

    fn draft(&self) -> io::Result<Box<dyn Draft>> {
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{number}.{UNFINISHED}"));
        let file = File::options().write(true).create(true).truncate(true).open(&path)?;
        Ok(Box::new(DiskDraft { file, path, directory: self.directory.clone() }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.directory.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn set_aside(&self, name: &str) -> io::Result<()> {
        fs::rename(self.directory.join(name), self.directory.join(format!("{name}.{DAMAGED}")))?;
        sync_directory(&self.directory)
    }
}

struct DiskDraft {
    file: File,
    path: PathBuf,
    directory: PathBuf,
}

impl Write for DiskDraft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Draft for DiskDraft {
    fn read(&mut self) -> io::Result<Box<dyn Readable>> {
        Ok(Box::new(File::open(&self.path)?))
    }

    fn publish(self: Box<Self>, name: &str) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, self.directory.join(name))?;
        sync_directory(&self.directory)
    }
}

impl Drop for DiskDraft {
    fn drop(&mut self) {
        // Gone already once it was published; what is left over is removed when the shelf is opened.
        let _ = fs::remove_file(&self.path);
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// Every file of a directory, in order of name.
    fn files(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        let mut names: Vec<String> = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn draft(shelf: &DiskShelf, text: &str) -> Box<dyn Draft> {
        let mut draft = shelf.draft().expect("a draft");
        draft.write_all(text.as_bytes()).expect("written");
        draft
    }

    fn text(shelf: &DiskShelf, name: &str) -> String {
        let mut text = String::new();
        Shelf::open(shelf, name).expect("published").read_to_string(&mut text).expect("text");
        text
    }

    #[test]
    fn a_snapshot_that_got_no_name_is_gone_and_those_before_it_stay() {
        let directory = tempfile::tempdir().expect("a directory");
        let shelf = DiskShelf::open(directory.path()).expect("opens");
        draft(&shelf, "first").publish("1-9").expect("published");
        // A file cannot take the name of a directory.
        fs::create_dir(directory.path().join("1-18")).expect("in the way");
        draft(&shelf, "second").publish("1-18").expect_err("the name is taken");
        fs::remove_dir(directory.path().join("1-18")).expect("out of the way");
        assert_eq!((files(directory.path()), text(&shelf, "1-9")), (vec!["1-9".to_owned()], "first".to_owned()));
        draft(&shelf, "second").publish("1-18").expect("the next try");
        assert_eq!(text(&shelf, "1-18"), "second");
    }

    #[test]
    fn what_a_killed_process_left_is_removed_at_the_next_start_and_nothing_else_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let shelf = DiskShelf::open(directory.path()).expect("opens");
        draft(&shelf, "whole").publish("1-9").expect("published");
        draft(&shelf, "torn").publish("1-18").expect("published");
        shelf.set_aside("1-18").expect("set aside");
        // Killed before the name was there, and while it was being written: nobody drops them.
        std::mem::forget(draft(&shelf, "all of it"));
        std::mem::forget(draft(&shelf, "half"));
        assert_eq!(files(directory.path()).iter().filter(|name| name.ends_with(".part")).count(), 2);
        assert_eq!(shelf.names().expect("names"), ["1-9"], "what has no name yet is nobody's snapshot");

        let shelf = DiskShelf::open(directory.path()).expect("opens again");
        assert_eq!(files(directory.path()), ["1-18.damaged", "1-9"]);
        assert_eq!((shelf.names().expect("names"), text(&shelf, "1-9")), (vec!["1-9".to_owned()], "whole".to_owned()));
        draft(&shelf, "next").publish("1-18").expect("published");
        assert_eq!(text(&shelf, "1-18"), "next", "the numbers of drafts begin anew");
    }
}
