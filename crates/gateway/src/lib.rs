//! The load balancer: one port, HTTP/1.1 and HTTP/2, a routing table, and a tower stack that ends in whatever answers for an instance.
//!
//! Owns listeners, the strict reading of requests, routes, admission, queues, timeouts, forwarding headers, gateway-made answers, the
//! access log and drain. Must never know how an instance runs (the bottom service does), where routes come from, or what the log is written to.
//! Start with [`Config::bind`], then `stack.rs`: the list a request passes from top to bottom. [`table`] is the pure core.

pub mod access;
mod admit;
mod answer;
pub mod body;
mod chunk_scan;
mod config;
mod connection;
mod endpoint;
mod exchange;
mod forward;
#[cfg(fuzzing)]
pub mod fuzzing;
mod guarded_io;
mod head_scan;
mod host;
mod https;
mod limit;
pub mod limits;
mod live;
pub mod metrics;
mod normalize;
mod path;
mod queue;
mod random;
mod refusal;
mod request_id;
mod respond;
mod route;
mod run;
mod stack;
mod stall;
pub mod table;
pub mod tls;
mod trace;
pub mod why;

pub use access::{AccessLog, AccessRecord};
pub use body::{BodyError, RequestBody};
pub use certificates::{CertificatePair, CertificateSet, KeyText};
pub use config::{BindError, Config, Handle};
pub use endpoint::EndpointReading;
pub use ipnet::IpNet as Cidr;
pub use limits::Limits;
pub use metrics::{ComponentReading, GatewayReading, Metrics};
pub use request_id::RequestId;
pub use run::{Drained, Gateway};
pub use stack::{Bottom, BoxError, CallError, CallErrorKind, LocalRequest, Target};
pub use table::{Builder, Endpoint, Instances, RouteRule, RoutingTable, TableError};
pub use tls::TlsConfig;
pub use trace::{RequestTrace, Sampling, TraceContext};
pub use why::{WhyAnswer, WhyStep};
