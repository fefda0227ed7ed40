//! `shoal snapshot`: the whole state of the cluster as one file, and back. Owns that the file is whole or not there; what is in it is the server's, and what may be
//! restored the supervisor's.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use api::{client::Download, v1::SnapshotQuery};
use backup::{About, BackupError, Reader};
use clap::{Args, Subcommand};
use model::problem::Problem;
use supervisor::Restored;

use super::{
    failure::{Exit, Failure, Outcome, io_words},
    session::{self, Session},
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
    /// Writes the state of the cluster into a file. Keep it as safe as the cluster.
    Save {
        /// Where to.
        file: PathBuf,
        /// The artifacts too, so that an empty cluster can run what is restored.
        #[arg(long)]
        with_artifacts: bool,
        /// The cluster's key too: whoever has the file can then read the secrets. On a server's own machine only.
        #[arg(long)]
        with_keys: bool,
        /// Overwrite a file that is there without asking.
        #[arg(short, long)]
        yes: bool,
    },
    /// Makes the data directory of a cluster's only server from a file; start it with `shoal server` afterwards.
    Restore {
        /// The file.
        file: PathBuf,
        /// A copy of control/cluster.key of any server of that cluster; not needed for a file that was saved with --with-keys.
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
}

/// Runs one of them.
pub async fn run(args: SnapshotArgs, session: &Session) -> Outcome {
    match args.what {
        What::Save { file, with_artifacts, with_keys, yes } => {
            let query = SnapshotQuery { artifacts: with_artifacts, keys: with_keys };
            fetch(&file, query, yes, session).await
        }
        What::Restore { file, key_file } => restore(&file, key_file.as_deref(), session),
    }
}

async fn fetch(file: &Path, query: SnapshotQuery, yes: bool, session: &Session) -> Outcome {
    if file.exists() {
        sure(&session.terminal, yes, &format!("overwrite {}", file.display()), &format!("Overwrite {}?", file.display()))?;
    }
    let mut download = session.client().await?.snapshot(&query).await?;
    let Saved { size, about } = save(&mut download, file, &session.terminal).await?;
    let artifacts = about.artifacts.map(|count| format!(", {count} artifacts")).unwrap_or_default();
    session.terminal.data(format!(
        "{} saved: {}{artifacts}, entry {}, state {}",
        file.display(),
        bytes(size),
        about.index,
        about.state_hash
    ));
    if !about.missing.is_empty() {
        let list: Vec<String> = about.missing.iter().map(ToString::to_string).collect();
        session.terminal.complain(format!("warning: artifacts that apps name are on no server and so not in it: {}", list.join(", ")));
    }
    session.terminal.hint(if about.with_keys {
        "it holds the key of the cluster: whoever has the file can read all secrets and sign certificates"
    } else {
        "restoring it takes the key of the cluster: keep a copy of control/cluster.key of a server, apart from this file"
    });
    Ok(Exit::Done)
}

fn restore(file: &Path, key_file: Option<&Path>, session: &Session) -> Outcome {
    let Some(data) = session::data_directory(&session.globals) else {
        return Err(Failure::usage("no data directory is named", "name an empty one:   --data-dir DIR"));
    };
    session.terminal.live("restoring …");
    let restored = tokio::task::block_in_place(|| supervisor::restore(file, &data, key_file))?;
    let Restored { about, state_hash, artifacts, missing, nodes, .. } = restored;
    session.terminal.data(format!("{} restored: entry {}, state {state_hash}, {artifacts} artifacts", data.display(), about.index));
    if !missing.is_empty() {
        let count = missing.len();
        session.terminal.complain(format!("warning: {count} artifacts that apps name are not in the file: apply those apps again"));
    }
    session.terminal.hint(format!("next: shoal server --data-dir {}", data.display()));
    session
        .terminal
        .hint(format!("it is the only server then; {nodes} nodes are listed as they were: shoal get nodes, shoal node remove --lost NAME"));
    Ok(Exit::Done)
}

/// What was written.
#[derive(Debug, PartialEq, Eq)]
struct Saved {
    size: u64,
    about: About,
}

async fn save(download: &mut Download, file: &Path, terminal: &Terminal) -> Result<Saved, Failure> {
    let mut aside = Aside::create(file)?;
    while let Some(piece) = download.next().await? {
        aside.write(&piece)?;
        let of = download.size().map(|size| format!(" of {}", bytes(size))).unwrap_or_default();
        terminal.live(&format!("saving … {}{of}", bytes(aside.size)));
    }
    aside.finish()
}

/// The file while it grows, beside the place where it will be; removed unless it is finished.
struct Aside {
    file: fs::File,
    path: PathBuf,
    target: PathBuf,
    size: u64,
}

impl Aside {
    fn create(target: &Path) -> Result<Self, Failure> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let path = target.with_file_name(name);
        let mut options = fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
        let file = options.open(&path).map_err(|error| unwritten(&path, &error))?;
        Ok(Self { file, path, target: target.to_owned(), size: 0 })
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        self.file.write_all(piece).map_err(|error| unwritten(&self.path, &error))?;
        self.size += piece.len() as u64;
        Ok(())
    }

    /// On disk and in its place, if it is whole.
    fn finish(self) -> Result<Saved, Failure> {
        self.file.sync_all().map_err(|error| unwritten(&self.path, &error))?;
        let about = proven(&self.path).map_err(|error| {
            let problem = Problem::new("E0612", format!("the snapshot did not arrive whole: {error}"));
            Failure::of(problem.help("try again; nothing was saved"))
        })?;
        let place = || -> io::Result<()> {
            fs::rename(&self.path, &self.target)?;
            let directory = self.target.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::File::open(directory)?.sync_all()
        };
        place().map_err(|error| unwritten(&self.target, &error))?;
        Ok(Saved { size: self.size, about })
    }
}

/// Reads a file to its end, and says what it is of when every byte is as it was written.
fn proven(path: &Path) -> Result<About, BackupError> {
    let mut reader = Reader::open(fs::File::open(path)?)?;
    while reader.next_part()?.is_some() {}
    Ok(reader.about().clone())
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
        let about = About {
            format: backup::FORMAT,
            cluster: "c".into(),
            index: 7,
            state_hash: model::id::Digest::of(b"state"),
            saved_at: 1,
            release: "0.1.0".into(),
            artifacts: None,
            missing: Vec::new(),
            with_keys: false,
        };
        let mut writer = backup::Writer::begin(Vec::new(), &about).expect("memory takes it");
        writer.part(&backup::Kind::State, b"state".as_slice()).expect("memory takes it");
        let file = writer.finish().expect("memory takes it");
        let written = |bytes: &[u8]| {
            let mut aside = Aside::create(&target).expect("created");
            aside.write(&bytes[..9]).and_then(|()| aside.write(&bytes[9..])).expect("written");
            aside
        };
        drop(written(&file));
        assert_eq!(names(), 0, "what was broken off leaves nothing");
        let torn = written(&file[..file.len() - 1]).finish().expect_err("torn");
        assert!(torn.render(false).starts_with("error[E0612]") && names() == 0, "{}", torn.render(false));
        assert_eq!(written(&file).finish().expect("whole"), Saved { size: file.len() as u64, about });
        assert_eq!((fs::read(&target).expect("there"), names()), (file, 1));
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&target).expect("there"));
        assert_eq!(mode & 0o777, 0o600);
    }
}
