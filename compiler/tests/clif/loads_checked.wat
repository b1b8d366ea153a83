;; checked
(module
  (memory 1)
  (func (param i32) (result i32)
    (i32.add (i32.load offset=4 (local.get 0)) (i32.load8_u (local.get 0))))
  (func (param i32 f64)
    (f64.store offset=0x1fffff8 (local.get 0) (local.get 1))
    (f64.store offset=0x1fffff9 (local.get 0) (local.get 1))))

;; ----
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 8 "memory"
;;     region2 = 1 "memory head"
;;     sig0 = (i64) preserve_all
;;     sig1 = (i64) preserve_all
;;     fn0 = colocated u13:10 sig0
;;     fn1 = colocated u13:2 sig1
;;
;; block0(v0: i64, v1: i32):
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v2 = get_stack_pointer.i64
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region0 v3
;;     v5 = icmp ult v2, v4
;;     brif v5, block1, block2
;;
;; block1 cold:
;;     sequence_point
;;     v7 = stack_addr.i64 ss0
;;     v8 = load.i64 notrap v7
;;     call fn0(v8)
;;     trap user200
;;
;; block2:
;;     v9 = uextend.i64 v1
;;     v10 = load.i64 notrap aligned region2 v0+24
;;     v11 = iconst.i64 -8
;;     v12 = iadd v10, v11  ; v11 = -8
;;     v13 = icmp ugt v9, v12
;;     brif v13, block3, block4
;;
;; block3 cold:
;;     sequence_point
;;     v14 = stack_addr.i64 ss0
;;     v15 = load.i64 notrap v14
;;     call fn1(v15)
;;     trap user200
;;
;; block4:
;;     v16 = select_spectre_guard.i64 v13, v12, v9
;;     v17 = load.i64 notrap aligned region2 v0+16
;;     v18 = iadd v17, v16
;;     v19 = load.i32 little region1 v18+4
;;     v20 = load.i64 notrap aligned region2 v0+16
;;     v21 = iadd v20, v16
;;     v22 = uload8.i32 little region1 v21
;;     v23 = iadd v19, v22
;;     return v23
;; }
;; function u0:1(i64 vmctx, i32, f64) tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 8 "memory"
;;     region2 = 1 "memory head"
;;     sig0 = (i64) preserve_all
;;     sig1 = (i64) preserve_all
;;     fn0 = colocated u13:10 sig0
;;     fn1 = colocated u13:2 sig1
;;
;; block0(v0: i64, v1: i32, v2: f64):
;;     v7 = stack_addr.i64 ss0
;;     store notrap v0, v7
;;     v3 = get_stack_pointer.i64
;;     v4 = load.i64 notrap aligned readonly can_move region0 v0
;;     v5 = load.i64 notrap aligned region0 v4
;;     v6 = icmp ult v3, v5
;;     brif v6, block1, block2
;;
;; block1 cold:
;;     sequence_point
;;     v8 = stack_addr.i64 ss0
;;     v9 = load.i64 notrap v8
;;     call fn0(v9)
;;     trap user200
;;
;; block2:
;;     v10 = uextend.i64 v1
;;     v11 = load.i64 notrap aligned region2 v0+24
;;     v12 = iconst.i64 0x0200_0000
;;     v13 = iadd v10, v12  ; v12 = 0x0200_0000
;;     v14 = icmp ugt v13, v11
;;     brif v14, block3, block4
;;
;; block3 cold:
;;     sequence_point
;;     v15 = stack_addr.i64 ss0
;;     v16 = load.i64 notrap v15
;;     call fn1(v16)
;;     trap user200
;;
;; block4:
;;     v17 = load.i64 notrap aligned region2 v0+16
;;     v18 = iadd v17, v10
;;     v19 = iconst.i64 0x01ff_fff8
;;     v20 = iadd v18, v19  ; v19 = 0x01ff_fff8
;;     v21 = iconst.i64 0
;;     v22 = select_spectre_guard v14, v21, v20  ; v21 = 0
;;     store.f64 little region1 v2, v22
;;     v23 = uextend.i64 v1
;;     v24 = load.i64 notrap aligned region2 v0+24
;;     v25 = iconst.i64 0x0200_0001
;;     v26 = iadd v23, v25  ; v25 = 0x0200_0001
;;     v27 = icmp ugt v26, v24
;;     brif v27, block5, block6
;;
;; block5 cold:
;;     sequence_point
;;     v28 = stack_addr.i64 ss0
;;     v29 = load.i64 notrap v28
;;     call fn1(v29)
;;     trap user200
;;
;; block6:
;;     v30 = load.i64 notrap aligned region2 v0+16
;;     v31 = iadd v30, v23
;;     v32 = iconst.i64 0x01ff_fff9
;;     v33 = iadd v31, v32  ; v32 = 0x01ff_fff9
;;     v34 = iconst.i64 0
;;     v35 = select_spectre_guard v27, v34, v33  ; v34 = 0
;;     store.f64 little region1 v2, v35
;;     return
;; }
