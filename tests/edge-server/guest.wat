;; What a tenant might upload: `handle(kind, n)` answers a request by printing.
(module
  (import "edge" "print" (func $print (param i32 i32)))
  (import "edge" "number" (func $number (param i64)))
  (import "edge" "sleep" (func $sleep (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "slept ")
  (data (i32.const 16) "pages ")
  (func $fib (param i64) (result i64)
    (if (result i64) (i64.lt_u (local.get 0) (i64.const 2))
      (then (local.get 0))
      (else (i64.add
        (call $fib (i64.sub (local.get 0) (i64.const 1)))
        (call $fib (i64.sub (local.get 0) (i64.const 2)))))))
  (func (export "handle") (param $kind i32) (param $n i32)
    (block $endless (block $hungry (block $trap (block $slow (block $good
      ;; a guest that parks waits like a slow one, only longer
      (br_table $good $slow $trap $hungry $endless $slow (local.get $kind)))
      ;; good: computes
      (call $number (call $fib (i64.extend_i32_u (local.get $n))))
      (return))
      ;; slow: waits
      (call $sleep (local.get $n))
      (call $print (i32.const 0) (i32.const 6))
      (call $number (i64.extend_i32_u (local.get $n)))
      (return))
      ;; trap
      (unreachable))
      ;; hungry: takes all the memory that there is, and writes to it
      (loop $more
        (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1))
          (then
            (i32.store
              (i32.mul (i32.sub (memory.size) (i32.const 1)) (i32.const 65536))
              (i32.const 1))
            (br $more))))
      (call $print (i32.const 16) (i32.const 6))
      (call $number (i64.extend_i32_u (memory.size)))
      (return))
      ;; endless
      (loop $l (br $l))))
