//! What revisions refer to. Owns finding it, in both directions; must never open a secret.

use std::collections::BTreeSet;

use model::{
    frozen::{AppSpecV1, ComponentSpecV1},
    id::{AppId, ComponentId, ObjectId, RevisionNumber},
};

use crate::{Placement, Refused, Revision, State, command::SecretKind};

/// Something a revision refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reference {
    Config(ObjectId),
    Secret(ObjectId),
}

/// A version of a Secret that something needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretNeed {
    /// The Secret.
    pub secret: ObjectId,
    /// The version, which is the newest unless a fixed one is named.
    pub version: u64,
}

/// Everything `spec`, an app of the namespace of `app`, refers to.
pub(crate) fn of(app: &AppId, spec: &AppSpecV1) -> BTreeSet<Reference> {
    spec.components
        .iter()
        .flat_map(|component| configs(app, component).chain(secrets(app, component).map(|(id, _)| Reference::Secret(id))))
        .collect()
}

fn configs<'a>(app: &'a AppId, component: &'a ComponentSpecV1) -> impl Iterator<Item = Reference> + 'a {
    component.config.iter().map(|name| Reference::Config(ObjectId { namespace: app.namespace.clone(), name: name.clone() }))
}

/// The Secrets of a component, each with the version it names.
fn secrets<'a>(app: &'a AppId, component: &'a ComponentSpecV1) -> impl Iterator<Item = (ObjectId, Option<u64>)> + 'a {
    let values = component.secrets.iter().map(|wanted| (&wanted.secret, wanted.version));
    let certificates = component.certificates.iter().map(|wanted| (&wanted.secret, None));
    values.chain(certificates).map(|(name, version)| (ObjectId { namespace: app.namespace.clone(), name: name.clone() }, version))
}

impl State {
    /// The secret versions `placement` needs: those of its component's values and of the certificates of its routes.
    pub fn secrets_of(&self, placement: &Placement) -> BTreeSet<SecretNeed> {
        let ComponentId { app, component } = &placement.instance.component;
        let component = self.revision(app, placement.revision).and_then(|revision| revision.component(component.as_str()));
        let named = component.into_iter().flat_map(|component| secrets(app, component));
        named
            .filter_map(|(id, version)| {
                let version = self.secret(&id)?.version_of(version)?.number;
                Some(SecretNeed { secret: id, version })
            })
            .collect()
    }

    /// Who refers to `reference`, of the kept revisions.
    pub(crate) fn referents(&self, reference: &Reference) -> impl Iterator<Item = &Revision> {
        let of = self.derived.references.get(reference);
        of.into_iter().flat_map(|referents| referents.keys()).filter_map(|(app, number)| self.revision(app, *number))
    }

    /// Whether a kept revision names the version `number` of the Secret `id`.
    pub(crate) fn pins(&self, id: &ObjectId, number: u64) -> bool {
        let named = |revision: &Revision| {
            let components = revision.frozen.spec.components.iter();
            components.flat_map(|component| secrets(&revision.app, component)).any(|named| named == (id.clone(), Some(number)))
        };
        self.referents(&Reference::Secret(id.clone())).any(named)
    }

    /// Refuses what names something that is not there.
    pub(crate) fn refuse_missing(&self, app: &AppId, spec: &AppSpecV1) -> Result<(), Refused> {
        spec.components.iter().try_for_each(|component| {
            let id = app.component(component.name.clone());
            self.missing_of(app, component).map_or(Ok(()), |(field, what)| Err(Refused::Missing { component: id, field, what }))
        })
    }

    /// The first field of `component` that names something that is not there, and what.
    fn missing_of(&self, app: &AppId, component: &ComponentSpecV1) -> Option<(String, String)> {
        let id = |name: &model::id::Name| ObjectId { namespace: app.namespace.clone(), name: name.clone() };
        if let Some(name) = component.config.as_ref().filter(|name| self.config(&id(name)).is_none()) {
            return Some(("config".to_owned(), format!("the Config `{}`", id(name))));
        }
        let value = component.secrets.iter().find_map(|wanted| {
            let secret = id(&wanted.secret);
            let what = match self.secret(&secret) {
                None => format!("the Secret `{secret}`"),
                Some(record) => match (record.version_of(wanted.version), wanted.version) {
                    (Some(version), _) if version.keys.contains(&wanted.key) => return None,
                    (None, Some(number)) => format!("version {number} of the Secret `{secret}`"),
                    _ => format!("the key `{}` of the Secret `{secret}`", wanted.key),
                },
            };
            Some((format!("secrets.{}", wanted.name), what))
        });
        value.or_else(|| {
            let known = |name: &model::id::Name| self.secret(&id(name)).is_some_and(|record| record.kind == SecretKind::Tls);
            let name = component.certificates.iter().map(|wanted| &wanted.secret).find(|name| !known(name))?;
            Some(("routes".to_owned(), format!("the Secret `{}` of type tls", id(name))))
        })
    }

    /// The first kept revision that refers to `reference`, in words.
    pub(crate) fn referent(&self, reference: &Reference) -> Option<String> {
        self.referents(reference).next().map(|revision| format!("{} of app `{}`", revision.number, revision.app))
    }

    pub(crate) fn check_references(&self) -> Result<(), String> {
        for revision in self.all_revisions() {
            let missing = of(&revision.app, &revision.frozen.spec).into_iter().find(|reference| match reference {
                Reference::Config(id) => self.config(id).is_none(),
                Reference::Secret(id) => self.secret(id).is_none(),
            });
            missing
                .map_or(Ok(()), |missing| Err(format!("{} of {} refers to {missing:?}, which is gone", revision.number, revision.app)))?;
            let components = revision.frozen.spec.components.iter().flat_map(|component| secrets(&revision.app, component));
            let lost = components
                .filter(|(id, version)| version.is_some() && self.secret(id).is_none_or(|secret| secret.version_of(*version).is_none()));
            lost.into_iter().next().map_or(Ok(()), |lost| Err(format!("{} of {} needs {lost:?}", revision.number, revision.app)))?;
        }
        let held = |app: &crate::AppRecord| app.held().map(|number| (app.id.clone(), number)).collect::<Vec<(AppId, RevisionNumber)>>();
        for (app, number) in self.apps().filter(|app| !app.deleted).flat_map(held) {
            let Some(revision) = self.revision(&app, number) else { continue };
            self.refuse_missing(&app, &revision.frozen.spec).map_err(|refused| refused.to_string())?;
        }
        Ok(())
    }
}
