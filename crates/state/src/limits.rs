//! How much the state may hold, and why. Owns the numbers; must never know who enforces them elsewhere.

/// Apps in one cluster. A plan looks at every app, and 10,000 of them are looked at in a few milliseconds.
pub const APPS_MAX: usize = 10_000;

/// Components in one app. An app is read, planned and swapped as a whole; past this it is several apps.
pub const COMPONENTS_PER_APP_MAX: usize = 64;

/// Routes of one app. Every route is compared with every other route of its host when an app is deployed.
pub const ROUTES_PER_APP_MAX: usize = 256;

/// Wished instances of all apps together. Keeps the state under 200 MiB beside the history, so that it stays in memory on a small server.
pub const INSTANCES_MAX: u64 = 100_000;

/// Instances on one node: the apps of a whole cluster with some to spare. At about 1 KiB each an assignment is sent in parts of bounded size.
pub const PLACEMENTS_PER_NODE_MAX: usize = 16_384;

/// Nodes in one cluster: one Raft group is shown to carry 5,000 workers; past that, clusters are joined by routes.
pub const NODES_MAX: usize = 5_000;

/// Revisions kept of one app, besides those that still serve or run. Enough to go back a week of ten deploys a day.
pub const REVISIONS_PER_APP_MAX: usize = 50;

/// Canonical JSON of one app, in bytes. It is kept once per revision, and travels in one log entry.
pub const CANONICAL_BYTES_MAX: usize = 256 * 1024;

/// Events kept. A bounded ring: the oldest is forgotten first.
pub const EVENTS_MAX: u64 = 1_000;

/// Bytes kept of a text that comes from outside (who, why, an error): a page of a terminal.
pub const TEXT_BYTES_MAX: usize = 2_048;

/// `text`, cut at a character's start to at most [`TEXT_BYTES_MAX`] bytes.
pub fn bounded(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = (0..=TEXT_BYTES_MAX - 3).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}
