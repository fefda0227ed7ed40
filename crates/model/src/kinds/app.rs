//! The fields of an App, except what a route and a grant hold. Owns their descriptions and defaults.

use super::{
    Shape,
    grants::{EGRESS, FILE, LINKS, PLACEMENT, SECRET_REFERENCE, TRIGGERS},
    record, record_of,
    route::ROUTE,
};
use crate::limits::REPLICAS_MAX;

const COUNT: Shape = Shape::Integer { min: 0, max: 1_000_000 };
const AT_LEAST_ONE: Shape = Shape::Integer { min: 1, max: 1_000_000 };

record! {
    /// What the user wishes of an app.
    pub APP_SPEC "AppSpec" {
        /// Variables for `${var.NAME}`, set with `--var NAME=VALUE`.
        "vars": Shape::Map(&Shape::Record(&VAR)),
        /// Merged into every component: maps key by key, lists and values as a whole. What the component says wins.
        "defaults": Shape::Partial(&COMPONENT),
        /// How a new revision takes over.
        "rollout": record_of!(ROLLOUT),
        /// The components by name; at least one.
        "components": Shape::Names(&Shape::Record(&COMPONENT)); required(),
    }
}

record! {
    /// A variable.
    pub VAR "Var" {
        /// Its value when none is given; without a default it must be given.
        "default": Shape::Raw,
        /// What it is for.
        "description": Shape::Text,
    }
}

record! {
    /// How a new revision takes over.
    pub ROLLOUT "Rollout" {
        /// How instances are exchanged.
        "strategy": Shape::Word(&["rolling", "canary", "blueGreen", "recreate"]); default("rolling"), later(),
        /// Instances above the wished number while exchanging, at least 1.
        "maxSurge": Shape::CountOrPercent; default("25%"), later(),
        /// Instances that may be missing while exchanging.
        "maxUnavailable": Shape::CountOrPercent; default("0"), later(),
        /// How long an instance must be well before it counts.
        "healthyAfter": Shape::Duration; default("1s"), later(),
        /// How long without progress until the rollout has failed; compiling, holding and pausing do not count.
        "deadline": Shape::Duration; default("5m"), later(),
        /// Go back by itself when the gate says so.
        "autoRollback": Shape::Boolean; default("true"), later(),
        /// How long the gate is watched after the exchange.
        "watch": Shape::Duration; default("60s"), later(),
        /// What makes the new revision bad.
        "gate": record_of!(GATE); later(),
        /// The steps of a canary.
        "steps": Shape::List(&Shape::Record(&STEP)); later(),
    }
}

record! {
    /// When the traps and 5xx answers of a new revision are too many.
    pub GATE "Gate" {
        /// Share of failed requests that is always tolerated.
        "errors": Shape::Percent; default("5%"),
        /// How many times the old revision's share is tolerated.
        "factor": AT_LEAST_ONE; default("2"),
        /// Requests before anything is judged.
        "requests": AT_LEAST_ONE; default("20"),
    }
}

record! {
    /// One step of a canary.
    pub STEP "Step" {
        /// Share of requests that goes to the new revision, in percent.
        "weight": Shape::Integer { min: 0, max: 100 }; required(),
        /// How long.
        "hold": Shape::Duration,
    }
}

record! {
    /// One named Wasm component of an app.
    pub COMPONENT "Component" {
        /// Where its bytes come from: a file beside the manifest, or `sha256:…` already stored.
        "source": Shape::Source; required(),
        /// How the bytes are made on the developer's machine; the cluster never runs it.
        "build": record_of!(BUILD),
        /// Environment variables of the guest.
        "env": Shape::Map(&Shape::Raw),
        /// Values for `wasi:config/store`, or `{config: NAME}`.
        "config": Shape::Settings,
        /// Secret values for `wasi:config/store` and the environment.
        "secrets": Shape::Map(&Shape::Record(&SECRET_REFERENCE)),
        /// Arguments of the guest.
        "args": Shape::List(&Shape::Raw),
        /// Read-only files for the guest.
        "files": Shape::List(&Shape::Record(&FILE)),
        /// Which requests it answers.
        "routes": Shape::List(&Shape::Record(&ROUTE)),
        /// How many instances.
        "scale": record_of!(SCALE),
        /// What one instance may use.
        "resources": record_of!(RESOURCES),
        /// How sandboxes are used again. Left out, a component of WASI 0.2 gets a fresh one per request and one of WASI 0.3 answers several at once.
        "reuse": record_of!(REUSE),
        /// How an instance is asked whether it is well.
        "health": record_of!(HEALTH); later(),
        /// What the guest may reach inside the cluster.
        "links": record_of!(LINKS); later(),
        /// What starts it beside requests.
        "triggers": record_of!(TRIGGERS); later(),
        /// What the guest may reach outside.
        "egress": record_of!(EGRESS),
        /// Where its instances may run.
        "placement": record_of!(PLACEMENT); later(),
    }
}

record! {
    /// A build on the developer's machine, run by `shoal dev`.
    pub BUILD "Build" {
        /// Run through `sh -c`.
        "command": Shape::Text; required(),
        /// Where it runs, relative to the manifest.
        "dir": Shape::Text; default("."),
        /// Files and directories whose change starts a build, relative to `dir`.
        "watch": Shape::List(&Shape::Text); default("[src]"),
    }
}

record! {
    /// How many instances. Left out, it is one.
    pub SCALE "Scale" [["replicas"], ["min", "max", "target", "tolerance", "stabilize", "idleAfter"], ["perNode"]] {
        /// A fixed number of instances.
        "replicas": Shape::Integer { min: 1, max: REPLICAS_MAX as u64 }; default("1"),
        /// Fewest instances.
        "min": COUNT; default("0"), later(), instead("leave `scale` out: every node runs one instance"),
        /// Most instances.
        "max": AT_LEAST_ONE; default("100"), later(), instead("leave `scale` out: every node runs one instance"),
        /// What the number of instances follows.
        "target": record_of!(TARGET); later(), instead("leave `scale` out: every node runs one instance"),
        /// How far from the target nothing is done yet.
        "tolerance": Shape::Percent; default("10%"), later(),
        /// How long a wish must last.
        "stabilize": record_of!(STABILIZE); later(),
        /// How long without a request until the last instance goes.
        "idleAfter": Shape::Duration; default("60s"), later(),
        /// One instance on every node.
        "perNode": Shape::Boolean; default("false"), later(), instead("leave `scale` out: every node runs one instance"),
    }
}

record! {
    /// What the number of instances follows: one of these.
    pub TARGET "Target" [["concurrency"], ["rps"], ["cpu"], ["queueLag"], ["p95Latency"]] {
        /// Requests at once per instance, or a share of `maxInFlight`.
        "concurrency": Shape::CountOrPercent; default("70%"),
        /// Requests per second per instance.
        "rps": AT_LEAST_ONE,
        /// Share of the booked processor.
        "cpu": Shape::Percent,
        /// Messages waiting per instance.
        "queueLag": AT_LEAST_ONE,
        /// Time until response headers that 95 of 100 requests keep.
        "p95Latency": Shape::Duration,
    }
}

record! {
    /// How long a wish for more or fewer instances must last.
    pub STABILIZE "Stabilize" {
        /// For more.
        "up": Shape::Duration; default("0s"),
        /// For fewer.
        "down": Shape::Duration; default("60s"),
    }
}

record! {
    /// What one instance may use.
    pub RESOURCES "Resources" {
        /// Hard cap of one sandbox, all its memories and tables together: 1Mi to `instanceMemory`.
        "memory": Shape::Size; default("64Mi"),
        /// Hard sum over one instance's sandboxes; what the scheduler books.
        "instanceMemory": Shape::Size; default("256Mi"),
        /// Booked by the scheduler, and a fair share when the node is busy.
        "cpu": Shape::Cpu; default("100m"), later(),
        /// Requests one instance answers at once.
        "maxInFlight": AT_LEAST_ONE; default("100"),
        /// Requests that wait for their turn.
        "queue": record_of!(WAITING),
        /// Until the response headers, also for links and triggers.
        "timeout": Shape::Duration; default("30s"),
        /// Processor time of one request; refills while a response streams.
        "cpuTime": Shape::Duration; default("5s"),
    }
}

record! {
    /// Requests that wait for their turn.
    pub WAITING "Waiting" {
        /// How many may wait.
        "length": COUNT; default("1024"),
        /// How long one may wait.
        "wait": Shape::Duration; default("5s"),
    }
}

record! {
    /// How sandboxes are used again.
    pub REUSE "Reuse" {
        /// A fresh sandbox per request, one request after the other, or several at once (WASI 0.3 only). Those end together when one traps or exceeds a budget.
        "mode": Shape::Word(&["fresh", "serial", "concurrent"]),
        /// How many sandboxes an instance keeps; left out, as many as its requests need.
        "sandboxes": AT_LEAST_ONE,
        /// Requests in one sandbox at once.
        "maxConcurrent": AT_LEAST_ONE; default("16"),
        /// Requests until a sandbox is replaced; 0 is no end.
        "maxRequests": COUNT; default("128"),
        /// Age at which a sandbox is replaced.
        "maxAge": Shape::Duration,
    }
}

record! {
    /// How an instance is asked whether it is well.
    pub HEALTH "Health" {
        /// By a request.
        "http": record_of!(HEALTH_HTTP),
    }
}

record! {
    /// A request that a healthy instance answers with 2xx.
    pub HEALTH_HTTP "HealthHttp" {
        /// Its path.
        "path": Shape::Text; required(),
        /// How often.
        "interval": Shape::Duration; default("1s"),
        /// How long it may take.
        "timeout": Shape::Duration; default("1s"),
        /// After how many failures in a row it is not well.
        "unhealthyAfter": AT_LEAST_ONE; default("3"),
    }
}
