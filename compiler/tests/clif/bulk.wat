(module
  (memory $a 1 1)
  (memory $b 1)
  (data $active (i32.const 0) "abc")
  (data $passive "def")
  (func (param i32 i32 i32)
    (memory.copy $a $b (local.get 0) (local.get 1) (local.get 2))
    (memory.fill $b (local.get 0) (local.get 1) (local.get 2)))
  (func (param i32 i32 i32)
    (memory.init $a $active (local.get 0) (local.get 1) (local.get 2))
    (memory.init $a $passive (local.get 0) (local.get 1) (local.get 2))
    (data.drop $active)
    (data.drop $passive))
  (func (result i32) (memory.grow $b (memory.size $a))))

;; ----
;; function func0(i64 vmctx, i32, i32, i32) tail {
;;     region0 = 0 "vm"
;;     region1 = 1 "memory head"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i64, i64) system_v
;;     sig1 = (i64, i32, i64) system_v
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i32, v3: i32):
;;     v15 = load.i64 notrap aligned readonly can_move region0 v0+112
;;     v10 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v4 = uextend.i64 v1
;;     v5 = uextend.i64 v2
;;     v6 = uextend.i64 v3
;;     v7 = iadd v4, v6
;;     v8 = iconst.i64 0x0001_0000
;;     v9 = icmp ugt v7, v8  ; v8 = 0x0001_0000
;;     trapnz v9, MemoryOutOfBounds
;;     v11 = iadd v10, v4
;;     v12 = iadd v5, v6
;;     v13 = load.i64 notrap aligned region1 v0+120
;;     v14 = icmp ugt v12, v13
;;     trapnz v14, MemoryOutOfBounds
;;     v16 = iadd v15, v5
;;     v17 = load.i64 notrap aligned readonly can_move region0 v0
;;     v18 = load.i64 notrap aligned readonly can_move region0 v17+72
;;     v19 = load.i64 notrap aligned readonly can_move region0 v18+16
;;     call_indirect sig0, v19(v11, v16, v6)
;;     v20 = uextend.i64 v1
;;     v21 = uextend.i64 v3
;;     v22 = iadd v20, v21
;;     v23 = load.i64 notrap aligned region1 v0+120
;;     v24 = icmp ugt v22, v23
;;     trapnz v24, MemoryOutOfBounds
;;     v25 = iadd v15, v20
;;     v26 = load.i64 notrap aligned readonly can_move region0 v0
;;     v27 = load.i64 notrap aligned readonly can_move region0 v26+72
;;     v28 = load.i64 notrap aligned readonly can_move region0 v27+24
;;     call_indirect sig1, v28(v25, v2, v21)
;;     return
;; }
;; function func1(i64 vmctx, i32, i32, i32) tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i32, i32, i64, i64, i64) tail
;;     fn0 = colocated builtin[memory_init] sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i32, v3: i32):
;;     v11 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v4 = uextend.i64 v1
;;     v5 = uextend.i64 v2
;;     v6 = uextend.i64 v3
;;     v7 = bor v5, v6
;;     trapnz v7, MemoryOutOfBounds
;;     v8 = iadd v4, v6
;;     v9 = iconst.i64 0x0001_0000
;;     v10 = icmp ugt v8, v9  ; v9 = 0x0001_0000
;;     trapnz v10, MemoryOutOfBounds
;;     v12 = iadd v11, v4
;;     v13 = uextend.i64 v1
;;     v14 = uextend.i64 v2
;;     v15 = uextend.i64 v3
;;     v16 = iconst.i32 0
;;     v17 = iconst.i32 1
;;     call fn0(v0, v16, v17, v13, v14, v15)  ; v16 = 0, v17 = 1
;;     v18 = iconst.i8 1
;;     store notrap aligned region0 v18, v0+208  ; v18 = 1
;;     return
;; }
;; function func2(i64 vmctx) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i32, i64) -> i64 tail
;;     fn0 = colocated builtin[memory_grow] sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64):
;;     v1 = iconst.i64 0x0001_0000
;;     v2 = iconst.i64 16
;;     v3 = ushr v1, v2  ; v1 = 0x0001_0000, v2 = 16
;;     v4 = ireduce.i32 v3
;;     v5 = uextend.i64 v4
;;     v6 = iconst.i32 1
;;     v7 = call fn0(v0, v6, v5)  ; v6 = 1
;;     v8 = ireduce.i32 v7
;;     return v8
;; }
