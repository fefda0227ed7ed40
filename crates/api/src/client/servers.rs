//! Which server a call goes to, and when it is sent again. Owns the order of the servers and the waiting; must never send a second time what may have had its
//! effect, unless servers can tell: a write carries a key that is the same over all its tries, and whoever has done it answers as it did then.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::{Instant, sleep};
use transport::AuthorityDigest;

use super::{
    ClientError, Server, Token,
    connection::{self, Answer},
    known::Known,
};
use crate::{limits::CALL_MAX, peer::IDEMPOTENCY_HEADER, v1::ErrorBody};

/// What a server without a leader says; it has written nothing.
const NO_LEADER: &str = "E0422";

/// What a server says that does not know whether a write is done.
pub(super) const IN_DOUBT: &str = "E0431";

/// Between two tries of a call that broke off: another server leads, or the same one is back, within a second.
const BROKEN_PAUSE: Duration = Duration::from_millis(250);

/// Names one write over all its tries.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(IDEMPOTENCY_HEADER);

/// The servers of one cluster, what is shown to them, and how long is waited for them.
#[derive(Debug, Clone)]
pub(super) struct Servers {
    all: Arc<[Server]>,
    /// Where the last call was answered: the next one begins there.
    preferred: Arc<AtomicUsize>,
    /// The authority that the pinned one led to, when it has been replaced.
    followed: Arc<OnceLock<AuthorityDigest>>,
    pub(super) token: Option<Token>,
    pub(super) patience: Duration,
    /// Whether what one server knows is better than nothing.
    pub(super) known: Option<Known>,
}

impl Servers {
    pub(super) fn new(all: Vec<Server>) -> Self {
        assert!(!all.is_empty(), "a client has at least one server");
        let (preferred, followed) = (Arc::default(), Arc::default());
        Self { all: all.into(), preferred, followed, token: None, patience: Duration::ZERO, known: None }
    }

    /// Where the last call was answered, the first one before any.
    pub(super) fn preferred(&self) -> &Server {
        &self.all[self.preferred.load(Ordering::Relaxed) % self.all.len()]
    }

    /// The authority that the pinned one led to.
    pub(super) fn followed(&self) -> Option<AuthorityDigest> {
        self.followed.get().copied()
    }

    /// The next call begins at the server behind the preferred one.
    pub(super) fn pass_over(&self) {
        self.preferred.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn all(&self) -> &[Server] {
        &self.all
    }

    /// Runs `call` on the preferred server and, as long as nobody is reached, on the others in turn.
    pub(super) async fn first<A, F>(&self, call: impl Fn(Server) -> F) -> Result<A, ClientError>
    where
        F: Future<Output = Result<A, ClientError>>,
    {
        let start = self.preferred.load(Ordering::Relaxed);
        let mut unreachable = Vec::new();
        for step in 0..self.all.len() {
            let at = (start + step) % self.all.len();
            match call(self.all[at].clone()).await {
                Err(error @ ClientError::Unreachable { .. }) => unreachable.push(error),
                ended => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return ended;
                }
            }
        }
        if unreachable.len() == 1 {
            return Err(unreachable.remove(0));
        }
        Err(ClientError::NoneReachable { tried: unreachable })
    }

    /// Sends a request and reads the whole answer. One that a server could not even begin is sent again, as long as there is patience, and so is a write of
    /// which nobody knows whether it is done. Once a try of it may have been, only an answer about the write itself takes the doubt away.
    pub(super) async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        bytes_max: usize,
    ) -> Result<(Server, Answer), ClientError> {
        let body = body.map(Bytes::from);
        let patient_until = Instant::now() + self.patience;
        // The same over all tries: servers that have done the write already answer as they did then.
        let key = (!method.is_safe()).then(|| HeaderValue::from_str(&uuid::Uuid::now_v7().to_string()).expect("a UUID is a header"));
        let known = self.known.as_ref().filter(|_| method == Method::GET);
        let path = known.map_or_else(|| path.to_owned(), |known| known.path(path));
        let path = path.as_str();
        let (mut tries, mut doubt) = (0_usize, None);
        loop {
            let send = |server: Server| {
                let (method, body, key) = (method.clone(), body.clone(), key.clone());
                async move {
                    let mut request = connection::request(&server, method, path, body)?;
                    if let Some(key) = key {
                        request.headers_mut().insert(IDEMPOTENCY_KEY, key);
                    }
                    if let Some(token) = &self.token {
                        token.sign(request.headers_mut());
                    }
                    let answer = connection::answer(&server, request, CALL_MAX, bytes_max).await?;
                    Ok((server, answer))
                }
            };
            let ended = self.first(send).await;
            let doubtful = !method.is_safe() && leaves_doubt(&ended);
            let wait = match &ended {
                _ if doubtful && makes_secrets(path) => None,
                Ok((_, answer)) => again(&method, answer),
                // Whether it had its effect, the next server knows by its key; and after a doubt whoever is away may be back in a moment and say.
                Err(error) => (error.leaves_doubt() || doubt.is_some() && error.may_pass()).then_some(BROKEN_PAUSE),
            };
            if let Some(shown) = ended.as_ref().ok().and_then(|(_, answer)| answer.followed) {
                self.followed.get_or_init(|| shown);
            }
            match wait {
                Some(wait) if Instant::now() + wait <= patient_until => {
                    // Another server may know a leader already; when none of them does, there is time.
                    self.pass_over();
                    tries += 1;
                    if ended.is_err() || tries.is_multiple_of(self.all.len()) {
                        sleep(wait).await;
                    }
                    if doubtful {
                        doubt = Some(reason(ended));
                    }
                }
                _ if doubtful => return Err(ClientError::InDoubt { source: Box::new(reason(ended)) }),
                _ => match doubt {
                    Some(doubt) if !is_about_the_call(&ended, path) => return Err(ClientError::InDoubt { source: Box::new(doubt) }),
                    _ => {
                        known.zip(ended.as_ref().ok()).inspect(|(known, (_, answer))| known.hear(answer.stale.as_ref()));
                        return ended;
                    }
                },
            }
        }
    }
}

/// Whether a server answers with a secret that it makes for this call: it remembers none, so that asking again would leave a second one that nobody knows.
fn makes_secrets(path: &str) -> bool {
    ["/v1/tokens", "/v1/join-tokens"].contains(&path)
}

/// How one try of a call ended.
type Ended = Result<(Server, Answer), ClientError>;

/// After how long the call may be sent again: a question whenever the server asks for it, a write when nothing was written, or when servers know by its key
/// whether it was.
fn again(method: &Method, answer: &Answer) -> Option<Duration> {
    if answer.status != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    answer.retry_after.filter(|_| method.is_safe() || matches!(code(answer).as_deref(), Some(NO_LEADER | IN_DOUBT)))
}

fn code(answer: &Answer) -> Option<String> {
    serde_json::from_slice::<ErrorBody>(&answer.bytes).ok().map(|body| body.error.code)
}

/// Whether a write may be done after a try that ended so.
fn leaves_doubt(ended: &Ended) -> bool {
    match ended {
        Ok((_, answer)) => !answer.status.is_success() && code(answer).as_deref() == Some(IN_DOUBT),
        Err(error) => error.leaves_doubt(),
    }
}

/// Whether the end of a try says what came of the call, the tries before it included. That it cannot be answered now says nothing of them; neither does that
/// whoever asks may not any more, or that a node is not there: that may be what came of it.
fn is_about_the_call(ended: &Ended, path: &str) -> bool {
    let Ok((_, answer)) = ended else { return false };
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => false,
        // Nodes are looked up by their names before it is known whether the call was answered already.
        StatusCode::NOT_FOUND => !["/v1/members/", "/v1/nodes/"].iter().any(|nodes| path.starts_with(nodes)),
        status => !status.is_server_error(),
    }
}

/// Why there is nothing better to tell.
fn reason(ended: Ended) -> ClientError {
    match ended {
        Ok((server, answer)) => ClientError::refused(&server, answer.status, &answer.bytes),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn servers(count: usize) -> Servers {
        Servers::new((1..=count).map(|port| Server::Http(format!("127.0.0.1:{port}"))).collect())
    }

    fn nobody(server: Server) -> ClientError {
        ClientError::Unreachable { server, source: io::ErrorKind::ConnectionRefused.into() }
    }

    #[tokio::test]
    async fn the_next_server_is_asked_only_when_nobody_was_reached() {
        let servers = servers(3);
        let third = servers.all()[2].clone();
        let answered = servers.first(async |server| if server == third { Ok(3) } else { Err(nobody(server)) }).await;
        assert_eq!(answered.ok(), Some(3));
        assert_eq!(servers.preferred(), &third, "the next call begins where this one was answered");

        let asked = AtomicUsize::new(0);
        let broken = servers
            .first(async |server| {
                asked.fetch_add(1, Ordering::Relaxed);
                Err::<(), _>(ClientError::Broken { server, source: "gone".into() })
            })
            .await;
        assert!(matches!(broken, Err(ClientError::Broken { .. })), "{broken:?}");
        assert_eq!(asked.into_inner(), 1, "it may have had its effect");
    }

    #[tokio::test]
    async fn when_nobody_is_reached_every_server_is_named() {
        let error = servers(2).first(async |server| Err::<(), _>(nobody(server))).await.expect_err("nobody answers");
        let text = error.to_string();
        assert!(text.contains("http://127.0.0.1:1") && text.contains("http://127.0.0.1:2"), "{text}");
        assert_eq!(error.code(), "E0605");
        let one = servers(1).first(async |server| Err::<(), _>(nobody(server))).await.expect_err("nobody answers");
        assert!(matches!(one, ClientError::Unreachable { .. }), "{one:?}");
    }

    #[test]
    fn only_a_word_about_the_call_ends_a_doubt() {
        let said = |status: u16| {
            let status = StatusCode::from_u16(status).expect("a status");
            Ok((
                servers(1).all()[0].clone(),
                Answer { status, retry_after: None, date: None, followed: None, stale: None, bytes: Bytes::new() },
            ))
        };
        let untrusted = ClientError::Broken { server: servers(1).all()[0].clone(), source: "it is of another cluster".into() };
        for (path, ended, expected) in [
            ("/v1/apply", said(200), true),
            ("/v1/apply", said(409), true),
            ("/v1/tokens/k3v9", said(404), true),
            ("/v1/tokens/k3v9", said(401), false),
            ("/v1/nodes/node-2", said(404), false),
            ("/v1/apply", said(503), false),
            ("/v1/apply", said(507), false),
            ("/v1/apply", Err(nobody(servers(1).all()[0].clone())), false),
            ("/v1/apply", Err(untrusted), false),
        ] {
            assert_eq!(is_about_the_call(&ended, path), expected, "{path} {ended:?}");
        }
    }

    #[test]
    fn a_write_is_sent_again_only_when_nothing_was_written_or_servers_can_tell() {
        let check = |method: Method, status: u16, code: &str, told: Option<u64>, expected: Option<u64>| {
            let body = serde_json::json!({"error": {"code": code, "message": "no", "help": ""}}).to_string();
            let status = StatusCode::from_u16(status).expect("a status");
            let retry_after = told.map(Duration::from_secs);
            let answer = Answer { status, retry_after, date: None, followed: None, stale: None, bytes: body.into() };
            assert_eq!(again(&method, &answer), expected.map(Duration::from_secs), "{method} {status} {code} {told:?}");
        };
        check(Method::GET, 503, "E0407", Some(1), Some(1));
        check(Method::GET, 503, "E0422", Some(2), Some(2));
        check(Method::POST, 503, "E0422", Some(1), Some(1));
        check(Method::DELETE, 503, "E0407", Some(1), None);
        check(Method::DELETE, 503, "E0431", Some(1), Some(1));
        check(Method::DELETE, 500, "E0431", Some(1), None);
        check(Method::GET, 503, "E0422", None, None);
        check(Method::GET, 500, "E0422", Some(1), None);
    }
}
