(module
    (import "host" "note" (func $note (param i32 i64)))
    (import "host" "discount" (func $discount (result f64)))
    (memory (export "memory") 1)
    (global (export "sold") (mut i32) (i32.const 0))
    (func (export "sell") (param $pieces i32) (param $cents i64) (result i64 i32)
        (call $note (local.get $pieces) (local.get $cents))
        (global.set 0 (i32.add (global.get 0) (local.get $pieces)))
        (i64.trunc_sat_f64_s (f64.mul
            (f64.convert_i64_s (i64.mul (i64.extend_i32_u (local.get $pieces)) (local.get $cents)))
            (call $discount)))
        (global.get 0)))
