//! How a command ends: the exit codes users script against, and what is said when it did not go well.
//! Owns the mapping from error codes to exit codes; must never print anything itself.

use std::collections::BTreeMap;

use model::problem::{Problem, Problems};

use super::terminal::{Ink, paint};

/// The exit codes of docs/operate/exit-codes.md. A code comes from the cluster's state, never from a log stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// What was asked is so.
    Done = 0,
    /// A bad input, or something unexpected.
    Error = 1,
    /// `plan` and `diff` found changes.
    Changes = 2,
    /// The rollout failed and the revision before it serves again.
    RolledBack = 3,
    /// Not there yet when the time was up; the cluster keeps working on it.
    TimedOut = 4,
    /// No node can hold it.
    CannotPlace = 5,
    /// The object does not exist.
    NotFound = 6,
    /// Refused by a rule of the cluster.
    NotAllowed = 7,
    /// The rollout failed; what served before, if anything, still serves.
    Failed = 8,
    /// The object has changed since it was read.
    Conflict = 9,
    /// No server answered, or it has no leader: safe to retry.
    Unreachable = 10,
    /// The command line itself is wrong.
    Usage = 64,
}

impl Exit {
    /// From best to worst: what is certain and needs a person stands last.
    const SEVERITY: [Self; 12] = [
        Self::Done,
        Self::Changes,
        Self::TimedOut,
        Self::Unreachable,
        Self::Conflict,
        Self::NotFound,
        Self::RolledBack,
        Self::CannotPlace,
        Self::NotAllowed,
        Self::Failed,
        Self::Error,
        Self::Usage,
    ];

    /// The worse of two ends: what a command over several documents returns.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if self.severity() >= other.severity() { self } else { other }
    }

    /// The exit code for an error code of `shoal explain`.
    pub fn of_code(code: &str) -> Self {
        match code {
            "E0402" => Self::NotFound,
            "E0403" | "E0416" | "E0430" => Self::Conflict,
            "E0211" | "E0404" | "E0410" | "E0412" | "E0413" | "E0417" | "E0418" | "E0419" | "E0420" | "E0421" | "E0423" | "E0610" => {
                Self::NotAllowed
            }
            // Not E0431: whoever repeats commands by their exit code must not repeat what may be done.
            "E0407" | "E0422" | "E0605" | "E0622" => Self::Unreachable,
            _ => Self::Error,
        }
    }

    fn severity(self) -> usize {
        Self::SEVERITY.iter().position(|exit| *exit == self).expect("every exit code is in the list of severities")
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that could not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What is said about it.
    pub told: Told,
}

/// What is said about a failure.
#[derive(Debug)]
pub enum Told {
    /// Problems with error codes, in order, and the text of every file they point into by the name used in their spans.
    Problems(Problems, BTreeMap<String, String>),
    /// One sentence and what to do about it, for what has no error code: the command line, the terminal, a local file.
    Sentence {
        /// What was attempted on what.
        message: String,
        /// May be empty.
        help: String,
    },
}

/// What every command returns.
pub type Outcome = Result<Exit, Failure>;

impl Failure {
    /// One problem; the exit code follows from its error code.
    pub fn of(problem: Problem) -> Self {
        Self::all(Problems(vec![problem]), BTreeMap::new())
    }

    /// Several problems with the texts they point into; the worst exit code wins.
    pub fn all(problems: Problems, texts: BTreeMap<String, String>) -> Self {
        let exit = problems.iter().map(|problem| Exit::of_code(&problem.code)).fold(Exit::Done, Exit::worse);
        Self { exit: if exit == Exit::Done { Exit::Error } else { exit }, told: Told::Problems(problems, texts) }
    }

    /// A wrong command line that clap cannot see.
    pub fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, told: Told::Sentence { message: message.into(), help: help.into() } }
    }

    /// Something went wrong that has no error code of its own.
    pub fn sentence(exit: Exit, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { exit, told: Told::Sentence { message: message.into(), help: help.into() } }
    }

    /// The failure as text for stderr, without a final line end.
    pub fn render(&self, color: bool) -> String {
        let text = match &self.told {
            Told::Problems(problems, texts) => model::render::render(problems, |file| texts.get(file).cloned(), color),
            Told::Sentence { message, help } if help.is_empty() => format!("{}: {message}", paint(color, Ink::Bad, "error")),
            Told::Sentence { message, help } => format!("{}: {message}\n  = help: {help}", paint(color, Ink::Bad, "error")),
        };
        text.trim_end().to_owned()
    }
}

/// An I/O error on a file in a user's words.
pub fn io_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

impl From<anyhow::Error> for Failure {
    /// A [`Problem`] in the chain keeps its code; anything else is one sentence with its causes.
    fn from(error: anyhow::Error) -> Self {
        match error.downcast_ref::<Problem>() {
            Some(problem) => Self::of(problem.clone()),
            None => Self::sentence(Exit::Error, format!("{error:#}"), ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_ends_wins() {
        let check = |ends: &[Exit], worst: Exit| assert_eq!(ends.iter().copied().fold(Exit::Done, Exit::worse), worst, "{ends:?}");
        check(&[], Exit::Done);
        check(&[Exit::Done, Exit::Done], Exit::Done);
        check(&[Exit::TimedOut, Exit::Done], Exit::TimedOut);
        check(&[Exit::TimedOut, Exit::Failed, Exit::Unreachable], Exit::Failed);
        check(&[Exit::Conflict, Exit::CannotPlace], Exit::CannotPlace);
        check(&[Exit::Error, Exit::Failed], Exit::Error);
    }

    #[test]
    fn a_problem_in_a_chain_keeps_its_code() {
        let problem = Problem::new("E0601", "cannot listen on 127.0.0.1:8080: the port is in use").help("choose another with --http");
        let failure = Failure::from(anyhow::Error::new(problem).context("starting a node"));
        assert_eq!(failure.exit as u8, 1);
        assert!(failure.render(false).starts_with("error[E0601]: cannot listen"), "{}", failure.render(false));
        let failure = Failure::from(anyhow::anyhow!("no room").context("writing p.json"));
        assert_eq!(failure.render(false), "error: writing p.json: no room");
    }

    #[test]
    fn error_codes_have_their_exit_codes() {
        for (code, exit) in [
            ("E0402", 6),
            ("E0403", 9),
            ("E0430", 9),
            ("E0404", 7),
            ("E0211", 7),
            ("E0407", 10),
            ("E0431", 1),
            ("E0605", 10),
            ("E0421", 7),
            ("E0423", 7),
            ("E0610", 7),
            ("E0422", 10),
            ("E0102", 1),
            ("E0401", 1),
        ] {
            assert_eq!(Exit::of_code(code) as u8, exit, "{code}");
        }
    }
}
