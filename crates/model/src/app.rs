//! An app after parsing: every default filled in, nothing left to check. Owns the canonical form (its serde shape is the canonical JSON);
//! must never hold what a user may leave out or get wrong: that is the raw form's.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    egress::Egress,
    id::{AppId, Digest, Index, Name},
    quantity::{Bytes, CpuMillis, Millis},
};

/// An app: a named set of components, the unit of plan, rollout and rollback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct App {
    /// Name, namespace, labels and the like.
    pub metadata: Metadata,
    /// What the user wishes.
    pub spec: AppSpec,
}

impl App {
    /// The artifacts it names: the sources of components and of files, as far as they are digests.
    pub fn artifacts(&self) -> BTreeSet<Digest> {
        let components = self.spec.components.values();
        let sources = components.flat_map(|one| std::iter::once(&one.source).chain(one.files.iter().map(|file| &file.source)));
        sources.filter_map(Source::digest).collect()
    }

    /// The app's id.
    pub fn id(&self) -> AppId {
        AppId { namespace: self.metadata.namespace.clone(), name: self.metadata.name.clone() }
    }
}

/// What every kind carries beside its `spec`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The object's name.
    pub name: Name,
    /// The namespace it lives in.
    pub namespace: Name,
    /// Words to select by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Words for tools.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// A protected object is not deleted until this is taken back.
    #[serde(default)]
    pub protected: bool,
    /// When set, the write happens only if the object still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<Index>,
}

/// The wish. `vars` are already substituted and `defaults` already merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppSpec {
    /// The components by name; at least one.
    pub components: BTreeMap<Name, Component>,
}

/// One named Wasm component of an app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Component {
    /// Where its bytes come from.
    pub source: Source,
    /// How the bytes are made on the developer's machine; the cluster never runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// Environment variables of the guest.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Values for `wasi:config/store`.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// Arguments of the guest.
    #[serde(default)]
    pub args: Vec<String>,
    /// Files the guest may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileMount>,
    /// Which requests it answers.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// How many instances.
    pub scale: Scale,
    /// What one instance may use.
    pub resources: Resources,
    /// How sandboxes are used again. Left out, the WASI version decides: a fresh one per request for 0.2, [`Reuse::default`] with several requests at once
    /// for 0.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
    /// What the guest may reach outside; nothing, unless it stands here.
    #[serde(default, skip_serializing_if = "Egress::is_empty")]
    pub egress: Egress,
    /// The Config of its namespace that holds the values for `wasi:config/store`, in the place of `config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_from: Option<Name>,
    /// Secret values for `wasi:config/store` and the environment, by the name the guest knows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretReference>,
}

/// One value of a Secret of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretReference {
    /// The Secret.
    pub secret: Name,
    /// The key inside.
    pub key: String,
    /// A fixed version; left out, the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// Where a component's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A file beside the manifest. The CLI reads and uploads it; a server only ever sees `Digest`.
    File(String),
    /// An artifact by digest; `from` is the text the user wrote, kept for display.
    Digest {
        /// The artifact.
        digest: Digest,
        /// What the manifest said: a path, or the digest itself.
        from: String,
    },
}

impl Source {
    /// The digest, once the source is resolved.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::File(_) => None,
            Self::Digest { digest, .. } => Some(*digest),
        }
    }
}

/// One read-only file of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileMount {
    /// Where its bytes come from. In a manifest it may also be a directory, which the CLI writes out as one entry per file.
    pub source: Source,
    /// Where the guest finds it: starts with `/`, without `//`, `.` and `..`.
    pub to: String,
}

/// How sandboxes are used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reuse {
    /// How many requests a sandbox answers; left out, the WASI version decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ReuseMode>,
    /// How many sandboxes an instance keeps; left out, as many as its requests need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandboxes: Option<u32>,
    /// Requests in one sandbox at once [16].
    pub max_concurrent: u32,
    /// Requests until a sandbox is replaced; 0 is no end [128].
    pub max_requests: u32,
    /// Age at which a sandbox is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Millis>,
}

impl Default for Reuse {
    /// The defaults of the manifest format.
    fn default() -> Self {
        crate::manifest::default_reuse()
    }
}

/// How many requests one sandbox answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReuseMode {
    /// One.
    Fresh,
    /// Several, one after the other.
    Serial,
    /// Several at once.
    Concurrent,
}

impl ReuseMode {
    /// As a manifest writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Serial => "serial",
            Self::Concurrent => "concurrent",
        }
    }
}

/// A build on the developer's machine, run by `shoal dev`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Build {
    /// Run through `sh -c`.
    pub command: String,
    /// Where it runs, relative to the manifest [`.`].
    pub dir: String,
    /// Files and directories whose change starts a build, relative to `dir` [`src`].
    pub watch: Vec<String>,
}

/// One way requests reach a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// `example.com`, or `*.example.com` for every name below it. Lower case.
    pub host: String,
    /// Starts with `/`. A prefix by whole path elements, or the whole path when `exact`.
    pub path: String,
    /// Match the whole path only.
    #[serde(default)]
    pub exact: bool,
    /// Upper-case methods, sorted; empty means every method.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Lower-case header names and the value each must have.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Replaces the matched path or prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<String>,
    /// Until the response headers [30s].
    pub timeout: Millis,
    /// Between bytes of a body, either way [5m].
    pub idle_timeout: Millis,
    /// Largest request body [10Mi].
    pub max_body: Bytes,
    /// The certificate of its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RouteTls>,
    /// What a request without TLS gets, where that is not what `tls` says already: see [`Route::https`]. So one wish has one form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<Https>,
}

impl Route {
    /// What a request without TLS gets.
    pub fn https(&self) -> Https {
        self.https.unwrap_or(Https::default_of(self.tls.as_ref()))
    }
}

/// Where a route's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteTls {
    /// The Secret of type `tls` of the same namespace that holds it.
    pub secret: Name,
}

/// What a request without TLS gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Https {
    /// It is sent to the same address under `https://`.
    Redirect,
    /// It is answered like one with TLS.
    Both,
}

impl Https {
    /// What holds for a route that does not say.
    pub fn default_of(tls: Option<&RouteTls>) -> Self {
        if tls.is_some() { Self::Redirect } else { Self::Both }
    }

    /// As a manifest writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Both => "both",
        }
    }
}

/// How many instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scale {
    /// A fixed number of instances, at least 1.
    pub replicas: u32,
}

impl Default for Scale {
    /// One instance.
    fn default() -> Self {
        Self { replicas: 1 }
    }
}

/// What one instance may use. Fields that are not in effect yet hold their defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// Hard cap of one sandbox, all its memories and tables together [64Mi].
    pub memory: Bytes,
    /// Hard sum over one instance's sandboxes; what the scheduler books [256Mi].
    pub instance_memory: Bytes,
    /// Booked by the scheduler [100m].
    pub cpu: CpuMillis,
    /// Requests one instance answers at once [100].
    pub max_in_flight: u32,
    /// Requests that may wait for a turn [1024].
    pub queue_length: u32,
    /// How long one may wait [5s].
    pub queue_wait: Millis,
    /// Until the response headers [30s].
    pub timeout: Millis,
    /// Processor time of one request; refills while a response streams [5s].
    #[serde(default = "default_cpu_time")]
    pub cpu_time: Millis,
}

/// What an app that was written down before the field existed has.
fn default_cpu_time() -> Millis {
    Resources::default().cpu_time
}

impl Default for Resources {
    /// The defaults of the manifest format.
    fn default() -> Self {
        crate::manifest::default_resources()
    }
}
