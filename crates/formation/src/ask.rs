//! One question to one of the peers, with its proof, and what the answer shows. Owns what counts as a machine that waits too, as a server of a cluster, and as
//! nobody; must never believe an answer without a proof, but for what only keeps this machine from founding.

use std::net::IpAddr;

use api::{
    client::{ClientError, Proven},
    peer::{FormAnswer, FormRequest},
};
use model::problem::chain;
use tokio::net::TcpStream;
use transport::{AuthorityDigest, DialError};

use crate::{
    decide::View,
    limits::CONNECT_MAX,
    machine::{Machine, seen},
};

/// Asks whoever is at `to` how they stand, and to bind themselves to the cluster with the authority `bind`, when there is one.
pub(crate) async fn ask(machine: &Machine, to: &str, bind: Option<AuthorityDigest>) -> View {
    let pinned = match transport::dial_unproven(to, machine.clock.clone(), CONNECT_MAX).await {
        Ok(pinned) => pinned,
        Err(error) => return View::Unreached(why(&error)),
    };
    let shown = pinned.authority.digest();
    let source = way(pinned.stream.get_ref().0);
    let question = FormRequest { nonce: transport::nonce(), bind: bind.map(|bind| bind.to_string()), own: machine.says() };
    let body = serde_json::to_vec(&question).expect("a question holds text only");
    let proof = machine.token.prove_question(shown, &body).to_string();
    match api::client::form(pinned.stream, to, Proven { body: body.clone(), proof }).await {
        Ok(answer) if machine.token.prove_answer(shown, &body, &answer.body).is(&answer.proof) => {
            source.into_iter().for_each(|source| machine.came_from(source));
            read(&answer.body)
        }
        Ok(_) => View::Unreached("what answers does not show that it has the token".to_owned()),
        Err(error) => refused(&error),
    }
}

/// From which address of this machine a connection to another one comes.
fn way(stream: &TcpStream) -> Option<IpAddr> {
    let (local, other) = (stream.local_addr().ok()?.ip().to_canonical(), stream.peer_addr().ok()?.ip().to_canonical());
    (local != other && !other.is_loopback()).then_some(local)
}

fn read(answer: &[u8]) -> View {
    let answer: Result<FormAnswer, _> = serde_json::from_slice(answer);
    match answer.ok().as_ref().and_then(seen) {
        Some(seen) => View::Seen(seen),
        None => View::Unreached("its answer is not understood; is it the same version of shoal?".to_owned()),
    }
}

/// A server of a cluster says that it is one, or that it is about to start; a machine that waits refuses a proof, in words of its own.
fn refused(error: &ClientError) -> View {
    match error {
        ClientError::Refused { error, .. } if error.code == "E0619" => View::OtherToken,
        ClientError::Refused { error, .. } if matches!(error.code.as_str(), "E0621" | "E0422") => View::Clustered,
        other => View::Unreached(chain(other)),
    }
}

/// Without the address, which stands beside it wherever it is shown.
fn why(error: &DialError) -> String {
    match error {
        DialError::Resolve { .. } => "its name has no address".to_owned(),
        DialError::Connect { source, .. } | DialError::Left { source, .. } => source.to_string(),
        DialError::Late { .. } => "it does not answer".to_owned(),
        other => chain(other),
    }
}
