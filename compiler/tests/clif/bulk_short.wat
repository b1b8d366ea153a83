;; Ranges of a small constant length.
(module
  (memory 1)
  (func (param i32 i32)
    (memory.copy (local.get 0) (local.get 1) (i32.const 31)))
  (func (param i32 i32)
    (memory.fill (local.get 0) (local.get 1) (i32.const 23)))
  (func (param i32 i32)
    (memory.copy (local.get 0) (local.get 1) (i32.const 0))
    (memory.fill (local.get 0) (local.get 1) (i32.const 0)))
  (func (param i32 i32)
    (memory.copy (local.get 0) (local.get 1) (i32.const 65))))

;; ----
;; function func0(i64 vmctx, i32, i32) tail {
;;     region0 = 1 "memory head"
;;     region1 = 0 "vm"
;;     region2 = 8 "memory"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i32):
;;     v10 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v3 = iconst.i32 31
;;     v4 = uextend.i64 v1
;;     v5 = uextend.i64 v2
;;     v6 = uextend.i64 v3  ; v3 = 31
;;     v7 = iadd v4, v6
;;     v8 = load.i64 notrap aligned region0 v0+24
;;     v9 = icmp ugt v7, v8
;;     trapnz v9, MemoryOutOfBounds
;;     v11 = iadd v10, v4
;;     v12 = iadd v5, v6
;;     v13 = load.i64 notrap aligned region0 v0+24
;;     v14 = icmp ugt v12, v13
;;     trapnz v14, MemoryOutOfBounds
;;     v15 = iadd v10, v5
;;     v16 = load.i8x16 access[1] little region2 v15
;;     v17 = load.i64 access[1] little region2 v15+16
;;     v18 = load.i32 access[1] little region2 v15+24
;;     v19 = load.i16 access[1] little region2 v15+28
;;     v20 = load.i8 access[1] little region2 v15+30
;;     store access[0] little region2 v16, v11
;;     store access[0] little region2 v17, v11+16
;;     store access[0] little region2 v18, v11+24
;;     store access[0] little region2 v19, v11+28
;;     store access[0] little region2 v20, v11+30
;;     return
;; }
;; function func1(i64 vmctx, i32, i32) tail {
;;     region0 = 1 "memory head"
;;     region1 = 0 "vm"
;;     region2 = 8 "memory"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i32):
;;     v9 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v3 = iconst.i32 23
;;     v4 = uextend.i64 v1
;;     v5 = uextend.i64 v3  ; v3 = 23
;;     v6 = iadd v4, v5
;;     v7 = load.i64 notrap aligned region0 v0+24
;;     v8 = icmp ugt v6, v7
;;     trapnz v8, MemoryOutOfBounds
;;     v10 = iadd v9, v4
;;     v11 = ireduce.i8 v2
;;     v12 = splat.i8x16 v11
;;     store access[0] little region2 v12, v10
;;     v13 = uextend.i64 v11
;;     v14 = iconst.i64 0x0101_0101_0101_0101
;;     v15 = imul v13, v14  ; v14 = 0x0101_0101_0101_0101
;;     v16 = ireduce.i32 v15
;;     store access[0] little region2 v16, v10+16
;;     v17 = uextend.i64 v11
;;     v18 = iconst.i64 0x0101_0101_0101_0101
;;     v19 = imul v17, v18  ; v18 = 0x0101_0101_0101_0101
;;     v20 = ireduce.i16 v19
;;     store access[0] little region2 v20, v10+20
;;     store access[0] little region2 v11, v10+22
;;     return
;; }
;; function func2(i64 vmctx, i32, i32) tail {
;;     region0 = 1 "memory head"
;;     region1 = 0 "vm"
;;     region2 = 8 "memory"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i32):
;;     v10 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v3 = iconst.i32 0
;;     v4 = uextend.i64 v1
;;     v5 = uextend.i64 v2
;;     v6 = uextend.i64 v3  ; v3 = 0
;;     v7 = iadd v4, v6
;;     v8 = load.i64 notrap aligned region0 v0+24
;;     v9 = icmp ugt v7, v8
;;     trapnz v9, MemoryOutOfBounds
;;     v11 = iadd v10, v4
;;     v12 = iadd v5, v6
;;     v13 = load.i64 notrap aligned region0 v0+24
;;     v14 = icmp ugt v12, v13
;;     trapnz v14, MemoryOutOfBounds
;;     v15 = iadd v10, v5
;;     v16 = iconst.i32 0
;;     v17 = uextend.i64 v1
;;     v18 = uextend.i64 v16  ; v16 = 0
;;     v19 = iadd v17, v18
;;     v20 = load.i64 notrap aligned region0 v0+24
;;     v21 = icmp ugt v19, v20
;;     trapnz v21, MemoryOutOfBounds
;;     v22 = iadd v10, v17
;;     v23 = ireduce.i8 v2
;;     return
;; }
;; function func3(i64 vmctx, i32, i32) tail {
;;     region0 = 1 "memory head"
;;     region1 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i64, i64) system_v
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i32):
;;     v10 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v3 = iconst.i32 65
;;     v4 = uextend.i64 v1
;;     v5 = uextend.i64 v2
;;     v6 = uextend.i64 v3  ; v3 = 65
;;     v7 = iadd v4, v6
;;     v8 = load.i64 notrap aligned region0 v0+24
;;     v9 = icmp ugt v7, v8
;;     trapnz v9, MemoryOutOfBounds
;;     v11 = iadd v10, v4
;;     v12 = iadd v5, v6
;;     v13 = load.i64 notrap aligned region0 v0+24
;;     v14 = icmp ugt v12, v13
;;     trapnz v14, MemoryOutOfBounds
;;     v15 = iadd v10, v5
;;     v16 = load.i64 notrap aligned readonly can_move region1 v0
;;     v17 = load.i64 notrap aligned readonly can_move region1 v16+72
;;     v18 = load.i64 notrap aligned readonly can_move region1 v17+16
;;     call_indirect sig0, v18(v11, v15, v6)
;;     return
;; }
