//! `shoal dev`: a whole node and one app in one command, watching its sources. Owns the loop of build, apply and watch;
//! the node is the supervisor's, writing and waiting is `cli::apply`'s.

mod build;
mod data;
mod ports;
mod project;
mod watch;

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use api::client::Server;
use clap::Args;
use model::id::ComponentId;

use self::{project::Project, watch::Changes};
use crate::cli::{
    apply,
    discovery::{API_SOCKET, DEV_DATA_DIRECTORY},
    failure::{Exit, Failure, Outcome},
    inline_logs::{self, Requests},
    interrupt, server,
    session::{self, Session},
    terminal::{Ink, Terminal},
    urls,
};
use supervisor::{LogFormat, LogOptions, Part, Place, Profile, Ready, Running, ServerOptions, Upkeep};

/// How long one apply may take until its verdict: longer than compiling the largest component seen.
const VERDICT_MAX: Duration = Duration::from_secs(300);

/// What `shoal dev` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "The data directory is --data-dir or SHOAL_DATA_DIR [default: ./.shoal]; it is kept, and the next start goes on from it."
)]
pub struct DevArgs {
    /// A manifest or a bare component; without it ./app.yaml when there is one, else a node alone.
    #[arg(value_name = "app.yaml|app.wasm")]
    file: Option<PathBuf>,
    /// Start from an empty data directory.
    #[arg(long)]
    fresh: bool,
    /// Where the API listens [default: 127.0.0.1:7070, a free port when that is in use].
    #[arg(long, env = "SHOAL_API", value_name = "ADDRESS")]
    api: Option<SocketAddr>,
    /// Where the gateway listens [default: 127.0.0.1:8080, a free port when that is in use].
    #[arg(long, env = "SHOAL_HTTP", value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Where the gateway speaks TLS [default: 127.0.0.1:8443 with --cert-dir, a free port when that is in use].
    #[arg(long, env = "SHOAL_HTTPS", value_name = "ADDRESS")]
    https: Option<SocketAddr>,
    /// Where certificates are, beside those of Secrets: NAME.crt and NAME.key, or NAME.pem and NAME-key.pem as mkcert writes them.
    #[arg(long, env = "SHOAL_CERT_DIR", value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Where Prometheus metrics are served, when at all.
    #[arg(long, env = "SHOAL_METRICS", value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Written once as JSON when the node is ready.
    #[arg(long, env = "SHOAL_READY_FILE", value_name = "FILE")]
    ready_file: Option<PathBuf>,
    #[command(flatten)]
    guest_log: server::GuestLogArgs,
    #[command(flatten)]
    traces: server::TraceArgs,
    /// Which of its own log lines the node writes, such as info,worker=debug [env: SHOAL_LOG] [default: warn].
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Show every request between the log lines, not only those that failed.
    #[arg(long)]
    access: bool,
    /// Do not watch: apply once and show the log.
    #[arg(long)]
    no_watch: bool,
    /// The value of a variable the manifest declares; may be given several times.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
}

/// Starts the node, keeps the app as its sources are, and stops everything at Ctrl-C.
pub async fn run(args: DevArgs, session: &Session) -> Outcome {
    let terminal = &session.terminal;
    let project = Project::find(args.file.clone(), args.vars.clone())?;
    let data = session::data_directory(&session.globals).unwrap_or_else(|| DEV_DATA_DIRECTORY.into());
    if args.fresh {
        data::wipe(&data)?;
    }
    let start = Instant::now();
    let mut running = supervisor::start(options(&args, data.clone(), terminal)).await?;
    greet(&running.ready, &data, start.elapsed(), terminal);
    let globals = session.globals.clone();
    let local = Session::with_server(globals, terminal.clone(), Server::Socket(data.join(API_SOCKET)));
    let ended = tokio::select! {
        ended = work(project, &args, &local) => ended,
        ended = running.wait() => ended.map(|()| Exit::Done).map_err(Failure::from),
        () = interrupt::requested() => Ok(Exit::Done),
    };
    stop(running, &data, terminal).await?;
    ended
}

/// Keeps the app as its sources are; never ends by itself unless something is wrong that no change of a source can mend.
async fn work(project: Option<Project>, args: &DevArgs, session: &Session) -> Outcome {
    let requests = if args.access { Requests::All } else { Requests::Failed };
    let Some(mut project) = project else {
        session.terminal.hint("next: shoal apply -f app.yaml   or   shoal run hello.wasm");
        return std::future::pending().await;
    };
    let mut logs = tokio::task::JoinSet::new();
    let mut changes = Changes::everything();
    loop {
        let builds = project.due_builds(&changes);
        let mut watch = watch::Watch::start(&project.watched())?;
        turn(&mut project, builds, session).await;
        for app in project.newly_applied() {
            let session = session.again();
            logs.spawn(async move { inline_logs::show(&app, requests, &session).await });
        }
        loop {
            tokio::select! {
                next = watch.changed(), if !args.no_watch => changes = next,
                // Nobody reads the output any more.
                Some(Ok(ended)) = logs.join_next() => return ended,
                else => return std::future::pending().await,
            }
            if project.is_news(&changes) {
                break;
            }
        }
        session.terminal.hint(session.terminal.err(Ink::Quiet, &format!("{changes} changed")));
    }
}

/// Builds what changed and applies. What goes wrong is said, and the old code keeps serving.
async fn turn(project: &mut Project, builds: Vec<(ComponentId, build::Work)>, session: &Session) {
    let terminal = &session.terminal;
    let ended = async {
        for (name, work) in builds {
            build::run(&name, &work, terminal).await?;
        }
        let mut wishes = project.wishes(session)?;
        wishes.accept = true;
        let start = Instant::now();
        let answer = apply::write(&wishes, session).await?;
        let exit = apply::wait_quietly(&answer, VERDICT_MAX, session).await?;
        if exit == Exit::Done {
            let urls = answer.objects.iter().filter_map(|object| object.urls.first()).filter_map(|url| urls::Url::parse(url));
            urls.for_each(|url| terminal.hint(format!("{}   (applied in {:.2}s)", urls::curl(&url), start.elapsed().as_secs_f64())));
            project.applied(answer.objects.into_iter().map(|object| object.app), terminal);
        }
        Ok::<_, Failure>(exit)
    };
    let kept = "what ran before keeps serving; waiting for a change";
    match ended.await {
        Ok(Exit::Done) => {}
        Ok(_) => terminal.hint(kept),
        Err(failure) => {
            terminal.complain(failure.render(terminal.err_color));
            terminal.hint(kept);
        }
    }
}

fn options(args: &DevArgs, data_directory: PathBuf, terminal: &Terminal) -> ServerOptions {
    let free = |flag: &str, wanted: Option<SocketAddr>, default: SocketAddr| {
        let (address, taken) = ports::choose(wanted, default);
        if taken {
            terminal.hint(format!("{default} is in use: taking a free port (choose one with {flag})"));
        }
        address
    };
    let log = args.log.clone().or_else(|| std::env::var("SHOAL_LOG").ok()).unwrap_or_else(|| "warn".to_owned());
    ServerOptions {
        part: Part::Both,
        join: None,
        form: None,
        peer: None,
        mesh: None,
        place: Place::default(),
        profile: Profile::default(),
        data_directory,
        name: server::node_name(),
        api: free("--api", args.api, ports::API),
        http: free("--http", args.http, ports::HTTP),
        https: (args.https.is_some() || args.cert_dir.is_some()).then(|| free("--https", args.https, ports::HTTPS)),
        advertise_https: None,
        certificate_directory: args.cert_dir.clone(),
        metrics: args.metrics,
        ready_file: args.ready_file.clone(),
        trusted_proxies: Vec::new(),
        guest_log: args.guest_log.rate(),
        traces: args.traces.clone().settings(),
        upkeep: Upkeep::default(),
        log: LogOptions { format: LogFormat::Text, filter: Some(log) },
    }
}

fn greet(ready: &Ready, data: &std::path::Path, took: Duration, terminal: &Terminal) {
    terminal.hint(terminal.err(Ink::Good, &format!("ready in {:.2}s", took.as_secs_f64())));
    ready.api.iter().for_each(|api| terminal.hint(format!("  API      {api}")));
    ready.http.iter().for_each(|http| terminal.hint(format!("  gateway  {http}")));
    ready.https.iter().for_each(|https| terminal.hint(format!("           {https}")));
    ready.metrics.iter().for_each(|metrics| terminal.hint(format!("  metrics  {metrics}")));
    terminal.hint(format!("  data     {}", data.display()));
    terminal.hint("Ctrl-C stops it; `shoal` in another terminal here finds it");
}

async fn stop(running: Running, data: &std::path::Path, terminal: &Terminal) -> Result<(), Failure> {
    terminal.hint("stopping");
    tokio::select! {
        stopped = running.stop() => stopped.map_err(Failure::from)?,
        // A second Ctrl-C: dropping the node stops it without waiting for requests under way.
        () = interrupt::requested() => {}
    }
    terminal.hint(format!("stopped; what was deployed is kept in {}", data.display()));
    Ok(())
}
