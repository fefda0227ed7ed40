//! Which cluster a command speaks to, and as whom. Pure: options, environment and saved contexts come in, addresses and a token come out. Owns the precedence;
//! must never dial.

use std::path::PathBuf;

use api::client::{Server, Token};
use model::id::Name;
use transport::AuthorityDigest;

use super::file::{Context, Contexts};
use crate::cli::{discovery, failure::Failure};

/// What the options and the environment say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// `--server`.
    pub server: Option<String>,
    /// `--data-dir`.
    pub data_directory: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
    /// `SHOAL_SERVER`.
    pub server_variable: Option<String>,
    /// `SHOAL_DATA_DIR`.
    pub data_directory_variable: Option<PathBuf>,
    /// `SHOAL_TOKEN`, wherever the server comes from.
    pub token_variable: Option<String>,
    /// `SHOAL_CA_DIGEST`.
    pub authority_variable: Option<String>,
}

/// A cluster and who one is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The context it came from.
    pub context: Option<String>,
    /// First to last; with `all`, servers of one cluster.
    pub addresses: Vec<Server>,
    /// Whether a call may go to any of them; else only the first that answers is meant.
    pub is_one_cluster: bool,
    /// What is shown to them.
    pub token: Option<Token>,
}

impl Said {
    /// The context in effect, when it is one: `--context`, or the current one when nothing else is said.
    ///
    /// # Errors
    /// It does not exist.
    pub fn context<'a>(&self, contexts: &'a Contexts) -> Result<Option<(&'a str, &'a Context)>, Failure> {
        let elsewhere = self.server.is_some() || self.data_directory.is_some();
        let elsewhere_by_variable = self.server_variable.is_some() || self.data_directory_variable.is_some();
        let name = match (&self.context, &contexts.current) {
            _ if elsewhere => return Ok(None),
            (Some(name), _) => name,
            (None, _) if elsewhere_by_variable => return Ok(None),
            (None, Some(current)) => current,
            (None, None) => return Ok(None),
        };
        contexts.named(name)?;
        Ok(contexts.all.get_key_value(name).map(|(name, context)| (name.as_str(), context)))
    }

    /// Where to look, and what to show: options before variables before the current context before what is found on this machine.
    ///
    /// # Errors
    /// An address or a token that is none; an encrypted server whose authority is not known; a token that would go over the network in the open.
    pub fn choose(&self, contexts: &Contexts) -> Result<Choice, Failure> {
        let token = self.token_variable.as_deref().map(|text| token(text, "SHOAL_TOKEN")).transpose()?;
        let choice = match self.context(contexts)? {
            Some((name, context)) => of_context(name, context)?,
            None => self.elsewhere(contexts)?,
        };
        if token.is_some() && choice.addresses.iter().any(|server| matches!(server, Server::Found(_))) {
            // Whatever answers there would have it.
            let help = "name the server it is for with --server, SHOAL_SERVER or a context; or unset SHOAL_TOKEN to ask as the owner of a server of this machine";
            return Err(Failure::usage("SHOAL_TOKEN is set and no server is named", help));
        }
        let choice = Choice { token: token.or(choice.token.clone()), ..choice };
        match choice.addresses.iter().find(|server| is_in_the_open(server)) {
            Some(server) if choice.token.is_some() => Err(in_the_open(server)),
            _ => Ok(choice),
        }
    }

    fn elsewhere(&self, contexts: &Contexts) -> Result<Choice, Failure> {
        let server = match (&self.server, &self.data_directory) {
            (None, None) => self.server_variable.as_ref(),
            (server, _) => server.as_ref(),
        };
        let Some(text) = server.filter(|text| text.starts_with("https://")) else {
            let directory = match (&self.data_directory, server) {
                (None, None) => self.data_directory_variable.as_ref(),
                (directory, _) => directory.as_ref(),
            };
            let addresses = discovery::candidates(server.map(String::as_str), directory.map(PathBuf::as_path))?;
            return Ok(Choice { context: None, addresses, is_one_cluster: false, token: None });
        };
        let known = contexts.with_server(text);
        let authority = match &self.authority_variable {
            Some(digest) => Some(self::authority(digest, "SHOAL_CA_DIGEST")?),
            None => known.and_then(|(_, context)| context.ca_digest),
        };
        let Some(authority) = authority else {
            let help = format!("log in first: shoal login {text}; or set SHOAL_CA_DIGEST");
            return Err(Failure::usage(format!("{text} cannot be trusted: the digest of its cluster's authority is not known"), help));
        };
        // A token belongs to the cluster it was saved for, not to whatever was pinned by a variable.
        let token = known.filter(|(_, context)| context.ca_digest == Some(authority)).and_then(|(_, context)| context.token.as_ref());
        let token = token.map(|secret| self::token(&secret.0, "the saved token")).transpose()?;
        Ok(Choice { context: None, addresses: vec![discovery::pinned(text, authority)?], is_one_cluster: false, token })
    }
}

fn of_context(name: &str, context: &Context) -> Result<Choice, Failure> {
    let server = |text: &String| match context.ca_digest {
        Some(authority) if text.starts_with("https://") => discovery::pinned(text, authority),
        _ => discovery::parse(text),
    };
    let addresses = context.servers.iter().map(server).collect::<Result<Vec<_>, _>>()?;
    if addresses.is_empty() {
        return Err(Failure::usage(format!("the context `{name}` has no server"), "shoal login URL writes it anew"));
    }
    let token = context.token.as_ref().map(|secret| token(&secret.0, &format!("the token of context {name}"))).transpose()?;
    Ok(Choice { context: Some(name.to_owned()), addresses, is_one_cluster: true, token })
}

/// Reads a token.
///
/// # Errors
/// A usage failure that does not show it.
pub fn token(text: &str, whose: &str) -> Result<Token, Failure> {
    text.parse().map_err(|error| Failure::usage(format!("{whose} is not a token: {error}"), "`shoal token create` prints one"))
}

/// Reads the digest of an authority.
///
/// # Errors
/// A usage failure.
pub fn authority(text: &str, whose: &str) -> Result<AuthorityDigest, Failure> {
    text.trim().parse().map_err(|error| {
        Failure::usage(format!("{whose} is not the digest of an authority: {error}"), "`shoal ca show` on a server shows it")
    })
}

/// Why no token is sent to `server`.
pub fn in_the_open(server: &Server) -> Failure {
    let message = format!("a token would be sent to {server} in the open");
    Failure::usage(message, "use its https:// address, or run the command on its machine")
}

/// Whether what is sent there can be read on the way.
pub fn is_in_the_open(server: &Server) -> bool {
    let Server::Http(authority) = server else { return false };
    let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host).trim_matches(['[', ']']);
    host != "localhost" && !host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The namespace to work in: `-n`, else the context's.
pub fn namespace(said: &Said, contexts: &Contexts) -> Option<Name> {
    said.context(contexts).ok().flatten().and_then(|(_, context)| context.namespace.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{super::file::Secret, *};

    const URL: &str = "https://10.0.0.1:7070";

    fn digest(byte: u8) -> AuthorityDigest {
        AuthorityDigest::from_bytes([byte; 32])
    }

    fn contexts(current: Option<&str>) -> Contexts {
        let context = |servers: &[&str], byte: u8| Context {
            servers: servers.iter().map(|server| (*server).to_owned()).collect(),
            ca_digest: Some(digest(byte)),
            token: Some(Secret(format!("shoal_token_{byte}"))),
            namespace: Some(format!("team-{byte}").parse().expect("a name")),
        };
        let all = [("prod", context(&[URL, "https://10.0.0.2:7070"], 1)), ("lab", context(&["https://lab:7070"], 2))];
        Contexts { current: current.map(str::to_owned), all: BTreeMap::from(all.map(|(name, context)| (name.to_owned(), context))) }
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn check(said: &Said, current: Option<&str>, expected: (&str, Option<&str>, Option<&str>)) {
        let choice = said.choose(&contexts(current)).unwrap_or_else(|failure| panic!("{said:?}: {}", failure.render(false)));
        let addresses = choice.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let token = expected.2.map(|text| text.parse::<Token>().expect("a token"));
        assert_eq!((addresses.as_str(), choice.context.as_deref(), choice.token), (expected.0, expected.1, token), "{said:?}");
    }

    #[test]
    fn options_come_before_variables_and_these_before_the_current_context() {
        let local = "unix:./.shoal/api.sock unix:/var/lib/shoal/api.sock http://127.0.0.1:7070";
        let both = "https://10.0.0.1:7070 https://10.0.0.2:7070";
        let nothing = Said::default();
        check(&nothing, None, (local, None, None));
        check(&nothing, Some("prod"), (both, Some("prod"), Some("shoal_token_1")));
        let variable = Said { server_variable: text("http://127.0.0.1:1"), ..nothing.clone() };
        check(&variable, Some("prod"), ("http://127.0.0.1:1", None, None));
        check(&Said { context: text("lab"), ..variable.clone() }, Some("prod"), ("https://lab:7070", Some("lab"), Some("shoal_token_2")));
        check(&Said { server: text("unix:a.sock"), ..variable.clone() }, Some("prod"), ("unix:a.sock", None, None));
        check(&Said { data_directory: Some("d".into()), ..variable }, Some("prod"), ("unix:d/api.sock", None, None));
        check(&Said { data_directory_variable: Some("d".into()), ..nothing.clone() }, Some("prod"), ("unix:d/api.sock", None, None));
        check(&Said { token_variable: text("shoal_other"), ..nothing }, Some("prod"), (both, Some("prod"), Some("shoal_other")));
    }

    #[test]
    fn an_encrypted_server_is_trusted_by_its_context_or_by_a_digest() {
        let server = Said { server: text(URL), ..Said::default() };
        check(&server, None, (URL, None, Some("shoal_token_1")));
        let pinned = Said { authority_variable: Some(digest(9).to_string()), ..server };
        check(&pinned, None, (URL, None, None));
        let unknown = Said { server: text("https://10.9.9.9:7070"), ..Said::default() };
        let refused = unknown.choose(&contexts(None)).expect_err("not known").render(false);
        assert!(refused.contains("shoal login https://10.9.9.9:7070"), "{refused}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |said: Said, expected: &str| {
            let refused = said.choose(&contexts(None)).expect_err(expected).render(false);
            assert!(refused.contains(expected), "{refused}");
        };
        check(Said { context: text("none"), ..Said::default() }, "there are lab, prod");
        check(Said { token_variable: text("two words"), ..Said::default() }, "SHOAL_TOKEN is not a token");
        check(Said { token_variable: text("shoal_x_y"), ..Said::default() }, "no server is named");
        let open = Said { server: text("http://10.0.0.1:7070"), token_variable: text("shoal_x_y"), ..Said::default() };
        check(open, "in the open");
        let wrong = Said { server: text(URL), authority_variable: text("abc"), ..Said::default() };
        check(wrong, "SHOAL_CA_DIGEST is not the digest");
        let loopback = Said { server: text("http://[::1]:7070"), token_variable: text("shoal_x_y"), ..Said::default() };
        assert!(loopback.choose(&contexts(None)).is_ok());
    }

    #[test]
    fn the_namespace_is_the_contexts_unless_another_server_is_meant() {
        let of = |said: &Said| namespace(said, &contexts(Some("prod"))).map(|name| name.to_string());
        assert_eq!(of(&Said::default()).as_deref(), Some("team-1"));
        assert_eq!(of(&Said { context: text("lab"), ..Said::default() }).as_deref(), Some("team-2"));
        assert_eq!(of(&Said { server: text("unix:a.sock"), ..Said::default() }), None);
    }
}
