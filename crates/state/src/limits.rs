//! How much the state may hold, and why. Owns the numbers; must never know who enforces them elsewhere.

/// Apps in one cluster. A plan looks at every app, and 10,000 of them are looked at in a few milliseconds.
pub const APPS_MAX: usize = 10_000;

/// Components in one app. An app is read, planned and swapped as a whole; past this it is several apps.
pub const COMPONENTS_PER_APP_MAX: usize = 64;

/// Routes of one app. Every route is compared with every other route of its host when an app is deployed.
pub const ROUTES_PER_APP_MAX: usize = 256;

/// Instances of all apps on all workers together. Keeps the state under 200 MiB beside the history, so that it stays in memory on a small server.
pub const INSTANCES_MAX: u64 = 100_000;

/// Instances on one node: the apps of a whole cluster with some to spare. At about 1 KiB each an assignment is sent in parts of bounded size.
pub const PLACEMENTS_PER_NODE_MAX: usize = 16_384;

/// Nodes in one cluster: one Raft group is shown to carry 5,000 workers; past that, clusters are joined by routes.
pub const NODES_MAX: usize = 5_000;

/// Revisions kept of one app, besides those that still serve or run. Enough to go back a week of ten deploys a day.
pub const REVISIONS_PER_APP_MAX: usize = 50;

/// Canonical JSON of one app, in bytes. It is kept once per revision, and travels in one log entry.
pub const CANONICAL_BYTES_MAX: usize = 256 * 1024;

/// Tokens with which nodes may join. One is enough to join any number of nodes; a tool that makes one per node keeps this many unused ones at most.
pub const JOIN_TOKENS_MAX: usize = 1_000;

/// Tokens for the API: one per person and pipeline of a large company. Every request looks one up.
pub const API_TOKENS_MAX: usize = 10_000;

/// Labels of a node. They are shown as a table and matched by selectors one after the other.
pub const LABELS_PER_NODE_MAX: usize = 64;

/// Bytes of one text a node says of itself: a host name of DNS with its port has 259, a label of Kubernetes 317.
pub const NODE_TEXT_BYTES_MAX: usize = 320;

/// Bytes of the certificate of the cluster's authority, or of its sealed key: a self-signed RSA certificate of 4,096 bits has 1.5 KiB.
pub const AUTHORITY_BYTES_MAX: usize = 16 * 1024;

/// Changes kept for those who watch: a rollout of 100 components on 20 workers changes about 10,000 things. Who is further behind lists again.
pub const CHANGES_MAX: usize = 10_000;

/// Bytes of an idempotency key: two UUIDs as text with some to spare.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// Milliseconds for which an answer is kept for those who ask again, as long as there are few: a pipeline that is left standing overnight.
pub const ANSWER_KEPT_MILLIS: u64 = 24 * 60 * 60 * 1_000;

/// Milliseconds for which an answer is kept however many there are. A client tries for half a minute or so, its last try may be under way for as long, and what
/// is left is for the clocks of two leaders.
pub const ANSWER_SURE_MILLIS: u64 = 120_000;

/// Answers kept beyond [`ANSWER_SURE_MILLIS`]: a few MiB; with more requests a day the oldest are forgotten earlier.
pub const ANSWERS_SPARE: usize = 10_000;

/// Answers kept in any case. A change that comes with a key and finds no room is refused: to forget one that may be asked for again would be to do it twice. At
/// about 350 bytes they take 85 MiB while somebody writes 2,000 times a second under keys without a pause; any burst of that many goes through.
pub const ANSWERS_MAX: usize = 250_000;

/// Answers forgotten with each change that comes with a key: more than one, so that a burst goes away, and few enough that no change waits for it.
pub const ANSWERS_FORGOTTEN_AT_ONCE: usize = 100;

/// Changes by people kept for the audit log: some weeks of a busy team. Whoever needs them longer reads them out.
pub const AUDIT_MAX: u64 = 10_000;

/// Entries between two checkpoints, at which members compare their states: seldom enough that hashing the state costs nothing, often enough that a member
/// that differs decides little.
pub const CHECKPOINT_EVERY: u64 = 1_000;

/// Checkpoints for which is kept what members said: a member that is this many behind compares itself at a later one.
pub const CHECKPOINTS_KEPT: usize = 4;

/// Configs of one cluster: one for every app. Their bytes have a bound of their own.
pub const CONFIGS_MAX: usize = 10_000;

/// Secrets of one cluster: one for every app. Their bytes have a bound of their own.
pub const SECRETS_MAX: usize = 10_000;

/// Namespaces with ceilings: the teams of a large company.
pub const NAMESPACES_MAX: usize = 1_000;

/// Versions kept of a secret, besides those that a kept revision names. Enough to go back after a rotation went wrong more than once.
pub const SECRET_VERSIONS_KEPT: u64 = 10;

/// Bytes of one sealed version of a secret: the 64 KiB a manifest may hold, with the keys, their encoding and the envelope.
pub const SEALED_BYTES_MAX: usize = 96 * 1024;

/// Bytes of all kept versions of one Secret: they are one record of a snapshot, which holds twice as many. A Secret has more than the last few versions only while
/// revisions name them.
pub const SECRET_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Bytes of all Configs and all kept versions of Secrets: they stay in memory on every server, and travel in every snapshot.
pub const VALUE_BYTES_MAX: u64 = 128 * 1024 * 1024;

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

/// Where a group that begins anew goes on: at the next multiple of this. What was lost had indices, ids and placements too, and none of them may come again with
/// another meaning; a cluster that writes 5,000 entries a second without a pause takes two days to use so many up.
pub const RECOVERY_STEP: u64 = 1_000_000_000;
