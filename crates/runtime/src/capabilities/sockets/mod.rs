//! `wasi:sockets`: linked because every language runtime imports it, and denied where a socket would be made or a name looked up.
//! Owns the refusal and its words; must never open a socket.

use wasmtime::component::{Accessor, HasData, Linker, Resource};
use wasmtime_wasi::{
    p2::{
        SocketError, SocketResult, TcpSocket, UdpSocket,
        bindings::sockets::{
            instance_network,
            ip_name_lookup::{self, ResolveAddressStream},
            network::{self, ErrorCode, IpAddress, IpAddressFamily, Network},
            tcp, tcp_create_socket, udp, udp_create_socket,
        },
    },
    p3::bindings::sockets as wasi03,
    sockets::{WasiSockets, WasiSocketsCtx, WasiSocketsCtxView},
};
use wasmtime_wasi_io::poll::DynPollable;

use super::{Capability, Denials, Host, Surroundings};
use crate::{error::OpenError, logs::SandboxLog, program::ProgramConfig};

pub(super) struct Sockets;

/// The engine's own context, which denies everything too, made when the guest first asks for anything.
#[derive(Default)]
pub(super) struct Denied {
    inner: Option<WasiSocketsCtx>,
    denials: Denials,
    /// That sockets of WASI 0.3 are denied was said.
    told: bool,
}

pub(super) struct View<'a> {
    inner: WasiSocketsCtxView<'a>,
    denials: &'a mut Denials,
    told: &'a mut bool,
    log: &'a SandboxLog,
}

impl HasData for Sockets {
    type Data<'a> = View<'a>;
}

impl Capability for Sockets {
    type Grant = ();
    type Part = Denied;

    fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        tcp_create_socket::add_to_linker::<_, Self>(linker, view)?;
        udp_create_socket::add_to_linker::<_, Self>(linker, view)?;
        ip_name_lookup::add_to_linker::<_, Self>(linker, view)?;
        instance_network::add_to_linker::<_, WasiSockets>(linker, inner)?;
        network::add_to_linker::<_, WasiSockets>(linker, &network::LinkOptions::default(), inner)?;
        tcp::add_to_linker::<_, WasiSockets>(linker, inner)?;
        udp::add_to_linker::<_, WasiSockets>(linker, inner)
    }

    fn link3(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
        wasi03::ip_name_lookup::add_to_linker::<_, Self>(linker, view)?;
        wasi03::types::add_to_linker::<_, WasiSockets>(linker, |host| {
            // Nobody has a socket, so whatever is called here, it is about making the first.
            let mut view = view(host);
            if !std::mem::replace(view.told, true) {
                view.tell("a socket");
            }
            view.inner
        })
    }

    fn grant(_: &ProgramConfig, _: &Surroundings) -> Result<(), OpenError> {
        Ok(())
    }

    fn build((): &(), _: &SandboxLog) -> Denied {
        Denied::default()
    }
}

fn view(host: &mut Host) -> View<'_> {
    let Denied { inner, denials, told } = &mut host.sockets;
    let inner = WasiSocketsCtxView { ctx: inner.get_or_insert_default(), table: &mut host.table };
    View { inner, denials, told, log: &host.log }
}

fn inner(host: &mut Host) -> WasiSocketsCtxView<'_> {
    view(host).inner
}

impl View<'_> {
    fn deny(&mut self, what: &str) -> SocketError {
        self.tell(what);
        ErrorCode::AccessDenied.into()
    }

    fn tell(&mut self, what: &str) {
        let component = self.log.component();
        self.denials.log(self.log, || {
            format!("{what} denied: `{component}` may not use sockets, `egress` is not supported yet; it will be granted in the component by\n  egress:\n    allow: [\"tcp://HOST:PORT\"]")
        });
    }
}

impl network::Host for View<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        network::Host::convert_error_code(&mut self.inner, error)
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        self.inner.network_error_code(error)
    }
}

impl network::HostNetwork for View<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.inner, network)
    }
}

impl tcp_create_socket::Host for View<'_> {
    fn create_tcp_socket(&mut self, _: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        Err(self.deny("a TCP socket"))
    }
}

impl udp_create_socket::Host for View<'_> {
    async fn create_udp_socket(&mut self, _: IpAddressFamily) -> SocketResult<Resource<UdpSocket>> {
        Err(self.deny("a UDP socket"))
    }
}

impl ip_name_lookup::Host for View<'_> {
    fn resolve_addresses(&mut self, _: Resource<Network>, name: String) -> SocketResult<Resource<ResolveAddressStream>> {
        Err(self.deny(&format!("looking up `{}`", name.escape_debug())))
    }
}

// No stream is ever made, so these only refuse handles that a guest invented.
impl ip_name_lookup::HostResolveAddressStream for View<'_> {
    fn resolve_next_address(&mut self, stream: Resource<ResolveAddressStream>) -> SocketResult<Option<IpAddress>> {
        self.inner.resolve_next_address(stream)
    }

    fn subscribe(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<Resource<DynPollable>> {
        self.inner.subscribe(stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        self.inner.drop(stream)
    }
}

impl wasi03::ip_name_lookup::Host for View<'_> {}

impl<T> wasi03::ip_name_lookup::HostWithStore<T> for Sockets {
    async fn resolve_addresses(
        store: &Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<Vec<wasi03::types::IpAddress>, wasi03::ip_name_lookup::ErrorCode>> {
        store.with(|mut store| store.get().tell(&format!("looking up `{}`", name.escape_debug())));
        Ok(Err(wasi03::ip_name_lookup::ErrorCode::AccessDenied))
    }
}
