//! The compile child: one artifact in, one code file out, in a process whose memory and time are bounded. It alone writes the code directory; must never
//! believe the worker: the artifact's bytes are checked here again.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    process::ExitCode,
    time::Instant,
};

use model::id::Digest;
use runtime::{
    code_store::CodeStore,
    compile::{self, Threads},
};
use rustix::process::{Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};

use super::{
    limits::{CODE_BYTES_MAX, COMPILE_ADDRESS_BYTES_MAX, COMPILE_CPU_GRACE_SECONDS, COMPILE_CPU_SECONDS_MAX},
    node::Node,
    options::LogOptions,
    sandbox_process::{self, Hardening},
};

/// What a compile child is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompileConfig {
    /// The artifact.
    pub digest: Digest,
    /// Use every core: nobody else compiles.
    pub every_core: bool,
    /// The worker has another user id and must be able to read the code.
    pub lend: bool,
    /// The supervisor, without whom there is nothing to do.
    pub parent: u32,
    /// How to log.
    pub log: LogOptions,
}

/// What a compile child says on its standard output, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Said {
    /// The code is in the store.
    Compiled {
        /// How long it took, in milliseconds.
        millis: u64,
    },
    /// There is no code.
    Failed {
        /// `E0301` and the like.
        code: String,
        /// One sentence.
        message: String,
        /// Whether another try may end otherwise.
        passing: bool,
    },
}

/// Runs the compile child.
pub fn run(config: &CompileConfig) -> anyhow::Result<ExitCode> {
    limit_ourselves()?;
    // What is missing here was said by the worker at its start, for every child.
    let _ = Hardening { user: None, rules: sandbox_process::compile_rules(Node::directory_of_children()) }.apply();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid().is_none_or(|parent| parent.as_raw_nonzero().get().cast_unsigned() != config.parent) {
        anyhow::bail!("the supervisor is gone");
    }
    let said = make_code(config, Node::directory_of_children());
    println!("{}", serde_json::to_string(&said)?);
    Ok(ExitCode::SUCCESS)
}

fn make_code(config: &CompileConfig, data: &Path) -> Said {
    let start = Instant::now();
    let failed = |code: &str, message: String, passing| Said::Failed { code: code.to_owned(), message, passing };
    let wasm = match read_artifact(&worker::Directories::new(data).artifact(config.digest)) {
        Ok(wasm) => wasm,
        Err(error) => return failed("E0301", format!("reading artifact {}: {error}", config.digest), true),
    };
    if Digest::of(&wasm) != config.digest {
        return failed("E0209", format!("the file of artifact {} holds other bytes", config.digest), true);
    }
    let threads = if config.every_core { Threads::EveryCore } else { Threads::One };
    let code = match compile::compile(&wasm, threads) {
        Ok(code) => code,
        Err(error) => return failed(error.code(), error.to_string(), false),
    };
    drop(wasm);
    let stored = CodeStore::new(worker::Directories::new(data).code()).put(&config.digest, code.kind, &code.bytes);
    match stored.map_err(anyhow::Error::from).and_then(|path| lend(config, &path).map_err(anyhow::Error::from)) {
        Ok(()) => Said::Compiled { millis: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX) },
        Err(error) => failed("E0406", format!("{error:#}"), true),
    }
}

fn lend(config: &CompileConfig, path: &Path) -> io::Result<()> {
    if config.lend { fs::set_permissions(path, Permissions::from_mode(0o444)) } else { Ok(()) }
}

/// Reads an artifact out of a directory that belongs to a process which may be hostile: never through a link, never without end.
fn read_artifact(path: &Path) -> io::Result<Vec<u8>> {
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > api::limits::ARTIFACT_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a file of an artifact's size"));
    }
    let mut bytes = Vec::new();
    file.take(api::limits::ARTIFACT_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn limit_ourselves() -> rustix::io::Result<()> {
    let set = |resource, most: u64| rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    set(Resource::As, COMPILE_ADDRESS_BYTES_MAX)?;
    // The lower limit ends it with a signal of its own; at the higher one it would be killed, as by whoever has to free memory.
    let most = COMPILE_CPU_SECONDS_MAX;
    rustix::process::setrlimit(Resource::Cpu, Rlimit { current: Some(most), maximum: Some(most + COMPILE_CPU_GRACE_SECONDS) })?;
    set(Resource::Fsize, CODE_BYTES_MAX)?;
    set(Resource::Core, 0)?;
    rustix::process::nice(19).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(digest: Digest) -> CompileConfig {
        CompileConfig { digest, every_core: false, lend: true, parent: 1, log: LogOptions::default() }
    }

    fn data() -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir_all(data.path().join("worker/incoming")).unwrap();
        fs::create_dir_all(data.path().join("code")).unwrap();
        data
    }

    #[track_caller]
    fn check_failure(said: Said, expected: &str, expected_passing: bool) {
        match said {
            Said::Failed { code, passing, .. } => assert_eq!((code.as_str(), passing), (expected, expected_passing)),
            Said::Compiled { .. } => panic!("compiled"),
        }
    }

    #[test]
    fn what_is_not_the_artifact_is_not_compiled() {
        let data = data();
        let digest = Digest::of(b"wished for");
        check_failure(make_code(&config(digest), data.path()), "E0301", true);
        let path = worker::Directories::new(data.path()).artifact(digest);
        fs::write(&path, b"something else").unwrap();
        check_failure(make_code(&config(digest), data.path()), "E0209", true);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        check_failure(make_code(&config(digest), data.path()), "E0301", true);
    }

    #[test]
    fn a_core_module_is_refused_for_good() {
        let data = data();
        let module = b"\0asm\x01\0\0\0";
        let digest = Digest::of(module);
        fs::write(worker::Directories::new(data.path()).artifact(digest), module).unwrap();
        check_failure(make_code(&config(digest), data.path()), "E0202", false);
        assert_eq!(fs::read_dir(data.path().join("code")).unwrap().count(), 0);
    }
}
