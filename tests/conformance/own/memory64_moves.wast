;; With both strategies, a memory with 64-bit indices moves when it outgrows its reservation. Code
;; must not continue to use the old base address.

;; The function itself grows the memory.
(module
  (memory i64 1)
  (func (export "f") (result i32)
    (i32.store (i64.const 0) (i32.const 42))
    (drop (memory.grow (i64.const 32)))
    (i32.load (i64.const 0))))
(assert_return (invoke "f") (i32.const 42))

;; A callee grows the memory.
(module
  (memory i64 1)
  (func $g (drop (memory.grow (i64.const 32))))
  (func (export "f") (result i32)
    (i32.store (i64.const 8) (i32.const 42))
    (call $g)
    (i32.store (i64.const 0) (i32.const 42))
    (i32.load (i64.const 0))))
(assert_return (invoke "f") (i32.const 42))

;; A loop grows the memory before and after its accesses. Each iteration moves it.
(module
  (memory i64 1)
  (func (export "f") (param $n i32) (result i64)
    (local $sum i64)
    (loop $l
      (i64.store (i64.const 8) (i64.add (i64.load (i64.const 8)) (i64.const 1)))
      (drop (memory.grow (i64.add (memory.size) (i64.const 16))))
      (i64.store (i64.sub (i64.shl (memory.size) (i64.const 16)) (i64.const 8)) (i64.const 7))
      (local.set $sum (i64.add (local.get $sum)
        (i64.load (i64.sub (i64.shl (memory.size) (i64.const 16)) (i64.const 8)))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i64.add (local.get $sum) (i64.mul (i64.const 1000) (i64.load (i64.const 8))))))
(assert_return (invoke "f" (i32.const 6)) (i64.const 6042))

;; The exporting module grows the memory through a table, and the importing module grows it too.
(module $owner
  (memory (export "m") i64 1)
  (table (export "t") 2 funcref)
  (elem (i32.const 0) $grow)
  (func $grow (export "grow") (drop (memory.grow (i64.const 40))))
  (func (export "get") (param i64) (result i32) (i32.load (local.get 0)))
  (func (export "around") (result i32)
    (i32.store (i64.const 16) (i32.const 1))
    (call_indirect (i32.const 1))
    (i32.store (i64.const 20) (i32.const 2))
    (i32.add (i32.load (i64.const 16)) (i32.load (i64.const 20)))))
(register "owner" $owner)
(module $user
  (import "owner" "m" (memory i64 1))
  (import "owner" "t" (table 2 funcref))
  (import "owner" "grow" (func $grow))
  (elem (i32.const 1) $mine)
  (func $mine (drop (memory.grow (i64.const 80))))
  (func (export "f") (result i32)
    (i32.store (i64.const 0) (i32.const 5))
    (call $grow)
    (i32.store (i64.const 4) (i32.const 6))
    (call_indirect (i32.const 0))
    (i32.store (i64.const 8) (i32.const 7))
    (call $mine)
    (i32.add (i32.load (i64.const 0)) (i32.add (i32.load (i64.const 4)) (i32.load (i64.const 8))))))
(assert_return (invoke $user "f") (i32.const 18))
(assert_return (invoke $owner "get" (i64.const 8)) (i32.const 7))
(assert_return (invoke $owner "around") (i32.const 3))

;; One of several memories of all kinds, with copies between them.
(module
  (memory $a 1) (memory $b i64 1) (memory $c i64 1 1) (memory $d i64 1)
  (func (export "f") (result i64)
    (i64.store $a (i32.const 0) (i64.const 1))
    (i64.store $b (i64.const 0) (i64.const 10))
    (i64.store $c (i64.const 0) (i64.const 100))
    (i64.store $d (i64.const 0) (i64.const 1000))
    (drop (memory.grow $b (i64.const 50)))
    (memory.copy $d $b (i64.const 8) (i64.const 0) (i64.const 8))
    (drop (memory.grow $d (i64.const 50)))
    (memory.fill $b (i64.const 3000000) (i32.const 1) (i64.const 8))
    (memory.copy $a $d (i32.const 8) (i64.const 8) (i32.const 8))
    (i64.add (i64.add (i64.load $a (i32.const 8)) (i64.load $b (i64.const 0)))
      (i64.add (i64.load $c (i64.const 0)) (i64.load $d (i64.const 0))))))
(assert_return (invoke "f") (i64.const 1120))
