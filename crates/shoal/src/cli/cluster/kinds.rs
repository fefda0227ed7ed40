//! Configs, secrets, namespaces and members as kinds of `get`, `describe` and `delete`. Owns which question each needs; must never ask for a secret's value.

use std::{collections::BTreeMap, fmt::Write as _};

use api::v1::{About, CertificateView, ConfigView, NamespaceView, SecretView};
use model::{
    app::Metadata,
    id::{Index, Name, ObjectId, Timestamp},
    manifest,
    object::{Config, ConfigSpec, Given, Namespace, NamespaceSpec},
    problem::Problem,
};
use serde_json::{Value, json};

use super::{
    member,
    views::{self, Inhabitants},
};
use crate::cli::{age::age, failure::Failure, listing::Query, output::Listing, session::Session, target::Kind, yaml::to_yaml};

/// Configs.
///
/// # Errors
/// E0402 when one asked for by name does not exist; what the server refuses.
pub async fn configs(query: &Query, session: &Session) -> Result<Listing, Failure> {
    let configs = match &query.name {
        Some(name) => vec![config(name, session).await?],
        None => session.client().await?.configs(within(query, session).as_ref()).await?.items,
    };
    let names = configs.iter().map(|config| format!("config/{}", config.name)).collect();
    Ok(Listing {
        table: views::configs(&configs, query.shape),
        objects: configs.iter().map(config_object).collect(),
        names,
        single: query.name.is_some(),
    })
}

/// Secrets, without their values.
///
/// # Errors
/// As [`configs`].
pub async fn secrets(query: &Query, session: &Session) -> Result<Listing, Failure> {
    let secrets = match &query.name {
        Some(name) => vec![secret(name, session).await?],
        None => session.client().await?.secrets(within(query, session).as_ref()).await?.items,
    };
    let names = secrets.iter().map(|secret| format!("secret/{}", secret.name)).collect();
    Ok(Listing {
        table: views::secrets(&secrets, query.shape),
        objects: secrets.iter().map(secret_object).collect(),
        names,
        single: query.name.is_some(),
    })
}

/// Servers of the group.
///
/// # Errors
/// As [`configs`].
pub async fn members(query: &Query, session: &Session) -> Result<Listing, Failure> {
    let mut cluster = session.client().await?.cluster().await?;
    if let Some(name) = &query.name {
        cluster.members.retain(|member| member.name == *name);
        if cluster.members.is_empty() {
            return Err(missing(Kind::Member, name));
        }
    }
    Ok(Listing { single: query.name.is_some(), ..member::listing(&cluster, query.shape) })
}

/// Namespaces that have ceilings, and those in which something lives.
///
/// # Errors
/// As [`configs`].
pub async fn namespaces(query: &Query, session: &Session) -> Result<Listing, Failure> {
    let client = session.client().await?;
    let apps = client.apps(None).await?.items.into_iter().map(|app| app.metadata.namespace);
    let configs = client.configs(None).await?.items.into_iter().map(|config| config.namespace);
    let secrets = client.secrets(None).await?.items.into_iter().map(|secret| secret.namespace);
    let mut found = inhabited(apps, configs, secrets);
    let records: BTreeMap<Name, NamespaceView> =
        client.namespaces().await?.items.into_iter().map(|record| (record.name.clone(), record)).collect();
    records.keys().for_each(|name| found.entry(name.clone()).or_default().ceilings = true);
    if let Some(name) = &query.name {
        found.retain(|namespace, _| namespace.as_str() == name);
        if found.is_empty() {
            return Err(missing(Kind::Namespace, name));
        }
    }
    let names = found.keys().map(|name| format!("namespace/{name}")).collect();
    let objects = found.iter().map(|(name, lives)| namespace_object(name, records.get(name), lives)).collect();
    Ok(Listing { table: views::namespaces(&found, query.shape), objects, names, single: query.name.is_some() })
}

/// A Config in the form it can be applied in again.
fn config_object(config: &ConfigView) -> Value {
    let data = config.data.iter().map(|(key, value)| (key.clone(), Given::Text(value.clone()))).collect();
    let metadata = metadata((&config.namespace, &config.name), &config.about, config.version);
    let mut object = manifest::config_to_value(&Config { metadata, spec: ConfigSpec { data } });
    object["status"] = json!({"createdAt": config.created_at, "changedAt": config.changed_at});
    object
}

/// A Secret in the form of a manifest, without its values: keys and versions are its status.
fn secret_object(secret: &SecretView) -> Value {
    let metadata = metadata((&secret.namespace, &secret.name), &secret.about, secret.version);
    let mut object = manifest::config_to_value(&Config { metadata, spec: ConfigSpec { data: BTreeMap::new() } });
    object["kind"] = json!("Secret");
    object["spec"] = json!({"type": secret.kind});
    object["status"] = json!({"keys": secret.keys, "versions": secret.versions});
    if let Some(certificate) = &secret.certificate {
        object["status"]["certificate"] = json!(certificate);
    }
    object
}

/// A Namespace in the form it can be applied in again; one without ceilings is just as real.
fn namespace_object(name: &Name, record: Option<&NamespaceView>, lives: &Inhabitants) -> Value {
    let none = (About::default(), Index(0), NamespaceSpec::default());
    let (about, version, spec) = record.map_or(none, |record| (record.about.clone(), record.version, record.spec.clone()));
    let metadata = metadata((&Name::default_namespace(), name), &about, version);
    let mut object = manifest::namespace_to_value(&Namespace { metadata, spec });
    object["status"] = json!({"lives": lives});
    object
}

fn metadata((namespace, name): (&Name, &Name), about: &About, version: Index) -> Metadata {
    let About { labels, annotations, protected } = about.clone();
    Metadata { name: name.clone(), namespace: namespace.clone(), labels, annotations, protected, resource_version: Some(version) }
}

fn inhabited(
    apps: impl Iterator<Item = Name>,
    configs: impl Iterator<Item = Name>,
    secrets: impl Iterator<Item = Name>,
) -> BTreeMap<Name, Inhabitants> {
    let mut found = BTreeMap::<Name, Inhabitants>::new();
    apps.for_each(|namespace| found.entry(namespace).or_default().apps += 1);
    configs.for_each(|namespace| found.entry(namespace).or_default().configs += 1);
    secrets.for_each(|namespace| found.entry(namespace).or_default().secrets += 1);
    found
}

/// Everything about a config, else about a secret, but what is secret.
///
/// # Errors
/// As [`configs`].
pub async fn describe(kind: Kind, name: &str, session: &Session, now: Timestamp) -> Result<String, Failure> {
    match kind {
        Kind::Config => Ok(config_text(&config(name, session).await?, now)),
        _ => Ok(secret_text(&secret(name, session).await?, now)),
    }
}

/// Deletes the config, secret or namespace `id` if it still is what it was when it was found; the namespace of a namespace does not matter.
///
/// # Errors
/// As [`configs`]; E0403 when somebody changed it meanwhile, E0417 when something still needs it.
pub async fn delete(kind: Kind, id: &ObjectId, session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let ObjectId { namespace, name } = id;
    match kind {
        Kind::Config => {
            let found = client.config(namespace, name).await?;
            client.delete_config(namespace, name, Some(found.version)).await?;
        }
        Kind::Namespace => {
            let all = client.namespaces().await?.items;
            let found = all.into_iter().find(|known| known.name == *name).ok_or_else(|| missing(kind, name.as_str()))?;
            client.delete_namespace(name, Some(found.version)).await?;
        }
        _ => {
            let all = client.secrets(Some(namespace)).await?.items;
            let found = all.into_iter().find(|known| known.name == *name).ok_or_else(|| missing(kind, name.as_str()))?;
            client.delete_secret(namespace, name, Some(found.version)).await?;
        }
    }
    Ok(())
}

async fn config(name: &str, session: &Session) -> Result<ConfigView, Failure> {
    Ok(session.client().await?.config(&session.namespace(), &parse(Kind::Config, name)?).await?)
}

/// The secret called `name` in the session's namespace.
///
/// # Errors
/// E0402 when there is none.
pub async fn secret(name: &str, session: &Session) -> Result<SecretView, Failure> {
    let wanted = parse(Kind::Secret, name)?;
    find_secret(&wanted, session).await?.ok_or_else(|| missing(Kind::Secret, name))
}

/// The same, none when there is none.
///
/// # Errors
/// What the server refuses.
pub async fn find_secret(name: &Name, session: &Session) -> Result<Option<SecretView>, Failure> {
    let all = session.client().await?.secrets(Some(&session.namespace())).await?.items;
    Ok(all.into_iter().find(|secret| secret.name == *name))
}

fn within(query: &Query, session: &Session) -> Option<Name> {
    (!query.all_namespaces).then(|| session.namespace())
}

/// A name as it was typed.
///
/// # Errors
/// A usage failure with the rule of names.
pub fn parse(kind: Kind, name: &str) -> Result<Name, Failure> {
    name.parse::<Name>().map_err(|error| Failure::usage(format!("`{name}` is no name of a {}: {}", kind.singular(), error.rule), ""))
}

fn missing(kind: Kind, name: &str) -> Failure {
    let problem = Problem::new("E0402", format!("{} `{name}` does not exist", kind.singular()));
    Failure::of(problem.help(format!("`shoal get {}s` lists what does", kind.singular())))
}

fn config_text(config: &ConfigView, now: Timestamp) -> String {
    let mut text = head(&config.name, &config.namespace);
    let _ = writeln!(text, "Version:     {}", config.version);
    let _ = writeln!(text, "Created:     {} ({} ago)", config.created_at, age(config.created_at.0, now));
    let _ = writeln!(text, "Changed:     {} ({} ago)", config.changed_at, age(config.changed_at.0, now));
    let _ = write!(text, "\nValues:\n{}", indented(&to_yaml(&json!(config.data))));
    text
}

fn secret_text(secret: &SecretView, now: Timestamp) -> String {
    let mut text = head(&secret.name, &secret.namespace);
    let _ = writeln!(text, "Type:        {}", secret.kind);
    let _ = writeln!(text, "Keys:        {}", secret.keys.join(", "));
    if let Some(CertificateView { hosts, expires_at, .. }) = &secret.certificate {
        let _ = writeln!(text, "Hosts:       {}", hosts.join(", "));
        let _ = writeln!(text, "Expires:     {expires_at} ({})", views::until(*expires_at, now));
    }
    let _ = write!(text, "\nVersions:\n{}", indented(&views::secret_versions(&secret.versions, now).render(None)));
    text
}

fn head(name: &Name, namespace: &Name) -> String {
    format!("Name:        {name}\nNamespace:   {namespace}\n")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn later() -> Timestamp {
        let made: api::time::Time = "2026-01-01T00:00:00.000Z".parse().expect("a time");
        Timestamp(made.millis() + 192_000)
    }

    #[test]
    fn a_config_shows_its_values_and_a_secret_its_versions() {
        let config: ConfigView =
            serde_json::from_value(json!({"namespace": "default", "name": "flags", "data": {"a": "1", "b": "two\nlines"},
            "version": 9, "createdAt": "2026-01-01T00:00:00.000Z", "changedAt": "2026-01-01T00:03:00.000Z"}))
            .expect("the shape of the API");
        expect![[r#"
            Name:        flags
            Namespace:   default
            Version:     9
            Created:     2026-01-01T00:00:00.000Z (3m12s ago)
            Changed:     2026-01-01T00:03:00.000Z (12s ago)

            Values:
              a: "1"
              b: "two\nlines""#]]
        .assert_eq(&config_text(&config, later()));
        let secret: SecretView =
            serde_json::from_value(json!({"namespace": "team", "name": "db", "type": "opaque", "keys": ["password", "user"],
            "version": 71, "versions": [{"number": 1, "at": "2026-01-01T00:00:12.000Z", "by": "ci"}]}))
            .expect("the shape of the API");
        expect![[r#"
            Name:        db
            Namespace:   team
            Type:        opaque
            Keys:        password, user

            Versions:
              VERSION   AGE   BY   AT
              1         3m    ci   2026-01-01T00:00:12.000Z"#]]
        .assert_eq(&secret_text(&secret, later()));
        let certificate = CertificateView {
            hosts: vec!["a.test".to_owned(), "*.b.test".to_owned()],
            begins_at: "2025-01-01T00:00:00.000Z".parse().expect("a time"),
            expires_at: "2026-01-10T00:00:00.000Z".parse().expect("a time"),
        };
        let text = secret_text(&SecretView { certificate: Some(certificate), ..secret }, later());
        assert!(text.contains("Hosts:       a.test, *.b.test\nExpires:     2026-01-10T00:00:00.000Z (in 8d"), "{text}");
    }

    #[test]
    fn namespaces_are_those_in_which_something_lives() {
        let names = |all: &[&str]| all.iter().map(|name| name.parse().expect("a name")).collect::<Vec<Name>>().into_iter();
        let found = inhabited(names(&["a", "a"]), names(&[]), names(&["a", "b"]));
        let shown: Vec<_> = found.iter().map(|(name, lives)| (name.as_str(), lives.apps, lives.configs, lives.secrets)).collect();
        assert_eq!(shown, [("a", 2, 0, 1), ("b", 0, 0, 1)]);
    }
}
