//! Routes that cannot be.

use super::*;

#[test]
fn routes_are_checked() {
    for (host, refused) in [
        ("hello.localhost", false),
        ("*.example.com", false),
        ("xn--bcher-kva.example", false),
        ("a", false),
        ("HELLO.localhost", false),
        ("127.0.0.1", false),
        ("*", true),
        ("a.*.com", true),
        ("*a.com", true),
        ("a..b", true),
        (".a", true),
        ("a.", true),
        ("-a.com", true),
        ("a b", true),
        ("bücher.example", true),
        ("http://a.com", true),
        ("a.com/v1", true),
        ("a.com:8080", true),
    ] {
        let said = outcome(&routed(&format!("[{{host: \"{host}\"}}]")), None, &[]);
        assert_eq!(said.contains("error[E0106]"), refused, "{host}: {said}");
    }
    check(
        &routed("[{host: \"a.com:8080\", path: v1, rewrite: \"/a?b\", timeout: 0s, idleTimeout: 2d, maxBody: 1Ti}]"),
        expect![[r#"
        error[E0106]: `a.com:8080` is not a host in a route of component `web`
         --> app.yaml:6:49
          |
        6 |     web: {source: ./hello.wasm, routes: [{host: "a.com:8080", path: v1, rewrite: "/a?b", timeout: 0s, idleTimeout: 2d, maxBody: 1Ti}]}
          |                                                 ^^^^^^^^^^^^ invalid
          = help: write the host without the port

        error[E0106]: `v1` is not a path in a route of component `web`
         --> app.yaml:6:69
          |
        6 |     web: {source: ./hello.wasm, routes: [{host: "a.com:8080", path: v1, rewrite: "/a?b", timeout: 0s, idleTimeout: 2d, maxBody: 1Ti}]}
          |                                                                     ^^ invalid
          = help: a path starts with `/`

        error[E0106]: `/a?b` is not a path in a route of component `web`
         --> app.yaml:6:82
          |
        6 |     web: {source: ./hello.wasm, routes: [{host: "a.com:8080", path: v1, rewrite: "/a?b", timeout: 0s, idleTimeout: 2d, maxBody: 1Ti}]}
          |                                                                                  ^^^^^^ invalid
          = help: a path holds no query and no fragment

        error[E0106]: `timeout: 0s` is out of range in a route of component `web`
         --> app.yaml:6:99
          |
        6 |     web: {source: ./hello.wasm, routes: [{host: "a.com:8080", path: v1, rewrite: "/a?b", timeout: 0s, idleTimeout: 2d, maxBody: 1Ti}]}
          |                                                                                                   ^^ invalid
          = help: write 1ms to 1h

        error[E0106]: `idleTimeout: 2d` is out of range in a route of component `web`
         --> app.yaml:6:116
          |
        6 |     web: {source: ./hello.wasm, routes: [{host: "a.com:8080", path: v1, rewrite: "/a?b", timeout: 0s, idleTimeout: 2d, maxBody: 1Ti}]}
          |                                                                                                                    ^^ invalid
          = help: write 1ms to 1d

        error[E0106]: `maxBody: 1Ti` is out of range in a route of component `web`
         --> app.yaml:6:129
          |
        6 |     web: {source: ./hello.wasm, routes: [{host: "a.com:8080", path: v1, rewrite: "/a?b", timeout: 0s, idleTimeout: 2d, maxBody: 1Ti}]}
          |                                                                                                                                 ^^^ invalid
          = help: write at most 64Gi
    "#]],
    );
    check(
        &routed("[{host: a.com, path: \"/v1/*\", methods: [\"G T\", connect], headers: {host: b, X-Forwarded-For: c, \"a b\": d}}]"),
        expect![[r#"
            error[E0106]: `/v1/*` is not a path in a route of component `web`
             --> app.yaml:6:62
              |
            6 |     web: {source: ./hello.wasm, routes: [{host: a.com, path: "/v1/*", methods: ["G T", connect], headers: {host: b, X-Forwarded-For: c, "a b": d}}]}
              |                                                              ^^^^^^^ invalid
              = help: a path is a prefix by itself: /v1 matches /v1/…; write no `*`

            error[E0106]: `CONNECT` cannot be routed in a route of component `web`
             --> app.yaml:6:71
              |
            6 |     web: {source: ./hello.wasm, routes: [{host: a.com, path: "/v1/*", methods: ["G T", connect], headers: {host: b, X-Forwarded-For: c, "a b": d}}]}
              |                                                                       ^^^^^^^ invalid
              = help: remove it: the gateway is no tunnel

            error[E0106]: `G T` is not a method in a route of component `web`
             --> app.yaml:6:71
              |
            6 |     web: {source: ./hello.wasm, routes: [{host: a.com, path: "/v1/*", methods: ["G T", connect], headers: {host: b, X-Forwarded-For: c, "a b": d}}]}
              |                                                                       ^^^^^^^ invalid
              = help: write GET, POST and the like

            error[E0106]: the header `x-forwarded-for` cannot be matched in a route of component `web`
             --> app.yaml:6:98
              |
            6 |     web: {source: ./hello.wasm, routes: [{host: a.com, path: "/v1/*", methods: ["G T", connect], headers: {host: b, X-Forwarded-For: c, "a b": d}}]}
              |                                                                                                  ^^^^^^^ invalid
              = help: the gateway writes it itself

            error[E0106]: the header `host` cannot be matched in a route of component `web`
             --> app.yaml:6:108
              |
            6 |     web: {source: ./hello.wasm, routes: [{host: a.com, path: "/v1/*", methods: ["G T", connect], headers: {host: b, X-Forwarded-For: c, "a b": d}}]}
              |                                                                                                            ^^^^ invalid
              = help: match the host with `host`

            error[E0106]: `a b` is not a header name in a route of component `web`
             --> app.yaml:6:137
              |
            6 |     web: {source: ./hello.wasm, routes: [{host: a.com, path: "/v1/*", methods: ["G T", connect], headers: {host: b, X-Forwarded-For: c, "a b": d}}]}
              |                                                                                                                                         ^^^^^ invalid
              = help: write a name like x-version
        "#]],
    );
}

#[test]
fn routes_of_one_app_do_not_collide() {
    let text = "apiVersion: shoal.dev/v1\nkind: App\nmetadata: {name: hello}\nspec:\n  components:\n    \
                a: {source: ./a.wasm, routes: [{host: a.com, methods: [GET, post]}, {host: a.com, exact: true}]}\n    \
                b:\n      source: ./b.wasm\n      routes:\n        - host: b.com\n        - host: A.com\n          methods: [POST, GET]\n";
    check(
        text,
        expect![[r#"
        error[E0401]: `routes[1]` of component `b` matches the same as `routes[0]` of component `a`: a.com/
          --> app.yaml:11:17
           |
        11 |         - host: A.com
           |                 ^^^^^ the same host, path, methods and headers
           = help: give one of them another host or path
    "#]],
    );
}
