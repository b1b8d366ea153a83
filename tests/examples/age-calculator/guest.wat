(module $age_calculator
  (import "env" "log_i32" (func $log_i32 (param i32)))
  (import "env" "current_year" (func $current_year (result i32)))
  (func $get_age (export "get_age") (param $year_born i32) (result i32)
    (i32.sub (call $current_year) (local.get $year_born)))
  (func (export "log_age") (param $year_born i32)
    (call $log_i32 (call $get_age (local.get $year_born)))))
