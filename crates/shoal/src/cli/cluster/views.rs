//! Members, tokens, secrets, configs and changes as rows of a table. Pure. Owns which columns they have and the words in them; must never ask a server.

use std::{collections::BTreeMap, time::Duration};

use api::{
    time::Time,
    v1::{
        ApiRole, ApiTokenView, AuditView, ClusterView, ConfigView, JoinRole, JoinTokenView, MemberRole, MemberView, SecretVersionView,
        SecretView,
    },
};
use model::id::{AppId, Name, Timestamp};

use super::super::{
    age::{age, brief, span},
    table::Table,
    views::Shape,
};

/// Servers of the group.
pub fn members(members: &[MemberView], shape: Shape) -> Table {
    let shape = Shape { namespaces: false, ..shape };
    let mut table = shape.table(&["name", "role", "leader", "address", "behind", "heard"], &["id"]);
    for member in members {
        let usual = [
            member.name.clone(),
            member_role(member.role).to_owned(),
            if member.leader { "yes".to_owned() } else { String::new() },
            member.address.clone(),
            member.behind.map(|entries| entries.to_string()).unwrap_or_default(),
            member.heard.map(|ago| heard(ago.duration())).unwrap_or_default(),
        ];
        shape.row(&mut table, None, usual, [member.id.to_string()]);
    }
    table
}

/// A role in one word.
pub fn member_role(role: MemberRole) -> &'static str {
    match role {
        MemberRole::Voter => "voter",
        MemberRole::Learner => "learner",
    }
}

fn heard(ago: Duration) -> String {
    if ago < Duration::from_secs(60) { brief(ago) } else { span(ago) }
}

/// What may be lost, and what to do when that is nothing.
pub fn tolerance(cluster: &ClusterView) -> String {
    match cluster.tolerates {
        0 if cluster.members.iter().all(|member| member.address.is_empty()) => {
            "tolerates the loss of no member: no other server can join, for want of a port; `shoal server` has one".to_owned()
        }
        0 if cluster.members.iter().filter(|member| member.role == MemberRole::Voter).count() > 2 => {
            "tolerates the loss of no more members: bring back those that are not heard, or remove them".to_owned()
        }
        0 => "tolerates the loss of no member; next: shoal join-token create server".to_owned(),
        1 => "tolerates the loss of 1 member".to_owned(),
        more => format!("tolerates the loss of {more} members"),
    }
}

/// How many of `voters` may be lost while a majority is left.
pub fn tolerated(voters: usize) -> usize {
    voters.saturating_sub(1) / 2
}

/// What lets nodes join.
pub fn join_tokens(tokens: &[JoinTokenView], shape: Shape) -> Table {
    let shape = Shape { namespaces: false, ..shape };
    let mut table = shape.table(&["id", "role", "expires", "uses", "by", "note"], &["at"]);
    for token in tokens {
        let usual = [
            token.id.clone(),
            join_role(token.role).to_owned(),
            until(token.expires_at, shape.now),
            token.uses_left.map_or_else(|| "any".to_owned(), |uses| format!("{uses} left")),
            token.by.clone(),
            token.note.clone(),
        ];
        shape.row(&mut table, None, usual, [token.expires_at.to_string()]);
    }
    table
}

/// A kind of node in one word.
pub fn join_role(role: JoinRole) -> &'static str {
    match role {
        JoinRole::Server => "server",
        JoinRole::Worker => "worker",
    }
}

/// What lets people and programs in.
pub fn tokens(tokens: &[ApiTokenView], shape: Shape) -> Table {
    let shape = Shape { namespaces: false, ..shape };
    let mut table = shape.table(&["name", "id", "role", "namespace", "expires", "by"], &["at"]);
    for token in tokens {
        let usual = [
            token.name.clone(),
            token.id.clone(),
            api_role(token.role).to_owned(),
            token.namespace.as_ref().map_or_else(|| "all".to_owned(), Name::to_string),
            until(token.expires_at, shape.now),
            token.by.clone(),
        ];
        shape.row(&mut table, None, usual, [token.expires_at.to_string()]);
    }
    table
}

/// A role in one word.
pub fn api_role(role: ApiRole) -> &'static str {
    match role {
        ApiRole::Viewer => "viewer",
        ApiRole::Deployer => "deployer",
        ApiRole::Admin => "admin",
    }
}

/// Changes, oldest first.
pub fn audit(changes: &[AuditView], shape: Shape) -> Table {
    let shape = Shape { namespaces: false, ..shape };
    let mut table = shape.table(&["age", "by", "verb", "object", "outcome"], &["token", "sequence", "at"]);
    for change in changes {
        let usual = [age(change.at.0, shape.now), change.by.clone(), change.verb.clone(), change.object.clone(), change.outcome.clone()];
        let token = change.token.clone().unwrap_or_else(|| "-".to_owned());
        shape.row(&mut table, None, usual, [token, change.sequence.to_string(), change.at.to_string()]);
    }
    table
}

/// Configs.
pub fn configs(configs: &[ConfigView], shape: Shape) -> Table {
    let mut table = shape.table(&["name", "keys", "version", "age"], &["changed"]);
    for config in configs {
        let usual = [config.name.to_string(), keys(config.data.keys()), config.version.to_string(), age(config.created_at.0, shape.now)];
        shape.row(&mut table, Some(&place(&config.namespace, &config.name)), usual, [age(config.changed_at.0, shape.now)]);
    }
    table
}

/// Secrets; `VERSION` counts how often their values were set.
pub fn secrets(secrets: &[SecretView], shape: Shape) -> Table {
    let mut table = shape.table(&["name", "type", "keys", "version", "age", "expires"], &["by", "kept"]);
    for secret in secrets {
        let newest = secret.versions.first();
        let usual = [
            secret.name.to_string(),
            secret.kind.clone(),
            keys(secret.keys.iter()),
            newest.map(|version| version.number.to_string()).unwrap_or_default(),
            newest.map(|version| age(version.at.0, shape.now)).unwrap_or_default(),
            secret.certificate.as_ref().map(|certificate| until(certificate.expires_at, shape.now)).unwrap_or_default(),
        ];
        let wide = [newest.map(|version| version.by.clone()).unwrap_or_default(), secret.versions.len().to_string()];
        shape.row(&mut table, Some(&place(&secret.namespace, &secret.name)), usual, wide);
    }
    table
}

/// Kept values of a secret, newest first.
pub fn secret_versions(versions: &[SecretVersionView], now: Timestamp) -> Table {
    let mut table = Table::new(["version", "age", "by", "at"]);
    for version in versions {
        table.row([version.number.to_string(), age(version.at.0, now), version.by.clone(), version.at.to_string()]);
    }
    table
}

/// What lives in a namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Inhabitants {
    /// Apps.
    pub apps: usize,
    /// Configs.
    pub configs: usize,
    /// Secrets.
    pub secrets: usize,
    /// Whether it has ceilings.
    #[serde(skip)]
    pub ceilings: bool,
}

/// Namespaces in which something lives.
pub fn namespaces(namespaces: &BTreeMap<Name, Inhabitants>, shape: Shape) -> Table {
    let shape = Shape { namespaces: false, ..shape };
    let mut table = shape.table(&["name", "apps", "configs", "secrets", "ceilings"], &[]);
    for (name, lives) in namespaces {
        let ceilings = if lives.ceilings { "yes" } else { "" };
        let counts = [lives.apps, lives.configs, lives.secrets].map(|count| count.to_string());
        let [apps, configs, secrets] = counts;
        let usual = [name.to_string(), apps, configs, secrets, ceilings.to_owned()];
        shape.row(&mut table, None, usual, []);
    }
    table
}

/// How long something is still good.
pub fn until(at: Time, now: Timestamp) -> String {
    let left = at.0.millis_since(now);
    if left == 0 { "expired".to_owned() } else { format!("in {}", span(Duration::from_millis(left))) }
}

fn keys<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(",")
}

fn place(namespace: &Name, name: &Name) -> AppId {
    AppId { namespace: namespace.clone(), name: name.clone() }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn shape(wide: bool, namespaces: bool) -> Shape {
        let made: Time = "2026-01-01T00:00:00.000Z".parse().expect("a time");
        Shape { wide, namespaces, now: Timestamp(made.millis() + 192_000) }
    }

    fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).expect("the shape of the API")
    }

    fn check(table: &Table, expected: Expect) {
        expected.assert_eq(&table.render(None));
    }

    #[test]
    fn members_show_who_leads_and_who_lags() {
        let all: Vec<MemberView> = of(json!([
            {"id": 1, "name": "one", "role": "voter", "leader": true, "address": "10.0.0.1:7071", "behind": 0, "heard": 0},
            {"id": 2, "name": "two", "role": "voter", "leader": false, "address": "10.0.0.2:7071", "behind": 3, "heard": 90},
            {"id": 9, "name": "new", "role": "learner", "leader": false, "address": "10.0.0.9:7071", "heard": 192_000},
        ]));
        check(
            &members(&all, shape(true, false)),
            expect![[r#"
                NAME   ROLE      LEADER   ADDRESS         BEHIND   HEARD   ID
                one    voter     yes      10.0.0.1:7071   0        0.0s    node-1
                two    voter     -        10.0.0.2:7071   3        0.1s    node-2
                new    learner   -        10.0.0.9:7071   -        3m12s   node-9"#]],
        );
    }

    #[test]
    fn a_majority_must_be_left() {
        for (voters, lost) in [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 2)] {
            assert_eq!(tolerated(voters), lost, "{voters} voters");
        }
    }

    #[test]
    fn tokens_show_what_they_are_good_for_and_until_when() {
        let joins: Vec<JoinTokenView> = of(json!([
            {"id": "k3v9q2ab", "role": "server", "expiresAt": "2026-01-01T01:03:12.000Z", "usesLeft": 2, "by": "ana@one", "note": "rack 7"},
            {"id": "aaaa2222", "role": "worker", "expiresAt": "2026-01-01T00:00:00.000Z", "by": "ana@one", "note": ""},
        ]));
        check(
            &join_tokens(&joins, shape(false, false)),
            expect![[r#"
                ID         ROLE     EXPIRES   USES     BY        NOTE
                k3v9q2ab   server   in 1h     2 left   ana@one   rack 7
                aaaa2222   worker   expired   any      ana@one   -"#]],
        );
        let people: Vec<ApiTokenView> = of(json!([
            {"id": "k3v9q2ab", "name": "ci", "role": "deployer", "namespace": "team", "expiresAt": "2026-04-01T00:00:00.000Z", "by": "ana"},
            {"id": "bbbb3333", "name": "ana", "role": "admin", "expiresAt": "2026-01-02T00:03:12.000Z", "by": "owner of this machine"},
        ]));
        check(
            &tokens(&people, shape(true, false)),
            expect![[r#"
                NAME   ID         ROLE       NAMESPACE   EXPIRES     BY                      AT
                ci     k3v9q2ab   deployer   team        in 89d23h   ana                     2026-04-01T00:00:00.000Z
                ana    bbbb3333   admin      all         in 1d       owner of this machine   2026-01-02T00:03:12.000Z"#]],
        );
    }

    #[test]
    fn secrets_show_everything_but_their_values() {
        let all: Vec<SecretView> = of(json!([
            {"namespace": "default", "name": "db", "type": "opaque", "keys": ["password", "user"], "version": 71,
             "versions": [{"number": 2, "at": "2026-01-01T00:02:12.000Z", "by": "ana"}, {"number": 1, "at": "2026-01-01T00:00:12.000Z", "by": "ci"}]},
            {"namespace": "default", "name": "web", "type": "tls", "keys": ["tls.crt", "tls.key"], "version": 9,
             "certificate": {"hosts": ["a.test"], "beginsAt": "2025-01-01T00:00:00.000Z", "expiresAt": "2026-01-03T00:03:12.000Z"},
             "versions": [{"number": 1, "at": "2026-01-01T00:00:12.000Z", "by": "ci"}]},
        ]));
        check(
            &secrets(&all, shape(true, true)),
            expect![[r#"
                NAMESPACE   NAME   TYPE     KEYS              VERSION   AGE   EXPIRES   BY    KEPT
                default     db     opaque   password,user     2         1m    -         ana   2
                default     web    tls      tls.crt,tls.key   1         3m    in 2d     ci    1"#]],
        );
        check(
            &secret_versions(&all[0].versions, shape(false, false).now),
            expect![[r#"
                VERSION   AGE   BY    AT
                2         1m    ana   2026-01-01T00:02:12.000Z
                1         3m    ci    2026-01-01T00:00:12.000Z"#]],
        );
    }

    #[test]
    fn configs_changes_and_namespaces_have_their_tables() {
        let all: Vec<ConfigView> = of(json!([{"namespace": "default", "name": "flags", "data": {"a": "1", "b": "2"}, "version": 9,
            "createdAt": "2026-01-01T00:00:00.000Z", "changedAt": "2026-01-01T00:03:00.000Z"}]));
        check(
            &configs(&all, shape(true, false)),
            expect![[r#"
                NAME    KEYS   VERSION   AGE     CHANGED
                flags   a,b    9         3m12s   12s"#]],
        );
        let changes: Vec<AuditView> = of(json!([
            {"sequence": 7, "at": "2026-01-01T00:03:00.000Z", "by": "ci", "token": "t7", "verb": "deploy", "object": "app/team/cart", "outcome": "done"},
        ]));
        check(
            &audit(&changes, shape(true, false)),
            expect![[r#"
                AGE   BY   VERB     OBJECT          OUTCOME   TOKEN   SEQUENCE   AT
                12s   ci   deploy   app/team/cart   done      t7      7          2026-01-01T00:03:00.000Z"#]],
        );
        let lives = BTreeMap::from([("team".parse().expect("a name"), Inhabitants { apps: 2, configs: 0, secrets: 1, ceilings: true })]);
        check(
            &namespaces(&lives, shape(false, false)),
            expect![[r#"
                NAME   APPS   CONFIGS   SECRETS   CEILINGS
                team   2      0         1         yes"#]],
        );
    }
}
