//! hello plus files: `?read=PATH` answers with a file of the manifest, `?list=PATH` with the names in a directory. `?write=PATH` and `?open=PATH` are
//! for tests: one tries to write, the other to hold a file open as often as it can.

use std::fs::{self, File};

use wstd::http::{Body, Error, Request, Response, StatusCode};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let query = request.uri().query().unwrap_or_default();
    let done = match query.split_once('=') {
        Some(("read", path)) => fs::read(path),
        Some(("list", path)) => list(path).map(|names| names.join("\n").into_bytes()),
        Some(("write", path)) => write(path).map(|()| b"written".to_vec()),
        Some(("open", path)) => Ok(open(path).into_bytes()),
        _ => return answer(StatusCode::BAD_REQUEST, b"add ?read=/path\n".to_vec()),
    };
    match done {
        Ok(bytes) => answer(StatusCode::OK, bytes),
        Err(error) => answer(StatusCode::NOT_FOUND, format!("{error}\n").into_bytes()),
    }
}

fn list(path: &str) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Everything that would change something, one after another; the first that works is a success.
fn write(path: &str) -> std::io::Result<()> {
    let beside = format!("{path}.new");
    fs::write(path, "changed")
        .or_else(|_| fs::write(&beside, "new"))
        .or_else(|_| fs::create_dir(&beside))
        .or_else(|_| fs::rename(path, &beside))
        .or_else(|_| fs::hard_link(path, &beside))
        .or_else(|_| File::open(path)?.set_len(0))
        .or_else(|_| fs::remove_file(path))
}

/// How often it could be opened, and why no more.
fn open(path: &str) -> String {
    let mut held = Vec::new();
    loop {
        match File::open(path) {
            Ok(file) => held.push(file),
            Err(error) => return format!("{} {error}", held.len()),
        }
    }
}

fn answer(status: StatusCode, bytes: Vec<u8>) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(status).body(bytes.into())?)
}
