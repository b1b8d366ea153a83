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
;;     v19 = load.i64 notrap aligned readonly can_move region0 v0+40
;;     v12 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v4 = uextend.i64 v1
;;     v5 = uextend.i64 v2
;;     v6 = uextend.i64 v3
;;     v7, v8 = uadd_overflow v4, v6
;;     v9 = iconst.i64 0x0001_0000
;;     v10 = icmp ugt v7, v9  ; v9 = 0x0001_0000
;;     v11 = bor v8, v10
;;     trapnz v11, MemoryOutOfBounds
;;     v13 = iadd v12, v4
;;     v14, v15 = uadd_overflow v5, v6
;;     v16 = load.i64 notrap aligned region1 v0+48
;;     v17 = icmp ugt v14, v16
;;     v18 = bor v15, v17
;;     trapnz v18, MemoryOutOfBounds
;;     v20 = iadd v19, v5
;;     v21 = load.i64 notrap aligned readonly can_move region0 v0
;;     v22 = load.i64 notrap aligned readonly can_move region0 v21+72
;;     v23 = load.i64 notrap aligned readonly can_move region0 v22+16
;;     call_indirect sig0, v23(v13, v20, v6)
;;     v24 = uextend.i64 v1
;;     v25 = uextend.i64 v3
;;     v26, v27 = uadd_overflow v24, v25
;;     v28 = load.i64 notrap aligned region1 v0+48
;;     v29 = icmp ugt v26, v28
;;     v30 = bor v27, v29
;;     trapnz v30, MemoryOutOfBounds
;;     v31 = iadd v19, v24
;;     v32 = load.i64 notrap aligned readonly can_move region0 v0
;;     v33 = load.i64 notrap aligned readonly can_move region0 v32+72
;;     v34 = load.i64 notrap aligned readonly can_move region0 v33+24
;;     call_indirect sig1, v34(v31, v2, v25)
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
;;     v13 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v4 = uextend.i64 v1
;;     v5 = uextend.i64 v2
;;     v6 = uextend.i64 v3
;;     v7 = bor v5, v6
;;     trapnz v7, MemoryOutOfBounds
;;     v8, v9 = uadd_overflow v4, v6
;;     v10 = iconst.i64 0x0001_0000
;;     v11 = icmp ugt v8, v10  ; v10 = 0x0001_0000
;;     v12 = bor v9, v11
;;     trapnz v12, MemoryOutOfBounds
;;     v14 = iadd v13, v4
;;     v15 = uextend.i64 v1
;;     v16 = uextend.i64 v2
;;     v17 = uextend.i64 v3
;;     v18 = iconst.i32 0
;;     v19 = iconst.i32 1
;;     call fn0(v0, v18, v19, v15, v16, v17)  ; v18 = 0, v19 = 1
;;     v20 = iconst.i8 1
;;     store notrap aligned region0 v20, v0+64  ; v20 = 1
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
