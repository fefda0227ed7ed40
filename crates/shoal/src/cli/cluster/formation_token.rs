//! `shoal formation-token`: what lets machines with empty data directories form one cluster by themselves. Owns the file it is written to; no server is needed, and
//! none hears of it.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use transport::FormationToken;

use crate::cli::{
    failure::{Exit, Failure, Outcome, io_words},
    session::Session,
};

/// What `shoal formation-token` takes.
#[derive(Debug, Args)]
pub struct FormationTokenArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Makes a token, on any machine. Every machine that is to form the cluster gets the same one, and nobody else.
    #[command(after_help = "Example: shoal formation-token create --out formation.token")]
    Create {
        /// The file it is written to, closed to everybody else [default: standard output].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// What stands beside a token.
const HINT: &str = "whoever has it before the cluster is formed can take part in forming it; afterwards it lets nobody in
next, on every machine: shoal server --data-dir /var/lib/shoal --expect 3 --peers A,B,C --token-file FILE";

/// Runs it.
pub fn run(args: FormationTokenArgs, session: &Session) -> Outcome {
    let What::Create { out } = args.what;
    let token = FormationToken::create();
    match out {
        None => session.terminal.data(token.to_string()),
        Some(path) => {
            write(&path, &token).map_err(|error| {
                let help = if error.kind() == io::ErrorKind::AlreadyExists { "it may be in use: name another file" } else { "" };
                Failure::sentence(Exit::Error, format!("cannot write the token to {}: {}", path.display(), io_words(&error)), help)
            })?;
            session.terminal.data(path.display());
        }
    }
    session.terminal.hint(HINT);
    Ok(Exit::Done)
}

/// Never over a file that is there: a token in use would be lost.
fn write(path: &Path, token: &FormationToken) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{token}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_written_once_and_for_its_owner_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("formation.token");
        let token = FormationToken::create();
        write(&path, &token).expect("a new file");
        assert_eq!(std::fs::read_to_string(&path).expect("readable").parse(), Ok(token));
        assert_eq!(path.metadata().expect("it is there").permissions().mode() & 0o777, 0o600);
        let again = write(&path, &FormationToken::create()).expect_err("it is there already");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }
}
