//! What of an app enters the replicated log: the canonical JSON, opaque to `apply`, and a frozen spec with only what `apply` and the scheduler read.
//! Owns the frozen shapes, which are bincode-encoded and so only ever grow new versions; must never parse text inside `apply`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    app::{App, Component, SecretReference, Source},
    egress::EgressRule,
    id::{Digest, Name},
};

/// An app as the log holds it. Both halves are made by [`freeze`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Canonical JSON with every default filled in.
    pub canonical: String,
    /// What decisions read.
    pub spec: AppSpecV1,
}

impl Frozen {
    /// The artifacts it names: the sources of components and of files. What else looks like a digest, in a variable say, is a text of somebody's.
    pub fn artifacts(&self) -> BTreeSet<Digest> {
        // What decisions read is there also where the rest is of a program that this one does not know.
        let mut digests: BTreeSet<Digest> = self.spec.components.iter().map(|component| component.digest).collect();
        if let Ok(outline) = serde_json::from_str::<Outline>(&self.canonical) {
            let components = outline.spec.components.into_values();
            let sources = components.flat_map(|one| std::iter::once(one.source).chain(one.files.into_iter().map(|file| file.source)));
            digests.extend(sources.filter_map(|source| source.digest()));
        }
        digests
    }
}

/// Of the canonical form of an app only where bytes come from: whoever asks reads all of them.
#[derive(Debug, Deserialize)]
struct Outline {
    spec: OutlineSpec,
}

#[derive(Debug, Deserialize)]
struct OutlineSpec {
    components: BTreeMap<Name, OutlineComponent>,
}

#[derive(Debug, Deserialize)]
struct OutlineComponent {
    source: Source,
    #[serde(default)]
    files: Vec<OutlineFile>,
}

#[derive(Debug, Deserialize)]
struct OutlineFile {
    source: Source,
}

/// The first frozen app shape. Fields are never added, removed or reordered: a change is a `V2`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSpecV1 {
    /// In order of name.
    pub components: Vec<ComponentSpecV1>,
}

/// What decisions read of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentSpecV1 {
    /// The component's name.
    pub name: Name,
    /// Its artifact.
    pub digest: Digest,
    /// Wished instances.
    pub replicas: u32,
    /// Bytes booked per instance.
    pub instance_memory_bytes: u64,
    /// Thousandths of a core booked per instance.
    pub cpu_millis: u32,
    /// What its routes match on.
    pub routes: Vec<RouteKeyV1>,
    /// The Config it reads.
    pub config: Option<Name>,
    /// The secret values it gets, in order of the name the guest knows.
    pub secrets: Vec<SecretUseV1>,
    /// The Secrets with the certificates of its routes' hosts, sorted and once each.
    pub certificates: Vec<CertificateUseV1>,
    /// What it may reach outside.
    pub egress: Vec<EgressRule>,
    /// The interfaces it imports beside those every component may, as whoever read its bytes found them; sorted and once each.
    pub imports: Vec<String>,
}

/// One secret value of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretUseV1 {
    /// The name the guest knows.
    pub name: String,
    /// The Secret.
    pub secret: Name,
    /// The key inside.
    pub key: String,
    /// A fixed version; the newest when absent.
    pub version: Option<u64>,
}

/// Which Secret has the certificate of a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CertificateUseV1 {
    /// The host of a route: exact or `*.suffix`, lower case.
    pub host: String,
    /// The Secret.
    pub secret: Name,
}

/// What a route matches on; two equal keys collide.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteKeyV1 {
    /// Exact host or `*.suffix`, lower case.
    pub host: String,
    /// Path or path prefix.
    pub path: String,
    /// Whole path only.
    pub exact: bool,
    /// Sorted; empty means every method.
    pub methods: Vec<String>,
    /// Sorted by name.
    pub headers: Vec<(String, String)>,
}

/// Freezes `app`. What belongs to one write and not to the wish is left out: the version that write expects, and the path that a digest was read from
/// on somebody's machine. So the same wish freezes to the same bytes, whoever applies it.
///
/// # Errors
/// The first component whose source is not resolved to a digest yet.
pub fn freeze(app: &App) -> Result<Frozen, Name> {
    let mut app = app.clone();
    app.metadata.resource_version = None;
    for component in app.spec.components.values_mut() {
        for source in std::iter::once(&mut component.source).chain(component.files.iter_mut().map(|file| &mut file.source)) {
            if let Source::Digest { digest, from } = source {
                *from = digest.to_string();
            }
        }
    }
    let components = app
        .spec
        .components
        .iter()
        .map(|(name, component)| {
            Ok(ComponentSpecV1 {
                name: name.clone(),
                digest: component.source.digest().ok_or_else(|| name.clone())?,
                replicas: component.scale.replicas,
                instance_memory_bytes: component.resources.instance_memory.0,
                cpu_millis: component.resources.cpu.0,
                routes: component.routes.iter().map(RouteKeyV1::of).collect(),
                config: component.config_from.clone(),
                secrets: component.secrets.iter().map(|(name, reference)| SecretUseV1::of(name, reference)).collect(),
                certificates: certificates(component),
                egress: component.egress.allow.clone(),
                imports: Vec::new(),
            })
        })
        .collect::<Result<_, Name>>()?;
    let canonical = serde_json::to_string(&app).expect("an app's canonical form has string keys only");
    Ok(Frozen { canonical, spec: AppSpecV1 { components } })
}

fn certificates(component: &Component) -> Vec<CertificateUseV1> {
    let routes = component.routes.iter();
    let named = routes.filter_map(|route| Some(CertificateUseV1 { host: route.host.clone(), secret: route.tls.as_ref()?.secret.clone() }));
    named.collect::<BTreeSet<_>>().into_iter().collect()
}

impl SecretUseV1 {
    fn of(name: &str, reference: &SecretReference) -> Self {
        let SecretReference { secret, key, version } = reference.clone();
        Self { name: name.to_owned(), secret, key, version }
    }
}

impl RouteKeyV1 {
    /// The key of `route`.
    pub fn of(route: &crate::app::Route) -> Self {
        Self {
            host: route.host.clone(),
            path: route.path.clone(),
            exact: route.exact,
            methods: route.methods.clone(),
            headers: route.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::{
        id::Index,
        manifest::{Document, parse},
    };

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn app(source: &str) -> App {
        let text = format!(
            "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: hello, labels: {{b: x, a: y}}}}\nspec:\n  components:\n    web:\n      \
             source: {source}\n      env: {{ZED: 1, ALPHA: 2}}\n      routes: [{{host: Hello.localhost, methods: [post, GET]}}]\n"
        );
        let documents = parse(&text, "app.yaml", &BTreeMap::new()).expect("the manifest is right");
        let Some(Document::App(app)) = documents.into_iter().next() else { panic!("there is one app") };
        app
    }

    /// The canonical bytes are kept in the log and compared to tell whether a wish changed: they must not move between versions.
    #[test]
    fn the_canonical_form_is_stable() {
        let frozen = freeze(&app(DIGEST)).expect("the source is a digest");
        expect![[r#"{"metadata":{"name":"hello","namespace":"default","labels":{"a":"y","b":"x"},"annotations":{},"protected":false},"spec":{"components":{"web":{"source":{"digest":{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","from":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}},"env":{"ALPHA":"2","ZED":"1"},"config":{},"args":[],"routes":[{"host":"hello.localhost","path":"/","exact":false,"methods":["GET","POST"],"headers":{},"timeout":30000,"idleTimeout":300000,"maxBody":10485760}],"scale":{"replicas":1},"resources":{"memory":67108864,"instanceMemory":268435456,"cpu":100,"maxInFlight":100,"queueLength":1024,"queueWait":5000,"timeout":30000,"cpuTime":5000}}}}}"#]]
        .assert_eq(&frozen.canonical);
    }

    /// What a log from before `cpuTime`, `reuse`, `egress` and `files` holds.
    #[test]
    fn an_older_canonical_form_is_read() {
        let older = r#"{"metadata":{"name":"hello","namespace":"default","labels":{"a":"y","b":"x"},"annotations":{},"protected":false},"spec":{"components":{"web":{"source":{"digest":{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","from":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}},"env":{"ALPHA":"2","ZED":"1"},"config":{},"args":[],"routes":[{"host":"hello.localhost","path":"/","exact":false,"methods":["GET","POST"],"headers":{},"timeout":30000,"idleTimeout":300000,"maxBody":10485760}],"scale":{"replicas":1},"resources":{"memory":67108864,"instanceMemory":268435456,"cpu":100,"maxInFlight":100,"queueLength":1024,"queueWait":5000,"timeout":30000}}}}}"#;
        assert_eq!(serde_json::from_str::<App>(older).expect("the older form is read"), app(DIGEST));
    }

    #[test]
    fn what_belongs_to_one_write_is_not_frozen() {
        let mut other = app(DIGEST);
        other.metadata.resource_version = Some(Index(41));
        for component in other.spec.components.values_mut() {
            component.source = Source::Digest { digest: DIGEST.parse().expect("a digest"), from: "./hello.wasm".into() };
        }
        assert_eq!(freeze(&app(DIGEST)), freeze(&other));
    }

    #[test]
    fn only_sources_are_artifacts() {
        let (one, two, three) = (Digest::of(b"one"), Digest::of(b"two"), Digest::of(b"three"));
        let mut named = app(&format!("\"{one}\""));
        for component in named.spec.components.values_mut() {
            component.env.insert("X".into(), three.to_string());
            let source = Source::Digest { digest: two, from: two.to_string() };
            component.files.push(crate::app::FileMount { source, to: "/data/a".into() });
        }
        assert_eq!(named.artifacts(), BTreeSet::from([one, two]));
        let frozen = freeze(&named).expect("sources are digests");
        assert!(frozen.canonical.contains(&three.to_string()), "it is there, and no artifact");
        assert_eq!(frozen.artifacts(), BTreeSet::from([one, two]));
        let unreadable = Frozen { canonical: "{}".into(), ..frozen };
        assert_eq!(unreadable.artifacts(), BTreeSet::from([one]), "of a program that is not known what runs is kept");
    }

    #[test]
    fn a_file_cannot_be_frozen() {
        assert_eq!(freeze(&app("./hello.wasm")).map_err(|name| name.to_string()), Err("web".to_owned()));
    }
}
