//! The listening sockets of a node: bound once by the supervisor, lent to its children under names. Must never accept a connection.

use std::{
    collections::BTreeMap,
    env, fs, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, FromRawFd, OwnedFd, RawFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{below, limits::ACCEPT_QUEUE, options::ServerOptions, sandbox_process::User, start_error::StartError};

/// The first descriptor a child is lent, as systemd has it.
const FIRST_FD: RawFd = 3;

/// Longest path a unix socket can be bound under (`sun_path` with its end).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Every listening socket of a node.
#[derive(Debug)]
pub struct Sockets {
    /// Those of its control plane, when it has one.
    pub control_plane: Option<ControlPlaneSockets>,
    /// Those of its worker, when it has one.
    pub worker: Option<WorkerSockets>,
    /// Prometheus metrics: of the control plane where there is one, else of the worker.
    pub metrics: Option<TcpListener>,
}

/// Where a control plane listens.
#[derive(Debug)]
pub struct ControlPlaneSockets {
    /// The API over TCP.
    pub api: TcpListener,
    /// The API for programs on this machine.
    pub api_socket: UnixListener,
    /// Where this node's worker reaches it.
    pub control: UnixListener,
    /// Where other nodes reach it.
    pub peer: Option<TcpListener>,
}

/// Where a worker listens.
#[derive(Debug)]
pub struct WorkerSockets {
    /// The gateway.
    pub http: TcpListener,
    /// The gateway over TLS.
    pub https: Option<TcpListener>,
    /// Where this node's control plane reaches it.
    pub mesh_socket: UnixListener,
    /// Where the control planes of other nodes reach it.
    pub mesh: Option<TcpListener>,
}

impl Sockets {
    /// Binds all of them, or none.
    pub fn bind(options: &ServerOptions, directory: &Path, worker: Option<User>) -> Result<Self, StartError> {
        let if_given = |address: Option<SocketAddr>, flag| address.map(|address| tcp(address, flag)).transpose();
        let control_plane = || {
            Ok::<_, StartError>(ControlPlaneSockets {
                api: tcp(options.api, "--api")?,
                api_socket: unix(directory, "api.sock", None)?,
                control: unix(directory, "control.sock", worker)?,
                peer: if_given(options.peer, "--peer")?,
            })
        };
        let of_worker = || {
            Ok::<_, StartError>(WorkerSockets {
                http: tcp(options.http, "--http")?,
                https: if_given(options.https, "--https")?,
                mesh_socket: unix(directory, "worker/mesh.sock", worker)?,
                mesh: if_given(options.mesh, "--mesh")?,
            })
        };
        Ok(Self {
            control_plane: options.part.serves().then(control_plane).transpose()?,
            worker: options.part.works().then(of_worker).transpose()?,
            metrics: if_given(options.metrics, "--metrics")?,
        })
    }

    /// Where the gateway answers over TCP: what guests must not reach by accident.
    pub fn gateway_addresses(&self) -> Vec<SocketAddr> {
        let listeners = self.worker.iter().flat_map(|sockets| std::iter::once(&sockets.http).chain(&sockets.https));
        listeners.filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// The ports by which this node is run and asked about: what guests must never reach.
    pub fn closed_ports(&self) -> Vec<u16> {
        let control_plane = self.control_plane.iter().flat_map(|sockets| std::iter::once(&sockets.api).chain(&sockets.peer));
        let worker = self.worker.iter().flat_map(|sockets| &sockets.mesh);
        let listeners = control_plane.chain(worker).chain(&self.metrics);
        listeners.filter_map(|listener| Some(listener.local_addr().ok()?.port())).collect()
    }

    /// Where it listens for other nodes, when it does.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.control_plane.as_ref()?.peer.as_ref()?.local_addr().ok()
    }

    /// The gateway's port, when there is one.
    pub fn gateway_port(&self) -> Option<u16> {
        self.worker.as_ref().and_then(|sockets| sockets.http.local_addr().ok()).map(|address| address.port())
    }

    /// Where it speaks TLS, when it does.
    pub fn https_port(&self) -> Option<u16> {
        self.worker.as_ref()?.https.as_ref().and_then(|https| https.local_addr().ok()).map(|address| address.port())
    }
}

/// Sockets and other descriptors for one child, by name.
#[derive(Debug, Default)]
pub struct Lent {
    by_name: Vec<(&'static str, OwnedFd)>,
}

impl Lent {
    /// Adds a copy of `fd` under `name`.
    pub fn lend(&mut self, name: &'static str, fd: impl AsFd) -> io::Result<()> {
        self.by_name.push((name, fd.as_fd().try_clone_to_owned()?));
        Ok(())
    }

    /// The descriptors for `command_fds`, and the values of `LISTEN_FDS` and `LISTEN_FDNAMES`.
    pub fn into_mappings(self) -> (Vec<command_fds::FdMapping>, String, String) {
        let names: Vec<&str> = self.by_name.iter().map(|(name, _)| *name).collect();
        let (count, names) = (names.len().to_string(), names.join(":"));
        let mappings = (FIRST_FD..).zip(self.by_name).map(|(child_fd, (_, parent_fd))| command_fds::FdMapping { parent_fd, child_fd });
        (mappings.collect(), count, names)
    }
}

/// What a child was lent.
#[derive(Debug)]
pub struct Inherited {
    by_name: BTreeMap<String, OwnedFd>,
}

impl Inherited {
    /// Takes what `LISTEN_FDS` and `LISTEN_FDNAMES` name.
    ///
    /// # Safety
    /// Call it once, at the start of a process, before anything else opens or owns a descriptor.
    pub unsafe fn take() -> Self {
        let count: RawFd = env::var("LISTEN_FDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let by_name = (FIRST_FD..FIRST_FD.saturating_add(count))
            .zip(names.split(':'))
            .filter_map(|(fd, name)| {
                // SAFETY: the caller promises that nothing in this process owns the descriptor; whether it is open is checked next.
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                match rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC) {
                    Ok(()) => Some((name.to_owned(), fd)),
                    Err(_) => {
                        std::mem::forget(fd);
                        None
                    }
                }
            })
            .collect();
        Self { by_name }
    }

    /// The descriptor lent as `name`.
    pub fn fd(&mut self, name: &str) -> anyhow::Result<OwnedFd> {
        self.by_name.remove(name).ok_or_else(|| anyhow::anyhow!("the supervisor lent no `{name}`; this command is not for people"))
    }

    /// The TCP listener lent as `name`.
    pub fn tcp_listener(&mut self, name: &str) -> anyhow::Result<TcpListener> {
        let listener = TcpListener::from(self.fd(name)?);
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// The TCP listener lent as `name`, if one was.
    pub fn tcp_listener_if_lent(&mut self, name: &str) -> anyhow::Result<Option<TcpListener>> {
        if self.by_name.contains_key(name) { self.tcp_listener(name).map(Some) } else { Ok(None) }
    }

    /// The unix listener lent as `name`.
    pub fn unix_listener(&mut self, name: &str) -> anyhow::Result<UnixListener> {
        let listener = UnixListener::from(self.fd(name)?);
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// The stream lent as `name`.
    pub fn unix_stream(&mut self, name: &str) -> anyhow::Result<UnixStream> {
        let stream = UnixStream::from(self.fd(name)?);
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

fn tcp(address: SocketAddr, flag: &'static str) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind(address).map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            StartError::PortInUse { address, flag, owner: owner_of(address.port()) }
        } else {
            StartError::Bind { address, flag, source }
        }
    })?;
    // Listening again only lengthens the queue in which connections wait while a child is replaced.
    rustix::net::listen(&listener, ACCEPT_QUEUE).map_err(|error| StartError::Bind { address, flag, source: error.into() })?;
    Ok(listener)
}

fn unix(directory: &Path, name: &str, user: Option<User>) -> Result<UnixListener, StartError> {
    let path = directory.join(name);
    let attempt = |source| StartError::File { attempt: "listen on", path: path.clone(), source };
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(attempt(error)),
        _ => {}
    }
    let listener =
        if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX { bind(&path) } else { bind_below(directory, name) }.map_err(attempt)?;
    if let Some(user) = user {
        below::give_one(&path, user).map_err(attempt)?;
    }
    rustix::net::listen(&listener, ACCEPT_QUEUE).map_err(|error| attempt(error.into()))?;
    Ok(listener)
}

/// A path under which a unix socket can be reached, however long its own path is.
#[derive(Debug)]
pub struct Connectable {
    path: PathBuf,
    _directory: Option<fs::File>,
}

impl Connectable {
    /// The path to connect to while this value lives.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes `socket` reachable even when its path is too long for one.
pub fn connectable(socket: &Path) -> io::Result<Connectable> {
    use std::os::fd::AsRawFd;
    let (Some(directory), Some(name)) = (socket.parent(), socket.file_name()) else { return Err(io::ErrorKind::InvalidInput.into()) };
    if socket.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return Ok(Connectable { path: socket.to_owned(), _directory: None });
    }
    let directory = fs::File::open(directory)?;
    let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok(Connectable { path, _directory: Some(directory) })
}

/// Binds a socket that is its owner's alone from its first moment: a name that is opened later may be another file's by then.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // What is bound has the permissions of the socket (unix(7)).
    rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(0o600))?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixListener::from(socket))
}

/// Binds a socket whose whole path is too long for one, through a descriptor of its directory.
fn bind_below(directory: &Path, name: &str) -> io::Result<UnixListener> {
    use std::os::fd::AsRawFd;
    let directory = fs::File::open(directory)?;
    bind(Path::new(&format!("/proc/self/fd/{}/{name}", directory.as_raw_fd())))
}

/// Whose the listening `port` is, as far as /proc tells: `nginx (process 812)`.
fn owner_of(port: u16) -> Option<String> {
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(state), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9)) else { continue };
            let listens = *state == "0A";
            if listens && local.rsplit_once(':').and_then(|(_, hex)| u16::from_str_radix(hex, 16).ok()) == Some(port) {
                inodes.push(format!("socket:[{inode}]"));
            }
        }
    }
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds =
            |file: fs::DirEntry| fs::read_link(file.path()).is_ok_and(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()));
        if files.flatten().any(holds) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {pid})", name.trim()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_told_with_its_flag_and_owner() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = tcp(address, "--http").unwrap_err();
        let text = error.to_string();
        assert_eq!(error.code(), "E0601");
        for word in [address.to_string(), "--http".into(), format!("process {}", std::process::id())] {
            assert!(text.contains(&word), "`{word}` is not in {text}");
        }
    }

    #[test]
    fn a_socket_binds_under_a_path_too_long_for_one() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("d".repeat(150));
        fs::create_dir(&deep).unwrap();
        let _listener = unix(&deep, "api.sock", None).unwrap();
        UnixStream::connect(connectable(&deep.join("api.sock")).unwrap().path()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(deep.join("api.sock")).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "nobody else's");
        let _again = unix(&deep, "api.sock", None).expect("what a dead server left is replaced");
    }

    #[test]
    fn what_is_lent_is_named_in_order() {
        let mut lent = Lent::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        lent.lend("api", &listener).unwrap();
        lent.lend("http", &listener).unwrap();
        let (mappings, count, names) = lent.into_mappings();
        assert_eq!((count.as_str(), names.as_str()), ("2", "api:http"));
        assert_eq!(mappings.iter().map(|mapping| mapping.child_fd).collect::<Vec<_>>(), [3, 4]);
    }
}
