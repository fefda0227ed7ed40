;; Logs three times when it starts: with a context, without one, and two lines at once.
(component
  (import "wasi:logging/logging@0.1.0-draft" (instance $logging
    (type $level-shape (enum "trace" "debug" "info" "warn" "error" "critical"))
    (export "level" (type $level (eq $level-shape)))
    (export "log" (func (param "level" $level) (param "context" string) (param "message" string)))))
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $outparam))

  (core module $heap
    (memory (export "memory") 1)
    (data (i32.const 0) "cartgreetings\nagain"))
  (core instance $heap (instantiate $heap))
  (core func $log (canon lower (func $logging "log") (memory (core memory $heap "memory"))))
  (core module $program
    (import "host" "log" (func $log (param i32 i32 i32 i32 i32)))
    (func $start
      (call $log (i32.const 2) (i32.const 0) (i32.const 4) (i32.const 4) (i32.const 9))
      (call $log (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 9))
      (call $log (i32.const 3) (i32.const 0) (i32.const 4) (i32.const 4) (i32.const 15)))
    (start $start)
    (func (export "handle") (param i32 i32)))
  (core instance $program (instantiate $program (with "host" (instance (export "log" (func $log))))))
  (func $handle (param "request" (own $request)) (param "response-out" (own $outparam)) (canon lift (core func $program "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
