//! Whether the certificates that routes name can answer for their hosts, before anything is written. Owns what is refused, and that what is so already is not
//! refused again; must never show a value: names and dates of a certificate are no secret, its key is not looked at.

use std::sync::Arc;

use api::{
    time::Time,
    v1::{CertificateView, ErrorDetail},
};
use certificates::Facts;
use data_encoding::BASE64;
use model::{
    app::{App, Route},
    id::{ComponentId, ObjectId, Timestamp},
    manifest::Document,
    object::{SecretType, TLS_CERTIFICATE},
    problem::Problem,
};
use state::{AppRecord, Revision, SecretRecord, State, command::SecretKind};
use transport::ClusterKey;

use crate::{
    documents::Asked,
    limits::HOSTS_SHOWN_MAX,
    values::{self, Encoded},
};

/// What is held against a write.
pub struct Known<'a> {
    /// The state.
    pub state: &'a State,
    /// Parsed apps.
    pub parsed: &'a dyn Fn(&Revision) -> Option<Arc<App>>,
    /// What opens the Secrets of the state.
    pub key: &'a ClusterKey,
    /// The moment.
    pub now: Timestamp,
}

/// A Secret as it will be.
struct Wished {
    kind: SecretKind,
    /// Its certificate, when it can be read: what cannot is refused with the Secret itself.
    facts: Option<Facts>,
    /// It has another certificate than now.
    is_new: bool,
}

/// What keeps a certificate from a route.
enum Fault {
    Kind(SecretKind),
    Host(Facts),
    Ended(i64),
}

impl<'a> Known<'a> {
    /// Whether routes are left or made that nobody could ask for with TLS.
    ///
    /// # Errors
    /// Every route of the apps that are asked for, and every Secret that is asked for and would break a route.
    pub fn check(&self, asked: &Asked) -> Result<(), ErrorDetail> {
        let problems = self.problems(asked);
        if problems.is_empty() { Ok(()) } else { Err(ErrorDetail::problems(problems)) }
    }

    /// Each problem with the document it is in.
    fn problems(&self, asked: &Asked) -> Vec<(usize, Problem)> {
        let mut problems = Vec::new();
        for (number, document) in &asked.values {
            if let Document::Secret(secret) = document {
                let chain = secret.spec.data.get(TLS_CERTIFICATE).and_then(|value| value.text());
                let wished = self.wished(&secret.id(), secret.spec.kind.into(), chain.map(str::to_owned));
                let is_asked = |app: &AppRecord| asked.apps.iter().any(|one| one.app.id() == app.id);
                problems.extend(self.of_secret(&secret.id(), &wished, is_asked).map(|problem| (*number, problem)));
            }
        }
        for one in &asked.apps {
            problems.extend(self.of_app(&one.app, asked).into_iter().map(|problem| (one.number, problem)));
        }
        problems
    }

    /// The problems of one app.
    fn of_app(&self, app: &App, asked: &Asked) -> Vec<Problem> {
        let before = self.state.app(&app.id()).filter(|record| !record.deleted).and_then(|record| self.wanted(record));
        let of_route = |(component, index, route): (ComponentId, usize, &Route)| {
            self.of_route(app, (&component, index, route), before.as_deref(), asked)
        };
        routes(app).into_iter().filter_map(of_route).collect()
    }

    /// The same of an app that goes back to what it was, while Secrets went on.
    ///
    /// # Errors
    /// Every route that would be answered with a certificate of something else.
    pub fn check_return(&self, app: &App) -> Result<(), ErrorDetail> {
        let problems = self.of_app(app, &Asked::default());
        if problems.is_empty() { Ok(()) } else { Err(ErrorDetail::problems(problems.into_iter().map(|problem| (0, problem)).collect())) }
    }

    /// The same of one Secret alone.
    ///
    /// # Errors
    /// It would break a route, or has ended.
    pub fn check_secret(&self, id: &ObjectId, kind: SecretKind, data: &Encoded) -> Result<(), ErrorDetail> {
        let wished = self.wished(id, kind, decoded(data));
        self.of_secret(id, &wished, |_| false).map_or(Ok(()), |problem| Err(ErrorDetail::problems(vec![(0, problem)])))
    }

    fn wished(&self, id: &ObjectId, kind: SecretKind, chain: Option<String>) -> Wished {
        let before = self.state.secret(id).and_then(|record| self.chain(record));
        let facts = chain.as_deref().filter(|_| kind == SecretKind::Tls).and_then(|chain| Facts::of(chain).ok());
        Wished { kind, facts, is_new: before != chain }
    }

    /// The certificate a Secret has now.
    fn chain(&self, record: &SecretRecord) -> Option<String> {
        decoded(&values::open(self.key, record, record.versions.last()?.number)?.0)
    }

    /// What `wished` would break of the routes of all apps but those that are asked for beside it, which are checked by themselves.
    fn of_secret(&self, id: &ObjectId, wished: &Wished, is_asked: impl Fn(&AppRecord) -> bool) -> Option<Problem> {
        if let Some(Fault::Ended(at)) = wished.facts.as_ref().filter(|_| wished.is_new).and_then(|facts| self.ended(facts)) {
            let problem = Problem::new("E0513", format!("the certificate of the Secret `{id}` ended {}", date(at)));
            return Some(problem.at("spec.data").help("give one that is valid"));
        }
        let facts = wished.facts.as_ref().filter(|_| wished.is_new)?;
        let apps = self.state.apps().filter(|app| app.id.namespace == id.namespace && !app.deleted && !is_asked(app));
        let names = |revision: &&Revision| {
            revision.frozen.spec.components.iter().any(|component| component.certificates.iter().any(|used| used.secret == id.name))
        };
        // The one that is wished, and the one that has the traffic meanwhile.
        let held = |app: &'a AppRecord| app.held().filter_map(|number| self.state.revision(&app.id, number));
        let revisions = apps.flat_map(held).filter(names);
        for app in revisions.filter_map(self.parsed) {
            let broken = routes(&app).into_iter().find(|(_, _, route)| is_of(route, id) && !facts.names(&route.host));
            let Some((component, _, Route { host, .. })) = broken else { continue };
            let answers = format!("`{component}` answers for `{host}` with the certificate of the Secret `{id}`");
            let help = format!("give a certificate that has `{host}`, or first let the app name another Secret");
            return Some(Problem::new("E0513", format!("{answers}, and the new one is for {}", hosts(facts))).at("spec.data").help(help));
        }
        None
    }

    /// What keeps a route of an app that is asked for from its certificate.
    fn of_route(
        &self,
        app: &App,
        (component, index, route): (&ComponentId, usize, &Route),
        before: Option<&App>,
        asked: &Asked,
    ) -> Option<Problem> {
        let id = ObjectId { namespace: app.metadata.namespace.clone(), name: route.tls.as_ref()?.secret.clone() };
        let secret = asked.values.iter().find_map(|(_, document)| match document {
            Document::Secret(secret) if secret.id() == id => Some(secret),
            _ => None,
        });
        let wished = match secret {
            Some(secret) => {
                let chain = secret.spec.data.get(TLS_CERTIFICATE).and_then(|value| value.text());
                self.wished(&id, secret.spec.kind.into(), chain.map(str::to_owned))
            }
            // What is not there at all is refused where everything that is named is looked for.
            None => {
                let record = self.state.secret(&id)?;
                Wished { is_new: false, ..self.wished(&id, record.kind, self.chain(record)) }
            }
        };
        // What answers already goes on: an app must be changeable though its certificate has ended, which is somebody else's to renew.
        let is_so = before.is_some_and(|before| routes(before).iter().any(|(_, _, known)| known.host == route.host && is_of(known, &id)));
        let at = format!("spec.components.{}.routes[{index}].tls.secret", component.component);
        let problem = match self.fault(&wished, route, wished.is_new || !is_so)? {
            Fault::Kind(kind) => {
                let message = format!("the Secret `{id}` is of type {} and has no certificate for `{}`", kind.as_str(), route.host);
                Problem::new("E0513", message).help(format!("name one of type {}", SecretType::Tls.as_str()))
            }
            Fault::Host(facts) => {
                let message = format!("the certificate of the Secret `{id}` is for {}, and not for `{}`", hosts(&facts), route.host);
                Problem::new("E0513", message).help("name a Secret whose certificate has this host")
            }
            // Said of the Secret, which is asked for as well.
            Fault::Ended(_) if wished.is_new => return None,
            Fault::Ended(at) => {
                let message = format!("the certificate of the Secret `{id}` ended {}", date(at));
                Problem::new("E0513", message).help(format!("renew it: shoal secret set {} --cert FILE --key FILE", id.name))
            }
        };
        Some(problem.at(at))
    }

    /// What keeps `secret` from `route`; a host that is not named and an end that has passed only where `is_news`.
    fn fault(&self, secret: &Wished, route: &Route, is_news: bool) -> Option<Fault> {
        if secret.kind != SecretKind::Tls {
            return Some(Fault::Kind(secret.kind));
        }
        let facts = secret.facts.as_ref().filter(|_| is_news)?;
        if facts.names(&route.host) { self.ended(facts) } else { Some(Fault::Host(facts.clone())) }
    }

    fn ended(&self, facts: &Facts) -> Option<Fault> {
        (facts.expires <= i64::try_from(self.now.0 / 1_000).unwrap_or(i64::MAX)).then_some(Fault::Ended(facts.expires))
    }

    /// The app as it is wished now.
    fn wanted(&self, record: &AppRecord) -> Option<Arc<App>> {
        (self.parsed)(self.state.revision(&record.id, record.wanted)?)
    }
}

/// The certificate of a Secret of type `tls` as lists show it; none for others, and for what cannot be opened.
pub fn shown(key: &ClusterKey, record: &SecretRecord) -> Option<CertificateView> {
    let facts = facts(key, record)?;
    Some(CertificateView { begins_at: time(facts.begins), expires_at: time(facts.expires), hosts: facts.hosts })
}

fn facts(key: &ClusterKey, record: &SecretRecord) -> Option<Facts> {
    let newest = record.versions.last().filter(|_| record.kind == SecretKind::Tls)?;
    Facts::of(&decoded(&values::open(key, record, newest.number)?.0)?).ok()
}

/// A date of a certificate as the API tells it.
fn time(seconds: i64) -> Time {
    Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000)).into()
}

fn date(seconds: i64) -> String {
    time(seconds).to_string()
}

fn decoded(data: &Encoded) -> Option<String> {
    String::from_utf8(BASE64.decode(data.get(TLS_CERTIFICATE)?.as_bytes()).ok()?).ok()
}

/// Every route of `app`, with its place among those of its component.
fn routes(app: &App) -> Vec<(ComponentId, usize, &Route)> {
    let mut all = Vec::new();
    for (name, component) in &app.spec.components {
        all.extend(component.routes.iter().enumerate().map(|(index, route)| (app.id().component(name.clone()), index, route)));
    }
    all
}

fn is_of(route: &Route, id: &ObjectId) -> bool {
    route.tls.as_ref().is_some_and(|tls| tls.secret == id.name)
}

fn hosts(facts: &Facts) -> String {
    let mut shown: Vec<_> = facts.hosts.iter().take(HOSTS_SHOWN_MAX).map(|host| format!("`{host}`")).collect();
    if facts.hosts.len() > HOSTS_SHOWN_MAX {
        shown.push(format!("{} more", facts.hosts.len() - HOSTS_SHOWN_MAX));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests;
