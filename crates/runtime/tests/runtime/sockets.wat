;; Asks for a TCP socket when it starts, ten times, and traps unless each is refused with `access-denied`.
(component
  (import "wasi:sockets/network@0.2.0" (instance $network
    (type $error-code-shape (enum
      "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout" "concurrency-conflict" "not-in-progress"
      "would-block" "invalid-state" "new-socket-limit" "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused"
      "connection-reset" "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
      "permanent-resolver-failure"))
    (export "error-code" (type (eq $error-code-shape)))
    (type $family-shape (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type (eq $family-shape)))))
  (alias export $network "error-code" (type $error-code))
  (alias export $network "ip-address-family" (type $family))
  (import "wasi:sockets/tcp@0.2.0" (instance $tcp (export "tcp-socket" (type (sub resource)))))
  (alias export $tcp "tcp-socket" (type $socket))
  (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create
    (alias outer 1 $error-code (type $outer-error))
    (export "error-code" (type $error (eq $outer-error)))
    (alias outer 1 $family (type $outer-family))
    (export "ip-address-family" (type $family (eq $outer-family)))
    (alias outer 1 $socket (type $outer-socket))
    (export "tcp-socket" (type $socket (eq $outer-socket)))
    (export "create-tcp-socket" (func (param "address-family" $family) (result (result (own $socket) (error $error)))))))
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $outparam))

  (core module $heap (memory (export "memory") 1))
  (core instance $heap (instantiate $heap))
  (core func $create (canon lower (func $create "create-tcp-socket") (memory (core memory $heap "memory"))))
  (core module $program
    (import "heap" "memory" (memory 1))
    (import "host" "create" (func $create (param i32 i32)))
    (func $start (local $left i32)
      (local.set $left (i32.const 10))
      (loop $again
        (call $create (i32.const 0) (i32.const 16))
        ;; A refusal is 1, and `access-denied` is 1 too.
        (if (i32.ne (i32.load8_u (i32.const 16)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 20)) (i32.const 1)) (then unreachable))
        (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
    (start $start)
    (func (export "handle") (param i32 i32)))
  (core instance $program (instantiate $program
    (with "heap" (instance $heap))
    (with "host" (instance (export "create" (func $create))))))
  (func $handle (param "request" (own $request)) (param "response-out" (own $outparam)) (canon lift (core func $program "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
