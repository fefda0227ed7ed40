//! Manifests that are right: what they come to mean.

use super::*;

#[test]
fn hello_means_one_instance_with_every_default() {
    check(
        &routed("[{host: hello.localhost}]"),
        expect![[r#"
        apiVersion: shoal.dev/v1
        kind: App
        metadata:
          name: hello
        spec:
          components:
            web:
              source: ./hello.wasm
              routes:
              - host: hello.localhost
                path: /
    "#]],
    );
}

#[test]
fn no_stays_text() {
    check(
        &hello("{source: ./a.wasm, env: {COUNTRY: NO, PORT: 8080, VERSION: 1.10, DEBUG: true, EMPTY: \"\"}, args: [-v, 3]}"),
        expect![[r#"
            apiVersion: shoal.dev/v1
            kind: App
            metadata:
              name: hello
            spec:
              components:
                web:
                  source: ./a.wasm
                  env:
                    COUNTRY: "NO"
                    DEBUG: "true"
                    EMPTY: ""
                    PORT: "8080"
                    VERSION: "1.10"
                  args:
                  - -v
                  - "3"
        "#]],
    );
}

#[test]
fn everything_in_effect_is_read() {
    let text = "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: all, namespace: team, labels: {a: b}, annotations: {c: \"d: e\"}, protected: true, \
                resourceVersion: 41}\nspec:\n  components:\n    web:\n      \
                source: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n      \
                build: {command: make, dir: web, watch: [src, Cargo.toml]}\n      env: {A: |\n          two\n          lines\n          }\n      \
                config: {k: v}\n      args: [\"--flag\", \"a b\"]\n      scale: {replicas: 3}\n      routes:\n        - host: \"*.Example.com\"\n          \
                path: /v1\n          exact: true\n          methods: [post, GET, get]\n          headers: {X-Version: 2}\n          rewrite: /\n          \
                timeout: 90s\n          idleTimeout: 1h\n          maxBody: 16Ki\n";
    let text =
        text.replace("env: {A: |\n          two\n          lines\n          }", "env:\n        A: |\n          two\n          lines");
    check(
        &text,
        expect![[r#"
        apiVersion: shoal.dev/v1
        kind: App
        metadata:
          name: all
          namespace: team
          labels:
            a: b
          annotations:
            c: "d: e"
          protected: true
          resourceVersion: 41
        spec:
          components:
            web:
              source: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
              build:
                command: make
                dir: web
                watch:
                - src
                - Cargo.toml
              env:
                A: "two\nlines\n"
              config:
                k: v
              args:
              - --flag
              - a b
              routes:
              - host: "*.example.com"
                path: /v1
                exact: true
                methods:
                - GET
                - POST
                headers:
                  x-version: "2"
                rewrite: /
                timeout: 90s
                idleTimeout: 1h
                maxBody: 16Ki
              scale:
                replicas: 3
    "#]],
    );
}

#[test]
fn variables_are_put_in() {
    let text = "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: \"${var.name}\"}\nspec:\n  \
                vars: {name: {default: hello}, host: {}, count: {default: 2}}\n  components:\n    web:\n      source: ./${var.name}.wasm\n      \
                env: {A: \"${var.host}-${var.count}\", B: \"$${var.host}\", C: \"${HOME} $$\", D: \"${var.count}\"}\n      \
                scale: {replicas: \"${var.count}\"}\n      routes: [{host: \"${var.host}\"}]\n";
    expect![[r#"
        apiVersion: shoal.dev/v1
        kind: App
        metadata:
          name: hello
        spec:
          components:
            web:
              source: ./hello.wasm
              env:
                A: a.com-2
                B: $${var.host}
                C: ${HOME} $$
                D: "2"
              routes:
              - host: a.com
                path: /
              scale:
                replicas: 2
    "#]]
    .assert_eq(&outcome(text, None, &[("host", "a.com")]));
    expect![[r#"
        error[E0111]: the variable `host` has no value
         --> app.yaml:5:34
          |
        5 |   vars: {name: {default: hello}, host: {}, count: {default: 2}}
          |                                  ^^^^ no default, and none was given
          = help: give it one: --var host=VALUE, or host: {default: VALUE}

        error[E0103]: `scale.replicas` of component `web` must be a whole number, and this is `many`
          --> app.yaml:10:25
           |
        10 |       scale: {replicas: "${var.count}"}
           |                         ^^^^^^^^^^^^^^ expected a whole number
    "#]]
    .assert_eq(&outcome(text, None, &[("count", "many")]));
    let parsed = parse_with_places(text, "app.yaml", &vars(&[("host", "a.com")])).expect("the manifest is right");
    assert_eq!(parsed.vars, ["name", "host", "count"].map(str::to_owned).into());
}

#[test]
fn undeclared_variables_are_told() {
    let text = "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: a}\nspec:\n  vars: {host: {default: a.com}}\n  components:\n    web:\n      \
                source: ./a.wasm\n      routes: [{host: \"${var.hots}\", path: \"${var.\"}]\n      scale: {replicas: \"${var.quux}\"}\n";
    check(
        text,
        expect![[r#"
        error[E0111]: the variable `hots` is not declared under `spec.vars`
         --> app.yaml:9:23
          |
        9 |       routes: [{host: "${var.hots}", path: "${var."}]
          |                       ^^^^^^^^^^^^^ not declared
          = help: did you mean ${var.host}?

        error[E0106]: `${var.` opens a variable whose name does not end
         --> app.yaml:9:44
          |
        9 |       routes: [{host: "${var.hots}", path: "${var."}]
          |                                            ^^^^^^^^
          = help: write ${var.NAME}, or $${var. for the text itself

        error[E0111]: the variable `quux` is not declared under `spec.vars`
          --> app.yaml:10:25
           |
        10 |       scale: {replicas: "${var.quux}"}
           |                         ^^^^^^^^^^^^^ not declared
           = help: declare it: spec: {vars: {quux: {default: VALUE}}}
    "#]],
    );
}

#[test]
fn variables_cannot_fill_the_memory() {
    let uses = vec!["\"${var.a}\""; 1_000].join(", ");
    let text = format!(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: a}}\nspec:\n  vars: {{a: {{default: {}}}}}\n  components: {{web: {{source: a, args: [{uses}]}}}}\n",
        "x".repeat(100_000)
    );
    let said = outcome(&text, None, &[]);
    assert!(said.contains("error[E0108]: with its variables written out"), "{said}");
}

#[test]
fn defaults_are_merged_into_every_component() {
    let text = "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: a}\nspec:\n  \
                defaults: {env: {A: 1, B: 2}, args: [x, y], scale: {replicas: 2}, source: ./shared.wasm}\n  components:\n    one:\n    \
                two: {source: ./two.wasm, env: {B: 3}, args: [z]}\n";
    check(
        text,
        expect![[r#"
        apiVersion: shoal.dev/v1
        kind: App
        metadata:
          name: a
        spec:
          components:
            one:
              source: ./shared.wasm
              env:
                A: "1"
                B: "2"
              args:
              - x
              - "y"
              scale:
                replicas: 2
            two:
              source: ./two.wasm
              env:
                A: "1"
                B: "3"
              args:
              - z
              scale:
                replicas: 2
    "#]],
    );
}

#[test]
fn what_is_wrong_in_defaults_is_told_once() {
    let text = "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: a}\nspec:\n  defaults: {evn: {A: 1}, scale: {replicas: x}, health: {http: {path: /}}}\n  \
                components:\n    one: {source: ./a.wasm}\n    two: {source: ./b.wasm}\n";
    check(
        text,
        expect![[r#"
            error[E0102]: unknown field `evn` in `spec.defaults`
             --> app.yaml:5:14
              |
            5 |   defaults: {evn: {A: 1}, scale: {replicas: x}, health: {http: {path: /}}}
              |              ^^^ did you mean `env`?
              = help: write `env`

            error[E0103]: `spec.defaults.scale.replicas` must be a whole number, and this is `x`
             --> app.yaml:5:45
              |
            5 |   defaults: {evn: {A: 1}, scale: {replicas: x}, health: {http: {path: /}}}
              |                                             ^ expected a whole number

            error[E0107]: `spec.defaults.health` is not supported yet
             --> app.yaml:5:49
              |
            5 |   defaults: {evn: {A: 1}, scale: {replicas: x}, health: {http: {path: /}}}
              |                                                 ^^^^^^ not in effect in this version
              = help: remove it
        "#]],
    );
}

#[test]
fn defaults_cannot_fill_the_memory() {
    let args = vec!["x"; 5_000].join(", ");
    let components: String = (0..60).map(|number| format!("    c{number}: {{source: ./a.wasm}}\n")).collect();
    let text = format!(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {{name: a}}\nspec:\n  defaults: {{args: [{args}]}}\n  components:\n{components}"
    );
    let said = outcome(&text, None, &[]);
    assert!(said.contains("error[E0108]: `spec.defaults` written out for 60 components"), "{said}");
}

#[test]
fn an_overlay_is_merged_by_kind_and_name() {
    let base = format!(
        "{}---\n{}",
        hello("{source: ./a.wasm, env: {A: 1, B: 2}, args: [x], routes: [{host: a.com}, {host: b.com}]}"),
        hello("{source: ./b.wasm}").replace("hello", "other")
    );
    let overlay = "kind: App\nmetadata: {name: hello}\nspec: {components: {web: {env: {B: 3}, args: [y], routes: [{host: c.com}], scale: {replicas: 4}}}}\n";
    expect![[r#"
        apiVersion: shoal.dev/v1
        kind: App
        metadata:
          name: hello
        spec:
          components:
            web:
              source: ./a.wasm
              env:
                A: "1"
                B: "3"
              args:
              - "y"
              routes:
              - host: c.com
                path: /
              scale:
                replicas: 4
        ---
        apiVersion: shoal.dev/v1
        kind: App
        metadata:
          name: other
        spec:
          components:
            web:
              source: ./b.wasm
    "#]]
    .assert_eq(&outcome(&base, Some(overlay), &[]));
}

#[test]
fn what_is_wrong_in_an_overlay_is_told_in_the_overlay() {
    let base = hello("{source: ./a.wasm, scale: {replicas: 2}}");
    expect![[r#"
        error[E0103]: `scale.replicas` of component `web` must be a whole number, and this is `many`
         --> overlay.yaml:1:45
          |
        1 | spec: {components: {web: {scale: {replicas: many}}}}
          |                                             ^^^^ expected a whole number
    "#]]
    .assert_eq(&outcome(&base, Some("spec: {components: {web: {scale: {replicas: many}}}}\n"), &[]));
    expect![[r#"
        error[E0106]: the overlay's document `helo` fits no document below it
         --> overlay.yaml:1:18
          |
        1 | metadata: {name: helo}
          |                  ^^^^ nothing to lay it on
          = help: did you mean `hello`?
    "#]]
    .assert_eq(&outcome(&base, Some("metadata: {name: helo}\n"), &[]));
    let two = format!("{base}---\n{}", base.replace("hello", "other"));
    expect![[r#"
        error[E0105]: the overlay's document fits several documents below it
         --> overlay.yaml:1:1
          |
        1 | spec: {}
          | ^^^^
          = help: name one: kind: App, metadata: {name: NAME}
    "#]]
    .assert_eq(&outcome(&two, Some("spec: {}\n"), &[]));
}

#[test]
fn a_path_leads_back_to_its_place() {
    let text = "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: hello}\nspec:\n  components:\n    web:\n      source: ./a.wasm\n      routes:\n        \
                - host: a.com\n          path: /v1\n        - {host: b.com}\n";
    let parsed = parse_with_places(text, "app.yaml", &BTreeMap::new()).expect("the manifest is right");
    let places = &parsed.places[0];
    let place = |path: &str| places.span(path).map(|span| format!("{}:{}+{}", span.line, span.column, span.width)).unwrap_or_default();
    for (path, expected) in [
        ("metadata.name", "3:18+5"),
        ("spec.components.web", "6:5+3"),
        ("spec.components.web.source", "7:15+8"),
        ("spec.components.web.routes", "8:7+6"),
        ("spec.components.web.routes[0]", "9:11+4"),
        ("spec.components.web.routes[0].path", "10:17+3"),
        ("spec.components.web.routes[1]", "11:11+13"),
        ("spec.components.web.routes[1].maxBody", "11:11+13"),
        ("spec.components.web.resources.memory", "6:5+3"),
        ("", "1:1+10"),
    ] {
        assert_eq!(place(path), expected, "{path}");
    }
    assert_eq!((places.file(), places.is_written("metadata.name"), places.is_written("metadata.namespace")), ("app.yaml", true, false));
}

#[test]
fn canonical_json_is_held_to_the_same_rules() {
    let text = routed("[{host: hello.localhost}]").replace("./hello.wasm", &format!("sha256:{}", "0".repeat(64)));
    let Document::App(app) = parse(&text, "app.yaml", &BTreeMap::new()).expect("the manifest is right").remove(0) else {
        panic!("it is an app")
    };
    let value = serde_json::to_value(&app).expect("an app is JSON");
    assert_eq!(from_canonical(value.clone()).as_ref(), Ok(&app));

    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = value.clone();
        change(&mut value);
        from_canonical(value).map(|app| to_yaml(&app)).unwrap_or_else(|problems| render(&problems, |_| None, false))
    };
    let web = |value: &mut serde_json::Value, field: &str, to: serde_json::Value| value["spec"]["components"]["web"][field] = to;
    expect![[r#"
        error[E0103]: the body is not an App in canonical form: unknown field `more`, expected `components`
          = help: send what `shoal apply` sends: every default filled in, quantities as numbers
    "#]]
    .assert_eq(&refused(&|value| value["spec"]["more"] = 1.into()));
    expect![[r#"
        error[E0106]: `scale.replicas` of component `web` is 5000, and it must be 1 to 1000
          --> spec.components.web.scale.replicas
    "#]]
    .assert_eq(&refused(&|value| web(value, "scale", serde_json::json!({"replicas": 5_000}))));
    expect![[r#"
        error[E0106]: the source of component `web` is the file `./a.wasm`, and a server reads no files
          --> spec.components.web.source
          = help: upload the file and send its digest: sha256:…
    "#]]
    .assert_eq(&refused(&|value| web(value, "source", serde_json::json!({"file": "./a.wasm"}))));
    expect![[r#"
        error[E0107]: `resources.cpu` of component `web` is not supported yet
          --> spec.components.web.resources.cpu
          = help: leave it at its default
    "#]]
    .assert_eq(&refused(&|value| value["spec"]["components"]["web"]["resources"]["cpu"] = 1.into()));
    expect![[r#"
        error[E0106]: `resources.memory` of component `web` is 1
          --> spec.components.web.resources.memory
          = help: one sandbox may have 1Mi to 256Mi, which is all that its instance has
    "#]]
    .assert_eq(&refused(&|value| value["spec"]["components"]["web"]["resources"]["memory"] = 1.into()));
    let canonical = expect![[r#"
        error[E0106]: `routes[0]` of component `web` is not in canonical form
          --> spec.components.web.routes[0]
          = help: host and header names in lower case, methods in upper case, sorted and once each; no `https` that `tls` says already
    "#]];
    canonical.assert_eq(&refused(&|value| value["spec"]["components"]["web"]["routes"][0]["host"] = "A.com".into()));
    canonical.assert_eq(&refused(&|value| value["spec"]["components"]["web"]["routes"][0]["https"] = "both".into()));
}
