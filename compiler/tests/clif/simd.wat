(module
  (memory 1)
  ;; Lanes.
  (func (param v128 i32 f64) (result v128)
    (local.set 0 (i32x4.replace_lane 2 (local.get 0) (local.get 1)))
    (local.set 0 (f64x2.replace_lane 1 (local.get 0) (local.get 2)))
    (i8x16.swizzle (local.get 0)
      (i8x16.shuffle 0 16 1 17 2 18 3 19 4 20 5 21 6 22 7 23 (local.get 0) (local.get 0))))
  (func (param v128) (result i32 i64 f32)
    (i8x16.extract_lane_s 3 (local.get 0))
    (i64x2.extract_lane 1 (local.get 0))
    (f32x4.extract_lane 0 (local.get 0)))
  ;; Integers.
  (func (param v128 v128) (result v128)
    (i32x4.dot_i16x8_s
      (i8x16.add_sat_u (local.get 0) (local.get 1))
      (i16x8.q15mulr_sat_s (local.get 0) (local.get 1))))
  (func (param v128 v128) (result v128)
    (i16x8.narrow_i32x4_u
      (i32x4.extend_high_i16x8_s (local.get 0))
      (i32x4.extadd_pairwise_i16x8_u (local.get 1))))
  (func (param v128 i32) (result i32)
    (i32.add (i8x16.bitmask (i64x2.shr_s (local.get 0) (local.get 1)))
      (i32x4.all_true (i8x16.popcnt (local.get 0)))))
  ;; Floats: the minimum of WebAssembly and that of C, conversions that saturate.
  (func (param v128 v128) (result v128)
    (v128.bitselect (f32x4.min (local.get 0) (local.get 1))
      (f64x2.pmin (local.get 0) (local.get 1))
      (f32x4.lt (local.get 0) (local.get 1))))
  (func (param v128) (result v128)
    (i32x4.trunc_sat_f32x4_s (f32x4.demote_f64x2_zero (f64x2.convert_low_i32x4_u (local.get 0)))))
  ;; Accesses.
  (func (param i32 v128)
    (v128.store (local.get 0)
      (v128.or (v128.load8x8_s offset=8 (local.get 0))
        (v128.load32_splat offset=16 (local.get 0))))
    (v128.store16_lane 5 (local.get 0)
      (v128.load64_lane 1 (local.get 0) (v128.load64_zero (local.get 0)))))
  ;; Relaxed operators.
  (func (param v128 v128 v128) (result v128)
    (f32x4.relaxed_madd (local.get 0) (local.get 1)
      (i8x16.relaxed_laneselect (local.get 0) (local.get 1) (local.get 2)))))

;; ----
;; function func0(i64 vmctx, i8x16, i32, f64) -> i8x16 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i8x16, v2: i32, v3: f64):
;;     v4 = bitcast.i32x4 little v1
;;     v5 = insertlane v4, v2, 2
;;     v6 = bitcast.i8x16 little v5
;;     v7 = bitcast.f64x2 little v5
;;     v8 = insertlane v7, v3, 1
;;     v9 = bitcast.i8x16 little v8
;;     v10 = shuffle v9, v9, 0x17071606150514041303120211011000
;;     v11 = swizzle v9, v10
;;     return v11
;; }
;; function func1(i64 vmctx, i8x16) -> i32, i64, f32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i8x16):
;;     v2 = extractlane v1, 3
;;     v3 = sextend.i32 v2
;;     v4 = bitcast.i64x2 little v1
;;     v5 = extractlane v4, 1
;;     v6 = bitcast.f32x4 little v1
;;     v7 = extractlane v6, 0
;;     return v3, v5, v7
;; }
;; function func2(i64 vmctx, i8x16, i8x16) -> i8x16 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i8x16, v2: i8x16):
;;     v3 = uadd_sat v1, v2
;;     v4 = bitcast.i16x8 little v2
;;     v5 = bitcast.i16x8 little v1
;;     v6 = sqmul_round_sat v5, v4
;;     v7 = bitcast.i8x16 little v6
;;     v8 = bitcast.i16x8 little v3
;;     v9 = swiden_low v8
;;     v10 = swiden_low v6
;;     v11 = imul v9, v10
;;     v12 = swiden_high v8
;;     v13 = swiden_high v6
;;     v14 = imul v12, v13
;;     v15 = iadd_pairwise v11, v14
;;     v16 = bitcast.i8x16 little v15
;;     return v16
;; }
;; function func3(i64 vmctx, i8x16, i8x16) -> i8x16 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i8x16, v2: i8x16):
;;     v3 = bitcast.i16x8 little v1
;;     v4 = swiden_high v3
;;     v5 = bitcast.i8x16 little v4
;;     v6 = bitcast.i16x8 little v2
;;     v7 = uwiden_low v6
;;     v8 = uwiden_high v6
;;     v9 = iadd_pairwise v7, v8
;;     v10 = bitcast.i8x16 little v9
;;     v11 = unarrow v4, v9
;;     v12 = bitcast.i8x16 little v11
;;     return v12
;; }
;; function func4(i64 vmctx, i8x16, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i8x16, v2: i32):
;;     v3 = bitcast.i64x2 little v1
;;     v4 = sshr v3, v2
;;     v5 = bitcast.i8x16 little v4
;;     v6 = vhigh_bits.i32 v5
;;     v7 = popcnt v1
;;     v8 = bitcast.i32x4 little v7
;;     v9 = vall_true v8
;;     v10 = uextend.i32 v9
;;     v11 = iadd v6, v10
;;     return v11
;; }
;; function func5(i64 vmctx, i8x16, i8x16) -> i8x16 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i8x16, v2: i8x16):
;;     v3 = bitcast.f32x4 little v2
;;     v4 = bitcast.f32x4 little v1
;;     v5 = fmin v4, v3
;;     v6 = bitcast.i8x16 little v5
;;     v7 = bitcast.f64x2 little v2
;;     v8 = bitcast.f64x2 little v1
;;     v9 = fcmp lt v7, v8
;;     v10 = bitcast.f64x2 little v9
;;     v11 = bitselect v10, v7, v8
;;     v12 = bitcast.i8x16 little v11
;;     v13 = bitcast.f32x4 little v2
;;     v14 = bitcast.f32x4 little v1
;;     v15 = fcmp lt v14, v13
;;     v16 = bitcast.i8x16 little v15
;;     v17 = bitcast.i32x4 little v11
;;     v18 = bitcast.i32x4 little v5
;;     v19 = bitselect v15, v18, v17
;;     v20 = bitcast.i8x16 little v19
;;     return v20
;; }
;; function func6(i64 vmctx, i8x16) -> i8x16 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i8x16):
;;     v2 = bitcast.i32x4 little v1
;;     v3 = uwiden_low v2
;;     v4 = fcvt_from_uint.f64x2 v3
;;     v5 = bitcast.i8x16 little v4
;;     v6 = fvdemote v4
;;     v7 = bitcast.i8x16 little v6
;;     v8 = fcvt_to_sint_sat.i32x4 v6
;;     v9 = bitcast.i8x16 little v8
;;     return v9
;; }
;; function func7(i64 vmctx, i32, i8x16) tail {
;;     region0 = 8 "memory"
;;     region1 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i8x16):
;;     v4 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v3 = uextend.i64 v1
;;     v5 = iadd v4, v3
;;     v6 = sload8x8 access[0] little region0 v5+8
;;     v7 = bitcast.i8x16 little v6
;;     v8 = uextend.i64 v1
;;     v9 = iadd v4, v8
;;     v10 = load.i32 access[1] little region0 v9+16
;;     v11 = splat.i32x4 v10
;;     v12 = bitcast.i8x16 little v11
;;     v13 = bor v7, v12
;;     v14 = uextend.i64 v1
;;     v15 = iadd v4, v14
;;     store access[2] little region0 v13, v15
;;     v16 = uextend.i64 v1
;;     v17 = iadd v4, v16
;;     v18 = load.i64 access[3] little region0 v17
;;     v19 = scalar_to_vector.i64x2 v18
;;     v20 = bitcast.i8x16 little v19
;;     v21 = uextend.i64 v1
;;     v22 = iadd v4, v21
;;     v23 = load.i64 access[4] little region0 v22
;;     v24 = insertlane v19, v23, 1
;;     v25 = bitcast.i8x16 little v24
;;     v26 = bitcast.i16x8 little v24
;;     v27 = extractlane v26, 5
;;     v28 = uextend.i64 v1
;;     v29 = iadd v4, v28
;;     store access[5] little region0 v27, v29
;;     return
;; }
;; function func8(i64 vmctx, i8x16, i8x16, i8x16) -> i8x16 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i8x16, v2: i8x16, v3: i8x16):
;;     v4 = bitselect v3, v1, v2
;;     v5 = bitcast.f32x4 little v4
;;     v6 = bitcast.f32x4 little v2
;;     v7 = bitcast.f32x4 little v1
;;     v8 = fmul v7, v6
;;     v9 = fadd v8, v5
;;     v10 = bitcast.i8x16 little v9
;;     return v10
;; }
