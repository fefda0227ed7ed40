//! `shoal snapshot save`: the whole state of the cluster as one file. Owns that the file is whole or not there; what is in it is the server's.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use api::client::Download;
use clap::{Args, Subcommand};
use model::{id::Digest, problem::Problem};
use sha2::{Digest as _, Sha256};

use super::{
    failure::{Exit, Failure, Outcome, io_words},
    session::Session,
    sure::sure,
    terminal::Terminal,
    views::bytes,
};

/// What `shoal snapshot` takes.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Writes the state of the cluster into a file: everything but the keys of the machines. Keep it as safe as the cluster.
    Save {
        /// Where to.
        file: PathBuf,
        /// The artifacts too, so that an empty cluster can run what is restored.
        #[arg(long)]
        with_artifacts: bool,
        /// Overwrite a file that is there without asking.
        #[arg(short, long)]
        yes: bool,
    },
}

/// Runs one of them.
pub async fn run(args: SnapshotArgs, session: &Session) -> Outcome {
    let What::Save { file, with_artifacts, yes } = args.what;
    if file.exists() {
        sure(&session.terminal, yes, &format!("overwrite {}", file.display()), &format!("Overwrite {}?", file.display()))?;
    }
    let mut download = session.client().await?.snapshot(with_artifacts).await?;
    let saved = save(&mut download, &file, &session.terminal).await?;
    session.terminal.data(format!("{} saved: {}, {}", file.display(), bytes(saved.size), saved.digest));
    if !saved.is_verified {
        session.terminal.hint("the server told no digest, so nothing proves that the file is what it sent");
    }
    session.terminal.hint("keep it away from the cluster: it holds its secrets, sealed, and its token hashes");
    Ok(Exit::Done)
}

/// What was written.
#[derive(Debug, PartialEq, Eq)]
struct Saved {
    size: u64,
    digest: Digest,
    /// Whether the server told the same digest.
    is_verified: bool,
}

async fn save(download: &mut Download, file: &Path, terminal: &Terminal) -> Result<Saved, Failure> {
    let mut aside = Aside::create(file)?;
    while let Some(piece) = download.next().await? {
        aside.write(&piece)?;
        let of = download.size().map(|size| format!(" of {}", bytes(size))).unwrap_or_default();
        terminal.live(&format!("saving … {}{of}", bytes(aside.size)));
    }
    aside.finish(download.digest())
}

/// The file while it grows, beside the place where it will be; removed unless it is finished.
struct Aside {
    file: fs::File,
    path: PathBuf,
    target: PathBuf,
    size: u64,
    hasher: Sha256,
}

impl Aside {
    fn create(target: &Path) -> Result<Self, Failure> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let path = target.with_file_name(name);
        let mut options = fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
        let file = options.open(&path).map_err(|error| unwritten(&path, &error))?;
        Ok(Self { file, path, target: target.to_owned(), size: 0, hasher: Sha256::new() })
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        self.file.write_all(piece).map_err(|error| unwritten(&self.path, &error))?;
        self.hasher.update(piece);
        self.size += piece.len() as u64;
        Ok(())
    }

    /// On disk and in its place, if it is what the server sent.
    fn finish(mut self, told: Option<Digest>) -> Result<Saved, Failure> {
        let digest = Digest(std::mem::take(&mut self.hasher).finalize().into());
        if let Some(told) = told.filter(|told| *told != digest) {
            let problem = Problem::new("E0209", format!("the snapshot arrived as {digest}, and the server sent {told}"));
            return Err(Failure::of(problem.help("try again; nothing was saved")));
        }
        let place = || -> io::Result<()> {
            self.file.sync_all()?;
            fs::rename(&self.path, &self.target)?;
            let directory = self.target.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::File::open(directory)?.sync_all()
        };
        place().map_err(|error| unwritten(&self.target, &error))?;
        Ok(Saved { size: self.size, digest, is_verified: told.is_some() })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // After a rename there is nothing here any more.
        let _ = fs::remove_file(&self.path);
    }
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::sentence(Exit::Error, format!("cannot write {}: {}", path.display(), io_words(error)), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_whole_or_not_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let names = || fs::read_dir(directory.path()).expect("readable").count();
        let target = directory.path().join("state.snapshot");
        let written = || {
            let mut aside = Aside::create(&target).expect("created");
            aside.write(b"all of ").and_then(|()| aside.write(b"it")).expect("written");
            aside
        };
        drop(written());
        assert_eq!(names(), 0, "what was broken off leaves nothing");
        let wrong = written().finish(Some(Digest::of(b"something else"))).expect_err("another digest");
        assert!(wrong.render(false).starts_with("error[E0209]") && names() == 0, "{}", wrong.render(false));
        let saved = written().finish(Some(Digest::of(b"all of it"))).expect("whole");
        assert_eq!(saved, Saved { size: 9, digest: Digest::of(b"all of it"), is_verified: true });
        assert_eq!((fs::read(&target).expect("there").as_slice(), names()), (b"all of it".as_slice(), 1));
        assert!(!written().finish(None).expect("whole").is_verified);
    }
}
