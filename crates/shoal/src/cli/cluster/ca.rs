//! `shoal ca`: the authority that signs the nodes' certificates. Owns the words about it and what is asked before it is replaced; how that is done, the servers
//! know.

use api::{
    peer::RotationPhase,
    v1::{AuthorityView, HolderView, JoinRole},
};
use clap::{Args, Subcommand};
use model::id::Timestamp;

use super::OneArgs;
use crate::cli::{
    age,
    failure::{Exit, Outcome},
    session::Session,
    sure::sure,
};

/// Nodes that are named in one sentence.
const NAMED_MAX: usize = 8;

/// What `shoal ca` takes.
#[derive(Debug, Args)]
pub struct CaArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Its digest, until when it holds, and how far a rotation is.
    Show(OneArgs),
    /// Lets another one take its place, while everything runs.
    #[command(
        after_help = "Nodes learn of the new one, then it signs and they renew, then the old one makes no node a member any more. A node that is away \
                            meanwhile comes back by itself; tokens to join and saved contexts stay good. `shoal ca show` says how far it is."
    )]
    Rotate {
        /// Do not ask; required where nobody can answer.
        #[arg(short, long)]
        yes: bool,
    },
}

/// Runs one of them.
pub async fn run(args: CaArgs, session: &Session) -> Outcome {
    match args.what {
        What::Show(args) => {
            let view = session.client().await?.authority().await?;
            session.terminal.data(args.text(&view, &view.digest, words(&view, age::now())));
        }
        What::Rotate { yes } => {
            sure(&session.terminal, yes, "rotate the authority", QUESTION)?;
            let view = session.client().await?.rotate_authority().await?;
            let next = view.rotation.as_ref().map_or(view.digest.as_str(), |rotation| rotation.next.as_str());
            session.terminal.data(format!("authority: {next} takes over"));
            session.terminal.hint("next: shoal ca show");
        }
    }
    Ok(Exit::Done)
}

/// What is asked before it is replaced.
const QUESTION: &str = "Replace the authority? Every node gets a certificate of the next one within seconds; nothing stops, and the key of the old one is destroyed.";

/// What `show` says to people.
fn words(view: &AuthorityView, now: Timestamp) -> String {
    let ends = view.not_after.to_string();
    let day = ends.split_once('T').map_or(ends.as_str(), |(day, _)| day);
    let mut lines = vec![format!("digest    {}", view.digest), format!("ends      {day}")];
    if let Some(rotation) = &view.rotation {
        let (phase, does) = match rotation.phase {
            RotationPhase::Learning => ("learning", "learn of the next one"),
            RotationPhase::Renewing => ("renewing", "renew their certificates"),
        };
        lines.push(format!("next      {}", rotation.next));
        lines.push(format!("rotation  {phase}, asked for by {} {} ago", rotation.by, age::age(rotation.since.0, now)));
        if !rotation.waits_for.is_empty() {
            lines.push(format!("waits     for {} to {does}", named(&rotation.waits_for)));
        }
    }
    if !view.behind.is_empty() {
        lines.push(format!("behind    {}: away during the last rotation, with certificates of an old authority", named(&view.behind)));
    }
    for retired in &view.retired {
        lines.push(format!("replaced  {} {} ago", retired.digest, age::age(retired.at.0, now)));
    }
    lines.join("\n")
}

/// `a (server, worker), b (worker) and 3 more`.
fn named(holders: &[HolderView]) -> String {
    let mut nodes: Vec<(&str, Vec<&str>)> = Vec::new();
    for holder in holders {
        let role = match holder.role {
            JoinRole::Server => "server",
            JoinRole::Worker => "worker",
        };
        match nodes.last_mut().filter(|(node, _)| *node == holder.node) {
            Some((_, roles)) => roles.push(role),
            None => nodes.push((&holder.node, vec![role])),
        }
    }
    let more = nodes.len().saturating_sub(NAMED_MAX);
    let names: Vec<String> = nodes.iter().take(NAMED_MAX).map(|(node, roles)| format!("{node} ({})", roles.join(", "))).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn view(more: serde_json::Value) -> AuthorityView {
        let mut whole = json!({"digest": "old", "notAfter": "2036-11-18T12:00:00Z"});
        let fields = more.as_object().expect("fields").clone();
        whole.as_object_mut().expect("fields").extend(fields);
        serde_json::from_value(whole).expect("the shape of the API")
    }

    #[test]
    fn how_far_a_rotation_is_reads_well() {
        let at = "2026-11-21T20:00:00Z".parse::<jiff::Timestamp>().expect("a time");
        let now = Timestamp(u64::try_from(at.as_millisecond()).expect("after 1970") + 5_000);
        let holder = |id: u64, node: &str, role: &str| json!({"id": id, "node": node, "role": role});
        expect![[r#"
            digest    old
            ends      2036-11-18"#]]
        .assert_eq(&words(&view(json!({})), now));
        let waits: Vec<_> = [holder(1, "a", "server"), holder(1, "a", "worker"), holder(7, "b", "worker")].into();
        let rotation = json!({"by": "ana@laptop", "since": "2026-11-21T20:00:00Z", "phase": "renewing", "next": "new", "waitsFor": waits});
        expect![[r#"
            digest    old
            ends      2036-11-18
            next      new
            rotation  renewing, asked for by ana@laptop 5s ago
            waits     for a (server, worker), b (worker) to renew their certificates"#]]
        .assert_eq(&words(&view(json!({"rotation": rotation})), now));
        let many: Vec<_> = (1..12).map(|id| holder(id, &format!("n{id}"), "worker")).collect();
        let retired = json!([{"digest": "older", "at": "2026-11-21T20:00:00Z"}]);
        expect![[r#"
            digest    old
            ends      2036-11-18
            behind    n1 (worker), n2 (worker), n3 (worker), n4 (worker), n5 (worker), n6 (worker), n7 (worker), n8 (worker) and 3 more: away during the last rotation, with certificates of an old authority
            replaced  older 5s ago"#]]
        .assert_eq(&words(&view(json!({"behind": many, "retired": retired})), now));
    }
}
