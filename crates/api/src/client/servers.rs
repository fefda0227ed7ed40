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
use crate::limits::CALL_MAX;

/// What a server without a leader says; it has written nothing.
const NO_LEADER: &str = "E0422";

/// Between two tries of a call that broke off: another server leads, or the same one is back, within a second.
const BROKEN_PAUSE: Duration = Duration::from_millis(250);

/// Names one write over all its tries.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

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

    /// Sends a request and reads the whole answer. One that a server could not even begin is sent again, as long as there is patience.
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
        let mut tries = 0_usize;
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
            let (server, answer) = match self.first(send).await {
                Ok(answered) => answered,
                // Whether it had its effect, the next server knows by its key.
                Err(error) if error.leaves_doubt() && Instant::now() + BROKEN_PAUSE <= patient_until => {
                    self.pass_over();
                    sleep(BROKEN_PAUSE).await;
                    continue;
                }
                Err(error) if error.leaves_doubt() && !method.is_safe() => return Err(ClientError::InDoubt { source: Box::new(error) }),
                Err(error) => return Err(error),
            };
            if let Some(shown) = answer.followed {
                self.followed.get_or_init(|| shown);
            }
            match again(&method, &answer) {
                Some(wait) if Instant::now() + wait <= patient_until => {
                    // Another server may know a leader already; when none of them does, there is time.
                    self.pass_over();
                    tries += 1;
                    if tries.is_multiple_of(self.all.len()) {
                        sleep(wait).await;
                    }
                }
                _ => {
                    known.inspect(|known| known.hear(answer.stale.as_ref()));
                    return Ok((server, answer));
                }
            }
        }
    }
}

/// After how long the call may be sent again: a question whenever the server asks for it, a write only when it says that nothing was written.
fn again(method: &Method, answer: &Answer) -> Option<Duration> {
    if answer.status != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let harmless = || serde_json::from_slice::<crate::v1::ErrorBody>(&answer.bytes).is_ok_and(|body| body.error.code == NO_LEADER);
    answer.retry_after.filter(|_| method.is_safe() || harmless())
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
    fn a_write_is_sent_again_only_when_nothing_was_written() {
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
        check(Method::GET, 503, "E0422", None, None);
        check(Method::GET, 500, "E0422", Some(1), None);
    }
}
