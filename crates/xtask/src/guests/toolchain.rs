//! A compiler for wasm32-wasip2: which one there is, and what cargo must be told to use it. Must never install anything for all users.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, ensure};

use super::{TARGET, debian};
use crate::process;

/// Where a compiler comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The host's own toolchain, with the target installed.
    Rustup,
    /// Debian's packages, unpacked in the user's cache.
    Debian,
}

/// A compiler that can build guests.
#[derive(Debug)]
pub enum Toolchain {
    /// The host's own.
    Host,
    /// Debian's compiler with the linkers of the host's toolchain.
    Debian { unpacked: debian::Unpacked, linkers: Linkers },
}

/// The two programs that turn object files into a component. They run on the host and come with its toolchain.
#[derive(Debug)]
pub struct Linkers {
    component: PathBuf,
    module: PathBuf,
}

impl Toolchain {
    /// Finds one, and fetches it when there is none: first with rustup, then from Debian.
    ///
    /// # Errors
    /// Neither way worked; the text says why for each and what to install.
    pub fn find(origin: Option<Origin>) -> Result<Self> {
        if origin != Some(Origin::Debian) && has_target(&sysroot()?) {
            return Ok(Self::Host);
        }
        let rustup = match origin {
            Some(Origin::Debian) => anyhow!("not asked for"),
            // A kept fallback spares every offline build the wait for rustup's refusal.
            None if debian::is_unpacked() => anyhow!("skipped, because Debian's packages are in the cache"),
            _ => match add_target() {
                Ok(()) => return Ok(Self::Host),
                Err(error) => error,
            },
        };
        let debian = match origin {
            Some(Origin::Rustup) => anyhow!("not asked for"),
            _ => match Self::from_debian() {
                Ok(toolchain) => return Ok(toolchain),
                Err(error) => error,
            },
        };
        Err(anyhow!(
            "there is no compiler for {TARGET}\n  rustup: {rustup:#}\n  Debian: {debian:#}\n\
             help: install the target with `rustup target add {TARGET}`, or, on Debian 12 or later, make `apt-get` and `dpkg-deb` available \
             together with a toolchain that carries `wasm-component-ld` (rustup's does)"
        ))
    }

    fn from_debian() -> Result<Self> {
        let linkers = Linkers::find(&sysroot()?)?;
        Ok(Self::Debian { unpacked: debian::unpack()?, linkers })
    }

    /// What to call it on the terminal.
    pub fn name(&self) -> String {
        match self {
            Self::Host => "the installed toolchain".to_owned(),
            Self::Debian { unpacked, .. } => format!("Debian's rustc {}", unpacked.version),
        }
    }

    /// Points the cargo of `command` at this compiler.
    pub fn apply(&self, command: &mut Command) {
        let Self::Debian { unpacked, linkers } = self else { return };
        command
            .env("RUSTC", unpacked.rustc())
            // Debian ships no standard library for this target, so cargo builds it from its source, which is an unstable feature.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("__CARGO_TESTS_ONLY_SRC_ROOT", unpacked.library_source())
            .args(["-Z", "build-std=std,panic_abort"])
            .env("CARGO_TARGET_WASM32_WASIP2_LINKER", &linkers.component)
            .arg("--config")
            .arg(format!("target.{TARGET}.rustflags=[\"-Clink-arg=--wasm-ld-path={}\"]", linkers.module.display()))
            .env("LD_LIBRARY_PATH", unpacked.shared_libraries())
            .env_remove("RUSTC_WRAPPER");
    }
}

impl Linkers {
    fn find(sysroot: &Path) -> Result<Self> {
        let directory = sysroot.join("lib/rustlib").join(host()?).join("bin");
        let linkers = Self { component: directory.join("wasm-component-ld"), module: directory.join("gcc-ld/wasm-ld") };
        for linker in [&linkers.component, &linkers.module] {
            ensure!(linker.is_file(), "the installed toolchain lacks {}, which links components", linker.display());
        }
        Ok(linkers)
    }
}

fn sysroot() -> Result<PathBuf> {
    let said = process::output(Command::new(process::rustc()).args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(said.trim()))
}

fn host() -> Result<String> {
    let said = process::output(Command::new(process::rustc()).arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

fn has_target(sysroot: &Path) -> bool {
    let directory = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    let Ok(entries) = fs::read_dir(directory) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

fn add_target() -> Result<()> {
    eprintln!("guests: rustup target add {TARGET}");
    process::output(Command::new("rustup").args(["target", "add", TARGET])).map(drop)
}
