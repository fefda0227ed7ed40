//! `--fresh`: an empty data directory. Owns the care taken before anything is removed.

use std::{fs, io, path::Path};

use model::problem::Problem;

use crate::cli::failure::{Exit, Failure};

/// Removes `directory`, but only when it is a data directory and no node runs on it.
///
/// # Errors
/// E0602 when a node runs on it; a directory that holds something else.
pub fn wipe(directory: &Path) -> Result<(), Failure> {
    let shown = directory.display();
    let failed = |error: io::Error| Failure::sentence(Exit::Error, format!("cannot empty {shown}: {error}"), "");
    let is_empty = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if is_empty {
        return Ok(());
    }
    if !directory.join("format").is_file() {
        let help = "name another with --data-dir, or empty it yourself";
        return Err(Failure::sentence(Exit::Error, format!("{shown} is not a data directory of shoal, so --fresh leaves it alone"), help));
    }
    let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("lock")).map_err(failed)?;
    if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        let problem = Problem::new("E0602", format!("a node runs on {shown}, so --fresh leaves it alone"));
        return Err(Failure::of(problem.help("stop it first, or name another directory with --data-dir")));
    }
    fs::remove_dir_all(directory).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_idle_data_directory_is_removed() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let data = root.path().join("data");
        assert!(wipe(&data).is_ok(), "nothing there is as empty as it gets");
        fs::create_dir(&data).expect("made");
        assert!(wipe(&data).is_ok());
        fs::write(data.join("thesis.txt"), "years").expect("written");
        assert!(wipe(&data).is_err() && data.join("thesis.txt").is_file());
        fs::write(data.join("format"), "1").expect("written");
        let lock = fs::File::create(data.join("lock")).expect("made");
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("free");
        let failure = wipe(&data).expect_err("a node runs");
        assert!(failure.render(false).contains("E0602"));
        drop(lock);
        assert!(wipe(&data).is_ok() && !data.exists());
    }
}
