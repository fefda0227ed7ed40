//! Assignments for tests, in one line each. Must never be compiled into the program.

use api::node::{AssignedPlacement, AssignedProgram, AssignedRoute, Assignment, Wanted};
use model::{
    app::{Https, Resources},
    id::{Digest, Generation, NodeId, PlacementId, RevisionNumber},
    quantity::{Bytes, CpuMillis, Millis},
};

/// An assignment of node 1.
pub fn assignment(generation: u64, programs: Vec<AssignedProgram>) -> Assignment {
    Assignment { generation: Generation(generation), node: NodeId(1), programs, routes: Vec::new() }
}

/// `component` at `revision` with one placement; its ordinal is the placement's number.
pub fn place(component: &str, revision: u64, placement: u64, wanted: Wanted) -> AssignedProgram {
    AssignedProgram {
        component: component.parse().expect("a component"),
        revision: RevisionNumber(revision),
        digest: Digest::of(component.as_bytes()),
        env: Default::default(),
        config: Default::default(),
        args: Vec::new(),
        resources: Resources {
            memory: Bytes(64 << 20),
            instance_memory: Bytes(256 << 20),
            cpu: CpuMillis(100),
            max_in_flight: 100,
            queue_length: 1024,
            queue_wait: Millis(5_000),
            timeout: Millis(30_000),
            cpu_time: Millis(5_000),
        },
        reuse: None,
        egress: Default::default(),
        files: Vec::new(),
        secrets: Vec::new(),
        placements: vec![AssignedPlacement { placement: PlacementId(placement), ordinal: placement as u32, wanted }],
    }
}

/// A route of `host` to `component` at `revision`.
pub fn route(host: &str, component: &str, revision: u64) -> AssignedRoute {
    AssignedRoute {
        component: component.parse().expect("a component"),
        revision: RevisionNumber(revision),
        host: host.to_owned(),
        path: "/".to_owned(),
        exact: false,
        methods: Vec::new(),
        headers: Default::default(),
        rewrite: None,
        timeout: Millis(30_000),
        idle_timeout: Millis(300_000),
        max_body: Bytes(10 << 20),
        certificate: None,
        https: Https::Both,
    }
}
