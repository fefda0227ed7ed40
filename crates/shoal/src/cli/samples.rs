//! Objects for the tests of this crate, as a server would send them. Owns nothing else; exists in tests only.

use api::v1::AppView;
use serde_json::{Value, json};

/// An app with two ready instances of revision 2; `status` replaces fields of its status.
pub(crate) fn app(name: &str, status: Value) -> AppView {
    let mut whole = json!({
        "createdAt": "2026-01-01T00:00:00.000Z",
        "wanted": 2,
        "serving": 2,
        "observedGeneration": 9,
        "routed": true,
        "rollout": {"phase": "done", "message": ""},
        "conditions": [],
        "components": [component("web", 2, 2)],
        "instances": [instance(&format!("{name}/web.1"), 2, "ready"), instance(&format!("{name}/web.2"), 2, "ready")],
        "waits": [],
        "urls": [format!("http://{name}.localhost:8080/")],
        "deleting": false,
    });
    let fields = status.as_object().expect("fields of a status").clone();
    whole.as_object_mut().expect("an object").extend(fields);
    let object = json!({
        "apiVersion": "shoal.dev/v1",
        "kind": "App",
        "metadata": {"name": name, "namespace": "default", "labels": {"team": "fleet"}, "annotations": {}, "protected": false, "resourceVersion": 7},
        "spec": {"components": {"web": {
            "source": {"digest": {"digest": digest(), "from": "./hello.wasm"}},
            "env": {"COLOR": "blue"}, "config": {}, "args": [],
            "routes": [{"host": format!("{name}.localhost"), "path": "/", "exact": false, "methods": [], "headers": {},
                        "timeout": 30_000, "idleTimeout": 300_000, "maxBody": 10_485_760}],
            "scale": {"replicas": 2},
            "resources": {"memory": 67_108_864, "instanceMemory": 268_435_456, "cpu": 100, "maxInFlight": 100,
                          "queueLength": 1024, "queueWait": 5_000, "timeout": 30_000},
        }}},
        "status": whole,
    });
    serde_json::from_value(object).expect("the shape of the API")
}

/// A component's status.
pub(crate) fn component(name: &str, wanted: u32, ready: u32) -> Value {
    json!({"name": name, "digest": digest(), "wanted": wanted, "ready": ready})
}

/// An instance that is wished for.
pub(crate) fn instance(id: &str, revision: u64, phase: &str) -> Value {
    json!({"instance": id, "revision": revision, "placement": 11, "node": "one", "wanted": "run", "phase": phase,
           "since": "2026-01-01T00:00:10.000Z", "message": ""})
}

fn digest() -> String {
    format!("sha256:{}", "0123456789abcdef".repeat(4))
}
