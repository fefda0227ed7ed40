//! Whose host it is. Owns the two rules: a host that a live route of one namespace serves is not another namespace's to use, unless an admin said so; and one
//! host has one certificate. Must never know how a gateway picks a route, nor read a certificate.
//!
//! A host is *held* by a namespace while an app of it that is not being deleted wants or serves a revision with a route for it. Hosts meet when they are equal,
//! or when one of them is a wildcard that covers the other. A namespace that holds a host goes on with it, whoever else came to it since.

use std::collections::BTreeSet;

use model::{
    frozen::{CertificateUseV1, RouteKeyV1},
    id::{AppId, Name},
};

use crate::{
    State,
    ceilings::covers_host,
    record::Revision,
    refused::{HostTaken, OtherCertificate, Refused},
    routes,
};

/// Refuses `revision` when it uses a host that another namespace holds, or another certificate than a host has.
pub(crate) fn refuse_hosts_of_others(state: &State, revision: &Revision) -> Result<(), Refused> {
    let mut looked_at = BTreeSet::new();
    for (component, number, route) in routes::of(revision) {
        if !looked_at.insert(&route.host) {
            continue;
        }
        if let Some((held, holder)) = held_by_another(state, &revision.app, &route.host) {
            let host = route.host.clone();
            return Err(Refused::HostTaken(Box::new(HostTaken { component, number, host, held, holder })));
        }
    }
    refuse_other_certificates(state, revision)
}

/// A host that meets `host` and is another namespace's than that of `app`, and which namespace it is.
fn held_by_another(state: &State, app: &AppId, host: &str) -> Option<(String, Name)> {
    let (mut meeting, mut seen) = (None, BTreeSet::new());
    for other in state.derived.owners.around(host).filter(|other| seen.insert(*other)) {
        let mut routes = held_routes(state, other).filter(|route| meet(host, &route.host));
        if other.namespace == app.namespace {
            // It is this namespace's own, whoever shares it.
            if routes.any(|route| route.host == host) {
                return None;
            }
        } else if meeting.is_none() {
            meeting = routes.next().map(|route| (route.host.clone(), other.namespace.clone()));
        }
    }
    meeting.filter(|_| !allowed(state, &app.namespace, host))
}

/// Whether an admin has listed `host` for `namespace`.
fn allowed(state: &State, namespace: &Name, host: &str) -> bool {
    let listed = state.namespace(namespace).and_then(|namespace| namespace.ceilings.hosts.as_ref());
    listed.is_some_and(|hosts| hosts.iter().any(|allowed| covers_host(allowed, host)))
}

fn meet(one: &str, other: &str) -> bool {
    covers_host(one, other) || covers_host(other, one)
}

/// The routes of what `app` wants and of what serves, unless it is being deleted.
fn held_routes<'a>(state: &'a State, app: &'a AppId) -> impl Iterator<Item = &'a RouteKeyV1> {
    held(state, app).flat_map(routes::of).map(|(_, _, route)| route)
}

fn held<'a>(state: &'a State, app: &'a AppId) -> impl Iterator<Item = &'a Revision> {
    let record = state.app(app).filter(|record| !record.deleted);
    record.into_iter().flat_map(|record| record.held()).filter_map(|number| state.revision(app, number))
}

fn refuse_other_certificates(state: &State, revision: &Revision) -> Result<(), Refused> {
    let mine: Vec<_> = certificates(revision).collect();
    for (at, wanted) in mine.iter().enumerate() {
        let own = mine[..at].iter().find(|other| other.host == wanted.host && other.secret != wanted.secret);
        let own = own.map(|other| (revision.app.namespace.clone(), other.secret.clone()));
        if let Some((namespace, secret)) = own.or_else(|| certified_otherwise(state, &revision.app, wanted)) {
            let (app, host, wanted) = (revision.app.clone(), wanted.host.clone(), wanted.secret.clone());
            return Err(Refused::OtherCertificate(Box::new(OtherCertificate { app, host, wanted, namespace, secret })));
        }
    }
    Ok(())
}

/// The Secret, of which namespace, that another app has for the host of `wanted`, when that is another one.
fn certified_otherwise(state: &State, app: &AppId, wanted: &CertificateUseV1) -> Option<(Name, Name)> {
    let others: BTreeSet<_> = state.derived.owners.around(&wanted.host).filter(|other| *other != app).collect();
    others.into_iter().find_map(|other| {
        let mut known = held(state, other).flat_map(certificates).filter(|known| known.host == wanted.host);
        let differs = known.find(|known| (&other.namespace, &known.secret) != (&app.namespace, &wanted.secret));
        differs.map(|known| (other.namespace.clone(), known.secret.clone()))
    })
}

fn certificates(revision: &Revision) -> impl Iterator<Item = &CertificateUseV1> {
    revision.frozen.spec.components.iter().flat_map(|component| &component.certificates)
}
