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
;;     v2 = load.i32 notrap aligned region1 v0+52
;;     v3 = icmp ugt v1, v2
;;     trapnz v3, MemoryOutOfBounds
;;     v4 = load.i32 notrap aligned region1 v0+32
;;     v5 = band v1, v4
;;     v6 = uextend.i64 v5
;;     v7 = load.i64 notrap aligned region1 v0+16
;;     v8 = iadd v7, v6
;;     v9 = load.i32 access[0] little region0 v8+4
;;     v10 = uload32 notrap aligned region1 v0+24
;;     v11 = ireduce.i32 v10
;;     v12 = iconst.i32 -100
;;     v13 = iadd v11, v12  ; v12 = -100
;;     v14 = icmp ugt v5, v13
;;     trapnz v14, MemoryOutOfBounds
;;     v15 = load.i64 notrap aligned region1 v0+16
;;     v16 = iadd v15, v6
;;     v17 = load.i32 access[1] little region0 v16+96
;;     v18 = iadd v9, v17
;;     return v18
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
