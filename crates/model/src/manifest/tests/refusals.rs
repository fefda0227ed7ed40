//! YAML that is right, and a manifest that is not.

use super::*;

#[test]
fn unknown_fields_are_told_with_what_was_meant() {
    check(
        &hello("{source: ./a.wasm, rotues: [], replicas: 2, image: x, quux: 1}"),
        expect![[r#"
        error[E0102]: unknown field `rotues` in component `web`
         --> app.yaml:6:29
          |
        6 |     web: {source: ./a.wasm, rotues: [], replicas: 2, image: x, quux: 1}
          |                             ^^^^^^ did you mean `routes`?
          = help: write `routes`

        error[E0102]: unknown field `replicas` in component `web`
         --> app.yaml:6:41
          |
        6 |     web: {source: ./a.wasm, rotues: [], replicas: 2, image: x, quux: 1}
          |                                         ^^^^^^^^ `replicas` belongs under `scale`
          = help: write scale: {replicas: …}

        error[E0102]: unknown field `image` in component `web`
         --> app.yaml:6:54
          |
        6 |     web: {source: ./a.wasm, rotues: [], replicas: 2, image: x, quux: 1}
          |                                                      ^^^^^ here it is called `source`
          = help: write `source`

        error[E0102]: unknown field `quux` in component `web`
         --> app.yaml:6:64
          |
        6 |     web: {source: ./a.wasm, rotues: [], replicas: 2, image: x, quux: 1}
          |                                                                ^^^^ not a field of this
          = help: the fields are source, build, env, config, secrets, args, files, routes, scale, resources, reuse, health, links, triggers, egress, placement
    "#]],
    );
    check(
        "apiVersion: shoal.dev/v1\nkind: App\nmetdata: {name: a}\nspec: {components: {web: {source: a.wasm}}}\n",
        expect![[r#"
        error[E0105]: the App has no `metadata`
         --> app.yaml:1:1
          |
        1 | apiVersion: shoal.dev/v1
          | ^^^^^^^^^^ `metadata` is missing here
          = help: add   metadata: {…}

        error[E0102]: unknown field `metdata` in the document
         --> app.yaml:3:1
          |
        3 | metdata: {name: a}
          | ^^^^^^^
          = help: did you mean `metadata`?
    "#]],
    );
    let merged =
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: a}\nspec:\n  components:\n    a: &a {source: ./a.wasm}\n    b: {<<: *a}\n";
    check(
        merged,
        expect![[r#"
        error[E0105]: component `b` has no `source`
         --> app.yaml:7:5
          |
        7 |     b: {<<: *a}
          |     ^ `source` is missing here
          = help: add   source: ./app.wasm

        error[E0102]: unknown field `<<` in component `b`
         --> app.yaml:7:9
          |
        7 |     b: {<<: *a}
          |         ^^ merge keys are not read
          = help: say once what all components share: spec: {defaults: {…}}
    "#]],
    );
}

#[test]
fn wrong_types_are_told_with_the_right_spelling() {
    check(
        &hello(
            "\n      source: 1.5\n      env: [A]\n      args: one\n      config: {A: {B: 1}}\n      build: make\n      scale: {replicas: two}\n      \
             routes:\n        - {host: 8080, exact: yes, methods: GET, timeout: [1s]}\n        - web.localhost\n",
        ),
        expect![[r#"
            error[E0103]: `source` of component `web` must be the path of a file or a digest, and this is the number 1.5
             --> app.yaml:7:15
              |
            7 |       source: 1.5
              |               ^^^ expected the path of a file or a digest
              = help: quote it: source: "1.5"

            error[E0103]: `env` of component `web` must be a map, and this is a list
             --> app.yaml:8:12
              |
            8 |       env: [A]
              |            ^^^ expected a map

            error[E0103]: `args` of component `web` must be a list, and this is `one`
             --> app.yaml:9:13
              |
            9 |       args: one
              |             ^^^ expected a list
              = help: put it into a list: args: [one]

            error[E0103]: `config.A` of component `web` must be text, and this is a map
              --> app.yaml:10:19
               |
            10 |       config: {A: {B: 1}}
               |                   ^^^^^^ expected text

            error[E0103]: `build` of component `web` must be a map of command, dir, watch, and this is `make`
              --> app.yaml:11:14
               |
            11 |       build: make
               |              ^^^^ expected a map

            error[E0103]: `scale.replicas` of component `web` must be a whole number, and this is `two`
              --> app.yaml:12:25
               |
            12 |       scale: {replicas: two}
               |                         ^^^ expected a whole number

            error[E0103]: `routes[0].host` of component `web` must be text, and this is the number 8080
              --> app.yaml:14:18
               |
            14 |         - {host: 8080, exact: yes, methods: GET, timeout: [1s]}
               |                  ^^^^ expected text
               = help: quote it: host: "8080"

            error[E0103]: `routes[0].exact` of component `web` must be true or false, and this is `yes`
              --> app.yaml:14:31
               |
            14 |         - {host: 8080, exact: yes, methods: GET, timeout: [1s]}
               |                               ^^^ expected true or false
               = help: write exact: true

            error[E0103]: `routes[0].methods` of component `web` must be a list, and this is `GET`
              --> app.yaml:14:45
               |
            14 |         - {host: 8080, exact: yes, methods: GET, timeout: [1s]}
               |                                             ^^^ expected a list
               = help: put it into a list: methods: [GET]

            error[E0103]: `routes[0].timeout` of component `web` must be a duration like 30s, and this is a list
              --> app.yaml:14:59
               |
            14 |         - {host: 8080, exact: yes, methods: GET, timeout: [1s]}
               |                                                           ^^^^ expected a duration like 30s

            error[E0103]: `routes[1]` of component `web` must be a map of host, path, exact, methods, …, and this is `web.localhost`
              --> app.yaml:15:11
               |
            15 |         - web.localhost
               |           ^^^^^^^^^^^^^ expected a map
        "#]],
    );
    check(
        &hello("{source: ./a.wasm, scale: {replicas: \"2\"}}"),
        expect![[r#"
        error[E0103]: `scale.replicas` of component `web` must be a whole number, and this is the text "2"
         --> app.yaml:6:47
          |
        6 |     web: {source: ./a.wasm, scale: {replicas: "2"}}
          |                                               ^^^ expected a whole number
          = help: remove the quotes: replicas: 2
    "#]],
    );
    check(
        &hello("{source: ./a.wasm, env: {A: }, scale: 3, routes: {host: a.localhost}}"),
        expect![[r#"
            error[E0103]: `env.A` of component `web` must be text, and this is empty
             --> app.yaml:6:36
              |
            6 |     web: {source: ./a.wasm, env: {A: }, scale: 3, routes: {host: a.localhost}}
              |                                    ^ expected text
              = help: for the empty text write A: ""

            error[E0103]: `scale` of component `web` must be a map of replicas, min, max, target, …, and this is the number 3
             --> app.yaml:6:48
              |
            6 |     web: {source: ./a.wasm, env: {A: }, scale: 3, routes: {host: a.localhost}}
              |                                                ^ expected a map

            error[E0103]: `routes` of component `web` must be a list, and this is a map
             --> app.yaml:6:59
              |
            6 |     web: {source: ./a.wasm, env: {A: }, scale: 3, routes: {host: a.localhost}}
              |                                                           ^^^^^^^^^^^^^^^^^^^ expected a list
              = help: put a `-` in front: routes is a list
        "#]],
    );
}

#[test]
fn missing_fields_are_told_with_the_line_to_add() {
    check(
        &hello("{routes: [{path: /}], build: {}}"),
        expect![[r#"
        error[E0105]: component `web` has no `source`
         --> app.yaml:6:5
          |
        6 |     web: {routes: [{path: /}], build: {}}
          |     ^^^ `source` is missing here
          = help: add   source: ./app.wasm

        error[E0105]: `routes[0]` of component `web` has no `host`
         --> app.yaml:6:20
          |
        6 |     web: {routes: [{path: /}], build: {}}
          |                    ^^^^^^^^^ `host` is missing here
          = help: add   host: …

        error[E0105]: `build` of component `web` has no `command`
         --> app.yaml:6:32
          |
        6 |     web: {routes: [{path: /}], build: {}}
          |                                ^^^^^ `command` is missing here
          = help: add   command: …
    "#]],
    );
    check(
        &hello(""),
        expect![[r#"
        error[E0105]: component `web` has no `source`
         --> app.yaml:6:5
          |
        6 |     web:
          |     ^^^ `source` is missing here
          = help: add   source: ./app.wasm
    "#]],
    );
    check(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {}\nspec:\n",
        expect![[r#"
            error[E0105]: `metadata` has no `name`
             --> app.yaml:3:1
              |
            3 | metadata: {}
              | ^^^^^^^^ `name` is missing here
              = help: add   name: NAME

            error[E0105]: `spec` has no `components`
             --> app.yaml:4:1
              |
            4 | spec:
              | ^^^^ `components` is missing here
              = help: add   components: {…}
        "#]],
    );
}

#[test]
fn values_out_of_range_are_told_with_the_range() {
    check(
        &hello("{source: \"\", scale: {replicas: 0}}"),
        expect![[r#"
        error[E0106]: `source` of component `web` names no file
         --> app.yaml:6:19
          |
        6 |     web: {source: "", scale: {replicas: 0}}
          |                   ^^
          = help: write the file's path: source: ./app.wasm

        error[E0106]: `scale.replicas` of component `web` is 0, and it must be 1 to 1000
         --> app.yaml:6:41
          |
        6 |     web: {source: "", scale: {replicas: 0}}
          |                                         ^ out of range
          = help: write a whole number, 1 to 1000
    "#]],
    );
    check(
        &hello("{source: sha256:12, scale: {replicas: 1001}}"),
        expect![[r#"
        error[E0106]: `source` of component `web`: `sha256:12` is not a digest
         --> app.yaml:6:19
          |
        6 |     web: {source: sha256:12, scale: {replicas: 1001}}
          |                   ^^^^^^^^^ invalid
          = help: write it as sha256: and 64 hex digits

        error[E0106]: `scale.replicas` of component `web` is 1001, and it must be 1 to 1000
         --> app.yaml:6:48
          |
        6 |     web: {source: sha256:12, scale: {replicas: 1001}}
          |                                                ^^^^ out of range
          = help: write a whole number, 1 to 1000
    "#]],
    );
    check(
        &hello("{source: ./a.wasm, scale: {replicas: -1}, env: {\"A=B\": x}, resources: {memory: 64MB, cpu: lots}}"),
        expect![[r#"
            error[E0106]: `scale.replicas` of component `web` is -1, and it must be 1 to 1000
             --> app.yaml:6:47
              |
            6 |     web: {source: ./a.wasm, scale: {replicas: -1}, env: {"A=B": x}, resources: {memory: 64MB, cpu: lots}}
              |                                               ^^ out of range
              = help: write a whole number, 1 to 1000

            error[E0106]: `A=B` cannot name an environment variable
             --> app.yaml:6:58
              |
            6 |     web: {source: ./a.wasm, scale: {replicas: -1}, env: {"A=B": x}, resources: {memory: 64MB, cpu: lots}}
              |                                                          ^^^^^
              = help: a name has no `=`

            error[E0106]: `resources.memory` of component `web`: `64MB` is not a size
             --> app.yaml:6:89
              |
            6 |     web: {source: ./a.wasm, scale: {replicas: -1}, env: {"A=B": x}, resources: {memory: 64MB, cpu: lots}}
              |                                                                                         ^^^^ invalid
              = help: write a whole number and Ki, Mi, Gi (or k, M, G): 64Mi

            error[E0106]: `resources.cpu` of component `web`: `lots` is not an amount of processor
             --> app.yaml:6:100
              |
            6 |     web: {source: ./a.wasm, scale: {replicas: -1}, env: {"A=B": x}, resources: {memory: 64MB, cpu: lots}}
              |                                                                                                    ^^^^ invalid
              = help: write thousandths of a core, or cores: 250m, 1, 0.5
        "#]],
    );
    let names = "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: Hello_World, namespace: -a, labels: {\"a b\": c}}\nspec:\n  components:\n    \
                 Web_1: {source: ./a.wasm}\n";
    check(
        names,
        expect![[r#"
            error[E0106]: `Hello_World` is not a name for `metadata.name`
             --> app.yaml:3:18
              |
            3 | metadata: {name: Hello_World, namespace: -a, labels: {"a b": c}}
              |                  ^^^^^^^^^^^ not a name
              = help: write `hello-world`: use lower-case letters, digits and `-`, starting and ending with a letter or digit, at most 63 characters

            error[E0106]: `-a` is not a name for `metadata.namespace`
             --> app.yaml:3:42
              |
            3 | metadata: {name: Hello_World, namespace: -a, labels: {"a b": c}}
              |                                          ^^ not a name
              = help: use lower-case letters, digits and `-`, starting and ending with a letter or digit, at most 63 characters

            error[E0106]: `a b` is not a label key
             --> app.yaml:3:55
              |
            3 | metadata: {name: Hello_World, namespace: -a, labels: {"a b": c}}
              |                                                       ^^^^^
              = help: use letters, digits, `-`, `_`, `.` and `/`

            error[E0106]: `Web_1` cannot name an entry of `spec.components`
             --> app.yaml:6:5
              |
            6 |     Web_1: {source: ./a.wasm}
              |     ^^^^^ not a name
              = help: write `web-1`: use lower-case letters, digits and `-`, starting and ending with a letter or digit, at most 63 characters
        "#]],
    );
}

#[test]
fn exclusive_fields_are_told() {
    check(
        &hello("{source: ./a.wasm, scale: {replicas: 2, perNode: false}}"),
        expect![[r#"
        error[E0112]: `replicas` and `perNode` of `scale` of component `web` exclude each other
         --> app.yaml:6:50
          |
        6 |     web: {source: ./a.wasm, scale: {replicas: 2, perNode: false}}
          |                                                  ^^^^^^^ `replicas` is set on line 6
          = help: keep one of them
    "#]],
    );
}
