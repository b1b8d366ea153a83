;; Strings cross between host and guest through memory that the guest's allocator gives out.
(module $greet
  (import "env" "log" (func $log (param $ptr i32) (param $len i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "wasm >> ")
  (data (i32.const 32) "Hello, ")
  (data (i32.const 48) "!")

  ;; The allocator: a stack of blocks. The last block that was given out can be given back.
  (global $top (mut i32) (i32.const 1024))

  (func $allocate (export "allocate") (param $size i32) (result (;ptr;) i32)
    (local $ptr i32)
    (local.set $ptr (global.get $top))
    (global.set $top (i32.add (local.get $ptr) (local.get $size)))
    ;; More than there is room for?
    (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
      (then
        (if (i32.eq (i32.const -1)
              (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $size) (i32.const 16)))))
          (then unreachable))))
    (local.get $ptr))

  (func $deallocate (export "deallocate") (param $ptr i32) (param $size i32)
    (if (i32.eq (global.get $top) (i32.add (local.get $ptr) (local.get $size)))
      (then (global.set $top (local.get $ptr)))))

  ;; Appends the bytes at $from to what ends at $to; the new end.
  (func $append (param $to i32) (param $from i32) (param $len i32) (result i32)
    (memory.copy (local.get $to) (local.get $from) (local.get $len))
    (i32.add (local.get $to) (local.get $len)))

  ;; "Hello, " and the name and "!" at $to; the end.
  (func $hello (param $to i32) (param $name i32) (param $len i32) (result i32)
    (local.set $to (call $append (local.get $to) (i32.const 32) (i32.const 7)))
    (local.set $to (call $append (local.get $to) (local.get $name) (local.get $len)))
    (call $append (local.get $to) (i32.const 48) (i32.const 1)))

  ;; Logs a greeting of the name.
  (func (export "greet") (param $name i32) (param $len i32)
    (local $ptr i32) (local $size i32)
    (local.set $size (i32.add (local.get $len) (i32.const 16)))
    (local.set $ptr (call $allocate (local.get $size)))
    (drop (call $hello
      (call $append (local.get $ptr) (i32.const 16) (i32.const 8))
      (local.get $name) (local.get $len)))
    (call $log (local.get $ptr) (local.get $size))
    (call $deallocate (local.get $ptr) (local.get $size)))

  ;; A greeting of the name, as address and length, for the host to give back.
  (func (export "greeting") (param $name i32) (param $len i32) (result (;ptr;) i32 (;len;) i32)
    (local $ptr i32)
    (local.set $ptr (call $allocate (i32.add (local.get $len) (i32.const 8))))
    (drop (call $hello (local.get $ptr) (local.get $name) (local.get $len)))
    (local.get $ptr)
    (i32.add (local.get $len) (i32.const 8))))
