;; Waits for one timer, named 20,000 times in one list, when it starts.
(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $inner (eq $outer)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $inner))))))
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $outparam))

  (core module $heap
    (memory (export "memory") 4)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 131072)))
  (core instance $heap (instantiate $heap))
  (core func $wait (canon lower (func $poll "poll") (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core module $program
    (import "heap" "memory" (memory 4))
    (import "host" "wait" (func $wait (param i32 i32 i32)))
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (func $start
      (local $timer i32)
      (local $at i32)
      (local.set $timer (call $subscribe (i64.const -1)))
      (loop $next
        (i32.store offset=1024 (local.get $at) (local.get $timer))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const 80000))))
      (call $wait (i32.const 1024) (i32.const 20000) (i32.const 16)))
    (start $start)
    (func (export "handle") (param i32 i32)))
  (core instance $program (instantiate $program
    (with "heap" (instance $heap))
    (with "host" (instance (export "wait" (func $wait)) (export "subscribe" (func $subscribe))))))
  (func $handle (param "request" (own $request)) (param "response-out" (own $outparam)) (canon lift (core func $program "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
