;; For `src/bin/cost.rs`: calls of host functions in a loop.
(module
  (import "cost" "sync" (func $sync (param i32) (result i32)))
  (import "cost" "ready" (func $ready (param i32) (result i32)))
  (import "cost" "pending" (func $pending (param i32) (result i32)))
  (memory 1)
  (func (export "nothing") (param i32) (result i32) (local.get 0))
  (func (export "write") (param i32) (result i32)
    (i32.store (i32.const 64) (local.get 0)) (i32.load (i32.const 64)))
  (func (export "sync") (param $n i32) (result i32) (local $sum i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (call $sync (local.get $n))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func (export "ready") (param $n i32) (result i32) (local $sum i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (call $ready (local.get $n))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func (export "pending") (param $n i32) (result i32) (local $sum i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (call $pending (local.get $n))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
