//! A line typed on a terminal that does not show it. Owns the terminal's settings meanwhile and puts them back, also after Ctrl-C.

use std::io::{self, BufRead, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Longest line that is read: no password or token is longer, and a paste that is must not be cut unnoticed.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// Asks on stderr and reads one line from the terminal on stdin.
///
/// # Errors
/// `Interrupted` at Ctrl-C, `UnexpectedEof` at Ctrl-D, whatever the terminal says else.
pub fn ask(question: &str) -> io::Result<String> {
    let stdin = io::stdin().lock();
    let _quiet = Quiet::begin()?;
    write!(io::stderr(), "{question}: ").and_then(|()| io::stderr().flush())?;
    let line = read_line(stdin);
    // The line end was not shown either.
    writeln!(io::stderr())?;
    line
}

/// The terminal while it shows nothing and hands over every key; what it was before comes back when dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn read_line(keys: impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    for key in keys.bytes() {
        match key? {
            b'\r' | b'\n' => return String::from_utf8(line).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")),
            0x03 => return Err(io::ErrorKind::Interrupted.into()),
            0x04 => return Err(io::ErrorKind::UnexpectedEof.into()),
            0x08 | 0x7f => erase(&mut line),
            _ if line.len() == LINE_BYTES_MAX => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it is longer than 16 KiB; use a file"));
            }
            other => line.push(other),
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Takes the last character off, all bytes of it.
fn erase(line: &mut Vec<u8>) {
    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_make_a_line() {
        let check = |keys: &str, expected: Result<&str, io::ErrorKind>| {
            let read = read_line(keys.as_bytes()).map_err(|error| error.kind());
            assert_eq!(read.as_deref().map_err(|kind| *kind), expected, "{keys:?}");
        };
        check("secret\nrest", Ok("secret"));
        check("tipö\u{7f}o\r", Ok("tipo"));
        check("\u{7f}\u{8}a\n", Ok("a"));
        check("abc\u{3}", Err(io::ErrorKind::Interrupted));
        check("\u{4}", Err(io::ErrorKind::UnexpectedEof));
        check("no end", Err(io::ErrorKind::UnexpectedEof));
        check(&"x".repeat(LINE_BYTES_MAX + 1), Err(io::ErrorKind::InvalidData));
    }
}
