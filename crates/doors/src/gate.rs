//! What is answered behind a door: routes, once they are there. Owns the moment in which that changes; must never know any of them.

use std::sync::{Arc, OnceLock};

use axum::{Router, body::Body, http::Request, response::Response};
use tower::ServiceExt;

use crate::hosts::{Hosts, guard};

/// Routes that are not there from the beginning. Clones share them.
#[derive(Debug, Clone)]
pub struct Gate {
    routes: Arc<OnceLock<Router>>,
    closed: fn(&str) -> Response,
}

impl Gate {
    /// A gate behind which nothing is yet: until it is opened, `closed` answers by the path.
    pub fn closed(closed: fn(&str) -> Response) -> Self {
        Self { routes: Arc::default(), closed }
    }

    /// From here on requests meet `routes`.
    ///
    /// # Panics
    /// It was opened before.
    pub fn open(&self, routes: Router) {
        self.routes.set(routes).expect("a gate is opened once");
    }

    /// What is behind the gate, behind the checks of `hosts`.
    pub fn router(&self, hosts: Option<&Hosts>) -> Router {
        let gate = self.clone();
        let router = Router::new().fallback(move |request: Request<Body>| gate.answer(request));
        match hosts {
            Some(hosts) => router.layer(axum::middleware::from_fn_with_state(hosts.clone(), guard)),
            None => router,
        }
    }

    async fn answer(self, request: Request<Body>) -> Response {
        match self.routes.get() {
            Some(router) => router.clone().oneshot(request).await.unwrap_or_else(|never| match never {}),
            None => (self.closed)(request.uri().path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{http::StatusCode, response::IntoResponse, routing::get};

    use super::*;

    #[tokio::test]
    async fn a_gate_answers_by_itself_until_it_is_opened() {
        let gate = Gate::closed(|path| (StatusCode::SERVICE_UNAVAILABLE, path.to_owned()).into_response());
        let router = gate.router(None);
        let ask = async || {
            let request = Request::get("/a").body(Body::empty()).expect("a request");
            router.clone().oneshot(request).await.expect("it answers").status()
        };
        assert_eq!(ask().await, StatusCode::SERVICE_UNAVAILABLE);
        gate.open(Router::new().route("/a", get(|| async { "in" })));
        assert_eq!(ask().await, StatusCode::OK, "what listens already meets the routes too");
    }
}
