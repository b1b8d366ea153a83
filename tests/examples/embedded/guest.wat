(module
    (import "host" "print" (func $print (param i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "Hello from a page of the executable\n")
    (func (export "greet") (call $print (i32.const 16) (i32.const 36))))
