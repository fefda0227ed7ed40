//! Configs, Secrets, Namespaces and the audit log as their lists show them. Must never show the value of a Secret.

use std::collections::BTreeMap;

use api::v1::{About, AuditView, CertificateView, ConfigView, NamespaceView, SecretVersionView, SecretView};
use state::{AuditEntry, AuditOutcome, ConfigRecord, NamespaceRecord, SecretRecord, command::Described};

/// A config as its list shows it.
pub fn config(record: &ConfigRecord) -> ConfigView {
    ConfigView {
        namespace: record.id.namespace.clone(),
        name: record.id.name.clone(),
        about: about(&record.described),
        data: record.data.clone(),
        version: record.version,
        created_at: record.created_at.into(),
        changed_at: record.changed_at.into(),
    }
}

/// A secret as its list shows it; `certificate` is what its values say when they are one.
pub fn secret(record: &SecretRecord, certificate: Option<CertificateView>) -> SecretView {
    let newest = record.versions.last();
    let versions: BTreeMap<_, _> = record.versions.iter().map(|one| (one.number, one)).collect();
    SecretView {
        namespace: record.id.namespace.clone(),
        name: record.id.name.clone(),
        about: about(&record.described),
        kind: record.kind.as_str().to_owned(),
        keys: newest.map(|newest| newest.keys.iter().cloned().collect()).unwrap_or_default(),
        certificate,
        version: record.version,
        versions: versions
            .values()
            .rev()
            .map(|one| SecretVersionView { number: one.number, at: one.at.into(), by: one.by.clone() })
            .collect(),
    }
}

/// A namespace as its list shows it.
pub fn namespace(record: &NamespaceRecord) -> NamespaceView {
    NamespaceView {
        name: record.name.clone(),
        about: about(&record.described),
        spec: record.ceilings.spec(),
        version: record.version,
        created_at: record.created_at.into(),
    }
}

fn about(described: &Described) -> About {
    let Described { labels, annotations, protected } = described.clone();
    About { labels, annotations, protected }
}

/// A line of the audit log.
pub fn audit(entry: &AuditEntry) -> AuditView {
    AuditView {
        sequence: entry.sequence,
        at: entry.at.into(),
        by: if entry.from.is_empty() { entry.by.clone() } else { format!("{} ({})", entry.by, entry.from) },
        token: entry.token.as_ref().map(ToString::to_string),
        verb: entry.verb.clone(),
        object: entry.object.clone(),
        outcome: match &entry.outcome {
            AuditOutcome::Done => "done".to_owned(),
            AuditOutcome::Begun => "begun".to_owned(),
            AuditOutcome::Refused { message, .. } => message.clone(),
        },
    }
}
