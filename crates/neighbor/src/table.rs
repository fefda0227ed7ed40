//! Finding one socket in the tables of all of them (`/proc/net/tcp`, `/proc/net/tcp6`), where the kernel cannot be asked for one. Owns their format; must
//! never judge what it finds.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::{LISTENS, Seen};

/// The tables: one has the sockets of IPv4, the other those of IPv6, connected over either.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// The socket whose own end is `own` and whose other end is `other`.
///
/// # Errors
/// The table of IPv4 cannot be read; a machine without IPv6 lacks the other one.
pub(crate) fn find(own: SocketAddr, other: SocketAddr) -> io::Result<Option<Seen>> {
    all(|ends, _| ends == (own, other)).map(|found| found.into_iter().next())
}

/// The sockets that listen at `at`, or on every address at its port.
///
/// # Errors
/// As [`find`].
pub(crate) fn listeners(at: SocketAddr) -> io::Result<Vec<Seen>> {
    all(|(own, _), seen| seen.state == LISTENS && own.port() == at.port() && (own.ip() == at.ip() || own.ip().is_unspecified()))
}

fn all(is_meant: impl Fn((SocketAddr, SocketAddr), Seen) -> bool) -> io::Result<Vec<Seen>> {
    let mut found = Vec::new();
    for (table, must) in TABLES.into_iter().zip([true, false]) {
        let file = match File::open(table) {
            Ok(file) => file,
            Err(error) if must => return Err(error),
            Err(_) => continue,
        };
        for line in BufReader::new(file).lines() {
            found.extend(read(&line?).filter(|(ends, seen)| is_meant(*ends, *seen)).map(|(_, seen)| seen));
        }
    }
    Ok(found)
}

/// One line: number, own end, other end, state, queues, timer, retries, user, timeout, inode.
fn read(line: &str) -> Option<((SocketAddr, SocketAddr), Seen)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (own, other) = (end(fields.next()?)?, end(fields.next()?)?);
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let (user, inode) = (fields.nth(3)?.parse().ok()?, fields.nth(1)?.parse().ok()?);
    Some(((own, other), Seen { state, user, inode }))
}

/// `0100007F:1F90`: words of the address as the machine has them in memory, and the port.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words: Vec<u8> = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_two_ends_a_state_a_user_and_an_inode() {
        let check = |line: &str, ends: Option<(&str, &str)>| {
            let found = read(line);
            assert_eq!(found.map(|(ends, _)| ends), ends.map(|(own, other)| (own.parse().unwrap(), other.parse().unwrap())), "{line}");
            found.map(|(_, seen)| seen)
        };
        let rest = "01 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0000000000000000 20 4 30 10 -1";
        let seen = Some(Seen { state: 1, user: 1000, inode: 4242 });
        if cfg!(target_endian = "little") {
            let line = format!("   3: 0100007F:1F90 0200007F:0050 {rest}");
            assert_eq!(check(&line, Some(("127.0.0.1:8080", "127.0.0.2:80"))), seen);
            let mapped = "0000000000000000FFFF00000100007F";
            let line = format!("   3: {mapped}:1F90 {mapped}:0050 {rest}");
            assert_eq!(check(&line, Some(("127.0.0.1:8080", "127.0.0.1:80"))), seen);
            let line = format!("   3: 00000000000000000000000001000000:1F90 00000000000000000000000001000000:0050 {rest}");
            assert_eq!(check(&line, Some(("[::1]:8080", "[::1]:80"))), seen);
        }
        check("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", None);
        check("   3: 0100007F:1F90", None);
        check("   3: nonsense 0100007F:1F90 01", None);
    }
}
