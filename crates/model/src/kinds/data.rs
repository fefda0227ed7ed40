//! The fields of Job, Store, Queue, Secret and Config. Owns their descriptions and defaults.

use super::{
    Shape,
    app::{BUILD, RESOURCES},
    grants::{EGRESS, FILE, LINKS, PLACEMENT, SECRET_REFERENCE},
    record, record_of,
};

const COUNT: Shape = Shape::Integer { min: 0, max: 1_000_000 };
const AT_LEAST_ONE: Shape = Shape::Integer { min: 1, max: 1_000_000 };

record! {
    /// A component that runs to its end.
    pub JOB "JobSpec" {
        /// Where its bytes come from; it exports `wasi:cli/run`.
        "source": Shape::Source; required(),
        /// How the bytes are made on the developer's machine.
        "build": record_of!(BUILD),
        /// Environment variables of the guest.
        "env": Shape::Map(&Shape::Raw),
        /// Values for `wasi:config/store`, or `{config: NAME}`.
        "config": Shape::Settings,
        /// Secret values.
        "secrets": Shape::Map(&Shape::Record(&SECRET_REFERENCE)),
        /// Arguments of the guest.
        "args": Shape::List(&Shape::Raw),
        /// Read-only files for the guest.
        "files": Shape::List(&Shape::Record(&FILE)),
        /// What one run may use.
        "resources": record_of!(RESOURCES),
        /// What the guest may reach inside the cluster.
        "links": record_of!(LINKS),
        /// What the guest may reach outside.
        "egress": record_of!(EGRESS),
        /// Where it may run.
        "placement": record_of!(PLACEMENT),
        /// Runs at once.
        "parallelism": AT_LEAST_ONE; default("1"),
        /// Runs that must succeed.
        "completions": AT_LEAST_ONE; default("1"),
        /// How often a failed run is tried again.
        "retries": COUNT; default("3"),
        /// How long one run may take.
        "timeout": Shape::Duration,
        /// When it runs again.
        "schedule": record_of!(SCHEDULE),
    }
}

record! {
    /// When a Job runs again.
    pub SCHEDULE "Schedule" {
        /// Minute, hour, day, month, weekday.
        "cron": Shape::Text; required(),
        /// The time zone it is meant in.
        "timeZone": Shape::Text; default("UTC"),
        /// What happens when the last run is not done.
        "overlap": Shape::Word(&["allow", "skip", "replace"]); default("skip"),
    }
}

record! {
    /// Key-value buckets.
    pub STORE "StoreSpec" {
        /// The buckets by name.
        "buckets": Shape::Names(&Shape::Record(&BUCKET)),
        /// Keep the data outside the cluster.
        "provider": record_of!(PROVIDER),
        /// What happens to the data when the Store is deleted.
        "onDelete": Shape::Word(&["retain", "delete"]); default("retain"),
        /// Apps of other namespaces that may link to it.
        "allowFrom": Shape::List(&Shape::Text),
    }
}

record! {
    /// A bucket.
    pub BUCKET "Bucket" {
        /// Age at which an entry goes.
        "ttl": Shape::Duration,
        /// Most bytes it holds.
        "maxBytes": Shape::Size,
    }
}

record! {
    /// Topics.
    pub QUEUE "QueueSpec" {
        /// The topics by name.
        "topics": Shape::Names(&Shape::Record(&TOPIC)),
        /// Keep the messages outside the cluster.
        "provider": record_of!(PROVIDER),
        /// What happens to the messages when the Queue is deleted.
        "onDelete": Shape::Word(&["retain", "delete"]); default("retain"),
        /// Apps of other namespaces that may link to it.
        "allowFrom": Shape::List(&Shape::Text),
    }
}

record! {
    /// A topic.
    pub TOPIC "Topic" {
        /// Age at which a message goes.
        "retention": Shape::Duration,
        /// Most bytes it holds.
        "maxBytes": Shape::Size,
    }
}

record! {
    /// Redis, Valkey or NATS outside the cluster.
    pub PROVIDER "Provider" {
        /// `redis://host:port` or `nats://host:port`.
        "url": Shape::Text; required(),
        /// The Secret with its credentials.
        "secret": Shape::Name,
    }
}

record! {
    /// Sealed values.
    pub SECRET "SecretSpec" {
        /// What the values are.
        "type": Shape::Word(&["opaque", "tls", "registry", "apiKeys"]); default("opaque"),
        /// The values by key; read from a file or the environment by the CLI, so that none stands in the manifest.
        "data": Shape::Map(&Shape::RawOr(&VALUE_FROM)); required(),
    }
}

record! {
    /// Values several apps share.
    pub CONFIG "ConfigSpec" {
        /// The values by key.
        "data": Shape::Map(&Shape::RawOr(&VALUE_FROM)); required(),
    }
}

record! {
    /// Where the CLI reads a value.
    pub VALUE_FROM "ValueFrom" [["fromFile"], ["fromEnv"]] {
        /// A file beside the manifest.
        "fromFile": Shape::Text,
        /// An environment variable.
        "fromEnv": Shape::Text,
    }
}
