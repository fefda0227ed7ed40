//! Config, Secret and Namespace: what they mean, how they are printed, and what is refused. And how apps name them.

use super::*;
use crate::{
    app::Https,
    frozen::freeze,
    manifest::{config_from_canonical, namespace_from_canonical, secret_from_canonical},
    object::{Given, Namespace, NamespaceSpec},
};

fn document(kind: &str, spec: &str) -> String {
    format!("apiVersion: shoal.dev/v1\nkind: {kind}\nmetadata: {{name: one}}\nspec: {spec}\n")
}

fn one(text: &str) -> Document {
    parse(text, "app.yaml", &BTreeMap::new()).expect("the manifest is right").remove(0)
}

#[test]
fn a_config_holds_texts_and_says_where_the_rest_is_read() {
    check(
        &document("Config", "{data: {PORT: 8080, greeting: \"hello: you\", list: {fromFile: ./list.txt}, home: {fromEnv: HOME}}}"),
        expect![[r#"
            apiVersion: shoal.dev/v1
            kind: Config
            metadata:
              name: one
            spec:
              data:
                PORT: "8080"
                greeting: "hello: you"
                home:
                  fromEnv: HOME
                list:
                  fromFile: ./list.txt
        "#]],
    );
    check(
        &document("Config", "{data: {}}"),
        expect![[r#"
        apiVersion: shoal.dev/v1
        kind: Config
        metadata:
          name: one
        spec:
          data: {}
    "#]],
    );
}

#[test]
fn what_a_config_cannot_hold() {
    let long = "x".repeat(crate::limits::CONFIG_VALUE_BYTES_MAX + 1);
    check(
        &document("Config", "{data: {a b: 1, c: {}, d: [1], e: {fromFile: x, fromEnv: Y}}}"),
        expect![[r#"
        error[E0106]: `a b` is not a key of the Config `one`
         --> app.yaml:4:15
          |
        4 | spec: {data: {a b: 1, c: {}, d: [1], e: {fromFile: x, fromEnv: Y}}}
          |               ^^^ invalid
          = help: use letters, digits, `-`, `_` and `.`, at most 253 of them

        error[E0105]: `c` of the Config `one` has no value
         --> app.yaml:4:23
          |
        4 | spec: {data: {a b: 1, c: {}, d: [1], e: {fromFile: x, fromEnv: Y}}}
          |                       ^
          = help: write the value, {fromFile: ./FILE} or {fromEnv: VARIABLE}

        error[E0103]: `spec.data.d` must be text, or a map of fromFile, fromEnv, and this is a list
         --> app.yaml:4:33
          |
        4 | spec: {data: {a b: 1, c: {}, d: [1], e: {fromFile: x, fromEnv: Y}}}
          |                                 ^^^ expected text, or a map of fromFile, fromEnv

        error[E0112]: `fromFile` and `fromEnv` of `spec.data.e` exclude each other
         --> app.yaml:4:55
          |
        4 | spec: {data: {a b: 1, c: {}, d: [1], e: {fromFile: x, fromEnv: Y}}}
          |                                                       ^^^^^^^ `fromFile` is set on line 4
          = help: keep one of them
    "#]],
    );
    check(
        &document("Config", "{values: {a: 1}}"),
        expect![[r#"
        error[E0105]: `spec` has no `data`
         --> app.yaml:4:1
          |
        4 | spec: {values: {a: 1}}
          | ^^^^ `data` is missing here
          = help: add   data: {…}

        error[E0102]: unknown field `values` in `spec`
         --> app.yaml:4:8
          |
        4 | spec: {values: {a: 1}}
          |        ^^^^^^ not a field of this
          = help: the fields are data
    "#]],
    );
    let outcome = outcome(&document("Config", &format!("{{data: {{a: {long}}}}}")), None, &[]);
    expect!["error[E0106]: `a` of the Config `one` has 65537 bytes"].assert_eq(outcome.lines().next().unwrap_or_default());
}

#[test]
fn a_secret_never_shows_its_values() {
    check(
        &document("Secret", "{data: {password: hunter2, key: {fromFile: ./key}}}"),
        expect![[r#"
        Secret {
            metadata: Metadata {
                name: one,
                namespace: default,
                labels: {},
                annotations: {},
                protected: false,
                resource_version: None,
            },
            spec: SecretSpec {
                kind: Opaque,
                data: {
                    "key": File(./key),
                    "password": Text(7 bytes),
                },
            },
        }
    "#]],
    );
    check(
        &document("Secret", "{type: tls, data: {tls.crt: {fromFile: ./a}}}"),
        expect![[r#"
        error[E0105]: the Secret `one` is of type tls and has no `tls.key`
         --> app.yaml:4:19
          |
        4 | spec: {type: tls, data: {tls.crt: {fromFile: ./a}}}
          |                   ^^^^
          = help: add   tls.key: {fromFile: ./FILE.pem}
    "#]],
    );
    check(
        &document("Secret", "{type: password, data: {a: b}}"),
        expect![[r#"
        error[E0106]: `spec.type` is `password`, and it must be one of opaque, tls, registry, apiKeys
         --> app.yaml:4:14
          |
        4 | spec: {type: password, data: {a: b}}
          |              ^^^^^^^^ not one of the words
          = help: write one of opaque, tls, registry, apiKeys
    "#]],
    );
    let wrong = serde_json::json!({"metadata": {"name": "one"}, "spec": {"type": "hunter2", "data": {"a": 17}}});
    let told = secret_from_canonical(wrong).map_err(|problems| render(&problems, |_| None, false)).expect_err("it is no secret");
    assert!(!told.contains("hunter2") && !told.contains("17"), "{told}");
}

#[test]
fn a_namespace_has_ceilings() {
    let spec = "{quota: {memory: 4Gi, cpu: 2, instances: 20, apps: 5}, hosts: [Shop.example, \"*.shop.example\"], \
                egress: {allowed: [\"https://*.example\", \"https://api.other:8443\"]}, interfaces: {allowed: [wasi:keyvalue, acme:billing/charge]}}";
    check(
        &document("Namespace", spec),
        expect![[r#"
        apiVersion: shoal.dev/v1
        kind: Namespace
        metadata:
          name: one
        spec:
          quota:
            memory: 4Gi
            cpu: "2"
            instances: 20
            apps: 5
          hosts:
          - "*.shop.example"
          - shop.example
          egress:
            allowed:
            - https://api.other:8443
            - https://*.example:443
          interfaces:
            allowed:
            - acme:billing/charge
            - wasi:keyvalue
    "#]],
    );
    check(
        &document("Namespace", "{hosts: []}"),
        expect![[r#"
        apiVersion: shoal.dev/v1
        kind: Namespace
        metadata:
          name: one
        spec:
          hosts: []
    "#]],
    );
    check(
        &document(
            "Namespace",
            "{hosts: [\"https://a\", b_c.test], limits: {memory: 1Gi}, registries: [ghcr.io], interfaces: {allowed: [wasi]}}",
        ),
        expect![[r#"
            error[E0106]: `https://a` is not a host
             --> app.yaml:4:29
              |
            4 | spec: {hosts: ["https://a", b_c.test], limits: {memory: 1Gi}, registries: [ghcr.io], interfaces: {allowed: [wasi]}}
              |                             ^^^^^^^^ invalid
              = help: write the host alone, without the scheme

            error[E0107]: `spec.limits` is not supported yet
             --> app.yaml:4:40
              |
            4 | spec: {hosts: ["https://a", b_c.test], limits: {memory: 1Gi}, registries: [ghcr.io], interfaces: {allowed: [wasi]}}
              |                                        ^^^^^^ not in effect in this version
              = help: remove it

            error[E0107]: `spec.registries` is not supported yet
             --> app.yaml:4:63
              |
            4 | spec: {hosts: ["https://a", b_c.test], limits: {memory: 1Gi}, registries: [ghcr.io], interfaces: {allowed: [wasi]}}
              |                                                               ^^^^^^^^^^ not in effect in this version
              = help: remove it

            error[E0106]: `wasi` is not an interface
             --> app.yaml:4:109
              |
            4 | spec: {hosts: ["https://a", b_c.test], limits: {memory: 1Gi}, registries: [ghcr.io], interfaces: {allowed: [wasi]}}
              |                                                                                                             ^^^^ invalid
              = help: write wasi:keyvalue/store, or wasi:keyvalue for the whole package
        "#]],
    );
    let inside = document("Namespace", "{}").replace("{name: one}", "{name: one, namespace: team}");
    check(
        &inside,
        expect![[r#"
        error[E0106]: the Namespace `one` lies in no namespace
         --> app.yaml:3:34
          |
        3 | metadata: {name: one, namespace: team}
          |                                  ^^^^
          = help: remove `namespace`
    "#]],
    );
}

#[test]
fn an_app_names_them() {
    let text = hello(
        "\n      source: ./a.wasm\n      config: {config: shared}\n      secrets: {TOKEN: {secret: api, key: token}, OLD: {secret: api, key: token, version: 3}}\n      \
         routes: [{host: a.com, tls: {secret: cert}}, {host: b.com, tls: {secret: cert}}]\n",
    );
    check(
        &text,
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
                tls:
                  secret: cert
              - host: b.com
                path: /
                tls:
                  secret: cert
              config:
                config: shared
              secrets:
                OLD:
                  secret: api
                  key: token
                  version: 3
                TOKEN:
                  secret: api
                  key: token
    "#]],
    );
    let digest = format!("sha256:{}", "0".repeat(64));
    let Document::App(app) = one(&text.replace("./a.wasm", &digest)) else { panic!("it is an app") };
    let frozen = freeze(&app).expect("its source is a digest").spec.components.remove(0);
    expect![[r#"
        (
            Some(
                shared,
            ),
            [
                SecretUseV1 {
                    name: "OLD",
                    secret: api,
                    key: "token",
                    version: Some(
                        3,
                    ),
                },
                SecretUseV1 {
                    name: "TOKEN",
                    secret: api,
                    key: "token",
                    version: None,
                },
            ],
            [
                CertificateUseV1 {
                    host: "a.com",
                    secret: cert,
                },
                CertificateUseV1 {
                    host: "b.com",
                    secret: cert,
                },
            ],
        )
    "#]]
    .assert_debug_eq(&(frozen.config, frozen.secrets, frozen.certificates));
}

/// `redirect` is what a certificate says already, `both` what its absence does: neither is kept, and the other is.
#[test]
fn what_plain_http_gets_is_kept_where_it_is_not_said_already() {
    let text = hello(
        "\n      source: ./a.wasm\n      routes: [{host: a.com, tls: {secret: cert}, https: redirect}, {host: b.com, tls: {secret: cert}, https: both}, \
         {host: c.com, https: redirect}, {host: d.com, tls: \"off\", https: both}]\n",
    );
    let Document::App(app) = one(&text) else { panic!("it is an app") };
    let routes = &app.spec.components.values().next().expect("one component").routes;
    let told: Vec<_> = routes.iter().map(|route| (route.host.as_str(), route.https, route.https())).collect();
    let (redirect, both) = (Https::Redirect, Https::Both);
    let expected = [("a.com", None, redirect), ("b.com", Some(both), both), ("c.com", Some(redirect), redirect), ("d.com", None, both)];
    assert_eq!(told, expected);
}

#[test]
fn how_an_app_cannot_name_them() {
    check(
        &hello(
            "\n      source: ./a.wasm\n      config: {config: No_Name}\n      env: {TOKEN: a}\n      \
             secrets: {TOKEN: {secret: api, key: a b}, A=B: {secret: api, key: c, version: 0}, C: {key: d}}\n      \
             routes: [{host: a.com, tls: {acme: le}}, {host: b.com, tls: {secret: s, acme: le}}, {host: c.com, tls: on}]\n",
        ),
        expect![[r#"
            error[E0106]: `No_Name` is not a name for `config.config` of component `web`
             --> app.yaml:8:24
              |
            8 |       config: {config: No_Name}
              |                        ^^^^^^^ not a name
              = help: write `no-name`: use lower-case letters, digits and `-`, starting and ending with a letter or digit, at most 63 characters

            error[E0112]: `TOKEN` of component `web` is a secret and stands in `env` too
              --> app.yaml:10:17
               |
            10 |       secrets: {TOKEN: {secret: api, key: a b}, A=B: {secret: api, key: c, version: 0}, C: {key: d}}
               |                 ^^^^^
               = help: keep one of them

            error[E0106]: `a b` is not a key of a Secret
              --> app.yaml:10:43
               |
            10 |       secrets: {TOKEN: {secret: api, key: a b}, A=B: {secret: api, key: c, version: 0}, C: {key: d}}
               |                                           ^^^
               = help: use letters, digits, `-`, `_` and `.`, at most 253 of them

            error[E0106]: `secrets.A=B.version` of component `web` is 0, and it must be at least 1
              --> app.yaml:10:85
               |
            10 |       secrets: {TOKEN: {secret: api, key: a b}, A=B: {secret: api, key: c, version: 0}, C: {key: d}}
               |                                                                                     ^ out of range
               = help: write a whole number, at least 1

            error[E0105]: `secrets.C` of component `web` has no `secret`
              --> app.yaml:10:89
               |
            10 |       secrets: {TOKEN: {secret: api, key: a b}, A=B: {secret: api, key: c, version: 0}, C: {key: d}}
               |                                                                                         ^ `secret` is missing here
               = help: add   secret: NAME

            error[E0107]: `routes[0].tls.acme` of component `web` is not supported yet
              --> app.yaml:11:36
               |
            11 |       routes: [{host: a.com, tls: {acme: le}}, {host: b.com, tls: {secret: s, acme: le}}, {host: c.com, tls: on}]
               |                                    ^^^^ not in effect in this version
               = help: remove it

            error[E0107]: `routes[1].tls.acme` of component `web` is not supported yet
              --> app.yaml:11:79
               |
            11 |       routes: [{host: a.com, tls: {acme: le}}, {host: b.com, tls: {secret: s, acme: le}}, {host: c.com, tls: on}]
               |                                                                               ^^^^ not in effect in this version
               = help: remove it

            error[E0112]: `secret` and `acme` of `routes[1].tls` of component `web` exclude each other
              --> app.yaml:11:79
               |
            11 |       routes: [{host: a.com, tls: {acme: le}}, {host: b.com, tls: {secret: s, acme: le}}, {host: c.com, tls: on}]
               |                                                                               ^^^^ `secret` is set on line 11
               = help: keep one of them

            error[E0106]: `routes[2].tls` of component `web` is `on`, and it must be one of off
              --> app.yaml:11:110
               |
            11 |       routes: [{host: a.com, tls: {acme: le}}, {host: b.com, tls: {secret: s, acme: le}}, {host: c.com, tls: on}]
               |                                                                                                              ^^ not one of the words
               = help: write one of off
        "#]],
    );
}

#[test]
fn two_objects_of_one_kind_and_name_are_refused_and_of_two_kinds_are_not() {
    let config = document("Config", "{data: {a: b}}");
    let secret = document("Secret", "{data: {a: b}}");
    assert_eq!(parse(&format!("{config}---\n{secret}"), "app.yaml", &BTreeMap::new()).map(|documents| documents.len()), Ok(2));
    check(
        &format!("{config}---\n{config}"),
        expect![[r#"
        error[E0104]: the Config `one` stands here twice
         --> app.yaml:8:18
          |
        8 | metadata: {name: one}
          |                  ^^^ first named on line 3
          = help: give one of them another name
    "#]],
    );
}

#[test]
fn canonical_objects_are_held_to_the_same_rules() {
    let Document::Config(config) = one(&document("Config", "{data: {a: b, c: {fromEnv: D}}}")) else { panic!("it is a Config") };
    let value = serde_json::to_value(&config).expect("it is JSON");
    let told =
        config_from_canonical(value).map_err(|problems| render(&problems, |_| None, false)).expect_err("a server reads no variables");
    expect![[r#"
        error[E0106]: `c` of the Config stands in a file or a variable, and a server reads none
          --> spec.data.c
          = help: read it and send the value
    "#]]
    .assert_eq(&told);
    let mut read = config.clone();
    read.spec.data.insert("c".into(), Given::Text("e".into()));
    assert_eq!(config_from_canonical(serde_json::to_value(&read).expect("it is JSON")), Ok(read));
    let Document::Namespace(namespace) = one(&document("Namespace", "{egress: {allowed: [\"https://b\", \"https://a\"]}}")) else {
        panic!("it is a Namespace")
    };
    assert_eq!(namespace_from_canonical(serde_json::to_value(&namespace).expect("it is JSON")), Ok(namespace.clone()));
    let mut rules = namespace.spec.egress.clone().unwrap_or_default();
    rules.reverse();
    let unsorted = Namespace { spec: NamespaceSpec { egress: Some(rules), ..namespace.spec }, ..namespace };
    assert!(namespace_from_canonical(serde_json::to_value(unsorted).expect("it is JSON")).is_err());
}
