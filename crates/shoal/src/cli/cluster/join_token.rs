//! `shoal join-token`: what lets nodes join. Owns the options; the token goes to stdout once and nowhere else.

use std::time::Duration;

use api::v1::{JoinRole, JoinTokenRequest, NewJoinToken};
use clap::{Args, Subcommand, ValueEnum};

use super::{ListArgs, OneArgs, values, views};
use crate::cli::{
    age::{self, parse_span},
    failure::{Exit, Outcome},
    output::Listing,
    session::Session,
};

/// What `shoal join-token` takes.
#[derive(Debug, Args)]
pub struct JoinTokenArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Makes a token. It is printed once; the command that uses it stands beside it.
    #[command(after_help = "Example: shoal join-token create worker --ttl 10m --uses 1 > token")]
    Create {
        /// Which kind of node may join with it.
        #[arg(value_enum)]
        role: Role,
        /// How long it is good for.
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_span)]
        ttl: Duration,
        /// How many nodes may join with it [default: any number].
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        uses: Option<u32>,
        /// What it is for, shown in the list.
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        #[command(flatten)]
        output: OneArgs,
    },
    /// The tokens that are still good, without their secrets.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Ends a token: nobody joins with it any more. Nodes that have joined stay.
    Revoke {
        /// As `shoal join-token list` shows it.
        id: String,
    },
}

/// A kind of node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Holds the state and the keys.
    Server,
    /// Runs guests.
    Worker,
}

/// Runs one of them.
pub async fn run(args: JoinTokenArgs, session: &Session) -> Outcome {
    match args.what {
        What::Create { role, ttl, uses, note, output } => {
            output.refuse_name("the token")?;
            let role = match role {
                Role::Server => JoinRole::Server,
                Role::Worker => JoinRole::Worker,
            };
            let request = JoinTokenRequest { role, ttl: super::millis(ttl), uses, note };
            let made = session.client().await?.create_join_token(&request).await?;
            session.terminal.data(output.text(&made, &format!("join-token/{}", made.id), made.token.clone()));
            if output.is_plain() {
                session.terminal.hint(hint(&made, role, age::now()));
            }
            Ok(Exit::Done)
        }
        What::List(args) => {
            let tokens = session.client().await?.join_tokens().await?.items;
            let names = tokens.iter().map(|token| format!("join-token/{}", token.id)).collect();
            let table = views::join_tokens(&tokens, args.shape());
            let listing = Listing { table, objects: values(&tokens), names, single: false };
            args.show(&listing, "no join token is good; next: shoal join-token create server", session)
        }
        What::Revoke { id } => {
            let id = id.strip_prefix("join-token/").unwrap_or(&id);
            session.client().await?.revoke_join_token(id).await?;
            session.terminal.data(format!("join-token/{id} revoked"));
            Ok(Exit::Done)
        }
    }
}

/// What stands beside the token.
fn hint(made: &NewJoinToken, role: JoinRole, now: model::id::Timestamp) -> String {
    let kind = views::join_role(role);
    let left = views::until(made.expires_at, now);
    let next = match made.command.as_str() {
        "" => {
            "this server tells nobody an address: nobody can join it; `shoal server` has a port for others, `shoal dev` has none".to_owned()
        }
        command => format!("next, on the {kind}: {command}"),
    };
    format!("lets {kind}s join; expires {left}; shown this once; to end it: shoal join-token revoke {}\n{next}", made.id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_hint_has_the_whole_command() {
        let made: NewJoinToken = serde_json::from_value(json!({
            "token": "SHOAL1-w-x", "id": "k3v9", "expiresAt": "1970-01-01T01:00:00.000Z",
            "command": "SHOAL_JOIN_TOKEN=SHOAL1-w-x shoal worker --data-dir /var/lib/shoal --join 10.0.0.1:7071",
        }))
        .expect("the shape of the API");
        expect_test::expect![[r#"
            lets workers join; expires in 1h; shown this once; to end it: shoal join-token revoke k3v9
            next, on the worker: SHOAL_JOIN_TOKEN=SHOAL1-w-x shoal worker --data-dir /var/lib/shoal --join 10.0.0.1:7071"#]]
        .assert_eq(&hint(&made, JoinRole::Worker, model::id::Timestamp(0)));
        let alone = hint(&NewJoinToken { command: String::new(), ..made }, JoinRole::Server, model::id::Timestamp(0));
        assert!(alone.contains("nobody can join it") && !alone.contains("--join"), "{alone}");
    }
}
