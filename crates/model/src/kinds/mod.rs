//! The kinds of a manifest and all their fields, as tables: the one place that says what exists, what its default is and what is in effect.
//! Parsing, refusals, the schema for editors and `explain` all read these tables; must never hold a value of a user.

mod app;
mod cluster;
mod data;
mod grants;
mod route;
mod shape;

pub(crate) use app::{APP_SPEC, COMPONENT, RESOURCES, REUSE};
pub(crate) use data::SECRET;
pub(crate) use route::ROUTE;
pub(crate) use shape::{Field, Record, Shape};

use shape::{record, record_of};

/// What every document says in `apiVersion`.
pub(crate) const API_VERSION: &str = "shoal.dev/v1";

/// A kind a document may have.
pub(crate) struct Kind {
    /// `App`.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Its `spec`.
    pub spec: &'static Record,
    /// How far it is.
    pub standing: Standing,
}

/// What may be done with a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In effect.
    Built,
    /// Read and checked, then refused.
    Later,
    /// Written by the cluster only.
    ReadOnly,
}

/// All kinds.
pub(crate) static KINDS: &[Kind] = &[
    Kind {
        name: "App",
        doc: "Components, routes, links, config and rollout: the unit of plan, rollout and rollback.",
        spec: &APP_SPEC,
        standing: Standing::Built,
    },
    Kind {
        name: "Job",
        doc: "Runs a component to its end, in parallel, with retries; with `schedule.cron` again and again.",
        spec: &data::JOB,
        standing: Standing::Later,
    },
    Kind { name: "Store", doc: "Key-value buckets that outlive the apps using them.", spec: &data::STORE, standing: Standing::Later },
    Kind { name: "Queue", doc: "Topics that outlive the apps using them.", spec: &data::QUEUE, standing: Standing::Later },
    Kind { name: "Secret", doc: "Values that are sealed at rest and never shown again.", spec: &data::SECRET, standing: Standing::Built },
    Kind { name: "Config", doc: "Values several apps share.", spec: &data::CONFIG, standing: Standing::Built },
    Kind {
        name: "Namespace",
        doc: "Quota, default limits and ceilings for whoever deploys into it.",
        spec: &cluster::NAMESPACE,
        standing: Standing::Built,
    },
    Kind { name: "Cluster", doc: "What holds for the whole cluster. There is one.", spec: &cluster::CLUSTER, standing: Standing::Later },
    Kind { name: "Node", doc: "A machine running shoal.", spec: &EMPTY, standing: Standing::ReadOnly },
    Kind { name: "Member", doc: "A node that votes in the Raft group.", spec: &EMPTY, standing: Standing::ReadOnly },
    Kind { name: "Instance", doc: "One replica of a component, placed on a node.", spec: &EMPTY, standing: Standing::ReadOnly },
    Kind { name: "Revision", doc: "An immutable version of an app.", spec: &EMPTY, standing: Standing::ReadOnly },
    Kind { name: "Event", doc: "Something that happened.", spec: &EMPTY, standing: Standing::ReadOnly },
];

/// The kind called `name`, in any case.
pub(crate) fn find(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name.eq_ignore_ascii_case(name))
}

record! {
    /// Name, namespace, labels and the like.
    pub METADATA "Metadata" {
        /// The object's name: lower-case letters, digits and `-`.
        "name": Shape::Name; required(),
        /// The namespace it lives in.
        "namespace": Shape::Name; default("default"),
        /// Words to select by.
        "labels": Shape::Map(&Shape::Raw),
        /// Words for tools.
        "annotations": Shape::Map(&Shape::Raw),
        /// A protected object is not deleted until this is taken back.
        "protected": Shape::Boolean; default("false"),
        /// When set, the write happens only if the object still has this version.
        "resourceVersion": Shape::Integer { min: 0, max: u64::MAX },
    }
}

record! {
    /// What the cluster writes; not for manifests.
    pub EMPTY "Empty" {}
}

/// A kind Kubernetes has, and what takes its place here.
pub(crate) static KUBERNETES: &[(&str, &str)] = &[
    ("Deployment", "an App: `spec.components.NAME` with a `source` instead of containers and an image"),
    ("StatefulSet", "an App for the code and a Store for the data"),
    ("DaemonSet", "an App whose component has `scale: {perNode: true}`"),
    ("ReplicaSet", "an App; its revisions are kept by the cluster"),
    ("Pod", "an App with one component"),
    ("Service", "nothing: the components of an App are reached through their `routes` and `links`"),
    ("Ingress", "`routes` of a component: {host, path}"),
    ("HTTPRoute", "`routes` of a component: {host, path, methods, headers}"),
    ("Gateway", "nothing: every node has a gateway; hosts and paths are `routes` of a component"),
    ("HorizontalPodAutoscaler", "`scale` of a component: {min, max, target}"),
    ("CronJob", "a Job with `schedule: {cron: …}`"),
    ("ConfigMap", "`config` of a component, or a Config when several apps share it"),
    ("PersistentVolumeClaim", "a Store"),
    ("PersistentVolume", "a Store"),
    ("NetworkPolicy", "`links` and `egress` of a component; everything else is denied"),
    ("ServiceAccount", "nothing: a component holds what its `links`, `egress` and `secrets` grant"),
];
