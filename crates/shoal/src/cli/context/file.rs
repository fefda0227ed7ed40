//! The file that remembers clusters: `$XDG_CONFIG_HOME/shoal/config.toml`. Owns its form, its mode and writing it whole; must never show a token.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use model::id::Name;
use serde::{Deserialize, Serialize};
use transport::AuthorityDigest;

use crate::cli::failure::{Exit, Failure, io_words};

/// Everything the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Contexts {
    /// The context in use when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By name.
    #[serde(default, rename = "context")]
    pub all: BTreeMap<String, Context>,
}

/// A cluster and who one is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Context {
    /// URLs of one or several of its servers.
    pub servers: Vec<String>,
    /// The digest of its authority; none for a server on this machine without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_digest: Option<AuthorityDigest>,
    /// What is shown to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// The namespace when `-n` is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

/// Where the file is: below `$XDG_CONFIG_HOME` or `~/.config`; nowhere when there is neither.
pub fn path() -> Option<PathBuf> {
    let directory = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = directory("XDG_CONFIG_HOME").or_else(|| directory("HOME").map(|home| home.join(".config")))?;
    Some(base.join("shoal").join("config.toml"))
}

impl Contexts {
    /// What the file at `path` holds; nothing when there is none.
    ///
    /// # Errors
    /// It cannot be read, or is not such a file.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(failed("read", path, &error)),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        toml::from_str(text).map_err(|error| {
            // What the parser shows of the file may be a token: only where and what.
            let line = error.span().map(|span| text[..span.start].lines().count().max(1));
            let line = line.map(|line| format!(":{line}")).unwrap_or_default();
            let message = format!("{}{line} cannot be read: {}", path.display(), error.message());
            Failure::sentence(Exit::Error, message, "mend it, or remove it and log in again")
        })
    }

    /// Writes the file whole: aside, with mode 0600, then in place of the old one.
    ///
    /// # Errors
    /// The directory or the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let text = toml::to_string(self).expect("contexts are tables of texts");
        let write = || -> io::Result<()> {
            let directory = path.parent().unwrap_or(Path::new("."));
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            let aside = path.with_extension(format!("toml.{}", std::process::id()));
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            // One that was left behind keeps its mode when it is opened again.
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&aside, path)
        };
        write().map_err(|error| failed("write", path, &error))
    }

    /// The context called `name`.
    ///
    /// # Errors
    /// There is none; says which there are.
    pub fn named(&self, name: &str) -> Result<&Context, Failure> {
        self.all.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.all.keys().map(String::as_str).collect();
            let help = if known.is_empty() { "shoal login URL makes one".to_owned() } else { format!("there are {}", known.join(", ")) };
            Failure::sentence(Exit::NotFound, format!("there is no context `{name}`"), help)
        })
    }

    /// The context with the server at `url`.
    pub fn with_server(&self, url: &str) -> Option<(&String, &Context)> {
        let same = |server: &String| server.trim_end_matches('/') == url.trim_end_matches('/');
        self.all.iter().find(|(_, context)| context.servers.iter().any(same))
    }
}

/// Whether others of this machine may read the file.
pub fn is_open(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0)
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::sentence(Exit::Error, format!("cannot {what} {}: {}", path.display(), io_words(error)), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Contexts {
        let context = Context {
            servers: vec!["https://10.0.0.1:7070".to_owned(), "https://10.0.0.2:7070".to_owned()],
            ca_digest: Some(AuthorityDigest::from_bytes([7; 32])),
            token: Some(Secret("shoal_abc_def".to_owned())),
            namespace: Some("team".parse().expect("a name")),
        };
        Contexts { current: Some("prod".to_owned()), all: BTreeMap::from([("prod".to_owned(), context)]) }
    }

    #[test]
    fn what_is_saved_is_loaded_and_nobody_else_reads_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("new/shoal/config.toml");
        assert_eq!(Contexts::load(&path).expect("none is fine"), Contexts::default());
        for round in [example(), Contexts { current: None, ..example() }] {
            round.save(&path).expect("written");
            assert_eq!(Contexts::load(&path).expect("its own file"), round);
            assert!(!is_open(&path));
        }
        let names: Vec<_> = fs::read_dir(path.parent().expect("a directory")).expect("readable").collect();
        assert_eq!(names.len(), 1, "nothing is left beside it");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
        assert!(is_open(&path));
    }

    #[test]
    fn the_file_reads_well() {
        expect_test::expect![[r#"
            current = "prod"

            [context.prod]
            servers = ["https://10.0.0.1:7070", "https://10.0.0.2:7070"]
            ca-digest = "a4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dq"
            token = "shoal_abc_def"
            namespace = "team"
        "#]]
        .assert_eq(&toml::to_string(&example()).expect("text"));
    }

    #[test]
    fn a_broken_file_is_told_without_its_tokens() {
        let check = |text: &str, expected: &str| {
            let said = Contexts::parse(text, Path::new("config.toml")).expect_err("broken").render(false);
            assert!(said.contains(expected) && !said.contains("shoal_abc"), "{said}");
        };
        check("current = 1\n", "config.toml:1");
        check("[context.a]\nservers = []\ntoken = \"shoal_abc_def\" x\n", "config.toml:3");
        check("[context.a]\nservers = []\ntokken = \"shoal_abc_def\"\n", "tokken");
        assert!(!format!("{:?}", example()).contains("shoal_abc"));
    }

    #[test]
    fn contexts_are_found_by_name_and_by_server() {
        let contexts = example();
        assert!(contexts.named("prod").is_ok());
        let missing = contexts.named("dev").expect_err("none");
        assert_eq!((missing.exit, missing.render(false).contains("there are prod")), (Exit::NotFound, true));
        assert_eq!(contexts.with_server("https://10.0.0.2:7070/").map(|(name, _)| name.as_str()), Some("prod"));
        assert!(contexts.with_server("https://10.0.0.3:7070").is_none());
    }
}
