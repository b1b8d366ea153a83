;; in-frame: locals are kept in the frame
(module
  (func (param i32 v128) (result f64) (local i64 f64)
    (local.set 0 (i32.add (local.get 0) (i32.const 1)))
    (local.set 2 (i64.extend_i32_u (local.tee 0 (local.get 0))))
    (local.get 3)))

;; ----
;; function func0(i64 vmctx, i32, i8x16) -> f64 tail {
;;     ss0 = explicit_slot 4, align = 4
;;     ss1 = explicit_slot 16, align = 16
;;     ss2 = explicit_slot 8, align = 8
;;     ss3 = explicit_slot 8, align = 8
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i8x16):
;;     v3 = stack_addr.i64 ss0
;;     store notrap v1, v3
;;     v4 = stack_addr.i64 ss1
;;     store notrap v2, v4
;;     v5 = iconst.i64 0
;;     v6 = stack_addr.i64 ss2
;;     store notrap v5, v6  ; v5 = 0
;;     v7 = f64const 0.0
;;     v8 = stack_addr.i64 ss3
;;     store notrap v7, v8  ; v7 = 0.0
;;     v9 = stack_addr.i64 ss0
;;     v10 = load.i32 notrap v9
;;     v11 = iconst.i32 1
;;     v12 = iadd v10, v11  ; v11 = 1
;;     v13 = stack_addr.i64 ss0
;;     store notrap v12, v13
;;     v14 = stack_addr.i64 ss0
;;     v15 = load.i32 notrap v14
;;     v16 = stack_addr.i64 ss0
;;     store notrap v15, v16
;;     v17 = uextend.i64 v15
;;     v18 = stack_addr.i64 ss2
;;     store notrap v17, v18
;;     v19 = stack_addr.i64 ss3
;;     v20 = load.f64 notrap v19
;;     return v20
;; }
