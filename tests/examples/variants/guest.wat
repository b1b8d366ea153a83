;; Adds up the squares of the numbers below `n`, four at a time.
(module
  (func (export "squares") (param $n i32) (result i32) (local $i i32) (local $v v128) (local $sum v128)
    (local.set $v (v128.const i32x4 0 1 2 3))
    (loop $next
      (local.set $sum
        (i32x4.add (local.get $sum) (i32x4.mul (local.get $v) (local.get $v))))
      (local.set $v (i32x4.add (local.get $v) (v128.const i32x4 4 4 4 4)))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
    (i32.add
      (i32.add (i32x4.extract_lane 0 (local.get $sum)) (i32x4.extract_lane 1 (local.get $sum)))
      (i32.add (i32x4.extract_lane 2 (local.get $sum)) (i32x4.extract_lane 3 (local.get $sum))))))
