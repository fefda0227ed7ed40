//! Where the values of a secret come from: files, standard input, a prompt that shows nothing. Owns that none of them is ever an argument or printed; must never
//! keep them longer than the request.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use data_encoding::BASE64;

use crate::cli::{
    failure::{Exit, Failure, io_words},
    hidden,
};

/// Most bytes read for one secret: servers take 64 KiB of values, and what is longer is a mistake that should not fill the memory first.
const INPUT_BYTES_MAX: u64 = 1 << 20;

/// What was asked for, each source with its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// From standard input.
    pub keys: Vec<String>,
    /// `KEY=FILE`; `-` is standard input as it is.
    pub files: Vec<(String, PathBuf)>,
}

/// Values in base64 by key.
pub type Values = BTreeMap<String, String>;

/// Reads `KEY=FILE`.
///
/// # Errors
/// A sentence that says how it is written.
pub fn key_and_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((key, file)) if !key.is_empty() && !file.is_empty() => Ok((key.to_owned(), file.into())),
        _ => Err(format!("`{text}` is not KEY=FILE")),
    }
}

impl Sources {
    /// Whether they can be read: something is asked for, nothing twice, standard input once, and no value stands among the arguments.
    ///
    /// # Errors
    /// A usage failure.
    pub fn check(&self) -> Result<(), Failure> {
        if let Some((key, _)) = self.keys.iter().find_map(|key| key.split_once('=')) {
            let message =
                format!("the value of `{key}` must not stand on the command line: every process of this machine can read it there");
            return Err(Failure::usage(
                message,
                format!("pipe it in: shoal secret set NAME {key} < FILE; and change the value, it was seen"),
            ));
        }
        let mut all: Vec<&String> = self.keys.iter().chain(self.files.iter().map(|(key, _)| key)).collect();
        if all.is_empty() {
            return Err(Failure::usage("which values?", "shoal secret set NAME KEY < FILE, or --from-file KEY=FILE"));
        }
        all.sort();
        if let Some(twice) = all.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Failure::usage(format!("the key `{}` is set twice", twice[0]), "name each key once"));
        }
        let readers = self.files.iter().filter(|(_, file)| is_stdin(file)).count() + usize::from(!self.keys.is_empty());
        if readers > 1 {
            return Err(Failure::usage("standard input is read for several values", "use files for all but one"));
        }
        Ok(())
    }

    /// All values. `interactive` says that a person is at the terminal.
    ///
    /// # Errors
    /// What cannot be read; a wrong number of lines.
    pub fn read(&self, interactive: bool) -> Result<Values, Failure> {
        let mut values = Values::new();
        for (key, file) in &self.files {
            let bytes = if is_stdin(file) { stdin(key)? } else { of_file(file)? };
            if is_stdin(file) && bytes.is_empty() {
                return Err(nothing_came());
            }
            values.insert(key.clone(), BASE64.encode(&bytes));
        }
        if self.keys.is_empty() {
            return Ok(values);
        }
        if interactive {
            for key in &self.keys {
                let line = hidden::ask(key).map_err(|error| unread(&format!("the value of `{key}`"), &error))?;
                values.insert(key.clone(), BASE64.encode(line.as_bytes()));
            }
        } else {
            values.extend(split(&self.keys, &stdin("standard input")?)?);
        }
        Ok(values)
    }
}

/// One key takes all of `input` but one line end after it; several take a line each.
fn split(keys: &[String], input: &[u8]) -> Result<Values, Failure> {
    let input = input.strip_suffix(b"\n").map_or(input, |rest| rest.strip_suffix(b"\r").unwrap_or(rest));
    if input.is_empty() {
        return Err(nothing_came());
    }
    if let [key] = keys {
        return Ok(Values::from([(key.clone(), BASE64.encode(input))]));
    }
    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    if lines.len() != keys.len() {
        let message = format!("standard input has {} lines for {} keys", lines.len(), keys.len());
        return Err(Failure::usage(message, "write one line for each key, in the same order, or use --from-file KEY=FILE"));
    }
    Ok(keys.iter().cloned().zip(lines.into_iter().map(|line| BASE64.encode(line))).collect())
}

/// The command before the pipe failed, more often than somebody means a value of nothing.
fn nothing_came() -> Failure {
    Failure::usage("standard input is empty: nothing was changed", "for a value of nothing: --from-file KEY=/dev/null")
}

fn stdin(what: &str) -> Result<Vec<u8>, Failure> {
    bounded(io::stdin().lock(), what)
}

fn of_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let what = path.display().to_string();
    bounded(fs::File::open(path).map_err(|error| unread(&what, &error))?, &what)
}

fn bounded(from: impl io::Read, what: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unread(what, &error))?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(Failure::sentence(Exit::Error, format!("{what} is larger than 1 MiB"), "a secret holds passwords and keys, not files"));
    }
    Ok(bytes)
}

fn unread(what: &str, error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::Interrupted => "interrupted".to_owned(),
        io::ErrorKind::UnexpectedEof => "it ended".to_owned(),
        _ => io_words(error),
    };
    Failure::sentence(Exit::Error, format!("cannot read {what}: {why}; nothing was changed"), "")
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(keys: &[&str], files: &[&str]) -> Sources {
        let files = files.iter().map(|text| key_and_file(text).expect("KEY=FILE")).collect();
        Sources { keys: keys.iter().map(|key| (*key).to_owned()).collect(), files }
    }

    #[test]
    fn what_cannot_be_read_is_said_before_anything_is() {
        let check = |keys: &[&str], files: &[&str], expected: Option<&str>| {
            let said = sources(keys, files).check().err().map(|failure| failure.render(false));
            assert_eq!(said.as_deref().and_then(|said| said.lines().next()), expected, "{keys:?} {files:?}");
        };
        check(&["password"], &["ca=ca.pem"], None);
        check(&[], &["all=-"], None);
        check(&[], &[], Some("error: which values?"));
        check(&["a", "b", "a"], &[], Some("error: the key `a` is set twice"));
        check(&["a"], &["b=-"], Some("error: standard input is read for several values"));
        check(
            &["password=hunter2"],
            &[],
            Some("error: the value of `password` must not stand on the command line: every process of this machine can read it there"),
        );
        let said = sources(&["password=hunter2"], &[]).check().expect_err("refused").render(false);
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn input_is_one_value_or_a_line_for_each() {
        let check = |keys: &[&str], input: &str, expected: Option<&[&str]>| {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            let values = split(&keys, input.as_bytes()).ok();
            let decoded =
                values.map(|values| keys.iter().map(|key| BASE64.decode(values[key].as_bytes()).expect("base64")).collect::<Vec<_>>());
            let expected = expected.map(|all| all.iter().map(|text| text.as_bytes().to_vec()).collect());
            assert_eq!(decoded, expected, "{keys:?} {input:?}");
        };
        check(&["a"], "one\n", Some(&["one"]));
        check(&["a"], "one\r\n", Some(&["one"]));
        check(&["a"], "two\nlines\n\n", Some(&["two\nlines\n"]));
        check(&["a"], "", None);
        check(&["a"], "\n", None);
        check(&["b", "a"], "x\r\ny\n", Some(&["x", "y"]));
        check(&["a", "b"], "only one\n", None);
        check(&["a", "b"], "1\n2\n3\n", None);
    }

    #[test]
    fn files_are_taken_as_they_are() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        fs::write(&path, b"\x00line\n").expect("written");
        let read = Sources { keys: Vec::new(), files: vec![("k".to_owned(), path.clone())] }.read(false).expect("readable");
        assert_eq!(BASE64.decode(read["k"].as_bytes()).expect("base64"), b"\x00line\n");
        fs::write(&path, vec![0; INPUT_BYTES_MAX as usize + 1]).expect("written");
        assert!(Sources { keys: Vec::new(), files: vec![("k".to_owned(), path)] }.read(false).is_err(), "too large");
        assert!(key_and_file("nofile").is_err() && key_and_file("=x").is_err() && key_and_file("k=").is_err());
    }
}
