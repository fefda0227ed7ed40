//! The routing table: which component answers which request. Owns matching and its order of preference; pure. Must never know how many requests are in
//! flight, what is ready right now beyond the endpoints it was given, or how a request is forwarded.
//!
//! Preference, top to bottom: exact host, longest wildcard, `*`; then exact path, longest path prefix by whole elements; then a named method over any; then
//! most headers. A path whose header matches fail is skipped; a path whose headers match and whose methods do not ends the search with 405.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, uri::PathAndQuery};
use model::{
    app::Https,
    id::{ComponentId, RevisionNumber},
};

use crate::host;

/// One way requests reach a component. Host lower case, path starting with `/`, as the model leaves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRule {
    /// Who answers.
    pub component: ComponentId,
    /// Under which revision.
    pub revision: RevisionNumber,
    /// `example.com`, `*.example.com` for every name below it, or `*` for any host, even none.
    pub host: String,
    /// A prefix by whole path elements, or the whole path when `exact`.
    pub path: String,
    /// Match the whole path only.
    pub exact: bool,
    /// Methods it answers; empty means every method.
    pub methods: Vec<String>,
    /// Header names and the value each must have.
    pub headers: Vec<(String, String)>,
    /// Replaces the matched path or prefix.
    pub rewrite: Option<String>,
    /// From the end of the request head until the response head, waiting included.
    pub timeout: Duration,
    /// Between two frames of a body, either way.
    pub idle_timeout: Duration,
    /// Largest request body in bytes.
    pub max_body_bytes: u64,
    /// What a request without TLS gets.
    pub https: Https,
}

/// The instances of one component at one revision that may take requests, and how requests wait for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instances {
    /// The component.
    pub component: ComponentId,
    /// The revision.
    pub revision: RevisionNumber,
    /// Requests that may wait for a turn.
    pub queue_length: u32,
    /// How long one may wait.
    pub queue_wait: Duration,
    /// Those that are ready.
    pub endpoints: Vec<Endpoint>,
}

/// An instance that may take requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The instance's number.
    pub ordinal: u32,
    /// Requests it takes at once (`maxInFlight`).
    pub capacity: u32,
    /// It runs in this process; such endpoints are preferred while they have room.
    pub local: bool,
}

/// Why a rule cannot enter a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The host is none of the three forms.
    #[error("route of `{component}`: `{host}` is not a host, `*.suffix` or `*`")]
    Host {
        /// Whose route.
        component: ComponentId,
        /// The text.
        host: String,
    },
    /// The path, or the rewrite, is not a normal path.
    #[error("route of `{component}`: `{path}` is not a path in its normal form")]
    Path {
        /// Whose route.
        component: ComponentId,
        /// The text.
        path: String,
    },
    /// A method that HTTP does not allow.
    #[error("route of `{component}`: `{method}` is not a method")]
    Method {
        /// Whose route.
        component: ComponentId,
        /// The text.
        method: String,
    },
    /// A header name or value that HTTP does not allow.
    #[error("route of `{component}`: `{header}` is not a header to match on")]
    Header {
        /// Whose route.
        component: ComponentId,
        /// The header's name.
        header: String,
    },
}

/// Everything a gateway needs to know to route. Immutable; a change is a new table.
#[derive(Debug, Default)]
pub struct RoutingTable {
    exact: HashMap<Box<str>, HostRoutes>,
    /// By suffix without the `*.`.
    wildcard: HashMap<Box<str>, HostRoutes>,
    any: HostRoutes,
    pub(crate) instances: Vec<Instances>,
    /// Some route wants its requests with TLS.
    pub(crate) wants_tls: bool,
}

/// A rule in the form requests are matched against.
#[derive(Debug)]
pub struct Route {
    /// The rule.
    pub rule: RouteRule,
    /// Which [`Instances`] of the table answer.
    pub(crate) target: usize,
    methods: Vec<Method>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The routes of one host.
#[derive(Debug, Default)]
struct HostRoutes {
    exact: HashMap<Box<str>, Vec<Arc<Route>>>,
    /// By prefix without a final `/`, so the root is the empty text.
    prefix: HashMap<Box<str>, Vec<Arc<Route>>>,
    /// Path elements of the longest prefix: a request's deeper elements need not be looked up.
    depth_max: usize,
}

/// What a request is matched by.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Lower case, without port; empty when the request named none.
    pub host: &'a str,
    /// In normal form.
    pub path: &'a str,
    /// The method.
    pub method: &'a Method,
    /// All headers.
    pub headers: &'a HeaderMap,
}

/// What a table says to a request.
#[derive(Debug, Clone)]
pub enum Answer<'t> {
    /// This route.
    Route(&'t Arc<Route>),
    /// The path is routed, but not for this method; these are.
    Methods(Vec<Method>),
    /// Nobody answers here.
    Nothing,
}

impl RoutingTable {
    /// The route that answers `ask`.
    pub fn answer(&self, ask: Ask<'_>) -> Answer<'_> {
        for routes in self.hosts(ask.host) {
            match routes.answer(ask) {
                Answer::Nothing => {}
                found => return found,
            }
        }
        Answer::Nothing
    }

    /// Whether any route names `host`, exactly or by a wildcard.
    pub fn knows_host(&self, host: &str) -> bool {
        self.hosts(host).any(|routes| !routes.exact.is_empty() || !routes.prefix.is_empty())
    }

    /// The instances of the table, in the order they were added.
    pub fn instances(&self) -> &[Instances] {
        &self.instances
    }

    /// The hosts' routes that may answer for `host`, most specific first.
    fn hosts<'t, 'h>(&'t self, host: &'h str) -> impl Iterator<Item = &'t HostRoutes> + use<'t, 'h> {
        let wildcards = (!self.wildcard.is_empty()).then(|| host::suffixes(host)).into_iter().flatten();
        let exact = self.exact.get(host);
        exact.into_iter().chain(wildcards.filter_map(|suffix| self.wildcard.get(suffix))).chain(std::iter::once(&self.any))
    }
}

impl HostRoutes {
    fn answer(&self, ask: Ask<'_>) -> Answer<'_> {
        if let Some(routes) = self.exact.get(ask.path) {
            match choose(routes, ask) {
                Answer::Nothing => {}
                found => return found,
            }
        }
        if self.prefix.is_empty() {
            return Answer::Nothing;
        }
        for prefix in prefixes(ask.path, self.depth_max) {
            match self.prefix.get(prefix).map(|routes| choose(routes, ask)) {
                None | Some(Answer::Nothing) => {}
                Some(found) => return found,
            }
        }
        Answer::Nothing
    }

    fn of<'t>(by_host: &'t mut HashMap<Box<str>, HostRoutes>, host: &str) -> &'t mut HostRoutes {
        by_host.entry(host.into()).or_default()
    }

    fn add(&mut self, route: Route) {
        let path = route.rule.path.clone();
        if route.rule.exact {
            self.exact.entry(path.into()).or_default().push(Arc::new(route));
        } else {
            let prefix = path.trim_end_matches('/');
            self.depth_max = self.depth_max.max(prefix.matches('/').count());
            self.prefix.entry(prefix.into()).or_default().push(Arc::new(route));
        }
    }
}

/// The best of the routes of one path.
fn choose<'t>(routes: &'t [Arc<Route>], ask: Ask<'_>) -> Answer<'t> {
    let mut best: Option<&Arc<Route>> = None;
    let mut allowed = Vec::new();
    for route in routes.iter().filter(|route| route.wants_headers(ask.headers)) {
        if !route.wants_method(ask.method) {
            allowed.extend(route.methods.iter().cloned());
        } else if best.is_none_or(|best| route.rank() > best.rank()) {
            best = Some(route);
        }
    }
    match best {
        Some(route) => Answer::Route(route),
        None if allowed.is_empty() => Answer::Nothing,
        None => {
            allowed.sort_by(|one, two| one.as_str().cmp(two.as_str()));
            allowed.dedup();
            Answer::Methods(allowed)
        }
    }
}

impl Route {
    fn wants_method(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    fn wants_headers(&self, headers: &HeaderMap) -> bool {
        self.headers.iter().all(|(name, value)| headers.get_all(name).iter().any(|given| given == value))
    }

    /// Higher is better, compared left to right. Equal ranks on one path are a collision, refused at apply; here the first added wins.
    fn rank(&self) -> (bool, usize) {
        (!self.methods.is_empty(), self.headers.len())
    }

    /// What the component sees instead of `path`, when the rule rewrites.
    pub fn rewritten(&self, path: &str) -> Option<String> {
        let rewrite = self.rule.rewrite.as_deref()?;
        if self.rule.exact {
            return Some(rewrite.to_owned());
        }
        let rest = path.strip_prefix(self.rule.path.trim_end_matches('/')).unwrap_or(path);
        let base = if rest.is_empty() { rewrite } else { rewrite.trim_end_matches('/') };
        Some(if base.is_empty() && rest.is_empty() { "/".to_owned() } else { format!("{base}{rest}") })
    }
}

/// The prefixes of `path` by whole elements, longest first, down to the empty root, none deeper than `depth_max` elements.
fn prefixes(path: &str, depth_max: usize) -> impl Iterator<Item = &str> {
    let cut = path.match_indices('/').nth(depth_max + 1).map_or(path.len(), |(at, _)| at);
    let mut next = Some(&path[..cut]);
    std::iter::from_fn(move || {
        let prefix = next?;
        next = prefix.rfind('/').map(|at| &prefix[..at]);
        Some(prefix)
    })
}

/// Makes a [`RoutingTable`].
#[derive(Debug, Default)]
pub struct Builder {
    table: RoutingTable,
    targets: HashMap<(ComponentId, RevisionNumber), usize>,
}

impl Builder {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces the instances of a component at a revision.
    pub fn instances(&mut self, instances: Instances) {
        let target = self.target(&instances.component, instances.revision);
        self.table.instances[target] = instances;
    }

    /// Adds a route. A component without [`Instances`] has a queue of no length, so its requests are answered 503.
    ///
    /// Fails when host, path, method or header cannot occur in a request; the table stays as it was.
    pub fn route(&mut self, mut rule: RouteRule) -> Result<(), TableError> {
        let component = || rule.component.clone();
        let is_uri = |path: &str| PathAndQuery::try_from(path).is_ok_and(|parsed| parsed.as_str() == path && parsed.query().is_none());
        let is_path = |path: &str| crate::path::is_normal(path) && is_uri(path);
        for path in std::iter::once(&rule.path).chain(&rule.rewrite) {
            if !is_path(path) {
                return Err(TableError::Path { component: component(), path: path.clone() });
            }
        }
        let method = |text: &String| {
            Method::from_bytes(text.as_bytes()).map_err(|_| TableError::Method { component: component(), method: text.clone() })
        };
        let methods = rule.methods.iter().map(method).collect::<Result<Vec<_>, _>>()?;
        let header = |(name, value): &(String, String)| {
            let wrong = || TableError::Header { component: component(), header: name.clone() };
            Ok((HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, HeaderValue::from_str(value).map_err(|_| wrong())?))
        };
        let headers = rule.headers.iter().map(header).collect::<Result<Vec<_>, _>>()?;
        rule.host.make_ascii_lowercase();
        if !host::is_pattern(&rule.host) {
            return Err(TableError::Host { component: rule.component, host: rule.host });
        }
        let target = self.target(&rule.component, rule.revision);
        self.table.wants_tls |= rule.https == Https::Redirect;
        let routes = match rule.host.as_str() {
            "*" => &mut self.table.any,
            host => match host.strip_prefix("*.") {
                Some(suffix) => HostRoutes::of(&mut self.table.wildcard, suffix),
                None => HostRoutes::of(&mut self.table.exact, host),
            },
        };
        routes.add(Route { rule, target, methods, headers });
        Ok(())
    }

    /// The table.
    pub fn build(self) -> Arc<RoutingTable> {
        Arc::new(self.table)
    }

    fn target(&mut self, component: &ComponentId, revision: RevisionNumber) -> usize {
        let instances = &mut self.table.instances;
        *self.targets.entry((component.clone(), revision)).or_insert_with(|| {
            let (component, queue_wait) = (component.clone(), Duration::ZERO);
            instances.push(Instances { component, revision, queue_length: 0, queue_wait, endpoints: Vec::new() });
            instances.len() - 1
        })
    }
}

#[cfg(test)]
mod tests;
