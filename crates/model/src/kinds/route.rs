//! The fields of a route. Owns their descriptions and defaults.

use super::{Shape, record, record_of};

const AT_LEAST_ONE: Shape = Shape::Integer { min: 1, max: 1_000_000 };

record! {
    /// One way requests reach a component.
    pub ROUTE "Route" {
        /// `example.com`, or `*.example.com` for every name below it.
        "host": Shape::Text; required(),
        /// Starts with `/`. A prefix by whole path elements, longest wins: `/v1` never matches `/v10`.
        "path": Shape::Text; default("/"),
        /// Match the whole path only.
        "exact": Shape::Boolean; default("false"),
        /// Methods it takes; left out, every method.
        "methods": Shape::List(&Shape::Text),
        /// Headers a request must have, with their values.
        "headers": Shape::Map(&Shape::Raw),
        /// Replaces the matched path or prefix.
        "rewrite": Shape::Text,
        /// Until the response headers.
        "timeout": Shape::Duration; default("30s"),
        /// Between bytes of a body, either way.
        "idleTimeout": Shape::Duration; default("5m"),
        /// Largest request body.
        "maxBody": Shape::Size; default("10Mi"),
        /// When a request is tried again.
        "retry": record_of!(RETRY); later(),
        /// How many requests a client may make.
        "rateLimit": record_of!(RATE_LIMIT); later(),
        /// Keep a client on one instance.
        "sticky": Shape::Word(&["cookie"]); later(),
        /// Keep requests with the same value on one instance: `header:NAME`, `cookie:NAME` or `query:NAME`.
        "hashBy": Shape::Text; later(),
        /// Who may call it.
        "auth": record_of!(AUTH); later(),
        /// Compress answers; never event streams.
        "compress": Shape::Boolean; default("false"), later(),
        /// Breaks ties between overlapping routes and orders shedding; higher first.
        "priority": Shape::Integer { min: 0, max: 1_000 }; default("0"), later(),
        /// Its certificate.
        "tls": Shape::WordOr(&["off"], &TLS); default("off"),
        /// What plain HTTP gets: `redirect` is 308 to the same address under `https://`, `both` an answer. Left out, `redirect` where `tls` is set.
        "https": Shape::Word(&["redirect", "both"]),
    }
}

record! {
    /// When a request is tried again.
    pub RETRY "Retry" {
        /// Tries in all.
        "attempts": Shape::Integer { min: 1, max: 10 }; default("2"),
        /// What is tried again; `5xx` only for idempotent methods or with an Idempotency-Key.
        "on": Shape::List(&Shape::Word(&["connect", "refused", "5xx"])); default("[connect, refused]"),
        /// Share of requests that may be tries.
        "budget": Shape::Percent; default("20%"),
    }
}

record! {
    /// How many requests a client may make.
    pub RATE_LIMIT "RateLimit" {
        /// What tells clients apart: `ip` or `header:NAME`.
        "per": Shape::Text; default("ip"),
        /// Requests per second.
        "rps": AT_LEAST_ONE; required(),
        /// Requests above that in one burst.
        "burst": AT_LEAST_ONE,
    }
}

record! {
    /// Who may call a route.
    pub AUTH "Auth" {
        /// Whoever sends one of these keys.
        "apiKeys": record_of!(API_KEYS); required(),
    }
}

record! {
    /// Where keys are kept.
    pub API_KEYS "ApiKeys" {
        /// The Secret that holds the keys.
        "secret": Shape::Name; required(),
    }
}

record! {
    /// A certificate: from a Secret, or from an issuer.
    pub TLS "Tls" [["secret"], ["acme"]] {
        /// The Secret that holds it.
        "secret": Shape::Name,
        /// The issuer in the Cluster that gets it.
        "acme": Shape::Name; later(),
    }
}
