//! Texts that are no YAML, too large, or no manifest at all.

use super::*;

#[test]
fn a_text_without_documents() {
    check(
        "",
        expect![[r#"
        error[E0101]: app.yaml holds no document
          = help: a manifest starts with   apiVersion: shoal.dev/v1
    "#]],
    );
    check(
        "# nothing but a comment\n---\n---\n",
        expect![[r#"
        error[E0101]: app.yaml holds no document
          = help: a manifest starts with   apiVersion: shoal.dev/v1
    "#]],
    );
    check(
        "just text\n",
        expect![[r#"
        error[E0103]: the document must be a map, and this is `just text`
         --> app.yaml:1:1
          |
        1 | just text
          | ^^^^^^^^^
          = help: a manifest starts with   apiVersion: shoal.dev/v1
    "#]],
    );
    check(
        "- a\n- b\n",
        expect![[r#"
        error[E0103]: the document must be a map, and this is a list
         --> app.yaml:1:1
          |
        1 | - a
          | ^
          = help: a manifest starts with   apiVersion: shoal.dev/v1
    "#]],
    );
}

#[test]
fn what_is_not_yaml_is_told_with_its_line() {
    check(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata:\n\tname: hello\n",
        expect![[r#"
        error[E0101]: app.yaml is not YAML: tabs disallowed within this context (block indentation)
         --> app.yaml:4:2
          |
        4 |  name: hello
          |  ^ reading stopped here
          = help: indent with spaces: this line starts with a tab
    "#]],
    );
    check(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: hello\nspec: {}\n",
        expect![[r#"
        error[E0101]: app.yaml is not YAML: while parsing a flow mapping, did not find expected ',' or '}'
         --> app.yaml:4:5
          |
        4 | spec: {}
          |     ^ reading stopped here
          = help: mend the indentation, quotes or brackets around this place
    "#]],
    );
    check(
        "apiVersion: shoal.dev/v1\nkind: \"App\nmetadata: {}\n",
        expect![[r#"
        error[E0101]: app.yaml is not YAML: invalid indentation in multiline quoted scalar
         --> app.yaml:3:1
          |
        3 | metadata: {}
          | ^ reading stopped here
          = help: mend the indentation, quotes or brackets around this place
    "#]],
    );
    check(
        &routed("[{host: ${var.host}}]"),
        expect![[r#"
        error[E0101]: app.yaml is not YAML: while parsing a flow mapping, did not find expected ',' or '}'
         --> app.yaml:6:50
          |
        6 |     web: {source: ./hello.wasm, routes: [{host: ${var.host}}]}
          |                                                  ^ reading stopped here
          = help: quote it: "${var.NAME}"
    "#]],
    );
    check(
        "apiVersion: shoal.dev/v1\nkind: App: x\n",
        expect![[r#"
        error[E0101]: app.yaml is not YAML: mapping values are not allowed in this context
         --> app.yaml:2:10
          |
        2 | kind: App: x
          |          ^ reading stopped here
          = help: quote a text that holds `: `, or mend the indentation
    "#]],
    );
    check(
        "apiVersion: !!str shoal.dev/v1\n",
        expect![[r#"
        error[E0101]: YAML tags mean nothing in a manifest
         --> app.yaml:1:13
          |
        1 | apiVersion: !!str shoal.dev/v1
          |             ^^^^^
          = help: remove the tag; quote a value to make it text
    "#]],
    );
    check(
        "apiVersion: *version\n",
        expect![[r#"
        error[E0101]: `*version` repeats a value that nothing before it names `&version`
         --> app.yaml:1:13
          |
        1 | apiVersion: *version
          |             ^^^^^^^^
    "#]],
    );
    check(
        "a: &a [*a]\n",
        expect![[r#"
        error[E0101]: an alias stands inside the value it repeats
         --> app.yaml:1:8
          |
        1 | a: &a [*a]
          |        ^^
    "#]],
    );
    check(
        "? [a, b]\n: c\n",
        expect![[r#"
        error[E0101]: a key is a list or a map, and keys are text
         --> app.yaml:1:3
          |
        1 | ? [a, b]
          |   ^^^^^^
    "#]],
    );
}

#[test]
fn a_key_stands_once() {
    check(
        &hello("{source: ./a.wasm, source: ./b.wasm, env: {A: 1, A: 2, A: 3}}"),
        expect![[r#"
        error[E0104]: the key `source` stands here twice
         --> app.yaml:6:29
          |
        6 |     web: {source: ./a.wasm, source: ./b.wasm, env: {A: 1, A: 2, A: 3}}
          |                             ^^^^^^ first set on line 6
          = help: keep one of them

        error[E0104]: the key `A` stands here twice
         --> app.yaml:6:59
          |
        6 |     web: {source: ./a.wasm, source: ./b.wasm, env: {A: 1, A: 2, A: 3}}
          |                                                           ^ first set on line 6
          = help: keep one of them

        error[E0104]: the key `A` stands here twice
         --> app.yaml:6:65
          |
        6 |     web: {source: ./a.wasm, source: ./b.wasm, env: {A: 1, A: 2, A: 3}}
          |                                                                 ^ first set on line 6
          = help: keep one of them
    "#]],
    );
}

#[test]
fn an_alias_bomb_is_stopped() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", ")));
    }
    check(
        &bomb,
        expect![[r#"
        error[E0108]: app.yaml has more than 100000 values once its aliases are written out
         --> app.yaml:5:45
          |
        5 | a4: &a4 [*a3, *a3, *a3, *a3, *a3, *a3, *a3, *a3, *a3, *a3]
          |                                             ^^^ reading stopped here
          = help: write fewer aliases or levels; a manifest needs ten levels and seldom an alias
    "#]],
    );
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 1_000].join(", "));
    let said = outcome(&long, None, &[]);
    assert!(said.starts_with("error[E0108]: app.yaml has more than 4194304 bytes once its aliases are written out"), "{said}");
}

#[test]
fn nesting_and_size_are_bounded() {
    check(
        &"[".repeat(100_000),
        expect![[r#"
            error[E0108]: app.yaml has more than 64 levels of nesting
             --> app.yaml:1:66
              |
            1 | …[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[…
              |                                          ^ reading stopped here
              = help: write fewer levels; a manifest needs ten
        "#]],
    );
    check(
        &(0..80).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>(),
        expect![[r#"
        error[E0108]: app.yaml has more than 64 levels of nesting
          --> app.yaml:65:65
           |
        65 |                                                                 a:
           |                                                                 ^ reading stopped here
           = help: write fewer aliases or levels; a manifest needs ten levels and seldom an alias
    "#]],
    );
    check(
        &format!("a: {}\n", "x".repeat(2 << 20)),
        expect![[r#"
        error[E0108]: app.yaml has 2097156 bytes, and a manifest has at most 1048576
          = help: split it into several files; data belongs into files beside the manifest
    "#]],
    );
    check(
        &format!("a: [{}]\n", "1,".repeat(200_000)),
        expect![[r#"
        error[E0108]: app.yaml has more than 100000 values once its aliases are written out
         --> app.yaml:1:199999
          |
        1 | …1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,…
          |                                          ^ reading stopped here
          = help: write fewer aliases or levels; a manifest needs ten levels and seldom an alias
    "#]],
    );
    let said = outcome(&"---\na: 1\n".repeat(1_001), None, &[]);
    assert!(said.starts_with("error[E0108]: app.yaml holds more than 1000 documents"), "{said}");
}

#[test]
fn other_line_endings_and_a_byte_order_mark_are_read() {
    let plain = outcome(&hello("{source: ./a.wasm}"), None, &[]);
    assert_eq!(outcome(&hello("{source: ./a.wasm}").replace('\n', "\r\n"), None, &[]), plain);
    assert_eq!(outcome(&format!("\u{feff}{}", hello("{source: ./a.wasm}")), None, &[]), plain);
    let json = "{\"apiVersion\": \"shoal.dev/v1\", \"kind\": \"App\", \"metadata\": {\"name\": \"hello\"},\n\
                \t\"spec\": {\"components\": {\"web\": {\"source\": \"./a.wasm\"}}}}";
    assert_eq!(outcome(json, None, &[]), plain);
}

#[test]
fn aliases_may_be_used() {
    let text = "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: hello}\nspec:\n  components:\n    \
                a: {source: ./a.wasm, env: &env {LEVEL: info}}\n    b: {source: ./b.wasm, env: *env}\n";
    check(
        text,
        expect![[r#"
        apiVersion: shoal.dev/v1
        kind: App
        metadata:
          name: hello
        spec:
          components:
            a:
              source: ./a.wasm
              env:
                LEVEL: info
            b:
              source: ./b.wasm
              env:
                LEVEL: info
    "#]],
    );
}

#[test]
fn kubernetes_kinds_are_refused_with_ours() {
    check(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: hello}\nspec: {replicas: 2}\n",
        expect![[r#"
        error[E0109]: `Deployment` of `apps/v1` is a Kubernetes kind, and shoal has its own
         --> app.yaml:2:7
          |
        2 | kind: Deployment
          |       ^^^^^^^^^^ a Kubernetes kind
          = help: here it is an App: `spec.components.NAME` with a `source` instead of containers and an image; documents start with   apiVersion: shoal.dev/v1
    "#]],
    );
    check(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: hello}\n",
        expect![[r#"
        error[E0109]: `Secret` of `v1` is a Kubernetes kind, and shoal has its own
         --> app.yaml:2:7
          |
        2 | kind: Secret
          |       ^^^^^^ a Kubernetes kind
          = help: shoal has its own Secret: apiVersion: shoal.dev/v1
    "#]],
    );
    check(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: hello}\n",
        expect![[r#"
        error[E0109]: `Ingress` of `networking.k8s.io/v1` is a Kubernetes kind, and shoal has its own
         --> app.yaml:2:7
          |
        2 | kind: Ingress
          |       ^^^^^^^ a Kubernetes kind
          = help: here it is `routes` of a component: {host, path}; documents start with   apiVersion: shoal.dev/v1
    "#]],
    );
    check(
        "apiVersion: shoal.dev/v1\nkind: Deployment\nmetadata: {name: hello}\n",
        expect![[r#"
            error[E0109]: `Deployment` is a Kubernetes kind, and shoal has its own
             --> app.yaml:2:7
              |
            2 | kind: Deployment
              |       ^^^^^^^^^^ a Kubernetes kind
              = help: here it is an App: `spec.components.NAME` with a `source` instead of containers and an image; documents start with   apiVersion: shoal.dev/v1
        "#]],
    );
    check(
        "kind: Pod\n",
        expect![[r#"
        error[E0109]: `Pod` is a Kubernetes kind, and shoal has its own
         --> app.yaml:1:7
          |
        1 | kind: Pod
          |       ^^^ a Kubernetes kind
          = help: here it is an App with one component; documents start with   apiVersion: shoal.dev/v1
    "#]],
    );
    check(
        "apiVersion: cert-manager.k8s.io/v1\nkind: Issuer\n",
        expect![[r#"
        error[E0109]: `Issuer` of `cert-manager.k8s.io/v1` is a Kubernetes kind, and shoal has its own
         --> app.yaml:2:7
          |
        2 | kind: Issuer
          |       ^^^^^^ a Kubernetes kind
          = help: shoal runs WebAssembly components, declared as   kind: App, apiVersion: shoal.dev/v1
    "#]],
    );
}

#[test]
fn kinds_and_versions_are_ours() {
    check(
        "kind: App\n",
        expect![[r#"
        error[E0105]: the document has no `apiVersion`
         --> app.yaml:1:1
          |
        1 | kind: App
          | ^^^^ `apiVersion` is missing here
          = help: add   apiVersion: shoal.dev/v1
    "#]],
    );
    check(
        "apiVersion: shoal.dev/v1\n",
        expect![[r#"
        error[E0105]: the document has no `kind`
         --> app.yaml:1:1
          |
        1 | apiVersion: shoal.dev/v1
          | ^^^^^^^^^^ `kind` is missing here
          = help: add   kind: App
    "#]],
    );
    check(
        "apiVersion: shoal.dev/v2\nkind: App\n",
        expect![[r#"
        error[E0110]: `shoal.dev/v2` is not an apiVersion of shoal
         --> app.yaml:1:13
          |
        1 | apiVersion: shoal.dev/v2
          |             ^^^^^^^^^^^^ unknown
          = help: write apiVersion: shoal.dev/v1
    "#]],
    );
    check(
        "apiVersion: shoal.dev/v1\nkind: Ap\n",
        expect![[r#"
        error[E0110]: `Ap` is not a kind of shoal
         --> app.yaml:2:7
          |
        2 | kind: Ap
          |       ^^ unknown
          = help: did you mean `App`?
    "#]],
    );
    check(
        "apiVersion: shoal.dev/v1\nkind: app\n",
        expect![[r#"
        error[E0110]: `app` is not a kind of shoal
         --> app.yaml:2:7
          |
        2 | kind: app
          |       ^^^ unknown
          = help: did you mean `App`?
    "#]],
    );
    check(
        "apiVersion: shoal.dev/v1\nkind: Node\nmetadata: {name: node-1}\nspec: {}\n",
        expect![[r#"
        error[E0106]: a Node is written by the cluster only
         --> app.yaml:2:7
          |
        2 | kind: Node
          |       ^^^^ read-only
          = help: remove the document; `shoal get nodes` shows them
    "#]],
    );
    check(
        "apiVersion: shoal.dev/v1\nkind: App\n",
        expect![[r#"
            error[E0105]: the App has no `metadata`
             --> app.yaml:1:1
              |
            1 | apiVersion: shoal.dev/v1
              | ^^^^^^^^^^ `metadata` is missing here
              = help: add   metadata: {…}

            error[E0105]: the App has no `spec`
             --> app.yaml:1:1
              |
            1 | apiVersion: shoal.dev/v1
              | ^^^^^^^^^^ `spec` is missing here
              = help: add   spec: {…}
        "#]],
    );
    check(
        "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: a}\nspec: {components: {}}\ncomponents: {}\nstatus: {anything: 1}\n",
        expect![[r#"
            error[E0105]: the App `a` has no component
             --> app.yaml:4:8
              |
            4 | spec: {components: {}}
              |        ^^^^^^^^^^
              = help: add   components: {web: {source: ./app.wasm}}

            error[E0102]: unknown field `components` in the document
             --> app.yaml:5:1
              |
            5 | components: {}
              | ^^^^^^^^^^
              = help: write spec: {components: …}
        "#]],
    );
}

#[test]
fn the_problems_of_all_documents_are_told_together() {
    let broken = "---\napiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: [\n";
    let text = format!(
        "{}---\n{}{broken}---\n{}",
        hello("{sorce: ./a.wasm}"),
        routed("[{host: A b, path: v1}]"),
        hello("{source: 1, scale: {replicas: 0}}")
    );
    check(
        &text,
        expect![[r#"
            error[E0105]: component `web` has no `source`
             --> app.yaml:6:5
              |
            6 |     web: {sorce: ./a.wasm}
              |     ^^^ `source` is missing here
              = help: add   source: ./app.wasm

            error[E0102]: unknown field `sorce` in component `web`
             --> app.yaml:6:11
              |
            6 |     web: {sorce: ./a.wasm}
              |           ^^^^^ did you mean `source`?
              = help: write `source`

            error[E0106]: `a b` is not a host in a route of component `web`
              --> app.yaml:13:49
               |
            13 |     web: {source: ./hello.wasm, routes: [{host: A b, path: v1}]}
               |                                                 ^^^ invalid
               = help: use letters, digits, `-` and dots; international names as xn--…

            error[E0106]: `v1` is not a path in a route of component `web`
              --> app.yaml:13:60
               |
            13 |     web: {source: ./hello.wasm, routes: [{host: A b, path: v1}]}
               |                                                            ^^ invalid
               = help: a path starts with `/`

            error[E0101]: app.yaml is not YAML: unclosed bracket '['
              --> app.yaml:17:18
               |
            17 | metadata: {name: [
               |                  ^ reading stopped here
               = help: mend the indentation, quotes or brackets around this place

            error[E0103]: `source` of component `web` must be the path of a file or a digest, and this is the number 1
              --> app.yaml:24:19
               |
            24 |     web: {source: 1, scale: {replicas: 0}}
               |                   ^ expected the path of a file or a digest
               = help: quote it: source: "1"

            error[E0106]: `scale.replicas` of component `web` is 0, and it must be 1 to 1000
              --> app.yaml:24:40
               |
            24 |     web: {source: 1, scale: {replicas: 0}}
               |                                        ^ out of range
               = help: write a whole number, 1 to 1000
        "#]],
    );
}

#[test]
fn one_name_stands_for_one_app() {
    check(
        &format!("{}---\n{}", hello("{source: ./a.wasm}"), hello("{source: ./b.wasm}")),
        expect![[r#"
        error[E0104]: the App `hello` stands here twice
          --> app.yaml:10:18
           |
        10 | metadata: {name: hello}
           |                  ^^^^^ first named on line 3
           = help: give one of them another name
    "#]],
    );
}

#[test]
fn at_most_a_hundred_problems_are_told() {
    let routes = vec!["{}"; 300].join(", ");
    let said = outcome(&routed(&format!("[{routes}]")), None, &[]);
    assert_eq!(said.matches("error[").count(), limits::PROBLEMS_MAX + 1);
    assert!(said.contains("200 more problems are not shown"), "{said}");
}
