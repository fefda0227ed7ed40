//! `shoal token`: what lets people and programs in. Owns the options; the token goes to stdout once and nowhere else.

use std::time::Duration;

use api::v1::{ApiRole, ApiTokenRequest};
use clap::{Args, Subcommand, ValueEnum};

use super::{ListArgs, OneArgs, values, views};
use crate::cli::{
    age::{self, parse_span},
    failure::{Exit, Outcome},
    output::Listing,
    session::Session,
};

/// What `shoal token` takes.
#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Makes a token. It is printed once; -n keeps it to one namespace.
    #[command(after_help = "Example: shoal token create ci --role deployer -n team --ttl 90d > token")]
    Create {
        /// Whose it is: what the history and `shoal audit` show.
        name: String,
        /// What it allows: everything, to change what runs, or to read.
        #[arg(long, value_enum)]
        role: Role,
        /// How long it is good for.
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = parse_span)]
        ttl: Duration,
        #[command(flatten)]
        output: OneArgs,
    },
    /// The tokens that are still good, without their secrets.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Ends a token at once.
    Revoke {
        /// As `shoal token list` shows it.
        id: String,
    },
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Everything.
    Admin,
    /// To read, and to change what runs.
    Deployer,
    /// To read.
    Viewer,
}

impl From<Role> for ApiRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::Deployer => Self::Deployer,
            Role::Viewer => Self::Viewer,
        }
    }
}

/// Runs one of them.
pub async fn run(args: TokenArgs, session: &Session) -> Outcome {
    match args.what {
        What::Create { name, role, ttl, output } => {
            output.refuse_name("the token")?;
            // Only `-n` itself keeps a token to a namespace: the one of a context is where one works, not what one gives away.
            let namespace = session.said_namespace.clone();
            let request = ApiTokenRequest { name, role: role.into(), namespace, ttl: super::millis(ttl) };
            let made = session.client().await?.create_token(&request).await?;
            session.terminal.data(output.text(&made, &format!("token/{}", made.id), made.token.clone()));
            if output.is_plain() {
                let left = views::until(made.expires_at, age::now());
                session.terminal.hint(format!("expires {left}; shown this once; to end it: shoal token revoke {}", made.id));
                session.terminal.hint(format!("next, where it is used: {}", made.command));
            }
            Ok(Exit::Done)
        }
        What::List(args) => {
            let mut tokens = session.client().await?.tokens().await?.items;
            if let Some(only) = &session.said_namespace {
                tokens.retain(|token| token.namespace.as_ref() == Some(only));
            }
            let names = tokens.iter().map(|token| format!("token/{}", token.id)).collect();
            let listing = Listing { table: views::tokens(&tokens, args.shape()), objects: values(&tokens), names, single: false };
            args.show(&listing, "no token is good; next: shoal token create --role deployer NAME", session)
        }
        What::Revoke { id } => {
            let id = id.strip_prefix("token/").unwrap_or(&id);
            session.client().await?.revoke_token(id).await?;
            session.terminal.data(format!("token/{id} revoked"));
            Ok(Exit::Done)
        }
    }
}
