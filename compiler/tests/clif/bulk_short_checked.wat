;; checked
(module
  (memory 1)
  (memory $wide i64 1)
  (func (param i32 i32)
    (memory.copy (local.get 0) (local.get 1) (i32.const 3)))
  (func (param i64 i32)
    (memory.fill $wide (local.get 0) (local.get 1) (i64.const 16))))

;; ----
;; function func0(i64 vmctx, i32, i32) tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 1 "memory head"
;;     region2 = 8 "memory"
;;
;; block0(v0: i64, v1: i32, v2: i32):
;;     v7 = stack_addr.i64 ss0
;;     store notrap v0, v7
;;     v8 = iconst.i32 3
;;     v9 = uextend.i64 v1
;;     v10 = uextend.i64 v2
;;     v11 = uextend.i64 v8  ; v8 = 3
;;     v12 = iadd v9, v11
;;     v13 = load.i64 notrap aligned region1 v0+24
;;     v14 = icmp ugt v12, v13
;;     trapnz v14, MemoryOutOfBounds
;;     v15 = load.i64 notrap aligned region1 v0+16
;;     v16 = iadd v15, v9
;;     v17 = iconst.i64 0
;;     v18 = select_spectre_guard v14, v17, v16  ; v17 = 0
;;     v19 = iadd v10, v11
;;     v20 = load.i64 notrap aligned region1 v0+24
;;     v21 = icmp ugt v19, v20
;;     trapnz v21, MemoryOutOfBounds
;;     v22 = load.i64 notrap aligned region1 v0+16
;;     v23 = iadd v22, v10
;;     v24 = iconst.i64 0
;;     v25 = select_spectre_guard v21, v24, v23  ; v24 = 0
;;     v26 = load.i16 little region2 v25
;;     v27 = load.i8 little region2 v25+2
;;     store little region2 v26, v18
;;     store little region2 v27, v18+2
;;     return
;; }
;; function func1(i64 vmctx, i64, i32) tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 1 "memory head"
;;     region2 = 10 "memory"
;;
;; block0(v0: i64, v1: i64, v2: i32):
;;     v7 = stack_addr.i64 ss0
;;     store notrap v0, v7
;;     v8 = iconst.i64 16
;;     v9, v10 = uadd_overflow v1, v8  ; v8 = 16
;;     v11 = load.i64 notrap aligned region1 v0+120
;;     v12 = icmp ugt v9, v11
;;     v13 = bor v10, v12
;;     trapnz v13, MemoryOutOfBounds
;;     v14 = load.i64 notrap aligned region1 v0+112
;;     v15 = iadd v14, v1
;;     v16 = iconst.i64 0
;;     v17 = select_spectre_guard v13, v16, v15  ; v16 = 0
;;     v18 = ireduce.i8 v2
;;     v19 = splat.i8x16 v18
;;     store little region2 v19, v17
;;     return
;; }
