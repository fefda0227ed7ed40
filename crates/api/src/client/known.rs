//! What is known when no server leads. Owns how that is asked for, and that whoever asked hears that it may be stale; must never be asked for beside a write.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::HeaderMap;

use crate::v1::{SILENCE_HEADER, STALE_HEADER};

/// An answer of one server alone: what was acknowledged elsewhere may be missing in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// The name of the server.
    pub node: String,
    /// How long it has heard of no leader.
    pub silence: Duration,
}

impl Stale {
    /// What the head of an answer says about it.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let silence = text(SILENCE_HEADER)?.parse().ok().map(Duration::from_millis)?;
        Some(Self { node: text(STALE_HEADER)?.to_owned(), silence })
    }
}

/// Somebody takes stale answers, and hears of the first one before it is shown. Clones hear once together.
#[derive(Clone)]
pub(super) struct Known {
    first: Arc<OnceLock<Stale>>,
    tell: Arc<dyn Fn(&Stale) + Send + Sync>,
}

impl Known {
    pub(super) fn new(tell: impl Fn(&Stale) + Send + Sync + 'static) -> Self {
        Self { first: Arc::default(), tell: Arc::new(tell) }
    }

    /// `path` as it is asked for: who has waited in vain for a leader once does not wait again.
    pub(super) fn path(&self, path: &str) -> String {
        let consistency = if self.first.get().is_some() { "stale" } else { "known" };
        let separator = if path.contains('?') { '&' } else { '?' };
        format!("{path}{separator}consistency={consistency}")
    }

    /// An answer came.
    pub(super) fn hear(&self, stale: Option<&Stale>) {
        let Some(stale) = stale else { return };
        if self.first.set(stale.clone()).is_ok() {
            (self.tell)(stale);
        }
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Known").field("first", &self.first.get()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_leader_is_waited_for_once_and_its_absence_told_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        let known = Known::new(move |stale| heard.lock().expect("nobody panics").push(stale.node.clone()));
        assert_eq!(known.path("/v1/apps"), "/v1/apps?consistency=known");
        known.hear(None);
        assert_eq!(known.path("/v1/apps?namespace=a"), "/v1/apps?namespace=a&consistency=known");
        let stale = |node: &str| Stale { node: node.to_owned(), silence: Duration::from_secs(9) };
        known.hear(Some(&stale("node-b")));
        known.clone().hear(Some(&stale("node-c")));
        assert_eq!(known.path("/v1/apps"), "/v1/apps?consistency=stale");
        assert_eq!(*told.lock().expect("nobody panics"), ["node-b"]);
    }

    #[test]
    fn an_answer_says_whether_it_is_stale() {
        let mut headers = HeaderMap::new();
        assert_eq!(Stale::of(&headers), None);
        headers.insert(STALE_HEADER, "node-b".parse().expect("a value"));
        headers.insert(SILENCE_HEADER, "1500".parse().expect("a value"));
        assert_eq!(Stale::of(&headers), Some(Stale { node: "node-b".into(), silence: Duration::from_millis(1_500) }));
    }
}
