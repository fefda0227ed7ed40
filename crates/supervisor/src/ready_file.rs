//! The file that says a node is ready and where it listens. Written whole, when the node is ready and once more when what was missing serves too; removed by
//! the next start. Must never hold what does not serve.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::options::Ready;

/// Writes `ready` as JSON to `path` with mode 0600; a reader sees all of it or nothing.
pub fn write(path: &Path, ready: &Ready) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let aside = path.with_file_name(name);
    remove(&aside)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    serde_json::to_writer(&mut file, ready)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&aside, path)
}

/// Removes what is at `path`; nothing there is as good.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_file_is_whole_and_closed_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready.json");
        let ready = Ready {
            api: Some("http://127.0.0.1:7070".into()),
            http: Some("http://127.0.0.1:8080".into()),
            https: Some("https://127.0.0.1:8443".into()),
            peer: Some("10.0.0.1:7071".into()),
            node: "one".into(),
            api_socket: Some("/data/api.sock".into()),
            ..Ready::default()
        };
        write(&path, &ready).unwrap();
        expect_test::expect![[r#"
            {"api":"http://127.0.0.1:7070","http":"http://127.0.0.1:8080","https":"https://127.0.0.1:8443","peer":"10.0.0.1:7071","node":"one","apiSocket":"/data/api.sock"}
        "#]]
        .assert_eq(&fs::read_to_string(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        write(&path, &ready).expect("a later start replaces it");
        remove(&path).expect("removed");
        remove(&path).expect("it is gone already");
        assert!(!path.exists());
    }
}
