;; The compilers' helper for 128-bit products.
(module
  (memory 1)
  (func (export "multiply") (param $p i32) (param $a i64) (param $A i64) (param $b i64) (param $B i64)
    (local $t i64) (local $u i64) (local $v i64)
    (local.set $t (i64.mul (i64.and (local.get $a) (i64.const 0xffffffff)) (i64.and (local.get $b) (i64.const 0xffffffff))))
    (local.set $u (i64.add (i64.shr_u (local.get $t) (i64.const 32))
      (i64.mul (i64.shr_u (local.get $a) (i64.const 32)) (i64.and (local.get $b) (i64.const 0xffffffff)))))
    (local.set $v (i64.add (i64.and (local.get $u) (i64.const 0xffffffff))
      (i64.mul (i64.and (local.get $a) (i64.const 0xffffffff)) (i64.shr_u (local.get $b) (i64.const 32)))))
    (i64.store offset=8 (local.get $p)
      (i64.add (i64.add (i64.add (i64.shr_u (local.get $u) (i64.const 32)) (i64.shr_u (local.get $v) (i64.const 32)))
        (i64.mul (i64.shr_u (local.get $a) (i64.const 32)) (i64.shr_u (local.get $b) (i64.const 32))))
      (i64.add (i64.mul (local.get $A) (local.get $b)) (i64.mul (local.get $B) (local.get $a)))))
    (i64.store (local.get $p) (i64.mul (local.get $a) (local.get $b)))))

;; ----
;; function func0(i64 vmctx, i32, i64, i64, i64, i64) tail {
;;     region0 = 8 "memory"
;;     region1 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i64, v3: i64, v4: i64, v5: i64):
;;     v17 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v6 = iconst.i64 0
;;     v7 = uextend.i128 v2
;;     v8 = uextend.i128 v4
;;     v9 = imul v7, v8
;;     v10, v11 = isplit v9
;;     v12 = imul v2, v5
;;     v13 = imul v3, v4
;;     v14 = iadd v11, v12
;;     v15 = iadd v14, v13
;;     v16 = uextend.i64 v1
;;     v18 = iadd v17, v16
;;     store access[0] little region0 v15, v18+8
;;     v19 = uextend.i64 v1
;;     v20 = iadd v17, v19
;;     store access[1] little region0 v10, v20
;;     return
;; }
