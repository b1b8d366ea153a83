;; Both encodings of exception handling: values of locals on each way to a handler, handlers that
;; throw, loops that handlers lead back to, calls with more results than registers.
(module
  (tag $i (param i32))
  (tag $wide (param i64 f64 v128 f32 i32))
  (tag $none)
  (type $many (func (param i32) (result i32 i64 f32 f64 i32 i64 f32 f64 i32 i64)))
  (table funcref (elem $many))
  (global $g (mut i32) (i32.const 0))

  (func $throw (param i32) (throw $i (local.get 0)))
  (func $throw-if (param i32 i32) (if (local.get 0) (then (throw $i (local.get 1)))))
  (func $many (type $many)
    (call $throw-if (i32.eqz (local.get 0)) (i32.const 99))
    (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4) (local.get 0) (i64.const 6)
    (f32.const 7) (f64.const 8) (i32.const 9) (i64.const 10))

  ;; A local that is set between two calls: the handler sees what it was at the call that threw.
  (func (export "locals") (param i32) (result i32) (local $at i32)
    (block $h (result i32)
      (try_table (catch $i $h)
        (local.set $at (i32.const 10))
        (call $throw-if (i32.eq (local.get 0) (i32.const 1)) (i32.const 1))
        (local.set $at (i32.const 20))
        (call $throw-if (i32.eq (local.get 0) (i32.const 2)) (i32.const 2))
        (local.set $at (i32.const 30))
        (call $throw-if (i32.eq (local.get 0) (i32.const 3)) (i32.const 3)))
      (i32.const 100))
    (i32.add (local.get $at)))
  (func (export "old-locals") (param i32) (result i32) (local $at i32)
    try (result i32)
      (local.set $at (i32.const 10))
      (call $throw-if (i32.eq (local.get 0) (i32.const 1)) (i32.const 1))
      (local.set $at (i32.const 20))
      (call $throw-if (i32.eq (local.get 0) (i32.const 2)) (i32.const 2))
      i32.const 100
    catch $none
      i32.const 1000
    catch $i
    catch_all
      i32.const 2000
    end
    local.get $at
    i32.add)

  ;; The operands below a `try_table` are still there behind its handler.
  (func (export "operands") (param i32) (result i32)
    (i32.const 1000)
    (block $h (result i32)
      (i32.const 200)
      (drop)
      (try_table (result i32) (catch $i $h)
        (call $throw-if (local.get 0) (i32.const 5))
        (i32.const 7)))
    (i32.sub))

  (func (export "results") (param i32) (result i32)
    (block $h (result i32)
      (try_table (catch $i $h)
        (call $many (local.get 0))
        (drop) (drop) (drop) (drop) (drop) (global.set $g) (drop) (drop) (drop) (drop))
      (global.get $g)))
  (func (export "indirect-results") (param i32) (result i32)
    try (result i32)
      (call_indirect (type $many) (local.get 0) (i32.const 0))
      drop drop drop drop drop global.set $g drop drop drop drop
      global.get $g
    catch $i
    end)

  (func $wide
    (throw $wide (i64.const 1) (f64.const 2) (v128.const i32x4 1 2 3 4) (f32.const 5) (i32.const 6)))
  (func (export "wide") (result i64 f64 v128 f32 i32)
    (block $h (result i64 f64 v128 f32 i32)
      (try_table (catch $wide $h) (call $wide))
      (unreachable)))
  (func (export "old-wide") (result i64 f64 v128 f32 i32)
    try (result i64 f64 v128 f32 i32)
      call $wide
      unreachable
    catch $wide
    end)

  ;; A handler that leads back to a loop.
  (func (export "again") (param i32) (result i32) (local $n i32)
    (loop $l
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (block $h (result i32)
        (try_table (catch $i $h)
          (call $throw-if (local.get 0) (i32.sub (local.get 0) (i32.const 1))))
        (return (local.get $n)))
      (local.set 0)
      (br $l))
    (unreachable))

  ;; What a handler throws goes outwards, not to its own `try`.
  (func (export "old-outwards") (result i32)
    try (result i32)
      try (result i32)
        i32.const 1
        call $throw
        unreachable
      catch $i
        i32.const 10
        i32.add
        call $throw
        unreachable
      end
    catch $i
      i32.const 100
      i32.add
    end)
  (func (export "old-delegate") (result i32)
    try $outer (result i32)
      try (result i32)
        try
          i32.const 1
          call $throw
        delegate $outer
        i32.const 2
      catch_all
        i32.const 3
      end
    catch $i
      i32.const 40
      i32.add
    end)
  (func (export "old-rethrow") (result i32)
    try (result i32)
      try $inner (result i32)
        i32.const 7
        call $throw
        unreachable
      catch $i
        drop
        try
          (throw $none)
        catch_all
          rethrow $inner
        end
        unreachable
      end
    catch $i
    end)
  (func (export "old-uncaught") (param i32)
    try
      local.get 0
      call $throw
    catch $none
    end)
  ;; Bodies that throw nothing, and bodies that do nothing else.
  (func (export "nothing") (result i32)
    (block $h (result i32) (try_table (catch $i $h)) (i32.const 1))
    try (result i32) i32.const 2 catch_all i32.const 3 end
    (i32.add))
  (func (export "local-throw") (result i32)
    (block $h (result i32)
      (try_table (catch $i $h) (throw $i (i32.const 8)))
      (unreachable)))
  (func (export "function-label") (param i32) (result i32)
    (try_table (catch $i 0) (call $throw (local.get 0)))
    (i32.const -1)))

(assert_return (invoke "locals" (i32.const 0)) (i32.const 130))
(assert_return (invoke "locals" (i32.const 1)) (i32.const 11))
(assert_return (invoke "locals" (i32.const 2)) (i32.const 22))
(assert_return (invoke "locals" (i32.const 3)) (i32.const 33))
(assert_return (invoke "old-locals" (i32.const 0)) (i32.const 120))
(assert_return (invoke "old-locals" (i32.const 1)) (i32.const 11))
(assert_return (invoke "old-locals" (i32.const 2)) (i32.const 22))
(assert_return (invoke "operands" (i32.const 0)) (i32.const 993))
(assert_return (invoke "operands" (i32.const 1)) (i32.const 995))
(assert_return (invoke "results" (i32.const 5)) (i32.const 5))
(assert_return (invoke "results" (i32.const 0)) (i32.const 99))
(assert_return (invoke "indirect-results" (i32.const 6)) (i32.const 6))
(assert_return (invoke "indirect-results" (i32.const 0)) (i32.const 99))
(assert_return (invoke "wide")
  (i64.const 1) (f64.const 2) (v128.const i32x4 1 2 3 4) (f32.const 5) (i32.const 6))
(assert_return (invoke "old-wide")
  (i64.const 1) (f64.const 2) (v128.const i32x4 1 2 3 4) (f32.const 5) (i32.const 6))
(assert_return (invoke "again" (i32.const 0)) (i32.const 1))
(assert_return (invoke "again" (i32.const 1000)) (i32.const 1001))
(assert_return (invoke "old-outwards") (i32.const 111))
(assert_return (invoke "old-delegate") (i32.const 41))
(assert_return (invoke "old-rethrow") (i32.const 7))
(assert_exception (invoke "old-uncaught" (i32.const 1)))
(assert_return (invoke "nothing") (i32.const 3))
(assert_return (invoke "local-throw") (i32.const 8))
(assert_return (invoke "function-label" (i32.const 17)) (i32.const 17))

(assert_invalid (module (func (throw 0))) "unknown tag")
(assert_invalid (module (tag (param i32)) (func (throw 0))) "type mismatch")
(assert_invalid (module (func (throw_ref (ref.null func)))) "type mismatch")
(assert_invalid
  (module (tag (param i32)) (func (try_table (catch 0 0))))
  "type mismatch")
