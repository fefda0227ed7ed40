//! `shoal secret`: values that only components see. Owns the options; a value comes from a file, standard input or a prompt that shows nothing, and is never
//! printed.

use std::path::PathBuf;

use api::v1::{SecretRequest, SecretView};
use clap::{Args, Subcommand, ValueEnum};
use model::id::{Index, Name, ObjectId};

use super::{
    ListArgs, kinds,
    secret_values::{Sources, Values, key_and_file},
    values, views,
};
use crate::cli::{
    failure::{Exit, Failure, Outcome},
    output::Listing,
    session::Session,
    sure::sure,
    target::Kind,
};

/// Names of the two values of a `tls` secret, as everybody calls them.
const TLS_KEYS: [&str; 2] = ["tls.crt", "tls.key"];

/// What `shoal secret` takes.
#[derive(Debug, Args)]
pub struct SecretArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Sets all values of a secret: a new version of it.
    #[command(after_help = SET_EXAMPLES)]
    Set(SetArgs),
    /// Secrets with version and age; never their values.
    #[command(visible_alias = "ls")]
    List {
        /// All namespaces.
        #[arg(short = 'A', long)]
        all_namespaces: bool,
        #[command(flatten)]
        output: ListArgs,
    },
    /// Deletes a secret with all its versions.
    #[command(visible_alias = "remove")]
    Rm {
        /// The secret.
        name: String,
        /// Do not ask; required where nobody can answer.
        #[arg(short, long)]
        yes: bool,
    },
}

const SET_EXAMPLES: &str = "Examples:
  shoal secret set db password                         asks, and shows nothing
  pass show db | shoal secret set db password          one value from standard input
  printf 'ana\\nhunter2' | shoal secret set db user password   a line for each
  shoal secret set db --from-file ca=./ca.pem
  shoal secret set shop --type tls --cert shop.crt --key shop.key";

#[derive(Debug, Args)]
struct SetArgs {
    /// The secret.
    name: String,
    /// Names of its values; the values come from standard input.
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// A value from a file, byte by byte; `-` is standard input.
    #[arg(long, value_name = "KEY=FILE", value_parser = key_and_file)]
    from_file: Vec<(String, PathBuf)>,
    /// What it is for [default: opaque, or what it was].
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    kind: Option<SecretKind>,
    /// The chain of certificates in PEM, for --type tls.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key in PEM, for --type tls.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Do not ask before values go that are there and were not named.
    #[arg(short, long)]
    yes: bool,
}

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SecretKind {
    /// Any values.
    Opaque,
    /// A certificate and its key, for routes.
    Tls,
    /// Who may fetch from a registry.
    Registry,
    /// Keys that callers show.
    #[value(name = "apiKeys")]
    ApiKeys,
}

impl SecretKind {
    fn word(self) -> &'static str {
        match self {
            Self::Opaque => "opaque",
            Self::Tls => "tls",
            Self::Registry => "registry",
            Self::ApiKeys => "apiKeys",
        }
    }
}

/// Runs one of them.
pub async fn run(args: SecretArgs, session: &Session) -> Outcome {
    match args.what {
        What::Set(args) => set(args, session).await,
        What::List { all_namespaces, output } => {
            let namespace = (!all_namespaces).then(|| session.namespace());
            let secrets = session.client().await?.secrets(namespace.as_ref()).await?.items;
            let names = secrets.iter().map(|secret| format!("secret/{}", secret.name)).collect();
            let shape = crate::cli::views::Shape { namespaces: all_namespaces, ..output.shape() };
            let listing = Listing { table: views::secrets(&secrets, shape), objects: values(&secrets), names, single: false };
            let within = namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
            output.show(&listing, &format!("no secrets{within}; next: shoal secret set NAME KEY"), session)
        }
        What::Rm { name, yes } => {
            let name = name.strip_prefix("secret/").unwrap_or(&name);
            sure(&session.terminal, yes, &format!("delete secret {name}"), &format!("Delete secret {name} with all its versions?"))?;
            let id = ObjectId { namespace: session.namespace(), name: kinds::parse(Kind::Secret, name)? };
            kinds::delete(Kind::Secret, &id, session).await?;
            session.terminal.data(format!("secret/{name} deleted"));
            Ok(Exit::Done)
        }
    }
}

async fn set(args: SetArgs, session: &Session) -> Outcome {
    let name = kinds::parse(Kind::Secret, args.name.strip_prefix("secret/").unwrap_or(&args.name))?;
    let (kind, sources) = sources(&args)?;
    sources.check()?;
    // Before anything secret is typed: whether the server answers, and what is there.
    let before = kinds::find_secret(&name, session).await?;
    let values = sources.read(session.terminal.interactive)?;
    let lost = lost(before.as_ref(), &values);
    if !lost.is_empty() {
        let lost = lost.join(", ");
        let question = format!("A new version has only the values named here: {lost} of secret {name} would be gone. Go on?");
        sure(&session.terminal, args.yes, &format!("drop {lost} of secret {name}"), &question)?;
    }
    let request = request(kind, before.as_ref(), values);
    let answer = session.client().await?.put_secret(&session.namespace(), &name, &request).await?;
    session.terminal.data(format!("secret/{name} {}", if before.is_none() { "created" } else { "changed" }));
    session.terminal.hint(next(&name, before.is_none(), answer.version));
    Ok(Exit::Done)
}

/// The type that was asked for, and where every value comes from.
fn sources(args: &SetArgs) -> Result<(Option<SecretKind>, Sources), Failure> {
    let mut sources = Sources { keys: args.keys.clone(), files: args.from_file.clone() };
    let mut kind = args.kind;
    if let (Some(cert), Some(key)) = (&args.cert, &args.key) {
        if kind.is_some_and(|kind| kind != SecretKind::Tls) {
            return Err(Failure::usage("--cert and --key are for --type tls", "name other values by --from-file KEY=FILE"));
        }
        kind = Some(SecretKind::Tls);
        sources.files.extend(TLS_KEYS.map(str::to_owned).into_iter().zip([cert.clone(), key.clone()]));
    }
    Ok((kind, sources))
}

/// Values that are there and would not be any more.
fn lost<'a>(before: Option<&'a SecretView>, values: &Values) -> Vec<&'a str> {
    let keys = before.map(|before| before.keys.as_slice()).unwrap_or_default();
    keys.iter().filter(|key| !values.contains_key(*key)).map(String::as_str).collect()
}

/// What is sent: only if the secret still is what was found.
fn request(kind: Option<SecretKind>, before: Option<&SecretView>, data: Values) -> SecretRequest {
    let kind = kind.map(|kind| kind.word().to_owned()).or_else(|| before.map(|before| before.kind.clone()));
    SecretRequest { kind, data, expect: Some(before.map_or(Index(0), |before| before.version)) }
}

fn next(name: &Name, created: bool, version: Option<Index>) -> String {
    let version = version.map(|version| format!("version {version}; ")).unwrap_or_default();
    let what = if created { format!("next: shoal describe secret {name}") } else { "components that use it get the new values".to_owned() };
    format!("{version}{what}")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: SetArgs,
    }

    fn set_args(words: &[&str]) -> SetArgs {
        Line::try_parse_from([&["set"], words].concat()).expect("a command line").args
    }

    #[test]
    fn a_pair_is_a_tls_secret() {
        let (kind, sources) = sources(&set_args(&["shop", "--cert", "a.crt", "--key", "a.key"])).expect("right");
        assert_eq!(kind, Some(SecretKind::Tls));
        assert_eq!(sources.files, [("tls.crt".to_owned(), "a.crt".into()), ("tls.key".to_owned(), "a.key".into())]);
        assert!(super::sources(&set_args(&["shop", "--type", "opaque", "--cert", "a", "--key", "b"])).is_err());
        assert!(Line::try_parse_from(["set", "shop", "--cert", "a.crt"]).is_err(), "a certificate alone is useless");
    }

    #[test]
    fn a_new_version_replaces_only_what_was_seen() {
        let before: SecretView = serde_json::from_value(json!({"namespace": "default", "name": "db", "type": "registry",
            "keys": ["password", "user"], "version": 71, "versions": []}))
        .expect("the shape of the API");
        let data = Values::from([("password".to_owned(), "eA==".to_owned())]);
        assert_eq!(lost(Some(&before), &data), ["user"]);
        assert!(lost(None, &data).is_empty());
        let changed = request(None, Some(&before), data.clone());
        assert_eq!((changed.kind.as_deref(), changed.expect), (Some("registry"), Some(Index(71))));
        let created = request(Some(SecretKind::ApiKeys), None, data);
        assert_eq!((created.kind.as_deref(), created.expect), (Some("apiKeys"), Some(Index(0))));
        assert!(!format!("{created:?}").contains("eA=="), "no value is shown");
    }
}
