(module
    (func (export "to-yen") (param $cents i64) (result i64)
        (i64.div_s (i64.mul (local.get $cents) (i64.const 3)) (i64.const 2))))
