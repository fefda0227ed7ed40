//! What lies in a certificate directory. Owns which files make a pair; must never judge what is in them, or show it.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{
    certificate::{CertificatePair, KeyText},
    limits::{BYTES_MAX, CERTIFICATES_MAX, FILE_BYTES_MAX, FILES_MAX},
};

/// The files of a pair in a directory of its own: as Kubernetes mounts a secret, and as certbot keeps what is live.
const IN_DIRECTORY: [(&str, &str); 2] = [("tls.crt", "tls.key"), ("fullchain.pem", "privkey.pem")];

/// Endings of a chain and of its key for pairs that lie side by side, the last as mkcert writes them.
const SIDE_BY_SIDE: [(&str, &str); 3] = [(".crt", ".key"), (".pem", ".key"), (".pem", "-key.pem")];

/// An authority's own certificate, which many tools leave beside the pair.
const AUTHORITIES: [&str; 2] = ["ca.crt", "ca.pem"];

/// What was found under one name: the texts of a pair, or why there is none.
pub(crate) type Found = BTreeMap<String, Result<CertificatePair, String>>;

/// Reads every pair of `directory`. Fails when the directory itself cannot be read, or holds more than may be.
pub(crate) fn read(directory: &Path) -> io::Result<Found> {
    let mut found = Found::new();
    let mut bytes_left = BYTES_MAX;
    for (name, files) in pairs(directory)? {
        let pair = files.and_then(|(chain, key)| {
            let chain = read_text(&chain, &mut bytes_left)?;
            let key = KeyText::new(read_text(&key, &mut bytes_left)?);
            Ok(CertificatePair { name: name.clone(), chain, key })
        });
        found.insert(name, pair);
    }
    Ok(found)
}

/// The directories whose files matter: `directory` and those with pairs in it.
pub(crate) fn watched(directory: &Path) -> Vec<PathBuf> {
    let inside = names(directory).unwrap_or_default().into_iter().map(|name| directory.join(name)).filter(|path| path.is_dir());
    std::iter::once(directory.to_owned()).chain(inside.take(CERTIFICATES_MAX)).collect()
}

/// A chain's file and its key's.
type Files = Result<(PathBuf, PathBuf), String>;

fn pairs(directory: &Path) -> io::Result<BTreeMap<String, Files>> {
    let names = names(directory)?;
    let has = |name: &str| names.binary_search_by(|known| known.as_str().cmp(name)).is_ok();
    let mut pairs = BTreeMap::new();
    for name in &names {
        let path = directory.join(name);
        if path.is_dir() {
            let complete = IN_DIRECTORY.into_iter().find(|(chain, key)| path.join(chain).exists() || path.join(key).exists());
            if let Some((chain, key)) = complete {
                pairs.insert(name.clone(), Ok((path.join(chain), path.join(key))));
            }
            continue;
        }
        let is_key = |name: &str| name.ends_with(".key") || name.ends_with("-key.pem");
        let stem = |ending: &str| name.strip_suffix(ending).filter(|stem| !stem.is_empty());
        if is_key(name) {
            let Some((stem, _)) = SIDE_BY_SIDE.iter().find_map(|(_, key)| Some((stem(key)?, key))) else { continue };
            if !SIDE_BY_SIDE.iter().any(|(chain, _)| has(&format!("{stem}{chain}"))) {
                pairs.insert(stem.to_owned(), Err(format!("there is no {stem}.crt for {name}")));
            }
        } else if let Some(stem) = stem(".crt").or_else(|| stem(".pem")).filter(|_| !AUTHORITIES.contains(&name.as_str())) {
            let key =
                SIDE_BY_SIDE.iter().filter(|(chain, _)| name.ends_with(chain)).map(|(_, key)| format!("{stem}{key}")).find(|key| has(key));
            let files = key.map(|key| (path, directory.join(key))).ok_or_else(|| format!("there is no {stem}.key for {name}"));
            // `.crt` comes before `.pem` and holds.
            pairs.entry(stem.to_owned()).or_insert(files);
        }
    }
    let too_many = || io::Error::other(format!("it holds more than {CERTIFICATES_MAX} pairs"));
    if pairs.len() > CERTIFICATES_MAX { Err(too_many()) } else { Ok(pairs) }
}

/// What the directory holds, in order, without what is hidden.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if !name.starts_with('.') {
            names.push(name);
        }
        if names.len() > FILES_MAX {
            return Err(io::Error::other(format!("it holds more than {FILES_MAX} files")));
        }
    }
    names.sort();
    Ok(names)
}

fn read_text(path: &Path, bytes_left: &mut u64) -> Result<String, String> {
    let name = path.file_name().unwrap_or_default().display();
    let failed = |error: io::Error| format!("cannot read {name}: {error}");
    let file = fs::File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(format!("{name} is not a file"));
    }
    let mut text = String::new();
    let most = FILE_BYTES_MAX.min(*bytes_left);
    // Whatever is in the file and is no text stays out of the message.
    let read = file.take(most + 1).read_to_string(&mut text).map_err(|error| format!("cannot read {name}: {}", error.kind()))?;
    let read = read as u64;
    if read > most {
        return Err(format!("{name} is too large: {FILE_BYTES_MAX} bytes a file and {BYTES_MAX} in all may be"));
    }
    *bytes_left -= read;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("text of {file}")).unwrap();
        }
        directory
    }

    fn check(files: &[&str], expected: &[(&str, Result<&str, &str>)]) {
        let directory = directory(files);
        let found = read(directory.path()).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(name, pair)| (name.as_str(), pair.as_ref().map(|pair| pair.chain.as_str()).map_err(String::as_str)))
            .collect();
        assert_eq!(found, expected, "{files:?}");
    }

    #[test]
    fn pairs_are_found_in_each_of_their_forms() {
        check(&["a.example.crt", "a.example.key"], &[("a.example", Ok("text of a.example.crt"))]);
        check(&["a.pem", "a.key"], &[("a", Ok("text of a.pem"))]);
        check(&["a.pem", "a-key.pem"], &[("a", Ok("text of a.pem"))]);
        check(&["shop/tls.crt", "shop/tls.key", "shop/ca.crt"], &[("shop", Ok("text of shop/tls.crt"))]);
        check(
            &["b.example/fullchain.pem", "b.example/privkey.pem", "b.example/cert.pem"],
            &[("b.example", Ok("text of b.example/fullchain.pem"))],
        );
        check(&["tls.crt", "tls.key", "ca.crt"], &[("tls", Ok("text of tls.crt"))]);
        check(&["a.crt", "a.pem", "a.key"], &[("a", Ok("text of a.crt"))]);
    }

    #[test]
    fn what_is_none_of_them_is_left_alone_and_half_a_pair_is_told() {
        check(&["README", "notes/readme.md", ".hidden.crt", "..data/tls.crt", ".key", "dh.txt"], &[]);
        check(&["a.crt"], &[("a", Err("there is no a.key for a.crt"))]);
        check(&["a.key"], &[("a", Err("there is no a.crt for a.key"))]);
        check(&["a-key.pem"], &[("a", Err("there is no a.crt for a-key.pem"))]);
        let half = directory(&["shop/tls.crt"]);
        let told = read(half.path()).unwrap().remove("shop").unwrap().unwrap_err();
        assert!(told.starts_with("cannot read tls.key: "), "{told}");
        assert!(read(&half.path().join("absent")).is_err());
    }

    #[test]
    fn files_have_bounds_and_links_are_followed() {
        let directory = directory(&["a.key", "real/chain1.pem"]);
        std::os::unix::fs::symlink("real/chain1.pem", directory.path().join("a.crt")).unwrap();
        let found = read(directory.path()).unwrap();
        assert_eq!(found["a"].as_ref().unwrap().chain, "text of real/chain1.pem");
        let most = usize::try_from(FILE_BYTES_MAX).unwrap();
        fs::write(directory.path().join("real/chain1.pem"), vec![b'x'; most + 1]).unwrap();
        assert!(read(directory.path()).unwrap()["a"].as_ref().unwrap_err().contains("too large"));
        fs::write(directory.path().join("a.key"), [0xff, 0xfe]).unwrap();
        fs::write(directory.path().join("real/chain1.pem"), "x").unwrap();
        assert_eq!(read(directory.path()).unwrap()["a"].as_ref().unwrap_err(), "cannot read a.key: invalid data");
        for number in 0..=CERTIFICATES_MAX {
            fs::write(directory.path().join(format!("{number}.crt")), "").unwrap();
        }
        assert!(read(directory.path()).unwrap_err().to_string().contains("more than"));
    }
}
