//! Where nodes say that others reach them: what is believed of it, and that loopback ends where a second machine begins. Pure; must never open a connection.

use std::net::IpAddr;

use api::{peer::Introduction, v1::ErrorDetail};
use state::State;

/// Refuses a node of another machine as long as it, or anybody it must reach, is known by an address that means "this machine" on each of them. `source` is the
/// address it comes from, when that is none of the machine it asks.
///
/// # Errors
/// `E0609` with the flag that mends it.
pub fn check(state: &State, node: &Introduction, source: Option<IpAddr>) -> Result<(), ErrorDetail> {
    let Some(source) = source else { return Ok(()) };
    let refused = |message: String, help: String| Err(ErrorDetail::new("E0609", message, help));
    for (address, flag) in [(&node.peer, "--advertise-peer"), (&node.mesh, "--advertise-mesh")] {
        if let Some(address) = address.as_deref().filter(|address| is_loopback(address)) {
            let message = format!("{} would be known as {address}, which is another machine for everybody but itself", node.name);
            return refused(message, format!("give the address others reach it under, such as   {flag} {source}"));
        }
    }
    let named = state.nodes().filter(|known| known.name != node.name);
    let here =
        named.flat_map(|known| [(known, &known.addresses.peer, "--advertise-peer"), (known, &known.addresses.mesh, "--advertise-mesh")]);
    match here.into_iter().find(|(_, address, _)| is_loopback(address)) {
        Some((known, address, flag)) => {
            let message =
                format!("{} is on another machine, and {} is known as {address}, which leads nowhere from there", node.name, known.name);
            refused(message, format!("start {} again with   {flag} HOST   where HOST is what {} reaches it under", known.name, node.name))
        }
        None => Ok(()),
    }
}

/// Whether `HOST:PORT` is the machine that dials it.
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use model::id::{Index, Timestamp};
    use state::command::{Addresses, Command, CommandV1, Found, NodeKeys, Sealed};

    use super::*;
    use crate::introduction::{facts, renewed};

    fn node(name: &str, peer: Option<&str>, mesh: Option<&str>) -> Introduction {
        Introduction {
            name: name.into(),
            peer: peer.map(Into::into),
            mesh: mesh.map(Into::into),
            api: None,
            zone: None,
            region: None,
            labels: Default::default(),
            memory_bytes: 1 << 30,
            cpu_millis: 1_000,
            release: String::new(),
            schema: 1,
        }
    }

    fn founded(founder: &Introduction) -> State {
        let keys = NodeKeys { server: Some([1; 32]), worker: None };
        let found =
            Found { at: Timestamp(1_000), cluster: [7; 16], ca_certificate: vec![1], ca_key: Sealed(vec![2]), node: facts(founder, keys) };
        let mut state = State::default();
        state.apply(Index(1), &Command::V1(CommandV1::Found(found))).expect("a founding");
        state
    }

    #[test]
    fn a_node_that_does_not_know_where_it_is_is_where_it_was() {
        let state = founded(&node("a", Some("10.0.0.1:7071"), Some("10.0.0.1:7072")));
        let record = state.nodes().next().expect("the founder");
        let check = |introduction: &Introduction, expected: (&str, &str)| {
            let Addresses { peer, mesh, .. } = renewed(record, introduction).addresses;
            assert_eq!((peer.as_str(), mesh.as_str()), expected, "{introduction:?}");
        };
        check(&node("a", None, None), ("10.0.0.1:7071", "10.0.0.1:7072"));
        check(&node("a", Some("10.0.0.2:7071"), None), ("10.0.0.2:7071", "10.0.0.1:7072"));
        check(&node("a", None, Some("10.0.0.2:1")), ("10.0.0.1:7071", "10.0.0.2:1"));
    }

    #[test]
    fn loopback_ends_where_a_second_machine_begins() {
        let (far, near) = (node("b", Some("10.0.0.2:7071"), Some("10.0.0.2:7072")), node("b", Some("127.0.0.1:7071"), Some("[::1]:7072")));
        let check = |founder: &str, joining: &Introduction, source: Option<&str>, expected: &str| {
            let state = founded(&node("a", Some(founder), None));
            let error = super::check(&state, joining, source.map(|source| source.parse().expect("an address"))).err();
            assert_eq!(error.as_ref().map_or("", |error| error.message.as_str()), expected, "{founder} {joining:?} {source:?}");
        };
        let leads_nowhere = "b is on another machine, and a is known as 127.0.0.1:7071, which leads nowhere from there";
        let itself = "b would be known as 127.0.0.1:7071, which is another machine for everybody but itself";
        check("10.0.0.1:7071", &far, Some("10.0.0.2"), "");
        check("a.example:7071", &far, Some("10.0.0.2"), "");
        check("127.0.0.1:7071", &near, None, "");
        check("127.0.0.1:7071", &far, None, "");
        check("127.0.0.1:7071", &far, Some("10.0.0.2"), leads_nowhere);
        check("10.0.0.1:7071", &near, Some("10.0.0.2"), itself);
        assert!(is_loopback("localhost:1") && is_loopback("[::1]:1") && is_loopback("[::ffff:127.0.0.1]:1") && !is_loopback("[fd00::1]:1"));
    }
}
