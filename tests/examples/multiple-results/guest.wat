(module
  (import "multi-value/host" "get_age" (func $host_get_age (result (;age;) i64 (;errno;) i32)))
  (func (export "get_age") (result (;age;) i64 (;errno;) i32)
    (i64.const 37) (i32.const 0))
  (func (export "call_host_get_age") (result i64 i32)
    (call $host_get_age)))
