;; Hands the host a name of 16 MiB and one byte when it starts.
(component
  (import "wasi:config/store@0.2.0-rc.1" (instance $config
    (type $error-shape (variant (case "upstream" string) (case "io" string)))
    (export "error" (type $error (eq $error-shape)))
    (export "get" (func (param "key" string) (result (result (option string) (error $error)))))))
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $outparam))

  (core module $heap
    (memory (export "memory") 258)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $heap (instantiate $heap))
  (core func $get (canon lower (func $config "get") (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))
  (core module $program
    (import "host" "get" (func $get (param i32 i32 i32)))
    (func $start (call $get (i32.const 64) (i32.const 16777217) (i32.const 16)))
    (start $start)
    (func (export "handle") (param i32 i32)))
  (core instance $program (instantiate $program (with "host" (instance (export "get" (func $get))))))
  (func $handle (param "request" (own $request)) (param "response-out" (own $outparam)) (canon lift (core func $program "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
