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
;;     ss2 = explicit_slot 32, align = 16
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
;;     v5 = stack_addr.i64 ss2
;;     v6 = iconst.i64 32
;;     v7 = iadd v5, v6  ; v6 = 32
;;     v8 = iconst.i64 0
;;     jump block1(v5)
;;
;; block1(v9: i64):
;;     store.i64 notrap aligned v8, v9  ; v8 = 0
;;     store.i64 notrap aligned v8, v9+8  ; v8 = 0
;;     store.i64 notrap aligned v8, v9+16  ; v8 = 0
;;     store.i64 notrap aligned v8, v9+24  ; v8 = 0
;;     v10 = iconst.i64 32
;;     v11 = iadd v9, v10  ; v10 = 32
;;     v12 = icmp ult v11, v7
;;     brif v12, block1(v11), block2
;;
;; block2:
;;     v13 = stack_addr.i64 ss0
;;     v14 = load.i32 notrap v13
;;     v15 = iconst.i32 1
;;     v16 = iadd v14, v15  ; v15 = 1
;;     v17 = stack_addr.i64 ss0
;;     store notrap v16, v17
;;     v18 = stack_addr.i64 ss0
;;     v19 = load.i32 notrap v18
;;     v20 = stack_addr.i64 ss0
;;     store notrap v19, v20
;;     v21 = uextend.i64 v19
;;     v22 = stack_addr.i64 ss2
;;     store notrap v21, v22
;;     v23 = stack_addr.i64 ss2+8
;;     v24 = load.f64 notrap v23
;;     return v24
;; }
