//! W3C trace context (`traceparent`, level 1): which trace a request belongs to. Owns reading and writing the header; pure. Must never know where
//! spans go.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{random, request_id::RequestId};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LENGTH: usize = 55;

/// What one `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The whole trace; never all zero.
    pub trace_id: [u8; 16],
    /// The span that whoever reads this is a child of; never all zero.
    pub parent_id: [u8; 8],
    /// Whoever began the trace wants it recorded.
    pub sampled: bool,
}

/// Where one request stands in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestTrace {
    /// What the component is told: its parent is the gateway's own span where that has one ([`crate::Config::own_spans`]), else the client's.
    pub context: TraceContext,
    /// The client's span, when the client sent one that can be believed to be one.
    pub client_span: Option<[u8; 8]>,
}

/// Which share of all traces is recorded. It goes by the trace's id, so that a trace is recorded everywhere or nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Of the 2^56 values the last seven bytes of an id may have, those below are recorded.
    below: u64,
}

impl Sampling {
    /// So many millionths of all traces.
    pub fn millionths(share: u32) -> Self {
        Self { below: ((u64::from(share.min(1_000_000)) << 36) / 1_000_000) << 20 }
    }

    fn picks(self, trace_id: &[u8; 16]) -> bool {
        trace_id[9..].iter().fold(0, |value, byte| value << 8 | u64::from(*byte)) < self.below
    }
}

impl TraceContext {
    /// The id of a new span.
    pub fn new_span() -> [u8; 8] {
        random::next().max(1).to_be_bytes()
    }

    /// Reads the value of a `traceparent`; `None` when it is not valid, and then its `tracestate` must not be believed either.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let version = hex::<1>(bytes.get(..2)?)?[0];
        let ends = match version {
            0 => bytes.len() == LENGTH,
            0xff => false,
            // Later versions may say more behind what this one knows.
            _ => bytes.len() == LENGTH || bytes.get(LENGTH) == Some(&b'-'),
        };
        if !ends || [2, 35, 52].into_iter().any(|at| bytes.get(at) != Some(&b'-')) {
            return None;
        }
        let trace_id = hex::<16>(bytes.get(3..35)?)?;
        let parent_id = hex::<8>(bytes.get(36..52)?)?;
        let flags = hex::<1>(bytes.get(53..LENGTH)?)?[0];
        (trace_id != [0; 16] && parent_id != [0; 8]).then_some(Self { trace_id, parent_id, sampled: flags & 1 == 1 })
    }

    /// The header value.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.text()).expect("hex digits are visible ASCII")
    }

    /// The trace id as every tracing tool shows it: 32 digits in ASCII.
    pub fn trace_id_digits(&self) -> [u8; 32] {
        let mut digits = [0; 32];
        write_hex(&mut digits, &self.trace_id);
        digits
    }

    /// By hand, because every request asks for it: formatting byte by byte took 0.9 µs of 24.
    fn text(&self) -> [u8; LENGTH] {
        let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut out[3..35], &self.trace_id);
        write_hex(&mut out[36..52], &self.parent_id);
        write_hex(&mut out[53..], &[u8::from(self.sampled)]);
        out
    }
}

impl std::fmt::Display for TraceContext {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.pad(text(&self.text()))
    }
}

/// The trace of a request with these headers: the client's, or a new one. `own_spans` says whether the gateway records spans, and of which traces.
pub(crate) fn of(headers: &HeaderMap, id: &RequestId, own_spans: Option<Sampling>) -> RequestTrace {
    let picks = |trace_id| own_spans.is_none_or(|sampling| sampling.picks(trace_id));
    let mut given = headers.get_all(TRACEPARENT).iter();
    let one = given.next().filter(|_| given.next().is_none());
    match one.and_then(|value| value.to_str().ok()).and_then(TraceContext::parse) {
        Some(client) => {
            let parent_id = if own_spans.is_some() { TraceContext::new_span() } else { client.parent_id };
            let context = TraceContext { parent_id, sampled: client.sampled && picks(&client.trace_id), ..client };
            RequestTrace { context, client_span: Some(client.parent_id) }
        }
        None => {
            // The request's own id begins the trace, so that whoever has one has the other.
            let trace_id = id.trace_id();
            let context = TraceContext { sampled: picks(&trace_id), trace_id, parent_id: TraceContext::new_span() };
            RequestTrace { context, client_span: None }
        }
    }
}

/// Tells the component its trace. A `tracestate` without a believable `traceparent` goes.
pub(crate) fn set(headers: &mut HeaderMap, trace: &RequestTrace) {
    headers.insert(TRACEPARENT, trace.context.header());
    if trace.client_span.is_none() {
        headers.remove(TRACESTATE);
    }
}

fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    // Lower case only, says the standard.
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// Writes two digits for each of `bytes`.
fn write_hex(out: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

fn text(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).expect("hex digits and dashes are text")
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_what_the_standard_allows_is_a_context() {
        let check = |text: &str, valid: bool| assert_eq!(TraceContext::parse(text).is_some(), valid, "{text:?}");
        check(GOOD, true);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true);
        check("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-else", true);
        check("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what-else", false);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-else", false);
        check("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false);
        check("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false);
        check("00-00000000000000000000000000000000-b7ad6b7169203331-01", false);
        check("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false);
        check("00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01", false);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-1-01", false);
        check("", false);
        check("00", false);
    }

    #[test]
    fn what_is_read_is_written_again() {
        let context = TraceContext::parse(GOOD).expect("valid");
        assert!(context.sampled);
        assert_eq!(context.to_string(), GOOD);
        assert_eq!(text(&context.trace_id_digits()), "0af7651916cd43dd8448eb211c80319c");
    }

    fn headers(given: &[&'static str]) -> HeaderMap {
        let mut headers: HeaderMap = given.iter().map(|value| (TRACEPARENT, HeaderValue::from_static(value))).collect();
        if given.len() > 1 {
            headers.append(TRACEPARENT, HeaderValue::from_static(given[1]));
        }
        headers.insert(TRACESTATE, HeaderValue::from_static("vendor=1"));
        headers
    }

    #[test]
    fn a_client_s_trace_goes_on_and_any_other_begins_with_the_request_s_id() {
        let id = RequestId::new(SystemTime::now());
        let mut goes_on = headers(&[GOOD]);
        let trace = of(&goes_on, &id, None);
        assert_eq!((trace.context.to_string().as_str(), trace.client_span), (GOOD, Some(trace.context.parent_id)));
        set(&mut goes_on, &trace);
        assert_eq!((goes_on[TRACEPARENT].to_str().ok(), goes_on.contains_key(TRACESTATE)), (Some(GOOD), true));
        let recorded = of(&goes_on, &id, Some(Sampling::millionths(1_000_000)));
        assert_eq!(recorded.context.trace_id, trace.context.trace_id);
        assert_ne!(recorded.context.parent_id, trace.context.parent_id, "the gateway's own span stands between");
        assert_eq!(recorded.client_span, Some(trace.context.parent_id));

        for mut begins in [headers(&[]), headers(&["00-1-2-3"]), headers(&[GOOD, GOOD])] {
            let trace = of(&begins, &id, None);
            assert_eq!(trace.client_span, None);
            assert_eq!(text(&trace.context.trace_id_digits()), id.text().replace('-', ""));
            set(&mut begins, &trace);
            assert_eq!(begins.get_all(TRACEPARENT).iter().count(), 1);
            assert!(!begins.contains_key(TRACESTATE), "the state of a trace nobody believes");
        }
        let foreign = RequestId::accept(&HeaderValue::from_static("from-a-proxy")).expect("an id");
        assert_ne!(of(&headers(&[]), &foreign, None).context.trace_id, [0; 16]);
    }

    #[test]
    fn a_share_of_traces_is_recorded_and_the_component_is_told_which() {
        let recorded = |share: u32| {
            let sampling = Some(Sampling::millionths(share));
            let one = || of(&HeaderMap::new(), &RequestId::new(SystemTime::now()), sampling);
            std::iter::repeat_with(one).take(4_000).filter(|trace| trace.context.sampled).count()
        };
        assert_eq!((recorded(0), recorded(1_000_000)), (0, 4_000));
        assert!((800..1_200).contains(&recorded(250_000)));
        let id = RequestId::new(SystemTime::now());
        let unwanted = headers(&["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"]);
        assert!(!of(&unwanted, &id, Some(Sampling::millionths(1_000_000))).context.sampled, "the client does not want it recorded");
    }
}
