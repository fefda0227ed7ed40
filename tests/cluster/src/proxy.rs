//! A network between servers that can be broken on purpose: every server is reached through a door of its own, which knows who comes through it. Owns the doors
//! and what is held up; must never look at the bytes.
//!
//! What is cut is held, not refused: that is what a network that loses packets looks like. What was held arrives after the cut is healed.

use std::{
    collections::BTreeSet,
    fs, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::Pid;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use crate::node;

/// Bytes that a door reads at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// The other end of a connection that no node behind a door holds.
const STRANGER: usize = usize::MAX;

/// All doors of one cluster.
#[derive(Debug, Clone, Default)]
pub struct Network {
    rules: Arc<watch::Sender<Rules>>,
    /// The address of every door.
    doors: Arc<Mutex<Vec<String>>>,
}

/// What is done to bytes on their way.
#[derive(Debug, Clone, Default)]
struct Rules {
    /// From whom to whom nothing passes.
    held: BTreeSet<(usize, usize)>,
    /// How late everything arrives.
    delay: Duration,
    /// How often the connections of each node were broken off, by node.
    broken: Vec<u64>,
}

impl Network {
    /// One more door, to the server that listens at `target`, or soon will; returns the address that the server must advertise: by it, its processes are known.
    pub async fn door(&self, target: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let number = {
            let mut doors = self.doors();
            doors.push(address.clone());
            doors.len() - 1
        };
        self.rules.send_modify(|rules| rules.broken.push(0));
        let network = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                let (network, target) = (network.clone(), target.clone());
                tokio::spawn(async move {
                    // Whoever dialed sees the end of the connection.
                    let _ = network.carry(stream, from.port(), number, &target).await;
                });
            }
        });
        address
    }

    fn doors(&self) -> MutexGuard<'_, Vec<String>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing passes from `from` to `to` any more; the other way it does.
    pub fn hold(&self, from: usize, to: usize) {
        self.rules.send_modify(|rules| {
            rules.held.insert((from, to));
        });
    }

    /// Nothing passes between `node` and any other.
    pub fn isolate(&self, node: usize) {
        self.mute(node);
        self.deafen(node);
    }

    /// Nothing that `node` says arrives.
    pub fn mute(&self, node: usize) {
        self.others(node).into_iter().for_each(|other| self.hold(node, other));
    }

    /// `node` hears nothing.
    pub fn deafen(&self, node: usize) {
        self.others(node).into_iter().for_each(|other| self.hold(other, node));
    }

    /// Everything arrives this much later.
    pub fn delay(&self, delay: Duration) {
        self.rules.send_modify(|rules| rules.delay = delay);
    }

    /// Every connection from and to `node` ends in the middle of whatever it carries.
    pub fn break_off(&self, node: usize) {
        self.rules.send_modify(|rules| rules.broken[node] += 1);
    }

    /// Everything passes at once again, what was held first.
    pub fn heal(&self) {
        self.rules.send_modify(|rules| {
            rules.held.clear();
            rules.delay = Duration::ZERO;
        });
    }

    fn others(&self, node: usize) -> Vec<usize> {
        (0..self.doors().len()).filter(|other| *other != node).collect()
    }

    async fn carry(&self, dialed: TcpStream, port: u16, to: usize, target: &str) -> io::Result<()> {
        let network = self.clone();
        let from = tokio::task::spawn_blocking(move || network.who(port)).await.unwrap_or(STRANGER);
        let target = TcpStream::connect(target).await?;
        dialed.set_nodelay(true)?;
        target.set_nodelay(true)?;
        let mut rules = self.rules.subscribe();
        let of = |rules: &Rules, node: usize| rules.broken.get(node).copied().unwrap_or_default();
        let before = (of(&rules.borrow(), from), of(&rules.borrow(), to));
        let ((from_dialer, to_dialer), (from_target, to_target)) = (dialed.into_split(), target.into_split());
        tokio::select! {
            _ = rules.wait_for(|rules| (of(rules, from), of(rules, to)) != before) => Ok(()),
            ended = async {
                tokio::try_join!(
                    pump(from_dialer, to_target, (from, to), self.rules.subscribe()),
                    pump(from_target, to_dialer, (to, from), self.rules.subscribe()),
                )
            } => ended.map(|_| ()),
        }
    }

    /// The node whose process holds the socket with this port.
    fn who(&self, port: u16) -> usize {
        let Some(inode) = inode_of(port) else { return STRANGER };
        let link = format!("socket:[{inode}]");
        let holds = |pid: Pid| {
            let Ok(files) = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())) else { return false };
            files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()).any(|found| found.to_str() == Some(&link))
        };
        let doors = self.doors().clone();
        let found = node::children_of(rustix::process::getpid()).into_iter().find_map(|supervisor| {
            let line = node::command_line(supervisor);
            let number = doors.iter().position(|door| line.contains(&format!("--advertise-peer\0{door}")))?;
            let processes = [vec![supervisor], node::children_of(supervisor)].concat();
            processes.into_iter().any(holds).then_some(number)
        });
        found.unwrap_or(STRANGER)
    }
}

/// The inode of the socket on this machine that is bound to 127.0.0.1 and this port and is no listener.
fn inode_of(port: u16) -> Option<u64> {
    const ESTABLISHED: &str = "01";
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let local = format!("0100007F:{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&ESTABLISHED)).then(|| fields.get(9)?.parse().ok())?
    })
}

/// Carries bytes that flow from one node to another until they end.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, flow: (usize, usize), mut rules: watch::Receiver<Rules>) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = from.read(&mut chunk).await?;
        let delay = rules.wait_for(|rules| !rules.held.contains(&flow)).await.map(|rules| rules.delay).map_err(io::Error::other)?;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..count]).await?;
    }
}
