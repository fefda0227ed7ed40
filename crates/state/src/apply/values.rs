//! Configs, secrets and namespaces. Owns putting and deleting them; must never leave a revision that refers to what is gone.

use std::collections::BTreeMap;

use model::{
    id::{Index, Name, ObjectId},
    limits::{CEILING_ENTRIES_MAX, CONFIG_BYTES_MAX, CONFIG_VALUE_BYTES_MAX, DATA_KEY_BYTES_MAX, METADATA_BYTES_MAX},
};

use super::wishes::refuse_above;
use crate::{
    Applied, EventKind, PutOutcome, Refused, State,
    command::{DeleteNamespace, DeleteObject, Described, PutConfig, PutNamespace, PutSecret, UserCommand},
    limits::{
        CONFIGS_MAX, NAMESPACES_MAX, NODE_TEXT_BYTES_MAX, SEALED_BYTES_MAX, SECRET_BYTES_MAX, SECRET_VERSIONS_KEPT, SECRETS_MAX,
        VALUE_BYTES_MAX, bounded,
    },
    record::{ConfigRecord, NamespaceRecord, SecretRecord, SecretVersion},
    references::Reference,
};

impl State {
    pub(super) fn put_config(&mut self, user: &UserCommand, put: &PutConfig) -> Result<Applied, Refused> {
        let object = format!("Config `{}`", put.id);
        let known = self.configs.get(&put.id).cloned();
        refuse_stale(&object, put.expect, known.as_ref().map(|known| known.version))?;
        let described = put.described.clone().or_else(|| known.as_ref().map(|known| known.described.clone())).unwrap_or_default();
        refuse_long(&object, &described)?;
        let longest = put.data.keys().map(String::len).max().unwrap_or(0);
        refuse_above(object.clone(), "bytes in a key", longest as u64, DATA_KEY_BYTES_MAX as u64)?;
        let longest = put.data.values().map(String::len).max().unwrap_or(0);
        refuse_above(object.clone(), "bytes in a value", longest as u64, CONFIG_VALUE_BYTES_MAX as u64)?;
        let record = ConfigRecord {
            id: put.id.clone(),
            described: described.clone(),
            data: put.data.clone(),
            created_at: known.as_ref().map_or(user.at, |known| known.created_at),
            changed_at: user.at,
            version: self.index,
        };
        refuse_above(object.clone(), "bytes", record.bytes(), CONFIG_BYTES_MAX as u64)?;
        let before = known.as_ref().map_or(0, ConfigRecord::bytes);
        self.refuse_too_much(&object, before, record.bytes(), (known.is_none(), self.configs.size(), CONFIGS_MAX))?;
        let outcome = match &known {
            Some(known) if (&known.data, &known.described) == (&put.data, &described) => {
                return Ok(Applied::Put { version: known.version, number: None, outcome: PutOutcome::Unchanged });
            }
            Some(_) => PutOutcome::Changed,
            None => PutOutcome::Created,
        };
        self.derived.value_bytes = self.derived.value_bytes - before + record.bytes();
        self.configs.insert(record);
        self.record(user.at, EventKind::ConfigChanged, None, put.id.to_string(), format!("by {}", bounded(&user.by)));
        Ok(Applied::Put { version: self.index, number: None, outcome })
    }

    pub(super) fn put_secret(&mut self, user: &UserCommand, put: &PutSecret) -> Result<Applied, Refused> {
        let object = format!("Secret `{}`", put.id);
        let known = self.secrets.get(&put.id).cloned();
        refuse_stale(&object, put.expect, known.as_ref().map(|known| known.version))?;
        let described = put.described.clone().or_else(|| known.as_ref().map(|known| known.described.clone())).unwrap_or_default();
        refuse_long(&object, &described)?;
        refuse_above(object.clone(), "sealed bytes", put.sealed.0.len() as u64, SEALED_BYTES_MAX as u64)?;
        let names: usize = put.keys.iter().map(String::len).sum();
        refuse_above(object.clone(), "bytes of keys", names as u64, SEALED_BYTES_MAX as u64)?;
        if known.as_ref().is_some_and(|known| known.kind != put.kind) {
            return Err(Refused::Invalid { what: format!("putting {object}"), rule: "a Secret keeps its type: delete it first" });
        }
        self.refuse_key_in_use(&object, put)?;
        let before = known.as_ref().map_or(0, SecretRecord::bytes);
        let mut record = known.clone().unwrap_or_else(|| SecretRecord {
            id: put.id.clone(),
            described: described.clone(),
            kind: put.kind,
            versions: Vec::new(),
            created_at: user.at,
            version: self.index,
        });
        let number = record.versions.last().map_or(1, |newest| newest.number + 1);
        let (keys, sealed) = (put.keys.clone(), put.sealed.clone());
        record.versions.push(SecretVersion { number, at: user.at, by: bounded(&user.by), keys, sealed });
        let oldest = (number + 1).saturating_sub(SECRET_VERSIONS_KEPT);
        record.versions.retain(|version| version.number >= oldest || self.pins(&put.id, version.number));
        record.described = described;
        record.version = self.index;
        refuse_above(object.clone(), "bytes of all its versions", record.bytes(), SECRET_BYTES_MAX)?;
        self.refuse_too_much(&object, before, record.bytes(), (known.is_none(), self.secrets.size(), SECRETS_MAX))?;
        self.derived.value_bytes = self.derived.value_bytes - before + record.bytes();
        self.secrets.insert(record);
        let message = format!("version {number} by {}", bounded(&user.by));
        self.record(user.at, EventKind::SecretChanged, None, put.id.to_string(), message);
        let outcome = if known.is_some() { PutOutcome::Changed } else { PutOutcome::Created };
        Ok(Applied::Put { version: self.index, number: Some(number), outcome })
    }

    pub(super) fn put_namespace(&mut self, user: &UserCommand, put: &PutNamespace) -> Result<Applied, Refused> {
        let object = format!("Namespace `{}`", put.name);
        let known = self.namespaces.get(&put.name).cloned();
        refuse_stale(&object, put.expect, known.as_ref().map(|known| known.version))?;
        refuse_long(&object, &put.described)?;
        let ceilings = &put.ceilings;
        let lists = [ceilings.hosts.as_ref(), ceilings.interfaces.as_ref()];
        let longest = lists.iter().flatten().map(|list| list.len()).chain(ceilings.egress.as_ref().map(Vec::len)).max().unwrap_or(0);
        refuse_above(object.clone(), "entries of a ceiling", longest as u64, CEILING_ENTRIES_MAX as u64)?;
        let longest = lists.iter().flatten().flat_map(|list| list.iter()).map(String::len).max().unwrap_or(0);
        refuse_above(object.clone(), "bytes in one text", longest as u64, NODE_TEXT_BYTES_MAX as u64)?;
        let count = self.namespaces.size() as u64 + u64::from(known.is_none());
        refuse_above(object, "namespaces", count, NAMESPACES_MAX as u64)?;
        let outcome = match &known {
            Some(known) if (&known.ceilings, &known.described) == (&put.ceilings, &put.described) => {
                return Ok(Applied::Put { version: known.version, number: None, outcome: PutOutcome::Unchanged });
            }
            Some(_) => PutOutcome::Changed,
            None => PutOutcome::Created,
        };
        self.namespaces.insert(NamespaceRecord {
            name: put.name.clone(),
            described: put.described.clone(),
            ceilings: put.ceilings.clone(),
            created_at: known.map_or(user.at, |known| known.created_at),
            version: self.index,
        });
        self.record(user.at, EventKind::NamespaceChanged, None, put.name.to_string(), format!("by {}", bounded(&user.by)));
        Ok(Applied::Put { version: self.index, number: None, outcome })
    }

    pub(super) fn delete_config(&mut self, user: &UserCommand, delete: &DeleteObject) -> Result<Applied, Refused> {
        let object = format!("Config `{}`", delete.id);
        let known = self.configs.get(&delete.id).cloned();
        let known = known.ok_or_else(|| Refused::UnknownObject { object: object.clone() })?;
        self.refuse_delete(&object, (delete.expect, known.version), &known.described, &Reference::Config(delete.id.clone()))?;
        self.derived.value_bytes -= known.bytes();
        self.configs.remove(&delete.id);
        self.record(user.at, EventKind::ConfigDeleted, None, delete.id.to_string(), format!("by {}", bounded(&user.by)));
        Ok(Applied::ObjectDeleted)
    }

    pub(super) fn delete_secret(&mut self, user: &UserCommand, delete: &DeleteObject) -> Result<Applied, Refused> {
        let object = format!("Secret `{}`", delete.id);
        let known = self.secrets.get(&delete.id).cloned();
        let known = known.ok_or_else(|| Refused::UnknownObject { object: object.clone() })?;
        self.refuse_delete(&object, (delete.expect, known.version), &known.described, &Reference::Secret(delete.id.clone()))?;
        self.derived.value_bytes -= known.bytes();
        self.secrets.remove(&delete.id);
        self.record(user.at, EventKind::SecretDeleted, None, delete.id.to_string(), format!("by {}", bounded(&user.by)));
        Ok(Applied::ObjectDeleted)
    }

    pub(super) fn delete_namespace(&mut self, user: &UserCommand, delete: &DeleteNamespace) -> Result<Applied, Refused> {
        let object = format!("Namespace `{}`", delete.name);
        let known = self.namespaces.get(&delete.name).cloned();
        let known = known.ok_or_else(|| Refused::UnknownObject { object: object.clone() })?;
        refuse_stale(&object, delete.expect, Some(known.version))?;
        if known.described.protected {
            return Err(Refused::ObjectProtected { object });
        }
        if let Some(by) = self.anything_in(&delete.name) {
            return Err(Refused::StillUsed { object, by });
        }
        self.namespaces.remove(&delete.name);
        self.record(user.at, EventKind::NamespaceDeleted, None, delete.name.to_string(), format!("by {}", bounded(&user.by)));
        Ok(Applied::ObjectDeleted)
    }

    /// Something that lies in `namespace`, in words.
    fn anything_in(&self, namespace: &Name) -> Option<String> {
        let inside = |id: &&ObjectId| id.namespace == *namespace;
        let app = self.apps.values().find(|app| app.id.namespace == *namespace).map(|app| format!("app `{}`", app.id));
        let config = || self.configs.values().map(|config| &config.id).find(inside).map(|id| format!("Config `{id}`"));
        let secret = || self.secrets.values().map(|secret| &secret.id).find(inside).map(|id| format!("Secret `{id}`"));
        let held = || self.api_tokens.values().find(|token| token.namespace.as_ref() == Some(namespace));
        app.or_else(config).or_else(secret).or_else(|| held().map(|token| format!("token `{}`", token.id)))
    }

    fn refuse_delete(
        &self,
        object: &str,
        (expect, version): (Option<Index>, Index),
        described: &Described,
        of: &Reference,
    ) -> Result<(), Refused> {
        refuse_stale(object, expect, Some(version))?;
        let object = object.to_owned();
        if described.protected {
            return Err(Refused::ObjectProtected { object });
        }
        self.referent(of).map_or(Ok(()), |by| Err(Refused::StillUsed { object, by }))
    }

    /// Refuses a version without a key that a wanted or serving revision reads from the newest one.
    fn refuse_key_in_use(&self, object: &str, put: &PutSecret) -> Result<(), Refused> {
        for revision in self.referents(&Reference::Secret(put.id.clone())) {
            let held = self.app(&revision.app).is_some_and(|app| app.held().any(|number| number == revision.number));
            let uses = revision.frozen.spec.components.iter().flat_map(|component| &component.secrets);
            let mut lost =
                uses.filter(|wanted| wanted.secret == put.id.name && wanted.version.is_none() && !put.keys.contains(&wanted.key));
            if let Some(wanted) = lost.next().filter(|_| held) {
                let by = format!("{} of app `{}`", revision.number, revision.app);
                return Err(Refused::StillUsed { object: format!("the key `{}` of {object}", wanted.key), by });
            }
        }
        Ok(())
    }

    fn refuse_too_much(&self, object: &str, before: u64, after: u64, (new, count, limit): (bool, usize, usize)) -> Result<(), Refused> {
        refuse_above(object.to_owned(), "objects of that kind", count as u64 + u64::from(new), limit as u64)?;
        let all = self.derived.value_bytes - before + after;
        refuse_above(object.to_owned(), "bytes of all Configs and Secrets", all, VALUE_BYTES_MAX)
    }
}

fn refuse_stale(object: &str, expect: Option<Index>, found: Option<Index>) -> Result<(), Refused> {
    let found = found.unwrap_or(Index(0));
    match expect {
        Some(expected) if expected != found => Err(Refused::ObjectConflict { object: object.to_owned(), expected, found }),
        _ => Ok(()),
    }
}

fn refuse_long(object: &str, described: &Described) -> Result<(), Refused> {
    let bytes = |texts: &BTreeMap<String, String>| texts.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>();
    let all = bytes(&described.labels) + bytes(&described.annotations);
    refuse_above(object.to_owned(), "bytes of labels and annotations", all, METADATA_BYTES_MAX as u64)
}
