//! `shoal login`: remembers a cluster and who one is there. Owns the order: the authority is pinned before the token is sent, and nothing is saved that did not
//! work.

use std::{io::IsTerminal as _, path::PathBuf, sync::Arc};

use api::{
    client::{Client, Server},
    limits::CONNECT_MAX,
    v1::{Principal, VersionView},
};
use clap::Args;
use transport::{AuthorityCertificate, AuthorityDigest, Pin, Protocol, SystemClock};

use super::{
    choice,
    file::{Context, Contexts, Secret},
};
use crate::cli::{
    cluster::whoami::sentence,
    discovery,
    failure::{Exit, Failure, Outcome, io_words},
    hidden,
    session::{Session, chain},
};

/// Longest token file that is read: a token has about a hundred characters.
const TOKEN_BYTES_MAX: usize = 4 * 1024;

/// What `shoal login` takes.
#[derive(Debug, Args)]
#[command(after_help = "The token is asked for, or read from standard input or --token-file. `shoal token create` makes one.")]
pub struct LoginArgs {
    /// A server of the cluster, as https://HOST:7070; several give commands somewhere to turn to.
    #[arg(value_name = "URL", required = true)]
    urls: Vec<String>,
    /// The digest of the cluster's authority, as whoever runs it told you; without it the one that is shown is asked about.
    #[arg(long, value_name = "DIGEST")]
    ca_digest: Option<String>,
    /// A file with the token; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// What the context is called [default: the host].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Take the authority that is shown without asking: right only on a network you trust.
    #[arg(short, long)]
    yes: bool,
}

/// Pins, asks who one is, and saves.
pub async fn run(args: LoginArgs, session: &Session) -> Outcome {
    let path = super::path()?;
    let mut contexts = Contexts::load(&path)?;
    let name = args.name.clone().unwrap_or_else(|| default_name(&args.urls[0]));
    let is_encrypted = args.urls.iter().all(|url| url.starts_with("https://"));
    let authority = if is_encrypted { Some(pin(&args, contexts.all.get(&name), &name, session).await?) } else { None };
    let servers = args.urls.iter().map(|url| match authority {
        Some(authority) => discovery::pinned(url, authority),
        None => discovery::parse(url),
    });
    let servers: Vec<Server> = servers.collect::<Result<_, _>>()?;
    servers.iter().find(|server| choice::is_in_the_open(server)).map_or(Ok(()), |server| Err(choice::in_the_open(server)))?;
    let token = token(&args, authority.is_some(), session)?;
    let context = Context {
        servers: servers.iter().map(ToString::to_string).collect(),
        ca_digest: authority,
        token: token.map(Secret),
        namespace: session.said_namespace.clone(),
    };
    let (version, principal) = ask(servers, &context).await?;
    // Who is kept to one namespace works in it.
    let namespace = context.namespace.clone().or_else(|| principal.namespace.clone());
    contexts.all.insert(name.clone(), Context { namespace, ..context });
    contexts.current = Some(name.clone());
    contexts.save(&path)?;
    session.terminal.data(sentence(&principal));
    session
        .terminal
        .hint(format!("server {} on {}; saved as context {name}, now in use; next: shoal get apps", version.version, version.node));
    Ok(Exit::Done)
}

/// The authority to trust: the one that was given, the one that was saved, or the one that is shown, after a yes.
async fn pin(args: &LoginArgs, saved: Option<&Context>, name: &str, session: &Session) -> Result<AuthorityDigest, Failure> {
    let given = args.ca_digest.as_deref().map(|text| choice::authority(text, "--ca-digest")).transpose()?;
    let (url, shown) = shown(&args.urls).await?;
    let host = host_of(url);
    match judge(shown.digest(), given, saved.and_then(|context| context.ca_digest)) {
        Trust::Known => {}
        // One that was replaced leads to the one that is shown; what was pinned stays so until every server shows that.
        Trust::Changed { pinned } if vouches(host, pinned).await => return Ok(pinned),
        Trust::Changed { pinned } => return Err(changed(url, name, &pinned, &shown.digest(), given.is_some())),
        Trust::Ask => {
            let cluster = shown.cluster();
            session.terminal.hint(format!("{url} shows cluster {cluster} with the authority {}", shown.digest()));
            let terminal = &session.terminal;
            if !args.yes && !terminal.interactive {
                let help = "give --ca-digest DIGEST, as `shoal ca show` on a server shows it, or --yes on a network you trust";
                return Err(Failure::usage(format!("{url} is not known yet, and nobody can be asked here"), help));
            }
            if !args.yes && !terminal.confirm("Is it the digest that whoever runs the cluster told you?") {
                return Err(Failure::sentence(Exit::NotAllowed, "nothing was sent and nothing saved", ""));
            }
        }
    }
    Ok(shown.digest())
}

/// The first server that answers, and the authority that it shows.
async fn shown(urls: &[String]) -> Result<(&str, AuthorityCertificate), Failure> {
    let mut away = None;
    for url in urls {
        let error = match transport::shown_authority(host_of(url), Arc::new(SystemClock), CONNECT_MAX).await {
            Ok(shown) => return Ok((url, shown)),
            Err(error) => error,
        };
        let problem = model::problem::Problem::new(code(&error), format!("cannot log in at {url}: {}", chain(&error)));
        let failure = Failure::of(problem.help("give the address of a server's API, as in https://10.0.0.1:7070"));
        if code(&error) != AWAY {
            return Err(failure);
        }
        away.get_or_insert(failure);
    }
    Err(away.unwrap_or_else(|| Failure::usage("no server was named", "give the address of a server's API, as in https://10.0.0.1:7070")))
}

fn host_of(url: &str) -> &str {
    url.trim_start_matches("https://").trim_end_matches('/')
}

/// Whether the authority that is pinned vouches for the one that is shown at `host`.
async fn vouches(host: &str, pinned: AuthorityDigest) -> bool {
    let pin = Pin { authority: pinned, clock: Arc::new(SystemClock), protocol: Protocol::Http1, connect_max: CONNECT_MAX };
    transport::dial_pinned(host, &pin).await.is_ok()
}

/// What to think of an authority that is shown.
#[derive(Debug, PartialEq, Eq)]
enum Trust {
    Known,
    Ask,
    Changed { pinned: AuthorityDigest },
}

/// What was given counts more than what was saved, so that a cluster made anew can be logged in to with its new digest, but only with it.
fn judge(shown: AuthorityDigest, given: Option<AuthorityDigest>, saved: Option<AuthorityDigest>) -> Trust {
    match given.or(saved) {
        Some(pinned) if pinned == shown => Trust::Known,
        Some(pinned) => Trust::Changed { pinned },
        None => Trust::Ask,
    }
}

fn changed(url: &str, name: &str, pinned: &AuthorityDigest, shown: &AuthorityDigest, given: bool) -> Failure {
    let from = if given { "--ca-digest says".to_owned() } else { format!("the context {name} was saved with") };
    let message = format!("{url} is not the cluster that was pinned: it shows the authority {shown}, {from} {pinned}");
    let help = "somebody may be in between; if the cluster was made anew, ask for its new digest and give it with --ca-digest";
    Failure::of(model::problem::Problem::new("E0610", message).help(help))
}

/// A server that does not answer.
const AWAY: &str = "E0605";

fn code(error: &transport::DialError) -> &'static str {
    use transport::DialError::{Connect, Late, Left, Resolve};
    if matches!(error, Connect { .. } | Late { .. } | Left { .. } | Resolve { .. }) { AWAY } else { "E0610" }
}

/// The token from where it was said to be: a file, standard input, a prompt. Without TLS, which is on this machine only, none is needed.
fn token(args: &LoginArgs, is_needed: bool, session: &Session) -> Result<Option<String>, Failure> {
    let unread = |what: String, error: &std::io::Error| {
        Failure::sentence(Exit::Error, format!("cannot read {what}: {}; nothing was sent", io_words(error)), "")
    };
    let text = match &args.token_file {
        Some(file) if file.as_os_str() != "-" => {
            bounded(std::fs::File::open(file)).map_err(|error| unread(file.display().to_string(), &error))?
        }
        None if !is_needed => return Ok(None),
        None if session.terminal.interactive => hidden::ask("token").map_err(|error| unread("the token".to_owned(), &error))?,
        None if std::io::stdin().is_terminal() => return Err(Failure::usage("no token was given", "give --token-file FILE")),
        _ => bounded(Ok(std::io::stdin())).map_err(|error| unread("standard input".to_owned(), &error))?,
    };
    choice::token(&text, "what was given")?;
    Ok(Some(text.trim().to_owned()))
}

fn bounded(from: std::io::Result<impl std::io::Read>) -> std::io::Result<String> {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(from?, TOKEN_BYTES_MAX as u64), &mut text)?;
    Ok(text)
}

/// Whether the cluster answers and lets one in.
async fn ask(servers: Vec<Server>, context: &Context) -> Result<(VersionView, Principal), Failure> {
    let mut client = Client::of(servers);
    if let Some(secret) = &context.token {
        client = client.with_token(choice::token(&secret.0, "what was given")?);
    }
    Ok((client.version().await?, client.whoami().await?))
}

/// The host of a URL without its domain: `https://prod.example.com:7070` is `prod`; an address stays whole.
fn default_name(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host).trim_matches(['[', ']']);
    if host.parse::<std::net::IpAddr>().is_ok() { host.to_owned() } else { host.split('.').next().unwrap_or(host).to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_authority_is_refused_and_a_new_one_asked_about() {
        let [one, two, three] = [1, 2, 3].map(|byte| AuthorityDigest::from_bytes([byte; 32]));
        assert_eq!(judge(one, None, None), Trust::Ask);
        assert_eq!(judge(one, Some(one), None), Trust::Known);
        assert_eq!(judge(one, None, Some(one)), Trust::Known);
        assert_eq!(judge(one, Some(one), Some(two)), Trust::Known, "the cluster was made anew");
        assert_eq!(judge(one, Some(two), Some(one)), Trust::Changed { pinned: two });
        assert_eq!(judge(one, None, Some(three)), Trust::Changed { pinned: three });
        let said = changed("https://a:7070", "a", &one, &two, false);
        assert!(said.render(false).starts_with("error[E0610]"), "{}", said.render(false));
    }

    #[test]
    fn a_context_is_called_by_its_host() {
        for (url, name) in [
            ("https://prod.example.com:7070", "prod"),
            ("https://lab:7070/", "lab"),
            ("https://10.0.0.1:7070", "10.0.0.1"),
            ("https://[::1]:7070", "::1"),
            ("http://localhost:7070", "localhost"),
        ] {
            assert_eq!(default_name(url), name, "{url}");
        }
    }

    #[test]
    fn a_token_file_is_not_read_without_end() {
        assert_eq!(bounded(Ok(std::io::repeat(b'x'))).expect("text").len(), TOKEN_BYTES_MAX);
    }
}
