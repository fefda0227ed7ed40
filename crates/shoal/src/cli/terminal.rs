//! Where output goes: data to stdout, everything said about it to stderr, colour and live lines only on a terminal.
//! Owns the terminal's abilities and the ways of speaking to it; must never know what is said.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    sync::Mutex,
};

use super::failure::Exit;

/// Colours by meaning, never by taste.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Ready, done, added.
    Good,
    /// Under way, changed.
    Moving,
    /// Failed, removed.
    Bad,
    /// Said beside the point.
    Quiet,
    /// The thing itself.
    Strong,
}

/// The two output streams of this process and what they can show.
#[derive(Debug)]
pub struct Terminal {
    /// Colour in what is written to stdout.
    pub out_color: bool,
    /// Colour in what is written to stderr.
    pub err_color: bool,
    /// Whether stderr is a terminal: lines may be rewritten in place.
    pub live: bool,
    /// Columns of stdout; none when it is not a terminal, and then nothing is shortened.
    pub width: Option<usize>,
    /// Whether a person can answer a question.
    pub interactive: bool,
    /// `-q`: no hints and no progress.
    pub quiet: bool,
    live_line: Mutex<bool>,
}

impl Terminal {
    /// The streams this process was started with; `NO_COLOR` and `TERM=dumb` are honored.
    pub fn detect(quiet: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let plain = set("NO_COLOR") || std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self {
            out_color: out && !plain,
            err_color: err && !plain,
            live: err && !plain,
            width: if out { terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)) } else { None },
            interactive: io::stdin().is_terminal() && err,
            quiet,
            live_line: Mutex::new(false),
        }
    }

    /// Data: one text to stdout, with a line end. A reader that went away (`| head`) ends the process quietly.
    pub fn data(&self, text: impl Display) {
        if let Err(exit) = self.offer(text) {
            std::process::exit(exit as i32);
        }
    }

    /// As [`Self::data`], for commands that clean up behind themselves.
    ///
    /// # Errors
    /// How the process should end, when nobody reads any more.
    pub fn offer(&self, text: impl Display) -> Result<(), Exit> {
        self.clear_live_line();
        let mut out = io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| self.lost(&error))
    }

    /// Bytes of data as they are.
    pub fn bytes(&self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
            std::process::exit(self.lost(&error) as i32);
        }
    }

    /// How a process ends whose output cannot be written: quietly when the reader went away, else it says why.
    pub fn lost(&self, error: &io::Error) -> Exit {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Exit::Done;
        }
        self.complain(format!("{}: cannot write to stdout: {error}", self.err(Ink::Bad, "error")));
        Exit::Error
    }

    /// Something went wrong: always shown, on stderr.
    pub fn complain(&self, text: impl Display) {
        self.clear_live_line();
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Progress or a hint, on stderr; silenced by `-q`.
    pub fn hint(&self, text: impl Display) {
        if !self.quiet {
            self.complain(text);
        }
    }

    /// A line that the next output replaces. Only on a terminal.
    pub fn live(&self, text: &str) {
        if self.live && !self.quiet {
            let mut shown = self.live_line.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let _ = write!(io::stderr().lock(), "\r\x1b[K{text}").and_then(|()| io::stderr().flush());
            *shown = true;
        }
    }

    /// Asks a yes-or-no question; anything but `y` or `yes` is no.
    pub fn confirm(&self, question: &str) -> bool {
        let _ = write!(io::stderr().lock(), "{question} [y/N] ").and_then(|()| io::stderr().flush());
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
    }

    /// What the user types in answer to `question`, without the spaces around it; nothing where nobody can be asked.
    pub fn ask(&self, question: &str) -> String {
        self.clear_live_line();
        let _ = write!(io::stderr().lock(), "{question}").and_then(|()| io::stderr().flush());
        let mut answer = String::new();
        if io::stdin().read_line(&mut answer).is_ok() { answer.trim().to_owned() } else { String::new() }
    }

    /// `text` in `ink` for stdout.
    pub fn out(&self, ink: Ink, text: &str) -> String {
        paint(self.out_color, ink, text)
    }

    /// `text` in `ink` for stderr.
    pub fn err(&self, ink: Ink, text: &str) -> String {
        paint(self.err_color, ink, text)
    }

    fn clear_live_line(&self) {
        let mut shown = self.live_line.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if std::mem::take(&mut *shown) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K").and_then(|()| io::stderr().flush());
        }
    }
}

/// `text` between the escape sequences of `ink`, or as it is.
pub fn paint(color: bool, ink: Ink, text: &str) -> String {
    let code = match ink {
        Ink::Good => "32",
        Ink::Moving => "33",
        Ink::Bad => "31",
        Ink::Quiet => "2",
        Ink::Strong => "1",
    };
    if color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}
