//! The name of one request. Owns how it is made and what is accepted from a trusted proxy; must never know who is trusted.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;
use uuid::{NoContext, Timestamp, Uuid};

use crate::limits::REQUEST_ID_BYTES_MAX;

/// The name of one request: a UUIDv7, or what a trusted proxy called it. Cheap to clone.
#[derive(Clone)]
pub struct RequestId {
    text: Arc<str>,
    header: HeaderValue,
}

impl RequestId {
    /// A new name for a request that came at `time`. UUIDv7, so that ids sort by time; without the shared counter `Uuid::now_v7` locks.
    pub fn new(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let uuid = Uuid::new_v7(Timestamp::from_unix(NoContext, since.as_secs(), since.subsec_nanos()));
        let mut buffer = Uuid::encode_buffer();
        let text: &str = uuid.hyphenated().encode_lower(&mut buffer);
        Self { text: text.into(), header: HeaderValue::from_str(text).expect("a UUID is visible ASCII") }
    }

    /// The name a proxy gave, when it is 1 to 128 visible ASCII characters.
    pub fn accept(header: &HeaderValue) -> Option<Self> {
        let text = header.to_str().ok()?;
        let fits = !text.is_empty() && text.len() <= REQUEST_ID_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self { text: text.into(), header: header.clone() })
    }

    /// The trace that begins with this request: the same 16 bytes where the name is a UUID, new ones where a proxy called it otherwise.
    pub(crate) fn trace_id(&self) -> [u8; 16] {
        let own = Uuid::try_parse(&self.text).ok().filter(|uuid| !uuid.is_nil());
        own.unwrap_or_else(Uuid::now_v7).into_bytes()
    }

    /// The name as text; cloning the `Arc` is how to keep it.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The name as a header value.
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.text)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ids_are_uuid_v7_and_differ() {
        let now = SystemTime::now();
        let (one, two) = (RequestId::new(now), RequestId::new(now));
        assert_ne!(one.text(), two.text());
        assert_eq!(Uuid::parse_str(one.text()).map(|uuid| uuid.get_version_num()), Ok(7));
        assert_eq!(one.header().to_str().ok(), Some(&**one.text()));
    }

    #[test]
    fn accepts_only_visible_ascii_of_bounded_length() {
        let check = |text: &str, wanted: bool| {
            let header = HeaderValue::from_bytes(text.as_bytes()).expect("test values are header values");
            assert_eq!(RequestId::accept(&header).is_some(), wanted, "{text:?}");
        };
        check("abc-123", true);
        check(&"a".repeat(128), true);
        check(&"a".repeat(129), false);
        check("", false);
        check("two words", false);
        check("sm\u{f6}rg\u{e5}s", false);
    }
}
