//! The fields of Namespace and Cluster. Owns their descriptions and defaults.

use super::{
    Shape,
    app::{COMPONENT, RESOURCES},
    record, record_of,
};

record! {
    /// Quota, default limits and ceilings for whoever deploys into a namespace.
    pub NAMESPACE "NamespaceSpec" {
        /// The most all its apps use together.
        "quota": record_of!(QUOTA),
        /// What a component gets that says nothing.
        "limits": record_of!(RESOURCES); later(),
        /// Hosts its routes may use, those of other namespaces too: `shop.example`, or `*.shop.example` for every name below it.
        "hosts": Shape::List(&Shape::Text),
        /// A ceiling for `egress.allow`.
        "egress": record_of!(ALLOWED_EGRESS),
        /// A ceiling for imported interfaces: `wasi:keyvalue/store`, or `wasi:keyvalue` for all of a package.
        "interfaces": record_of!(ALLOWED),
        /// Registries its sources may come from.
        "registries": Shape::List(&Shape::Text); later(),
    }
}

record! {
    /// The most all apps of a namespace use together.
    pub QUOTA "Quota" {
        /// Booked memory.
        "memory": Shape::Size,
        /// Booked processor.
        "cpu": Shape::Cpu,
        /// Instances.
        "instances": Shape::Integer { min: 0, max: 1_000_000 },
        /// Apps.
        "apps": Shape::Integer { min: 0, max: 1_000_000 },
    }
}

record! {
    /// A ceiling for what may be reached outside.
    pub ALLOWED_EGRESS "AllowedEgress" {
        /// What may be granted: a rule of a component has to lie within one of these.
        "allowed": Shape::List(&Shape::Egress); required(),
    }
}

record! {
    /// A ceiling.
    pub ALLOWED "Allowed" {
        /// What may be granted.
        "allowed": Shape::List(&Shape::Text); required(),
    }
}

record! {
    /// What holds for the whole cluster.
    pub CLUSTER "ClusterSpec" {
        /// Issuers of certificates by name.
        "acme": Shape::Names(&Shape::Record(&ISSUER)),
        /// Addresses whose forwarding headers are believed.
        "trustedProxies": Shape::List(&Shape::Text),
        /// Registries by host.
        "registries": Shape::Map(&Shape::Record(&REGISTRY)),
        /// Where logs and traces are sent.
        "drains": record_of!(DRAINS),
        /// Merged into every component of every app.
        "defaults": Shape::Partial(&COMPONENT),
    }
}

record! {
    /// An issuer of certificates.
    pub ISSUER "Issuer" {
        /// Whom it writes to.
        "email": Shape::Text; required(),
        /// Its directory; left out, Let's Encrypt.
        "directory": Shape::Text,
    }
}

record! {
    /// A registry.
    pub REGISTRY "Registry" {
        /// The Secret with its credentials.
        "secret": Shape::Name; required(),
    }
}

record! {
    /// Where logs and traces are sent.
    pub DRAINS "Drains" {
        /// For logs.
        "logs": Shape::List(&Shape::Record(&DRAIN)),
        /// For traces.
        "traces": Shape::List(&Shape::Record(&DRAIN)),
    }
}

record! {
    /// A receiver.
    pub DRAIN "Drain" {
        /// Its address.
        "url": Shape::Text; required(),
        /// The Secret with its credentials.
        "secret": Shape::Name,
    }
}
