//! What systemd is told (`sd_notify`): ready, stopping. Must never fail the node: without systemd nothing happens.

use std::{
    env,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use super::limits::{START_EXTENSION, START_EXTENSION_EVERY};

/// Tells the service manager `state`, such as `READY=1`, when there is one.
pub fn notify(state: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET").and_then(|path| path.into_string().ok()) else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(error = %error, socket, "the service manager cannot be told");
    }
}

/// Says what is waited for for as long as this runs: a service manager would otherwise take the node for one that hangs.
pub async fn keep_told(what: String) {
    let what = what.replace('\n', " ");
    loop {
        notify(&format!("STATUS=waiting for {what}\nEXTEND_TIMEOUT_USEC={}", START_EXTENSION.as_micros()));
        tokio::time::sleep(START_EXTENSION_EVERY).await;
    }
}

fn send(socket: &str, state: &str) -> std::io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &SocketAddr, name: &str) {
        let manager = UnixDatagram::bind_addr(address).unwrap();
        send(name, "READY=1").unwrap();
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
    }

    #[test]
    fn both_kinds_of_addresses_are_understood() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        check(&SocketAddr::from_pathname(&path).unwrap(), path.to_str().unwrap());
        let name = format!("shoal-test-{}", std::process::id());
        check(&SocketAddr::from_abstract_name(&name).unwrap(), &format!("@{name}"));
    }
}
