//! How long what stands in a rule may be. Owns the number; must never be read from configuration.

/// Longest host name (RFC 1035).
pub const HOST_BYTES_MAX: usize = 253;
