;; Asks for 16 random bytes when it starts, then for one more than the host gives at once.
(component
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $outparam))

  (core module $heap
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $heap (instantiate $heap))
  (core func $get (canon lower (func $random "get-random-bytes") (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))
  (core module $program
    (import "host" "get" (func $get (param i64 i32)))
    (func $start
      (call $get (i64.const 16) (i32.const 16))
      (call $get (i64.const 1048577) (i32.const 16)))
    (start $start)
    (func (export "handle") (param i32 i32)))
  (core instance $program (instantiate $program (with "host" (instance (export "get" (func $get))))))
  (func $handle (param "request" (own $request)) (param "response-out" (own $outparam)) (canon lift (core func $program "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
