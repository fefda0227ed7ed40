//! What the format knows and this version does not do.

use super::*;

#[test]
fn what_is_not_in_effect_is_refused_and_its_default_is_not() {
    check(
        &hello(
            "\n      source: ./a.wasm\n      resources: {memory: 64Mi, cpu: 0.1, queue: {length: 1024}, timeout: 30s}\n      reuse: {mode: fresh}\n      \
             egress: {allow: []}\n      links: {http: {}}\n      scale: {min: 0, max: 100}\n      placement: {spread: [node, zone]}\n      \
             routes: [{host: a.com, compress: false, tls: \"off\", retry: {attempts: 2, on: [connect, refused]}}]\n",
        ),
        expect![[r#"
            apiVersion: shoal.dev/v1
            kind: App
            metadata:
              name: hello
            spec:
              components:
                web:
                  source: ./a.wasm
                  routes:
                  - host: a.com
                    path: /
                  reuse:
                    mode: fresh
        "#]],
    );
    check(
        &hello(
            "\n      source: oci://ghcr.io/acme/web:1\n      resources: {memory: 128Mi, cpu: 2}\n      secrets: {A: {secret: b, key: c}}\n      \
             egress: {allow: [\"https://a.com:443\", \"tcp://a.com:5432\"]}\n      scale: {min: 1}\n      config: {config: shared}\n      \
             routes: [{host: a.com, compress: true, tls: {acme: le}}]\n",
        ),
        expect![[r#"
            error[E0107]: `source` of component `web`: a source from oci:// is not supported yet
             --> app.yaml:7:15
              |
            7 |       source: oci://ghcr.io/acme/web:1
              |               ^^^^^^^^^^^^^^^^^^^^^^^^ not in effect in this version
              = help: download it and write the file's path: source: ./app.wasm

            error[E0107]: `resources.cpu` of component `web` is not supported yet
             --> app.yaml:8:34
              |
            8 |       resources: {memory: 128Mi, cpu: 2}
              |                                  ^^^ only its default `100m` is in effect
              = help: remove it

            error[E0107]: `egress.allow[1]` of component `web`: tcp:// is not supported yet
              --> app.yaml:10:45
               |
            10 |       egress: {allow: ["https://a.com:443", "tcp://a.com:5432"]}
               |                                             ^^^^^^^^^^^^^^^^^^ not in effect in this version
               = help: allow http:// and https:// only

            error[E0107]: `scale.min` of component `web` is not supported yet
              --> app.yaml:11:15
               |
            11 |       scale: {min: 1}
               |               ^^^ only its default `0` is in effect
               = help: leave `scale` out: every node runs one instance

            error[E0107]: `routes[0].compress` of component `web` is not supported yet
              --> app.yaml:13:30
               |
            13 |       routes: [{host: a.com, compress: true, tls: {acme: le}}]
               |                              ^^^^^^^^ only its default `false` is in effect
               = help: remove it

            error[E0107]: `routes[0].tls.acme` of component `web` is not supported yet
              --> app.yaml:13:52
               |
            13 |       routes: [{host: a.com, compress: true, tls: {acme: le}}]
               |                                                    ^^^^ not in effect in this version
               = help: remove it
        "#]],
    );
}

#[test]
fn a_field_not_in_effect_is_still_checked() {
    check(
        &hello("{source: ./a.wasm, links: {http: {api: {too: api}}, wasi:keyvalue: {a: {to: b, bucket: c, access: all}}}}"),
        expect![[r#"
        error[E0107]: `links` of component `web` is not supported yet
         --> app.yaml:6:29
          |
        6 |     web: {source: ./a.wasm, links: {http: {api: {too: api}}, wasi:keyvalue: {a: {to: b, bucket: c, access: all}}}}
          |                             ^^^^^ not in effect in this version
          = help: remove it

        error[E0105]: `links.http.api` of component `web` has no `to`
         --> app.yaml:6:44
          |
        6 |     web: {source: ./a.wasm, links: {http: {api: {too: api}}, wasi:keyvalue: {a: {to: b, bucket: c, access: all}}}}
          |                                            ^^^ `to` is missing here
          = help: add   to: …

        error[E0102]: unknown field `too` in `links.http.api` of component `web`
         --> app.yaml:6:50
          |
        6 |     web: {source: ./a.wasm, links: {http: {api: {too: api}}, wasi:keyvalue: {a: {to: b, bucket: c, access: all}}}}
          |                                                  ^^^ did you mean `to`?
          = help: write `to`

        error[E0106]: `links.wasi:keyvalue.a.access` of component `web` is `all`, and it must be one of read, write
         --> app.yaml:6:108
          |
        6 |     web: {source: ./a.wasm, links: {http: {api: {too: api}}, wasi:keyvalue: {a: {to: b, bucket: c, access: all}}}}
          |                                                                                                            ^^^ not one of the words
          = help: write one of read, write
    "#]],
    );
}

#[test]
fn kinds_that_are_not_built_are_checked_then_refused() {
    let text = "apiVersion: shoal.dev/v1\nkind: Queue\nmetadata: {name: telemetry}\nspec: {topics: {positions: {retention: 1h, maxBytes: 256Mb}}}\n\
                ---\napiVersion: shoal.dev/v1\nkind: Secret\nmetadata: {name: keys}\nspec: {type: apiKey, data: {keys: {fromFile: ./a, fromEnv: B}}}\n";
    check(
        text,
        expect![[r#"
            error[E0107]: the kind `Queue` is not supported yet
             --> app.yaml:2:7
              |
            2 | kind: Queue
              |       ^^^^^ not in effect in this version
              = help: remove the document

            error[E0106]: `spec.topics.positions.maxBytes`: `256Mb` is not a size
             --> app.yaml:4:54
              |
            4 | spec: {topics: {positions: {retention: 1h, maxBytes: 256Mb}}}
              |                                                      ^^^^^ invalid
              = help: write a whole number and Ki, Mi, Gi (or k, M, G): 64Mi

            error[E0106]: `spec.type` is `apiKey`, and it must be one of opaque, tls, registry, apiKeys
             --> app.yaml:9:14
              |
            9 | spec: {type: apiKey, data: {keys: {fromFile: ./a, fromEnv: B}}}
              |              ^^^^^^ not one of the words
              = help: did you mean `apiKeys`?

            error[E0112]: `fromFile` and `fromEnv` of `spec.data.keys` exclude each other
             --> app.yaml:9:51
              |
            9 | spec: {type: apiKey, data: {keys: {fromFile: ./a, fromEnv: B}}}
              |                                                   ^^^^^^^ `fromFile` is set on line 9
              = help: keep one of them
        "#]],
    );
}

#[test]
fn the_drone_tracker_says_what_is_not_built_yet() {
    let text = include_str!("drones.yaml");
    expect![[r#"
        error[E0107]: `spec.rollout.maxSurge` is not supported yet
         --> app.yaml:6:13
          |
        6 |   rollout: {maxSurge: 1, autoRollback: true}
          |             ^^^^^^^^ only its default `25%` is in effect
          = help: remove it

        error[E0107]: `routes[0].compress` of component `web` is not supported yet
          --> app.yaml:10:47
           |
        10 |       routes: [{host: "${var.host}", path: /, compress: true}]
           |                                               ^^^^^^^^ only its default `false` is in effect
           = help: remove it

        error[E0107]: `links` of component `web` is not supported yet
          --> app.yaml:11:7
           |
        11 |       links: {http: {api: {to: api}}}
           |       ^^^^^ not in effect in this version
           = help: remove it

        error[E0107]: `scale.min` of component `web` is not supported yet
          --> app.yaml:12:15
           |
        12 |       scale: {min: 2, max: 20, target: {concurrency: 50}}
           |               ^^^ only its default `0` is in effect
           = help: leave `scale` out: every node runs one instance

        error[E0107]: `scale.max` of component `web` is not supported yet
          --> app.yaml:12:23
           |
        12 |       scale: {min: 2, max: 20, target: {concurrency: 50}}
           |                       ^^^ only its default `100` is in effect
           = help: leave `scale` out: every node runs one instance

        error[E0107]: `scale.target` of component `web` is not supported yet
          --> app.yaml:12:32
           |
        12 |       scale: {min: 2, max: 20, target: {concurrency: 50}}
           |                                ^^^^^^ not in effect in this version
           = help: leave `scale` out: every node runs one instance

        error[E0107]: `routes[0].auth` of component `api` is not supported yet
          --> app.yaml:15:86
           |
        15 |       routes: [{host: "${var.host}", path: /v1, methods: [GET, POST], maxBody: 16Ki, auth: {apiKeys: {secret: drone-keys}}}]
           |                                                                                      ^^^^ not in effect in this version
           = help: remove it

        error[E0107]: `links` of component `api` is not supported yet
          --> app.yaml:16:7
           |
        16 |       links:
           |       ^^^^^ not in effect in this version
           = help: remove it

        error[E0107]: `scale.min` of component `api` is not supported yet
          --> app.yaml:20:15
           |
        20 |       scale: {min: 2, max: 40, target: {concurrency: 60}}
           |               ^^^ only its default `0` is in effect
           = help: leave `scale` out: every node runs one instance

        error[E0107]: `scale.max` of component `api` is not supported yet
          --> app.yaml:20:23
           |
        20 |       scale: {min: 2, max: 40, target: {concurrency: 60}}
           |                       ^^^ only its default `100` is in effect
           = help: leave `scale` out: every node runs one instance

        error[E0107]: `scale.target` of component `api` is not supported yet
          --> app.yaml:20:32
           |
        20 |       scale: {min: 2, max: 40, target: {concurrency: 60}}
           |                                ^^^^^^ not in effect in this version
           = help: leave `scale` out: every node runs one instance

        error[E0107]: `triggers` of component `processor` is not supported yet
          --> app.yaml:27:7
           |
        27 |       triggers: {messages: {from: telemetry, topic: positions, group: processors, maxInFlight: 32, retries: 5, deadLetter: dead}}
           |       ^^^^^^^^ not in effect in this version
           = help: remove it

        error[E0107]: `links` of component `processor` is not supported yet
          --> app.yaml:28:7
           |
        28 |       links: {wasi:keyvalue: {tracks: {to: tracks, bucket: tracks, access: write}}}
           |       ^^^^^ not in effect in this version
           = help: remove it

        error[E0107]: `scale.min` of component `processor` is not supported yet
          --> app.yaml:29:15
           |
        29 |       scale: {min: 1, max: 30, target: {queueLag: 500}}
           |               ^^^ only its default `0` is in effect
           = help: leave `scale` out: every node runs one instance

        error[E0107]: `scale.max` of component `processor` is not supported yet
          --> app.yaml:29:23
           |
        29 |       scale: {min: 1, max: 30, target: {queueLag: 500}}
           |                       ^^^ only its default `100` is in effect
           = help: leave `scale` out: every node runs one instance

        error[E0107]: `scale.target` of component `processor` is not supported yet
          --> app.yaml:29:32
           |
        29 |       scale: {min: 1, max: 30, target: {queueLag: 500}}
           |                                ^^^^^^ not in effect in this version
           = help: leave `scale` out: every node runs one instance

        error[E0107]: the kind `Queue` is not supported yet
          --> app.yaml:32:7
           |
        32 | kind: Queue
           |       ^^^^^ not in effect in this version
           = help: remove the document

        error[E0107]: the kind `Store` is not supported yet
          --> app.yaml:37:7
           |
        37 | kind: Store
           |       ^^^^^ not in effect in this version
           = help: remove the document
    "#]].assert_eq(&outcome(text, None, &[]));
}
