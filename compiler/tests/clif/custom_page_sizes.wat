(module
  (memory 100 (pagesize 1))
  (func (param i32) (result i32)
    (i32.add (i32.load offset=4 (local.get 0)) (i32.load offset=96 (local.get 0))))
  (func (param i32) (result i32) (i32.load offset=97 (local.get 0)))
  (func (result i32) (memory.grow (memory.size))))

;; ----
;; function func0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 8 "memory"
;;     region1 = 1 "memory head"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = uload32 notrap aligned region1 v0+24
;;     v3 = ireduce.i32 v2
;;     v4 = iconst.i32 -8
;;     v5 = iadd v3, v4  ; v4 = -8
;;     v6 = icmp ugt v1, v5
;;     trapnz v6, MemoryOutOfBounds
;;     v7 = load.i32 notrap aligned region1 v0+32
;;     v8 = band v1, v7
;;     v9 = uextend.i64 v8
;;     v10 = load.i64 notrap aligned region1 v0+16
;;     v11 = iadd v10, v9
;;     v12 = load.i32 access[0] little region0 v11+4
;;     v13 = uload32 notrap aligned region1 v0+24
;;     v14 = ireduce.i32 v13
;;     v15 = iconst.i32 100
;;     v16 = isub v14, v15  ; v15 = 100
;;     v17 = icmp ugt v8, v16
;;     trapnz v17, MemoryOutOfBounds
;;     v18 = load.i64 notrap aligned region1 v0+16
;;     v19 = iadd v18, v9
;;     v20 = load.i32 access[1] little region0 v19+96
;;     v21 = iadd v12, v20
;;     return v21
;; }
;; function func1(i64 vmctx, i32) -> i32 tail {
;;     region0 = 8 "memory"
;;     region1 = 1 "memory head"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = uextend.i64 v1
;;     v3 = load.i64 notrap aligned region1 v0+24
;;     v4 = iconst.i64 101
;;     v5 = iadd v2, v4  ; v4 = 101
;;     v6 = icmp ugt v5, v3
;;     trapnz v6, MemoryOutOfBounds
;;     v7 = load.i64 notrap aligned region1 v0+16
;;     v8 = iadd v7, v2
;;     v9 = iconst.i64 97
;;     v10 = iadd v8, v9  ; v9 = 97
;;     v11 = iconst.i64 0
;;     v12 = select_spectre_guard v6, v11, v10  ; v11 = 0
;;     v13 = load.i32 access[0] little region0 v12
;;     return v13
;; }
;; function func2(i64 vmctx) -> i32 tail {
;;     region0 = 1 "memory head"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i32, i64) -> i64 tail
;;     fn0 = colocated builtin[memory_grow] sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64):
;;     v1 = load.i64 notrap aligned region0 v0+24
;;     v2 = ireduce.i32 v1
;;     v3 = uextend.i64 v2
;;     v4 = iconst.i32 0
;;     v5 = call fn0(v0, v4, v3)  ; v4 = 0
;;     v6 = ireduce.i32 v5
;;     return v6
;; }
