(module
  ;; Division traps on zero, and on the quotient that does not fit.
  (func (param i32 i32) (result i32 i32)
    (i32.div_s (local.get 0) (local.get 1))
    (i32.rem_s (local.get 0) (local.get 1)))
  (func (param i64 i64) (result i64 i64)
    (i64.div_u (local.get 0) (local.get 1))
    (i64.rem_u (local.get 0) (local.get 1)))
  (func (param i32 i32) (result i32)
    (i32.rotl (i32.shr_u (local.get 0) (local.get 1)) (i32.clz (i32.popcnt (local.get 1)))))
  (func (param i32) (result i64)
    (i64.extend_i32_u (i32.extend8_s (i32.wrap_i64 (i64.extend16_s (i64.extend_i32_s (local.get 0)))))))
  (func (param i64 i64) (result i32)
    (i32.and (i64.lt_u (local.get 0) (local.get 1)) (i64.eqz (local.get 0))))
  ;; Conversions trap outside of the range of integers, or saturate.
  (func (param f32 f64) (result i32 i64)
    (i32.trunc_f32_u (local.get 0))
    (i64.trunc_f64_s (local.get 1)))
  (func (param f32 f64) (result i32 i64)
    (i32.trunc_sat_f32_s (local.get 0))
    (i64.trunc_sat_f64_u (local.get 1)))
  (func (param i32 i64) (result f32 f64)
    (f32.convert_i32_u (local.get 0))
    (f64.convert_i64_u (local.get 1)))
  (func (param f32 f64) (result f64 f32)
    (f64.promote_f32 (local.get 0))
    (f32.demote_f64 (local.get 1)))
  (func (param f32) (result i32)
    (i32.reinterpret_f32 (f32.copysign (f32.abs (local.get 0)) (f32.neg (local.get 0)))))
  (func (param f64 f64) (result f64)
    (f64.min (f64.sqrt (local.get 0)) (f64.max (local.get 0) (local.get 1))))
  ;; Without SSE4.1, rounding is a call.
  (func (param f32 f64) (result f32 f64)
    (f32.ceil (f32.nearest (local.get 0)))
    (f64.floor (f64.trunc (local.get 1)))))

;; ----
;; function func0(i64 vmctx, i32, i32) -> i32, i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i32):
;;     v3 = sdiv v1, v2
;;     v4 = srem v1, v2
;;     return v3, v4
;; }
;; function func1(i64 vmctx, i64, i64) -> i64, i64 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i64, v2: i64):
;;     v3 = udiv v1, v2
;;     v4 = urem v1, v2
;;     return v3, v4
;; }
;; function func2(i64 vmctx, i32, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i32):
;;     v3 = ushr v1, v2
;;     v4 = popcnt v2
;;     v5 = clz v4
;;     v6 = rotl v3, v5
;;     return v6
;; }
;; function func3(i64 vmctx, i32) -> i64 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = sextend.i64 v1
;;     v3 = ireduce.i16 v2
;;     v4 = sextend.i64 v3
;;     v5 = ireduce.i32 v4
;;     v6 = ireduce.i8 v5
;;     v7 = sextend.i32 v6
;;     v8 = uextend.i64 v7
;;     return v8
;; }
;; function func4(i64 vmctx, i64, i64) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i64, v2: i64):
;;     v3 = icmp ult v1, v2
;;     v4 = uextend.i32 v3
;;     v5 = iconst.i64 0
;;     v6 = icmp eq v1, v5  ; v5 = 0
;;     v7 = uextend.i32 v6
;;     v8 = band v4, v7
;;     return v8
;; }
;; function func5(i64 vmctx, f32, f64) -> i32, i64 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: f32, v2: f64):
;;     v3 = fcvt_to_uint.i32 v1
;;     v4 = fcvt_to_sint.i64 v2
;;     return v3, v4
;; }
;; function func6(i64 vmctx, f32, f64) -> i32, i64 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: f32, v2: f64):
;;     v3 = fcvt_to_sint_sat.i32 v1
;;     v4 = fcvt_to_uint_sat.i64 v2
;;     return v3, v4
;; }
;; function func7(i64 vmctx, i32, i64) -> f32, f64 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i64):
;;     v3 = fcvt_from_uint.f32 v1
;;     v4 = fcvt_from_uint.f64 v2
;;     return v3, v4
;; }
;; function func8(i64 vmctx, f32, f64) -> f64, f32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: f32, v2: f64):
;;     v3 = fpromote.f64 v1
;;     v4 = fdemote.f32 v2
;;     return v3, v4
;; }
;; function func9(i64 vmctx, f32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: f32):
;;     v2 = fabs v1
;;     v3 = fneg v1
;;     v4 = fcopysign v2, v3
;;     v5 = bitcast.i32 little v4
;;     return v5
;; }
;; function func10(i64 vmctx, f64, f64) -> f64 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: f64, v2: f64):
;;     v3 = sqrt v1
;;     v4 = fmax v1, v2
;;     v5 = fmin v3, v4
;;     return v5
;; }
;; function func11(i64 vmctx, f32, f64) -> f32, f64 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: f32, v2: f64):
;;     v3 = nearest v1
;;     v4 = ceil v3
;;     v5 = trunc v2
;;     v6 = floor v5
;;     return v4, v6
;; }
