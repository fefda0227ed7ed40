//! What a request may hold, each limit with its reason.

/// Documents in one request: a directory of apps.
pub const DOCUMENTS_MAX: usize = 500;

/// Bytes kept of the name of whoever asks.
pub const BY_BYTES_MAX: usize = 256;

/// Host names of a certificate in one sentence: who has hundreds wants to know of the first few that it is the wrong one.
pub const HOSTS_SHOWN_MAX: usize = 5;
