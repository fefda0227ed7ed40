//! Secret values of what this node runs: in memory, by app, as the assignment brought them. Owns which program and which route gets which; must never write
//! one to a disk or show one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use api::node::{AssignedProgram, AssignedSecret, AssignmentPart, CertificateUse, SecretText, SecretUse};
use gateway::{CertificatePair, KeyText};
use model::{
    id::{AppId, Name},
    object::{TLS_CERTIFICATE, TLS_KEY},
};
use serde::{Deserialize, Serialize};

use crate::{
    engine::{Again, Failure},
    roster::Roster,
};

/// Secret values of one program by the name its guest knows.
pub type SecretValues = BTreeMap<String, SecretText>;

/// The pairs that answer for the hosts of routes.
pub type RouteCertificates = Vec<(String, CertificatePair)>;

/// Every secret value of this node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vault {
    apps: BTreeMap<AppId, Arc<Vec<AssignedSecret>>>,
}

/// What an assignment brought of secrets, apart from it.
#[derive(Debug)]
pub struct Brought {
    whole: bool,
    apps: Vec<(AppId, Vec<AssignedSecret>)>,
    gone: Vec<AppId>,
}

/// Why a program has not all of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A server has not sent them since this worker's memory was lost.
    NotHere {
        /// The Secrets, in order and once each.
        secrets: Vec<Name>,
    },
    /// A value is there and no text.
    NoText {
        /// Its Secret.
        secret: Name,
        /// Its key.
        key: String,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHere { secrets } => {
                let names: Vec<_> = secrets.iter().map(|name| format!("`{name}`")).collect();
                let word = if let [_] = names.as_slice() { "secret" } else { "secrets" };
                write!(out, "waits for the {word} {} from a server", names.join(", "))
            }
            Self::NoText { secret, key } => write!(out, "the value `{key}` of the Secret `{secret}` is not text, and guests get texts"),
        }
    }
}

impl From<Missing> for Failure {
    fn from(missing: Missing) -> Self {
        let again = if matches!(missing, Missing::NotHere { .. }) { Again::Always } else { Again::Never };
        Self::new(again, "E0303", missing)
    }
}

/// Takes the values out of `part`: what is left may be kept on disk.
pub fn taken_from(part: &mut AssignmentPart) -> Brought {
    let apps = part.apps.iter_mut().map(|app| (app.app.clone(), std::mem::take(&mut app.secrets)));
    Brought { apps: apps.collect(), whole: part.since.is_none(), gone: part.gone.clone() }
}

impl Vault {
    /// Takes over what came with an assignment in force. Says whether that is anything new.
    pub fn learn(&mut self, brought: Brought) -> bool {
        let before = self.clone();
        if brought.whole {
            self.apps.clear();
        }
        brought.gone.iter().for_each(|app| drop(self.apps.remove(app)));
        for (app, secrets) in brought.apps {
            if secrets.is_empty() {
                self.apps.remove(&app);
            } else {
                self.apps.insert(app, Arc::new(secrets));
            }
        }
        *self != before
    }

    /// Gives the apps of `part`, which was read from a disk, the values that are still here.
    pub fn fill(&self, part: &mut AssignmentPart) {
        for app in &mut part.apps {
            app.secrets = self.apps.get(&app.app).map(|secrets| secrets.to_vec()).unwrap_or_default();
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.apps.is_empty()
    }

    /// The values of `program`.
    pub fn values(&self, program: &AssignedProgram) -> Result<SecretValues, Missing> {
        let app = &program.component.app;
        let found = |wanted: &SecretUse| self.version(app, &wanted.secret, wanted.version);
        let absent: BTreeSet<_> = program.secrets.iter().filter(|wanted| found(wanted).is_none()).map(|wanted| &wanted.secret).collect();
        if !absent.is_empty() {
            return Err(Missing::NotHere { secrets: absent.into_iter().cloned().collect() });
        }
        let value = |wanted: &SecretUse| {
            let value = found(wanted).and_then(|of| of.values.get(&wanted.key)).cloned();
            let no_text = || Missing::NoText { secret: wanted.secret.clone(), key: wanted.key.clone() };
            Ok((wanted.name.clone(), value.ok_or_else(no_text)?))
        };
        program.secrets.iter().map(value).collect()
    }

    /// The pairs that answer for the hosts of routes, as far as they are here.
    pub fn certificates(&self, roster: &Roster) -> RouteCertificates {
        let apps = roster.apps().iter().filter(|(app, _)| self.apps.contains_key(app));
        let routes = apps.flat_map(|(app, part)| part.routes.iter().map(move |route| (app, route)));
        let pair =
            |(app, route): (&AppId, &api::node::AssignedRoute)| Some((route.host.clone(), self.pair(app, route.certificate.as_ref()?)?));
        routes.filter_map(pair).collect()
    }

    fn pair(&self, app: &AppId, wanted: &CertificateUse) -> Option<CertificatePair> {
        let values = &self.version(app, &wanted.secret, wanted.version)?.values;
        let (chain, key) = (values.get(TLS_CERTIFICATE)?.reveal(), values.get(TLS_KEY)?.reveal());
        let name = format!("secret/{}/{}", app.namespace, wanted.secret);
        Some(CertificatePair { name, chain: chain.to_owned(), key: KeyText::new(key.to_owned()) })
    }

    fn version(&self, app: &AppId, secret: &Name, version: u64) -> Option<&AssignedSecret> {
        self.apps.get(app)?.iter().find(|known| known.secret == *secret && known.version == version)
    }
}

#[cfg(test)]
mod tests {
    use api::node::Wanted;
    use model::id::Generation;

    use super::*;
    use crate::fixtures::{assignment, place, route};

    fn secret(version: u64, value: &str) -> AssignedSecret {
        let values = [("password".to_owned(), SecretText::new(value.to_owned()))].into();
        AssignedSecret { secret: "db".parse().unwrap(), version, values }
    }

    fn wanting(version: u64, key: &str) -> AssignedProgram {
        let wanted = SecretUse { name: "PASSWORD".into(), secret: "db".parse().unwrap(), version, key: key.into() };
        AssignedProgram { secrets: vec![wanted], ..place("hello/web", 1, 7, Wanted::Run) }
    }

    fn part(generation: u64, program: AssignedProgram, secrets: Vec<AssignedSecret>) -> AssignmentPart {
        let mut part = AssignmentPart::from(assignment(generation, vec![program]));
        part.apps[0].secrets = secrets;
        part
    }

    fn not_here() -> Missing {
        Missing::NotHere { secrets: vec!["db".parse().unwrap()] }
    }

    #[test]
    fn what_is_waited_for_is_named_once() {
        let mut program = wanting(1, "password");
        program.secrets.push(SecretUse { name: "USER".into(), key: "user".into(), ..program.secrets[0].clone() });
        let told = |program: &AssignedProgram| Vault::default().values(program).unwrap_err().to_string();
        assert_eq!(told(&program), "waits for the secret `db` from a server");
        program.secrets.push(SecretUse { name: "KEY".into(), secret: "api".parse().unwrap(), ..program.secrets[0].clone() });
        assert_eq!(told(&program), "waits for the secrets `api`, `db` from a server");
    }

    #[test]
    fn values_are_taken_out_of_the_assignment_and_found_by_version() {
        let mut offered = part(1, wanting(2, "password"), vec![secret(2, "canary")]);
        let brought = taken_from(&mut offered);
        assert!(!serde_json::to_string(&offered).unwrap().contains("canary"), "what is kept on disk has none");
        let mut vault = Vault::default();
        assert_eq!(vault.values(&wanting(2, "password")), Err(not_here()));
        assert!(vault.learn(brought));
        assert_eq!(vault.values(&wanting(2, "password")).unwrap()["PASSWORD"].reveal(), "canary");
        assert_eq!(vault.values(&wanting(1, "password")), Err(not_here()));
        assert!(matches!(vault.values(&wanting(2, "picture")), Err(Missing::NoText { .. })));
        assert!(!format!("{vault:?}").contains("canary"), "a value is not shown");
        let mut saved = part(1, wanting(2, "password"), Vec::new());
        vault.fill(&mut saved);
        assert_eq!(saved.apps[0].secrets, [secret(2, "canary")]);
        let change = AssignmentPart { since: Some(Generation(1)), ..part(2, wanting(3, "password"), vec![secret(3, "new")]) };
        assert!(vault.learn(taken_from(&mut change.clone())) && !vault.learn(taken_from(&mut change.clone())));
        assert_eq!(vault.values(&wanting(3, "password")).unwrap()["PASSWORD"].reveal(), "new");
        let gone = AssignmentPart { apps: Vec::new(), gone: vec!["hello".parse().unwrap()], ..change };
        assert!(vault.learn(taken_from(&mut gone.clone())) && vault.is_empty());
    }

    #[test]
    fn the_host_of_a_route_gets_the_pair_of_its_secret() {
        let mut offered = part(1, place("hello/web", 1, 7, Wanted::Run), Vec::new());
        let mut tls = secret(4, "x");
        tls.values = [(TLS_CERTIFICATE, "chain"), (TLS_KEY, "key")].map(|(name, text)| (name.into(), SecretText::new(text.into()))).into();
        offered.apps[0].secrets = vec![tls];
        offered.apps[0].routes = vec![route("plain.test", "hello/web", 1), route("tls.test", "hello/web", 1)];
        offered.apps[0].routes[1].certificate = Some(CertificateUse { secret: "db".parse().unwrap(), version: 4 });
        let mut vault = Vault::default();
        vault.learn(taken_from(&mut offered));
        let mut roster = Roster::default();
        roster.accept(offered).unwrap();
        let found = vault.certificates(&roster);
        let shown: Vec<_> = found.iter().map(|(host, pair)| (host.as_str(), pair.name.as_str(), pair.chain.as_str())).collect();
        assert_eq!(shown, [("tls.test", "secret/default/db", "chain")]);
    }
}
