//! What the gateway speaks TLS with: the certificates of the directory, which the supervisor sends, and before them those of routes, which come with the
//! assignment. Owns their joining, and the look at their dates; must never know a key's text or who answers for which name.

use std::{net::TcpListener, sync::Arc, time::SystemTime};

use certificates::{CertificateSet, Dates};
use gateway::TlsConfig;
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    RunError,
    lifeline::Lifeline,
    limits::{CERTIFICATES_WAIT_MAX, DATES_LOOK_EVERY},
    secrets::RouteCertificates,
};

/// What is spoken at `https`, when it is lent: nobody is let in there before the supervisor has said what its directory holds, which may be nothing.
///
/// # Errors
/// The supervisor says nothing.
pub async fn config(
    https: Option<TcpListener>,
    advertised_port: Option<u16>,
    (lifeline, for_routes): (&Lifeline, watch::Receiver<Arc<RouteCertificates>>),
    tasks: &mut JoinSet<()>,
) -> Result<Option<TlsConfig>, RunError> {
    let Some(listener) = https else { return Ok(None) };
    let from_directory = timeout(CERTIFICATES_WAIT_MAX, lifeline.certificates()).await;
    let Ok(Ok(from_directory)) = from_directory else { return Err(RunError::Certificates) };
    let (joined, certificates) = watch::channel(from_directory.borrow().clone());
    tasks.spawn(join(from_directory, for_routes, joined));
    Ok(Some(TlsConfig { listener, certificates, advertised_port }))
}

/// Puts those of routes before those of the directory, whenever either changes; ends with the worker.
async fn join(
    mut from_directory: watch::Receiver<Arc<CertificateSet>>,
    mut for_routes: watch::Receiver<Arc<RouteCertificates>>,
    joined: watch::Sender<Arc<CertificateSet>>,
) {
    let mut dates = Dates::default();
    for_routes.mark_changed();
    loop {
        tokio::select! {
            Ok(()) = from_directory.changed() => joined.send_replace(joined_set(&mut from_directory, &mut for_routes)),
            Ok(()) = for_routes.changed() => joined.send_replace(joined_set(&mut from_directory, &mut for_routes)),
            // What is there stays in use, also when nobody is left to say more.
            () = tokio::time::sleep(DATES_LOOK_EVERY) => joined.borrow().clone(),
        };
        let now = joined.borrow().clone();
        // Those of the directory are the supervisor's to look at.
        dates.tell(now.of_routes().map(|certificate| (certificate.name(), certificate.facts())), SystemTime::now());
    }
}

fn joined_set(
    from_directory: &mut watch::Receiver<Arc<CertificateSet>>,
    for_routes: &mut watch::Receiver<Arc<RouteCertificates>>,
) -> Arc<CertificateSet> {
    let routes = for_routes.borrow_and_update().clone();
    let (set, refused) = from_directory.borrow_and_update().with_hosts(&routes);
    for (name, error) in refused {
        tracing::error!(error.code = "E0513", certificate.name = name, error = %error, "the certificate of a route cannot be used");
    }
    Arc::new(set)
}
