//! The command line: which commands exist and what they share. Owns parsing, the order of output streams and exit codes.
//! Must never hold a rule of the cluster: commands ask a server and show what it says; what is computed here is pure and tested beside its text.

mod again;
mod age;
pub mod apply;
mod cluster;
mod columns;
mod completions;
pub mod context;
mod delete;
mod describe;
mod diff;
pub mod discovery;
mod doctor;
mod documents;
mod events;
mod explain;
pub mod failure;
mod files;
pub mod follow;
mod get;
mod given;
mod hidden;
mod http;
pub mod inline_logs;
mod inspect;
pub mod interrupt;
mod lint;
mod listing;
pub mod log_lines;
mod logs;
mod output;
mod plan;
mod plan_text;
mod progress;
mod recover;
mod rollout;
mod run;
#[cfg(test)]
mod samples;
mod scale;
mod schema;
mod selector;
pub mod server;
pub mod session;
mod snapshot;
mod sources;
mod sure;
mod table;
mod target;
pub mod temporary;
pub mod terminal;
mod top;
mod top_views;
pub mod urls;
mod usage;
mod verdict;
mod version;
mod views;
mod wait;
mod why;
mod yaml;

pub use apply::Wishes;
pub use documents::{Documents, FileArgs};

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand};

use self::{
    failure::{Exit, Failure, Outcome},
    session::Session,
    terminal::Terminal,
};
use crate::dev;

/// Runs WebAssembly components the way Kubernetes runs containers.
#[derive(Debug, Parser)]
#[command(name = "shoal", version, args_override_self = true, arg_required_else_help = true, subcommand_required = true)]
#[command(after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  shoal dev app.yaml                    one local node, watching your sources
  shoal apply -f app.yaml               make it so, and wait for the verdict
  shoal get apps                        what runs
  shoal logs -f hello --access          what it says and what it answers
  shoal top apps                        what it uses
  shoal why http://hello.localhost/     from host to instance, step by step
  shoal explain E0204                   what an error means and how to mend it";

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Globals {
    /// The server: https://HOST:PORT, http://HOST:PORT or unix:PATH [env: SHOAL_SERVER, with SHOAL_TOKEN and SHOAL_CA_DIGEST].
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    pub server: Option<String>,
    /// The data directory of a node on this machine; its socket is used [env: SHOAL_DATA_DIR].
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub data_dir: Option<PathBuf>,
    /// The cluster of `shoal login` with this name [default: the one of `shoal context use`].
    #[arg(long, global = true, value_name = "NAME", conflicts_with_all = ["server", "data_dir"], help_heading = "Global options")]
    pub context: Option<String>,
    /// The namespace [default: that of the context, else default].
    #[arg(short, long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub namespace: Option<model::id::Name>,
    /// No hints and no progress.
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One local node in one command, watching your sources.
    Dev(dev::DevArgs),
    /// A node: control plane, gateway and sandboxes.
    Server(server::ServerArgs),
    /// A node that runs instances for a control plane elsewhere.
    Worker(server::WorkerArgs),
    /// A component as a temporary app, gone at Ctrl-C.
    Run(run::RunArgs),
    /// Makes what the manifests say so, and waits for the verdict.
    Apply(apply::ApplyArgs),
    /// What an apply would do, without doing it; exit code 2 when there are changes.
    Plan(plan::PlanArgs),
    /// Checks manifests and components without a server.
    Lint(lint::LintArgs),
    /// The changed fields alone; exit code 2 when there are any.
    Diff(diff::DiffArgs),
    /// Lists apps, components, instances, revisions, nodes, events, routes, configs, secrets, namespaces or members.
    Get(get::GetArgs),
    /// Everything about one object.
    Describe(describe::DescribeArgs),
    /// Deletes apps, configs and secrets.
    Delete(delete::DeleteArgs),
    /// Sets the number of instances of a component.
    Scale(scale::ScaleArgs),
    /// Waits until an app is ready or gone.
    Wait(wait::WaitArgs),
    /// What components wrote and, with --access, what was answered.
    Logs(logs::LogsArgs),
    /// What happened.
    Events(events::EventsArgs),
    /// What nodes, apps and instances use right now.
    Top(top::TopArgs),
    /// How a rollout goes, what was before, and back to it.
    Rollout(rollout::RolloutArgs),
    /// Why an app, a URL or a request does not work.
    Why(why::WhyArgs),
    /// Sends a request to a component through the gateway.
    Http(http::HttpArgs),
    /// Remembers a cluster and who you are there.
    Login(context::login::LoginArgs),
    /// The clusters you have logged in to, and which one commands speak to.
    Context(context::ContextArgs),
    /// Who the server takes you for.
    Whoami(cluster::whoami::WhoamiArgs),
    /// Values that only components see.
    Secret(cluster::secret::SecretArgs),
    /// The servers that hold the state: who votes, who leads.
    Member(cluster::member::MemberArgs),
    /// The authority that signs the nodes' certificates.
    Ca(cluster::ca::CaArgs),
    /// Machines of the cluster.
    Node(cluster::node::NodeArgs),
    /// Tokens that let nodes join.
    JoinToken(cluster::join_token::JoinTokenArgs),
    /// The token with which several servers form a cluster by themselves.
    FormationToken(cluster::formation_token::FormationTokenArgs),
    /// Tokens that let people and programs in.
    Token(cluster::token::TokenArgs),
    /// Who asked for which change.
    Audit(cluster::audit::AuditArgs),
    /// The state of the cluster as a file, and a cluster from such a file.
    Snapshot(snapshot::SnapshotArgs),
    /// Lets the servers begin anew with the one on this machine, when most of them are lost for good.
    Recover(recover::RecoverArgs),
    /// Whether this machine and the way to the servers are fit for a cluster.
    Doctor(doctor::DoctorArgs),
    /// What a .wasm is: size, language, imports, exports.
    Inspect(inspect::InspectArgs),
    /// What a manifest field or an error code means.
    Explain(explain::ExplainArgs),
    /// The JSON schema of manifests, for editors.
    Schema(schema::SchemaArgs),
    /// Completions for a shell.
    Completions(completions::CompletionsArgs),
    /// The version of this program and, when one answers, of the server.
    Version(version::VersionArgs),
}

impl Command {
    /// Whether it asks a server about what lies in a namespace.
    fn is_within_a_namespace(&self) -> bool {
        matches!(
            self,
            Self::Run(_)
                | Self::Apply(_)
                | Self::Plan(_)
                | Self::Diff(_)
                | Self::Get(_)
                | Self::Describe(_)
                | Self::Delete(_)
                | Self::Scale(_)
                | Self::Wait(_)
                | Self::Logs(_)
                | Self::Events(_)
                | Self::Top(_)
                | Self::Rollout(_)
                | Self::Why(_)
                | Self::Http(_)
                | Self::Secret(_)
        )
    }

    /// Whether it shows what is, once, and nothing is done about it.
    fn only_reads(&self) -> bool {
        match self {
            Self::Get(args) => !args.watches(),
            Self::Top(args) => !args.watches(),
            Self::Events(args) => !args.watches(),
            Self::Member(args) => args.only_lists(),
            Self::Describe(_) | Self::Why(_) | Self::Whoami(_) | Self::Audit(_) => true,
            _ => false,
        }
    }
}

/// What the supervisor starts itself with: no command of users, so neither help nor completions know it.
#[derive(Debug, Parser)]
#[command(name = "shoal internal")]
struct Internal {
    #[command(subcommand)]
    command: supervisor::InternalCommand,
}

/// Parses the command line, runs the command, and says how it ended.
pub fn run() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == "internal") {
        return match Internal::try_parse_from(std::env::args_os().skip(1)) {
            Ok(internal) => supervisor::internal(internal.command).unwrap_or_else(|error| end(&Terminal::detect(false), Err(error.into()))),
            Err(error) => told_by_clap(&error),
        };
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return told_by_clap(&error),
    };
    let terminal = Terminal::detect(cli.globals.quiet);
    match cli.command {
        Command::Server(args) => run_node(server::options(args, &cli.globals), &terminal),
        Command::Worker(args) => run_node(server::worker_options(args, &cli.globals), &terminal),
        command => {
            let terminal = std::sync::Arc::new(terminal);
            match Session::new(cli.globals, terminal.clone()) {
                Ok(session) => {
                    let session = if command.only_reads() { session.reading() } else { session };
                    in_runtime(command, session)
                }
                Err(failure) => end(&terminal, Err(failure)),
            }
        }
    }
}

fn in_runtime(command: Command, mut session: Session) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(async {
            if command.is_within_a_namespace() {
                session.settle_namespace().await;
            }
            let ended = dispatch(command, &session).await.map(|exit| session.ended(exit));
            context::follow::authority(&session).await;
            ended
        }),
        Err(error) => Err(anyhow::Error::new(error).context("starting the threads of the command").into()),
    };
    end(&session.terminal, ended)
}

async fn dispatch(command: Command, session: &Session) -> Outcome {
    match command {
        Command::Dev(args) => dev::run(args, session).await,
        Command::Run(args) => run::run(args, session).await,
        Command::Apply(args) => apply::run(args, session).await,
        Command::Plan(args) => plan::run(args, session).await,
        Command::Lint(args) => lint::run(&args, session),
        Command::Diff(args) => diff::run(args, session).await,
        Command::Get(args) => get::run(args, session).await,
        Command::Describe(args) => describe::run(args, session).await,
        Command::Delete(args) => delete::run(args, session).await,
        Command::Scale(args) => scale::run(args, session).await,
        Command::Wait(args) => wait::run(args, session).await,
        Command::Logs(args) => logs::run(args, session).await,
        Command::Events(args) => events::run(args, session).await,
        Command::Top(args) => top::run(args, session).await,
        Command::Rollout(args) => rollout::run(args, session).await,
        Command::Why(args) => why::run(args, session).await,
        Command::Http(args) => http::run(args, session).await,
        Command::Login(args) => context::login::run(args, session).await,
        Command::Context(args) => context::run(args, session),
        Command::Whoami(args) => cluster::whoami::run(args, session).await,
        Command::Secret(args) => cluster::secret::run(args, session).await,
        Command::Member(args) => cluster::member::run(args, session).await,
        Command::Ca(args) => cluster::ca::run(args, session).await,
        Command::Node(args) => cluster::node::run(args, session).await,
        Command::JoinToken(args) => cluster::join_token::run(args, session).await,
        Command::FormationToken(args) => cluster::formation_token::run(args, session),
        Command::Token(args) => cluster::token::run(args, session).await,
        Command::Audit(args) => cluster::audit::run(args, session).await,
        Command::Snapshot(args) => snapshot::run(args, session).await,
        Command::Recover(args) => recover::run(args, session).await,
        Command::Doctor(args) => doctor::run(args, session).await,
        Command::Inspect(args) => inspect::run(&args, session),
        Command::Explain(args) => explain::run(&args, session),
        Command::Schema(args) => schema::run(&args, session),
        Command::Completions(args) => completions::run(&args, &mut Cli::command(), session),
        Command::Version(args) => version::run(args, session).await,
        Command::Server(_) | Command::Worker(_) => unreachable!("a node brings a runtime of its own"),
    }
}

/// A node brings a runtime of its own.
fn run_node(options: Result<supervisor::ServerOptions, Failure>, terminal: &Terminal) -> ExitCode {
    match options.and_then(|options| supervisor::run_server(options).map_err(Failure::from)) {
        Ok(code) => code,
        Err(failure) => end(terminal, Err(failure)),
    }
}

fn end(terminal: &Terminal, ended: Outcome) -> ExitCode {
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            terminal.complain(failure.render(terminal.err_color));
            failure.exit.into()
        }
    }
}

/// Help and version go to stdout and are no failure; anything else is a wrong command line.
fn told_by_clap(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| std::io::stdout().flush());
    if let (Err(lost), false) = (printed, error.use_stderr()) {
        return Terminal::detect(false).lost(&lost).into();
    }
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_flag_given_twice_takes_the_last() {
        let parsed = Cli::try_parse_from(["shoal", "server", "--http", "127.0.0.1:1", "--http", "127.0.0.1:2"]);
        assert!(parsed.is_ok(), "{parsed:?}");
    }
}
