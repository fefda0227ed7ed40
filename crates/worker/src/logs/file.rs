//! One bounded log file: it and the one before it. Owns rotation; must never know what a line says.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// A file that is put aside as `NAME.1.ndjson` when it would grow past its limit; the one put aside before is lost.
#[derive(Debug)]
pub struct BoundedFile {
    path: PathBuf,
    bytes: u64,
    bytes_max: u64,
    out: BufWriter<File>,
}

/// A file as it was at one moment: later lines are not part of it, and rotation does not disturb it.
#[derive(Debug)]
pub struct Frozen {
    /// Open for reading, at its start.
    pub file: File,
    /// How much of it belongs to the moment.
    pub bytes: u64,
}

impl BoundedFile {
    /// Opens `path` to append to it, making it and its directory when absent.
    pub fn open(path: &Path, bytes_max: u64) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), bytes, bytes_max, out: BufWriter::with_capacity(32 << 10, file) })
    }

    /// Appends `line` and a line end; on disk after [`BoundedFile::flush`].
    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let more = line.len() as u64 + 1;
        if self.bytes > 0 && self.bytes + more > self.bytes_max {
            self.rotate()?;
        }
        self.out.write_all(line)?;
        self.out.write_all(b"\n")?;
        self.bytes += more;
        Ok(())
    }

    /// Appends whole lines, each with its end; in one piece where no file ends among them.
    pub fn append_all(&mut self, lines: &[u8]) -> io::Result<()> {
        let more = lines.len() as u64;
        if self.bytes + more <= self.bytes_max {
            self.out.write_all(lines)?;
            self.bytes += more;
            return Ok(());
        }
        lines.split_inclusive(|byte| *byte == b'\n').try_for_each(|line| self.append(line.strip_suffix(b"\n").unwrap_or(line)))
    }

    /// Gives what was appended to the kernel.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.out.flush()?;
        fs::rename(&self.path, earlier(&self.path))?;
        *self = Self::open(&self.path, self.bytes_max)?;
        Ok(())
    }
}

/// The file put aside before `path`, then `path`, each as it is now; those that do not exist are left out.
pub fn freeze(path: &Path) -> Vec<Frozen> {
    [earlier(path), path.to_owned()]
        .into_iter()
        .filter_map(|path| {
            let file = File::open(path).ok()?;
            let bytes = file.metadata().ok()?.len();
            Some(Frozen { file, bytes })
        })
        .collect()
}

fn earlier(path: &Path) -> PathBuf {
    path.with_extension("1.ndjson")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn text(frozen: Vec<Frozen>) -> String {
        let mut text = String::new();
        for part in frozen {
            part.file.take(part.bytes).read_to_string(&mut text).unwrap();
        }
        text
    }

    #[test]
    fn a_file_and_the_one_before_it_are_all_that_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/lines.ndjson");
        let mut file = BoundedFile::open(&path, 8).unwrap();
        for line in ["one", "two", "three", "four"] {
            file.append(line.as_bytes()).unwrap();
        }
        file.flush().unwrap();
        assert_eq!(text(freeze(&path)), "three\nfour\n");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    }

    #[test]
    fn lines_in_one_piece_are_kept_as_lines_one_by_one_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines.ndjson");
        let mut file = BoundedFile::open(&path, 12).unwrap();
        file.append_all(b"one\ntwo\n").unwrap();
        file.append_all(b"three\nfour\nfive\nsix\n").unwrap();
        file.flush().unwrap();
        assert_eq!(text(freeze(&path)), "three\nfour\nfive\nsix\n");
    }

    #[test]
    fn a_frozen_file_stays_as_it_was_through_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines.ndjson");
        let mut file = BoundedFile::open(&path, 8).unwrap();
        file.append(b"one").unwrap();
        file.flush().unwrap();
        let before = freeze(&path);
        for line in ["two", "three", "four", "five"] {
            file.append(line.as_bytes()).unwrap();
        }
        file.flush().unwrap();
        assert_eq!(text(before), "one\n");
    }

    #[test]
    fn a_reopened_file_goes_on_where_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines.ndjson");
        for line in ["one", "two"] {
            let mut file = BoundedFile::open(&path, 100).unwrap();
            file.append(line.as_bytes()).unwrap();
            file.flush().unwrap();
        }
        assert_eq!(text(freeze(&path)), "one\ntwo\n");
    }
}
