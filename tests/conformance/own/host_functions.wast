;; Host functions that modules import and export again, called in all ways.

(module $A
  (import "spectest" "print_i32" (func $print (param i32)))
  (export "print" (func $print))
  (table (export "table") 2 funcref)
  (elem (i32.const 0) $print)
  (func (export "call") (param i32) (call $print (local.get 0)))
  (func (export "call_indirect") (param i32) (call_indirect (param i32) (local.get 0) (i32.const 0)))
  (func (export "ref") (result funcref) (ref.func $print))
)
(register "A" $A)
(invoke "print" (i32.const 1))
(invoke "call" (i32.const 2))
(invoke "call_indirect" (i32.const 3))
(assert_return (invoke "ref") (ref.func))

;; The same functions through a second and a third module.
(module $B
  (import "A" "print" (func $print (param i32)))
  (import "A" "table" (table 2 funcref))
  (export "print" (func $print))
  (elem (i32.const 1) $print)
  (func (export "call") (param i32) (call $print (local.get 0)))
  (func (export "call_indirect") (param i32 i32)
    (call_indirect (param i32) (local.get 0) (local.get 1)))
)
(register "B" $B)
(invoke "print" (i32.const 4))
(invoke "call" (i32.const 5))
(invoke "call_indirect" (i32.const 6) (i32.const 0))
(invoke "call_indirect" (i32.const 7) (i32.const 1))
(invoke $A "call_indirect" (i32.const 8))

(module
  (import "B" "print" (func $print (param i32)))
  (export "print" (func $print))
  (func (export "call") (param i32) (call $print (local.get 0)))
)
(invoke "print" (i32.const 9))
(invoke "call" (i32.const 10))

;; A host function as the start function, imported directly and through another module.
(module (import "spectest" "print" (func $print)) (start $print))
(module (import "spectest" "print" (func $print)) (export "print" (func $print)))
(register "C")
(module (import "C" "print" (func $print)) (start $print))
