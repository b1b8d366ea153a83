;; Relaxed operators. Where the specification leaves a choice, they follow the deterministic profile.

(module
  (func (export "swizzle") (param v128 v128) (result v128)
    (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))
  (func (export "trunc_s") (param v128) (result v128)
    (i32x4.relaxed_trunc_f32x4_s (local.get 0)))
  (func (export "trunc_u") (param v128) (result v128)
    (i32x4.relaxed_trunc_f32x4_u (local.get 0)))
  (func (export "trunc_s_zero") (param v128) (result v128)
    (i32x4.relaxed_trunc_f64x2_s_zero (local.get 0)))
  (func (export "trunc_u_zero") (param v128) (result v128)
    (i32x4.relaxed_trunc_f64x2_u_zero (local.get 0)))
  (func (export "madd") (param v128 v128 v128) (result v128)
    (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2)))
  (func (export "nmadd") (param v128 v128 v128) (result v128)
    (f64x2.relaxed_nmadd (local.get 0) (local.get 1) (local.get 2)))
  (func (export "laneselect") (param v128 v128 v128) (result v128)
    (i16x8.relaxed_laneselect (local.get 0) (local.get 1) (local.get 2)))
  (func (export "min") (param v128 v128) (result v128)
    (f32x4.relaxed_min (local.get 0) (local.get 1)))
  (func (export "max") (param v128 v128) (result v128)
    (f64x2.relaxed_max (local.get 0) (local.get 1)))
  (func (export "q15mulr") (param v128 v128) (result v128)
    (i16x8.relaxed_q15mulr_s (local.get 0) (local.get 1)))
  (func (export "dot") (param v128 v128) (result v128)
    (i16x8.relaxed_dot_i8x16_i7x16_s (local.get 0) (local.get 1)))
  (func (export "dot_add") (param v128 v128 v128) (result v128)
    (i32x4.relaxed_dot_i8x16_i7x16_add_s (local.get 0) (local.get 1) (local.get 2)))
)

;; An index of 16 or more selects zero.
(assert_return
  (invoke "swizzle"
    (v128.const i8x16 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
    (v128.const i8x16 0 15 16 17 31 32 112 127 128 255 1 2 3 4 5 6))
  (v128.const i8x16 1 16 0 0 0 0 0 0 0 0 2 3 4 5 6 7))

;; Values that do not fit saturate, and NaN becomes zero.
(assert_return (invoke "trunc_s" (v128.const f32x4 nan 0x1p31 -0x1.8p31 -1.5))
  (v128.const i32x4 0 0x7fffffff 0x80000000 -1))
(assert_return (invoke "trunc_u" (v128.const f32x4 nan 0x1p32 -2 1.5))
  (v128.const i32x4 0 0xffffffff 0 1))
(assert_return (invoke "trunc_s_zero" (v128.const f64x2 nan 0x1p31))
  (v128.const i32x4 0 0x7fffffff 0 0))
(assert_return (invoke "trunc_u_zero" (v128.const f64x2 -1 0x1p32))
  (v128.const i32x4 0 0xffffffff 0 0))

;; (1 + 2^-12)^2 = 1 + 2^-11 + 2^-24. Rounding to f32 loses the last term.
(assert_return
  (invoke "madd"
    (v128.const f32x4 0x1.001p0 0x1.001p0 2 2)
    (v128.const f32x4 0x1.001p0 0x1.001p0 3 3)
    (v128.const f32x4 -0x1.002p0 -0x1.002p0 4 4))
  (v128.const f32x4 0 0 10 10))
;; The same for an f64: (1 + 2^-27)^2 = 1 + 2^-26 + 2^-54.
(assert_return
  (invoke "nmadd"
    (v128.const f64x2 0x1.0000002p0 2)
    (v128.const f64x2 0x1.0000002p0 3)
    (v128.const f64x2 0x1.0000004p0 7))
  (v128.const f64x2 0 1))

;; The selection is bitwise.
(assert_return
  (invoke "laneselect"
    (v128.const i16x8 0x1234 0x1234 0x1234 0x1234 0 0 0 0)
    (v128.const i16x8 0x5678 0x5678 0x5678 0x5678 0 0 0 0)
    (v128.const i16x8 0xff00 0x00ff 0x8000 0xffff 0 0 0 0))
  (v128.const i16x8 0x1278 0x5634 0x5678 0x1234 0 0 0 0))

;; The result is NaN if an operand is, and -0 is less than +0.
(assert_return (invoke "min" (v128.const f32x4 nan 1 -0 +0) (v128.const f32x4 1 nan +0 -0))
  (v128.const f32x4 nan:canonical nan:canonical -0 -0))
(assert_return (invoke "max" (v128.const f64x2 nan -0) (v128.const f64x2 1 +0))
  (v128.const f64x2 nan:canonical +0))
(assert_return (invoke "max" (v128.const f64x2 1 +0) (v128.const f64x2 nan -0))
  (v128.const f64x2 nan:canonical +0))

;; Only one product does not fit, and it saturates.
(assert_return
  (invoke "q15mulr"
    (v128.const i16x8 -32768 -32768 32767 1 0 0 0 0)
    (v128.const i16x8 -32768 32767 32767 1 0 0 0 0))
  (v128.const i16x8 32767 -32767 32766 0 0 0 0 0))

;; Both operands are signed. Sums of two products saturate, and sums with the addend wrap.
(assert_return
  (invoke "dot"
    (v128.const i8x16 -128 -128 127 127 1 2 -1 -2 0 0 0 0 0 0 0 0)
    (v128.const i8x16 -128 -128 127 127 3 4 -128 1 0 0 0 0 0 0 0 0))
  (v128.const i16x8 32767 32258 11 126 0 0 0 0))
(assert_return
  (invoke "dot_add"
    (v128.const i8x16 1 2 3 4 -128 -128 -128 -128 0 0 0 0 0 0 0 0)
    (v128.const i8x16 1 2 3 4 -128 -128 -128 -128 0 0 0 0 0 0 0 0)
    (v128.const i32x4 100 0 -1 -2))
  (v128.const i32x4 130 65534 -1 -2))
(assert_return
  (invoke "dot_add"
    (v128.const i8x16 -128 -128 -128 -128 127 127 127 127 -128 -128 0 0 0 0 0 0)
    (v128.const i8x16 -128 -128 -128 -128 -128 -128 -128 -128 127 127 0 0 0 0 0 0)
    (v128.const i32x4 0x7fffffff 0 1 0))
  (v128.const i32x4 -2147418115 -65024 -32511 0))
