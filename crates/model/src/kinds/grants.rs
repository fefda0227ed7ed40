//! The fields by which a component is granted something: links, triggers, egress, secrets, files, placement. Owns their descriptions and defaults.

use super::{Shape, record, record_of};

record! {
    /// What the guest may reach inside the cluster.
    pub LINKS "Links" {
        /// Other components, as `http://NAME.internal/`.
        "http": Shape::Names(&Shape::Record(&HTTP_LINK)),
        /// Buckets of a Store, by the name the guest opens.
        "wasi:keyvalue": Shape::Map(&Shape::Record(&KEYVALUE_LINK)),
        /// Topics of a Queue, by the name the guest uses.
        "shoal:messaging": Shape::Map(&Shape::Record(&MESSAGING_LINK)),
    }
}

record! {
    /// Another component.
    pub HTTP_LINK "HttpLink" {
        /// `component`, `app/component` or `namespace/app/component`.
        "to": Shape::Text; required(),
    }
}

record! {
    /// A bucket of a Store.
    pub KEYVALUE_LINK "KeyvalueLink" {
        /// The Store.
        "to": Shape::Text; required(),
        /// The bucket.
        "bucket": Shape::Text; required(),
        /// What the guest may do.
        "access": Shape::Word(&["read", "write"]); default("read"),
    }
}

record! {
    /// Topics of a Queue.
    pub MESSAGING_LINK "MessagingLink" {
        /// The Queue.
        "to": Shape::Text; required(),
        /// The topics.
        "topics": Shape::List(&Shape::Text); required(),
    }
}

record! {
    /// What starts a component beside requests.
    pub TRIGGERS "Triggers" {
        /// Messages of a topic.
        "messages": record_of!(MESSAGES),
    }
}

record! {
    /// Messages of a topic.
    pub MESSAGES "Messages" {
        /// The Queue.
        "from": Shape::Text; required(),
        /// The topic.
        "topic": Shape::Text; required(),
        /// Instances of one group share the messages.
        "group": Shape::Text,
        /// Messages under way at once.
        "maxInFlight": Shape::Integer { min: 1, max: 1_000_000 }; default("16"),
        /// How often a message is tried again.
        "retries": Shape::Integer { min: 0, max: 1_000 }; default("5"),
        /// The topic for what failed for good.
        "deadLetter": Shape::Text,
    }
}

record! {
    /// What the guest may reach outside. Nothing, unless it stands here.
    pub EGRESS "Egress" {
        /// `https://HOST:PORT`, `https://*.SUFFIX:PORT` or `https://CIDR:PORT`, also with `http`. Loopback, link-local and metadata addresses only by themselves.
        "allow": Shape::List(&Shape::Egress),
    }
}

record! {
    /// A value of a Secret.
    pub SECRET_REFERENCE "SecretReference" {
        /// The Secret.
        "secret": Shape::Name; required(),
        /// The key inside.
        "key": Shape::Text; required(),
        /// A fixed version; left out, the newest.
        "version": Shape::Integer { min: 1, max: u64::MAX },
    }
}

record! {
    /// A file for the guest.
    pub FILE "File" {
        /// The file or directory, relative to the manifest; or `sha256:…` already stored.
        "from": Shape::Text; required(),
        /// Where the guest finds it: `/etc/app.conf`.
        "to": Shape::Text; required(),
    }
}

record! {
    /// Where instances may run.
    pub PLACEMENT "Placement" {
        /// Labels a node must have.
        "nodeSelector": Shape::Map(&Shape::Raw),
        /// What instances are spread over, first to last; a wish, not a rule.
        "spread": Shape::List(&Shape::Word(&["node", "zone", "region"])); default("[node, zone]"),
        /// Apps or components to be near to.
        "affinity": Shape::List(&Shape::Text),
        /// Apps or components to be away from.
        "antiAffinity": Shape::List(&Shape::Text),
        /// Taints that do not keep it away.
        "tolerations": Shape::List(&Shape::Record(&TOLERATION)),
        /// Who goes first when room is short; higher first.
        "priority": Shape::Integer { min: 0, max: 1_000 }; default("0"),
    }
}

record! {
    /// A taint that does not keep a component away.
    pub TOLERATION "Toleration" {
        /// The taint's key.
        "key": Shape::Text; required(),
        /// Its value; left out, any.
        "value": Shape::Raw,
    }
}
