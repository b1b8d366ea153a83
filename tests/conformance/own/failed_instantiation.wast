;; Active segments apply in order, those of elements before those of data. The first that is out of
;; bounds ends instantiation. What others have of the instance by then, which is functions in a
;; table that it imports, sees the effects of the segments before that one and of none behind it.

(module $T
  (table (export "table") 8 funcref)
  (memory (export "memory") 1)
  (global (export "far") i32 (i32.const 65536))
  (func (export "call") (param i32) (result i32)
    (call_indirect (result i32) (local.get 0))))
(register "T" $T)

;; An element segment fails: a table that no code changes is as it was, and so is a memory.
(assert_trap
  (module
    (import "T" "table" (table $t 8 funcref))
    (memory 1)
    (table $before 2 funcref)
    (table $behind 2 funcref)
    (func $before (result i32) (call_indirect $before (result i32) (i32.const 1)))
    (func $behind (result i32) (call_indirect $behind (result i32) (i32.const 1)))
    (func $load (result i32) (i32.load (i32.const 0)))
    (func $42 (result i32) (i32.const 42))
    (elem (table $before) (i32.const 0) func $42 $42)
    (elem (table $t) (i32.const 0) func $before $behind $load)
    (elem (table $t) (i32.const 100) func $42)
    (elem (table $behind) (i32.const 0) func $42 $42)
    (data (i32.const 0) "abcd"))
  "out of bounds table access")
(assert_return (invoke $T "call" (i32.const 0)) (i32.const 42))
(assert_trap (invoke $T "call" (i32.const 1)) "uninitialized element")
(assert_return (invoke $T "call" (i32.const 2)) (i32.const 0))

;; A data segment of another memory fails: the own memory has what comes before.
(assert_trap
  (module
    (import "T" "table" (table $t 8 funcref))
    (import "T" "memory" (memory $m 1))
    (memory $own 1)
    (func $before (result i32) (i32.load $own (i32.const 0)))
    (func $behind (result i32) (i32.load $own (i32.const 65532)))
    (elem (table $t) (i32.const 0) func $before $behind)
    (data (memory $own) (i32.const 0) "\01\02\03\04")
    (data (memory $m) (i32.const 65536) "x")
    (data (memory $own) (i32.const 0) "abcd")
    (data (memory $own) (i32.const 65532) "abcd"))
  "out of bounds memory access")
(assert_return (invoke $T "call" (i32.const 0)) (i32.const 0x04030201))
(assert_return (invoke $T "call" (i32.const 1)) (i32.const 0))

;; The same with an offset that is known only at instantiation, and a memory that is as large as
;; segments can make it.
(assert_trap
  (module
    (import "T" "table" (table $t 8 funcref))
    (import "T" "far" (global $far i32))
    (memory $own 1)
    (memory $other 1)
    (func $own (result i32) (i32.load $own (i32.const 65532)))
    (func $other (result i32) (i32.load $other (i32.const 65532)))
    (elem (table $t) (i32.const 0) func $own $other)
    (data (memory $other) (i32.const 65532) "\01\00\00\00")
    (data (memory $own) (global.get $far) "x")
    (data (memory $own) (i32.const 65532) "abcd")
    (data (memory $other) (i32.const 65532) "abcd"))
  "out of bounds memory access")
(assert_return (invoke $T "call" (i32.const 0)) (i32.const 0))
(assert_return (invoke $T "call" (i32.const 1)) (i32.const 1))

;; Segments up to the one that fails are dropped, but neither that one nor those behind it.
(assert_trap
  (module
    (import "T" "table" (table $t 8 funcref))
    (memory 1)
    (func $before (result i32)
      (memory.init $before (i32.const 16) (i32.const 0) (i32.const 4))
      (i32.load (i32.const 16)))
    (func $fails (result i32)
      (memory.init $fails (i32.const 16) (i32.const 0) (i32.const 4))
      (i32.load (i32.const 16)))
    (func $behind (result i32)
      (memory.init $behind (i32.const 16) (i32.const 0) (i32.const 4))
      (i32.load (i32.const 16)))
    (elem (table $t) (i32.const 0) func $before $fails $behind)
    (data $before (i32.const 0) "\01\00\00\00")
    (data $fails (i32.const 65533) "\02\00\00\00")
    (data $behind (i32.const 0) "\03\00\00\00"))
  "out of bounds memory access")
(assert_trap (invoke $T "call" (i32.const 0)) "out of bounds memory access")
(assert_return (invoke $T "call" (i32.const 1)) (i32.const 2))
(assert_return (invoke $T "call" (i32.const 2)) (i32.const 3))

(assert_trap
  (module
    (import "T" "table" (table $t 8 funcref))
    (table $own 2 funcref)
    (func $before (result i32)
      (table.init $own $before (i32.const 0) (i32.const 0) (i32.const 1))
      (call_indirect $own (result i32) (i32.const 0)))
    (func $behind (result i32)
      (table.init $own $behind (i32.const 0) (i32.const 0) (i32.const 1))
      (call_indirect $own (result i32) (i32.const 0)))
    (func $42 (result i32) (i32.const 42))
    (elem $before (table $t) (i32.const 0) func $before $behind)
    (elem (table $own) (i32.const 1) func $42 $42)
    (elem $behind (table $own) (i32.const 0) func $42))
  "out of bounds table access")
(assert_trap (invoke $T "call" (i32.const 0)) "out of bounds table access")
(assert_return (invoke $T "call" (i32.const 1)) (i32.const 42))

;; Nothing fails: everything is there.
(module
  (import "T" "table" (table $t 8 funcref))
  (import "T" "memory" (memory $m 1))
  (import "T" "far" (global $far i32))
  (memory $own 2)
  (table $o 2 funcref)
  (func $load (result i32) (i32.load $own (i32.const 0)))
  (func $far (result i32) (i32.load $own (i32.const 65536)))
  (func $called (result i32) (call_indirect $o (result i32) (i32.const 1)))
  (func $42 (result i32) (i32.const 42))
  (elem (table $t) (i32.const 0) func $load $far $called)
  (elem (table $t) (i32.const 7) func $42)
  (elem (table $o) (i32.const 0) func $42 $42)
  (data (memory $m) (i32.const 65535) "x")
  (data (memory $own) (i32.const 0) "abcd")
  (data (memory $own) (global.get $far) "efgh"))
(assert_return (invoke $T "call" (i32.const 0)) (i32.const 0x64636261))
(assert_return (invoke $T "call" (i32.const 1)) (i32.const 0x68676665))
(assert_return (invoke $T "call" (i32.const 2)) (i32.const 42))
(assert_return (invoke $T "call" (i32.const 7)) (i32.const 42))
