//! `shoal member`: the servers that hold the state. Owns the options and what is asked before somebody is removed; whether it is safe, the servers say.

use api::v1::{ClusterView, MemberRole, TransferRequest};
use clap::{Args, Subcommand};
use model::problem::Problem;
use serde_json::json;

use super::{ListArgs, values, views};
use crate::cli::{
    failure::{Exit, Failure, Outcome},
    output::{Format, Listing},
    session::Session,
    sure::sure,
    terminal::Ink,
};

/// What `shoal member` takes.
#[derive(Debug, Args)]
pub struct MemberArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Who votes, who leads, who lags, and how many may be lost.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Gives a learner a vote, which else happens by itself.
    Promote {
        /// The member's node.
        name: String,
    },
    /// Takes a server out of the group and out of the cluster, with everything that runs on it.
    #[command(visible_alias = "rm")]
    Remove {
        /// The member's node.
        name: String,
        /// Do not ask; required where nobody can answer.
        #[arg(short, long)]
        yes: bool,
    },
    /// Lets another member lead.
    Transfer {
        /// Who should lead [default: the one that lacks least].
        name: Option<String>,
    },
}

impl MemberArgs {
    /// Whether nothing is changed.
    pub fn only_lists(&self) -> bool {
        matches!(self.what, What::List(_))
    }
}

/// Runs one of them.
pub async fn run(args: MemberArgs, session: &Session) -> Outcome {
    let client = session.client().await?;
    let answer = match args.what {
        What::List(args) => return list(&args, session).await,
        What::Promote { name } => client.promote_member(bare(&name)).await?,
        What::Remove { name, yes } => {
            let name = bare(&name);
            let question = removal(&client.cluster().await?, name)?;
            sure(&session.terminal, yes, &format!("remove member {name}"), &question)?;
            client.remove_member(name).await?
        }
        What::Transfer { name } => client.transfer_leadership(&TransferRequest { to: name.map(|name| bare(&name).to_owned()) }).await?,
    };
    session.terminal.data(format!("member/{}: {}", answer.node, answer.message));
    session.terminal.hint("next: shoal member list");
    Ok(Exit::Done)
}

async fn list(args: &ListArgs, session: &Session) -> Outcome {
    let cluster = session.client().await?.cluster().await?;
    match args.format() {
        // The whole answer: the cluster's id, its authority and what it tolerates belong to it.
        Format::Json => session.terminal.data(format!("{:#}", json!(cluster))),
        Format::Yaml => session.terminal.data(crate::cli::yaml::to_yaml(&json!(cluster))),
        _ => {
            args.show(&listing(&cluster, args.shape()), "no members", session)?;
            let ink = if cluster.tolerates == 0 { Ink::Moving } else { Ink::Good };
            session.terminal.hint(session.terminal.err(ink, &views::tolerance(&cluster)));
        }
    }
    Ok(Exit::Done)
}

/// The members as a listing.
pub fn listing(cluster: &ClusterView, shape: crate::cli::views::Shape) -> Listing {
    let names = cluster.members.iter().map(|member| format!("member/{}", member.name)).collect();
    Listing { table: views::members(&cluster.members, shape), objects: values(&cluster.members), names, single: false }
}

/// What is asked before `name` is removed.
fn removal(cluster: &ClusterView, name: &str) -> Result<String, Failure> {
    let Some(member) = cluster.members.iter().find(|member| member.name == name) else {
        let problem = Problem::new("E0402", format!("member `{name}` does not exist"));
        return Err(Failure::of(problem.help("`shoal member list` lists who does")));
    };
    let voters = cluster.members.iter().filter(|member| member.role == MemberRole::Voter).count();
    let left = if member.role == MemberRole::Voter { voters - 1 } else { voters };
    let leads = if member.leader { " It leads: another one takes over first." } else { "" };
    Ok(format!(
        "Remove member {name}, a {}, and everything that runs on it?{leads} {left} voters are left, of which {} may be lost. \
         It can come back only as a new node.",
        views::member_role(member.role),
        views::tolerated(left)
    ))
}

fn bare(name: &str) -> &str {
    name.strip_prefix("member/").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterView {
        let member = |id: u64, name: &str, role: &str| json!({"id": id, "name": name, "role": role, "leader": id == 1, "address": format!("10.0.0.{id}:7071")});
        serde_json::from_value(json!({"id": "c", "authority": "a", "leader": "one", "term": 3, "index": 9, "tolerates": 1,
            "members": [member(1, "one", "voter"), member(2, "two", "voter"), member(3, "three", "voter"), member(4, "four", "learner")]}))
        .expect("the shape of the API")
    }

    #[test]
    fn removing_says_what_is_left() {
        let check = |name: &str, expected: &str| assert_eq!(removal(&cluster(), name).expect("a member"), expected);
        check(
            "one",
            "Remove member one, a voter, and everything that runs on it? It leads: another one takes over first. 2 voters are left, of which 0 may be lost. It can come back only as a new node.",
        );
        check(
            "two",
            "Remove member two, a voter, and everything that runs on it? 2 voters are left, of which 0 may be lost. It can come back only as a new node.",
        );
        check(
            "four",
            "Remove member four, a learner, and everything that runs on it? 3 voters are left, of which 1 may be lost. It can come back only as a new node.",
        );
        assert_eq!(removal(&cluster(), "five").expect_err("nobody").exit, Exit::NotFound);
    }

    #[test]
    fn what_may_be_lost_is_said_in_words() {
        let said = |tolerates| views::tolerance(&ClusterView { tolerates, ..cluster() });
        assert_eq!(said(0), "tolerates the loss of no more members: bring back those that are not heard, or remove them");
        let mut alone = ClusterView { tolerates: 0, ..cluster() };
        alone.members.truncate(1);
        assert_eq!(views::tolerance(&alone), "tolerates the loss of no member; next: shoal join-token create server");
        let mut closed = ClusterView { tolerates: 0, ..cluster() };
        closed.members.iter_mut().for_each(|member| member.address.clear());
        let said_of_closed = views::tolerance(&closed);
        assert!(said_of_closed.contains("`shoal server`") && !said_of_closed.contains("join-token"), "{said_of_closed}");
        assert_eq!((said(1).as_str(), said(2).as_str()), ("tolerates the loss of 1 member", "tolerates the loss of 2 members"));
    }
}
