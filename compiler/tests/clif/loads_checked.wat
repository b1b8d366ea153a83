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
;;     region0 = 0 "vm"
;;     region1 = 8 "memory"
;;     region2 = 1 "memory head"
;;     sig0 = (i64, i32) tail
;;     fn0 = colocated u6:10 sig0
;;
;; block0(v0: i64, v1: i32):
;;     v2 = get_stack_pointer.i64
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region0 v3
;;     v5 = icmp ult v2, v4
;;     brif v5, block1, block2
;;
;; block1 cold:
;;     v6 = iconst.i32 10
;;     call fn0(v0, v6)  ; v6 = 10
;;     trap user200
;;
;; block2:
;;     v7 = uextend.i64 v1
;;     v8 = load.i64 notrap aligned region2 v0+24
;;     v9 = iconst.i64 8
;;     v10 = iadd v7, v9  ; v9 = 8
;;     v11 = icmp ugt v10, v8
;;     brif v11, block3, block4
;;
;; block3 cold:
;;     v12 = iconst.i32 2
;;     call fn0(v0, v12)  ; v12 = 2
;;     trap user200
;;
;; block4:
;;     v13 = load.i64 notrap aligned region2 v0+16
;;     v14 = iadd v13, v7
;;     v15 = iconst.i64 4
;;     v16 = iadd v14, v15  ; v15 = 4
;;     v17 = iconst.i64 0
;;     v18 = select_spectre_guard v11, v17, v16  ; v17 = 0
;;     v19 = load.i32 little region1 v18
;;     v20 = uextend.i64 v1
;;     v21 = load.i64 notrap aligned region2 v0+24
;;     v22 = iconst.i64 1
;;     v23 = iadd v20, v22  ; v22 = 1
;;     v24 = icmp ugt v23, v21
;;     brif v24, block5, block6
;;
;; block5 cold:
;;     v25 = iconst.i32 2
;;     call fn0(v0, v25)  ; v25 = 2
;;     trap user200
;;
;; block6:
;;     v26 = load.i64 notrap aligned region2 v0+16
;;     v27 = iadd v26, v20
;;     v28 = iconst.i64 0
;;     v29 = iadd v27, v28  ; v28 = 0
;;     v30 = iconst.i64 0
;;     v31 = select_spectre_guard v24, v30, v29  ; v30 = 0
;;     v32 = uload8.i32 little region1 v31
;;     v33 = iadd.i32 v19, v32
;;     return v33
;; }
;; function u0:1(i64 vmctx, i32, f64) tail {
;;     region0 = 0 "vm"
;;     region1 = 8 "memory"
;;     region2 = 1 "memory head"
;;     sig0 = (i64, i32) tail
;;     fn0 = colocated u6:10 sig0
;;
;; block0(v0: i64, v1: i32, v2: f64):
;;     v3 = get_stack_pointer.i64
;;     v4 = load.i64 notrap aligned readonly can_move region0 v0
;;     v5 = load.i64 notrap aligned region0 v4
;;     v6 = icmp ult v3, v5
;;     brif v6, block1, block2
;;
;; block1 cold:
;;     v7 = iconst.i32 10
;;     call fn0(v0, v7)  ; v7 = 10
;;     trap user200
;;
;; block2:
;;     v8 = uextend.i64 v1
;;     v9 = load.i64 notrap aligned region2 v0+24
;;     v10 = iconst.i64 0x0200_0000
;;     v11 = iadd v8, v10  ; v10 = 0x0200_0000
;;     v12 = icmp ugt v11, v9
;;     brif v12, block3, block4
;;
;; block3 cold:
;;     v13 = iconst.i32 2
;;     call fn0(v0, v13)  ; v13 = 2
;;     trap user200
;;
;; block4:
;;     v14 = load.i64 notrap aligned region2 v0+16
;;     v15 = iadd v14, v8
;;     v16 = iconst.i64 0x01ff_fff8
;;     v17 = iadd v15, v16  ; v16 = 0x01ff_fff8
;;     v18 = iconst.i64 0
;;     v19 = select_spectre_guard v12, v18, v17  ; v18 = 0
;;     store.f64 little region1 v2, v19
;;     v20 = uextend.i64 v1
;;     v21 = load.i64 notrap aligned region2 v0+24
;;     v22 = iconst.i64 0x0200_0001
;;     v23 = iadd v20, v22  ; v22 = 0x0200_0001
;;     v24 = icmp ugt v23, v21
;;     brif v24, block5, block6
;;
;; block5 cold:
;;     v25 = iconst.i32 2
;;     call fn0(v0, v25)  ; v25 = 2
;;     trap user200
;;
;; block6:
;;     v26 = load.i64 notrap aligned region2 v0+16
;;     v27 = iadd v26, v20
;;     v28 = iconst.i64 0x01ff_fff9
;;     v29 = iadd v27, v28  ; v28 = 0x01ff_fff9
;;     v30 = iconst.i64 0
;;     v31 = select_spectre_guard v24, v30, v29  ; v30 = 0
;;     store.f64 little region1 v2, v31
;;     return
;; }
