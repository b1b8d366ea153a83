;; checked
(module
  (memory 1)
  (func (param i32) (result i32)
    (i32.add (i32.load offset=4 (local.get 0)) (i32.load8_u (local.get 0))))
  (func (param i32 f64)
    (f64.store offset=0x1fffff8 (local.get 0) (local.get 1))
    (f64.store offset=0x1fffff9 (local.get 0) (local.get 1))))

;; ----
;; function func0(i64 vmctx, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 8 "memory"
;;     region2 = 1 "memory head"
;;
;; block0(v0: i64, v1: i32):
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v7 = load.i32 notrap aligned region2 v0+52
;;     v8 = icmp ugt v1, v7
;;     trapnz v8, MemoryOutOfBounds
;;     v9 = load.i32 notrap aligned region2 v0+32
;;     v10 = band v1, v9
;;     v11 = uextend.i64 v10
;;     v12 = load.i64 notrap aligned region2 v0+16
;;     v13 = iadd v12, v11
;;     v14 = load.i32 little region1 v13+4
;;     v15 = load.i64 notrap aligned region2 v0+16
;;     v16 = iadd v15, v11
;;     v17 = uload8.i32 little region1 v16
;;     v18 = iadd v14, v17
;;     return v18
;; }
;; function func1(i64 vmctx, i32, f64) tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 8 "memory"
;;     region2 = 1 "memory head"
;;
;; block0(v0: i64, v1: i32, v2: f64):
;;     v7 = stack_addr.i64 ss0
;;     store notrap v0, v7
;;     v8 = uextend.i64 v1
;;     v9 = load.i64 notrap aligned region2 v0+24
;;     v10 = iconst.i64 0x0200_0000
;;     v11 = iadd v8, v10  ; v10 = 0x0200_0000
;;     v12 = icmp ugt v11, v9
;;     trapnz v12, MemoryOutOfBounds
;;     v13 = load.i64 notrap aligned region2 v0+16
;;     v14 = iadd v13, v8
;;     v15 = iconst.i64 0x01ff_fff8
;;     v16 = iadd v14, v15  ; v15 = 0x01ff_fff8
;;     v17 = iconst.i64 0
;;     v18 = select_spectre_guard v12, v17, v16  ; v17 = 0
;;     store little region1 v2, v18
;;     v19 = uextend.i64 v1
;;     v20 = load.i64 notrap aligned region2 v0+24
;;     v21 = iconst.i64 0x0200_0001
;;     v22 = iadd v19, v21  ; v21 = 0x0200_0001
;;     v23 = icmp ugt v22, v20
;;     trapnz v23, MemoryOutOfBounds
;;     v24 = load.i64 notrap aligned region2 v0+16
;;     v25 = iadd v24, v19
;;     v26 = iconst.i64 0x01ff_fff9
;;     v27 = iadd v25, v26  ; v26 = 0x01ff_fff9
;;     v28 = iconst.i64 0
;;     v29 = select_spectre_guard v23, v28, v27  ; v28 = 0
;;     store little region1 v2, v29
;;     return
;; }
