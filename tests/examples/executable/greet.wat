;; Prints "Hello, ", its second argument, and a line's end. Ends with exit code 7 if there is none.
(module
    (import "wasi_snapshot_preview1" "args_sizes_get"
        (func $args_sizes_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "Hello, ")
    (data (i32.const 8) "\n")
    (func $len (param $text i32) (result i32)
        (local $end i32)
        (local.set $end (local.get $text))
        (loop $next
            (if (i32.load8_u (local.get $end))
                (then
                    (local.set $end (i32.add (local.get $end) (i32.const 1)))
                    (br $next))))
        (i32.sub (local.get $end) (local.get $text)))
    (func $print (param $start i32) (param $len i32)
        (i32.store (i32.const 16) (local.get $start))
        (i32.store (i32.const 20) (local.get $len))
        (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24))))
    (func (export "_start")
        (local $name i32)
        (drop (call $args_sizes_get (i32.const 32) (i32.const 36)))
        (if (i32.lt_u (i32.load (i32.const 32)) (i32.const 2))
            (then (call $proc_exit (i32.const 7))))
        (drop (call $args_get (i32.const 64) (i32.const 1024)))
        (local.set $name (i32.load (i32.const 68)))
        (call $print (i32.const 0) (i32.const 7))
        (call $print (local.get $name) (call $len (local.get $name)))
        (call $print (i32.const 8) (i32.const 1))))
