//! Asking the kernel about one socket by its two addresses (`sock_diag(7)`). Owns the bytes of the question and of the answer; must never judge it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
        netlink::{self, SocketAddrNetlink},
        recvfrom, sendto, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use crate::Seen;

/// `SOCK_DIAG_BY_FAMILY`, in the question and in the answer.
const BY_FAMILY: u16 = 20;

/// `NLM_F_REQUEST`: one question about one socket.
const REQUEST: u16 = 1;

/// `IPPROTO_TCP`.
const TCP: u8 = 6;

/// `AF_INET` and `AF_INET6`.
const FAMILIES: (u8, u8) = (2, 10);

/// The head of every message: length, kind, flags, number, sender.
const HEAD_BYTES: usize = 16;

/// `struct inet_diag_req_v2` behind it.
const QUESTION_BYTES: usize = 56;

/// `struct inet_diag_msg` behind it.
const ANSWER_BYTES: usize = 72;

/// The kernel answers while it is asked; who waits longer waits for nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// The socket whose own end is `own` and whose other end is `other`.
///
/// # Errors
/// It is not there, or the kernel does not answer such questions.
pub(crate) fn kernel(own: SocketAddr, other: SocketAddr) -> Result<Seen, Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    sendto(&socket, &question(own, other), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 4_096];
    let (_, length, from) = recvfrom(&socket, &mut answer[..], RecvFlags::empty())?;
    // Only the kernel has the number 0.
    let is_kernel = from.and_then(|from| SocketAddrNetlink::try_from(from).ok()).is_some_and(|from| from.pid() == 0);
    if !is_kernel {
        return Err(Errno::PERM);
    }
    read(answer.get(..length).ok_or(Errno::MSGSIZE)?, own, other)
}

fn question(own: SocketAddr, other: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + QUESTION_BYTES);
    bytes.extend(((HEAD_BYTES + QUESTION_BYTES) as u32).to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family(own), TCP, 0, 0]);
    // Whatever state it is in.
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(ends(own, other));
    // Any interface, and no cookie.
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([0xff; 8]);
    bytes
}

/// Both ends as the kernel writes them: two ports, two addresses of 16 bytes.
fn ends(own: SocketAddr, other: SocketAddr) -> Vec<u8> {
    let mut bytes = [own.port().to_be_bytes(), other.port().to_be_bytes()].concat();
    for address in [own.ip(), other.ip()] {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets().into_iter().chain([0; 12])),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    bytes
}

fn family(address: SocketAddr) -> u8 {
    if address.is_ipv4() { FAMILIES.0 } else { FAMILIES.1 }
}

/// What an answer says of the socket that was asked about.
fn read(answer: &[u8], own: SocketAddr, other: SocketAddr) -> Result<Seen, Errno> {
    let kind = answer.get(4..6).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
    let body = answer.get(HEAD_BYTES..HEAD_BYTES + ANSWER_BYTES).filter(|_| kind == Some(BY_FAMILY)).ok_or(Errno::NOENT)?;
    let number = |at: usize| u32::from_ne_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
    // Where nothing is connected the kernel tells of whoever listens: its other end is empty. A socket of IPv6 may be connected over IPv4.
    let expected = [ends(own, other), mapped(own, other)];
    if !expected.iter().any(|expected| body[4..40] == expected[..]) {
        return Err(Errno::NOENT);
    }
    Ok(Seen { state: body[1], user: number(64), inode: u64::from(number(68)) })
}

/// The ends of a connection over IPv4 as a socket of IPv6 has them.
fn mapped(own: SocketAddr, other: SocketAddr) -> Vec<u8> {
    let map = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    ends(map(own), map(other))
}
