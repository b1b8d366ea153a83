;; fuel
(module
  (memory 1)
  (func $short (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (param i32) (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (param i32) (result i32) (i32.mul (call $short (local.get 0)) (i32.const 3)))
  (func (memory.fill (i32.const 0) (i32.const 1) (i32.const 2)))
  (func (param i32) (memory.fill (i32.const 0) (i32.const 1) (local.get 0)))
  (func (param i32) (result i32) (memory.grow (local.get 0))))

;; ----
;; function func0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     region1 = 4294967295 "fuel"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;     v3 = load.i64 notrap aligned region1 v2+8
;;     v4 = iconst.i64 -1
;;     v5 = icmp sge v3, v4  ; v4 = -1
;;     trapnz v5, OutOfFuel
;;     v6 = iconst.i32 1
;;     v7 = iadd v1, v6  ; v6 = 1
;;     v8 = iconst.i64 4
;;     v9 = iadd v3, v8  ; v8 = 4
;;     v10 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v9, v10+8
;;     return v7
;; }
;; function func1(i64 vmctx, i32) tail {
;;     region0 = 0 "vm"
;;     region1 = 4294967295 "fuel"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;     v3 = load.i64 notrap aligned region1 v2+8
;;     v4 = iconst.i64 -1
;;     v5 = icmp sge v3, v4  ; v4 = -1
;;     trapnz v5, OutOfFuel
;;     v6 = iconst.i64 0
;;     v7 = iadd v3, v6  ; v6 = 0
;;     v8 = iconst.i64 -4
;;     v9 = iadd v7, v8  ; v8 = -4
;;     jump block1(v9, v1)
;;
;; block1(v10: i64, v13: i32):
;;     v11 = iconst.i64 5
;;     v12 = uadd_overflow_trap v10, v11, OutOfFuel  ; v11 = 5
;;     v14 = iconst.i32 1
;;     v15 = isub v13, v14  ; v14 = 1
;;     brif v15, block3, block2
;;
;; block3:
;;     v16 = iconst.i64 0
;;     v17 = iadd.i64 v12, v16  ; v16 = 0
;;     jump block1(v17, v15)
;;
;; block2:
;;     v18 = iconst.i64 5
;;     v19 = iadd.i64 v12, v18  ; v18 = 5
;;     v20 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v19, v20+8
;;     return
;; }
;; function func2(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     region1 = 4294967295 "fuel"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated func0 sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;     v3 = load.i64 notrap aligned region1 v2+8
;;     v4 = iconst.i64 -1
;;     v5 = icmp sge v3, v4  ; v4 = -1
;;     trapnz v5, OutOfFuel
;;     v6 = iconst.i64 3
;;     v7 = iadd v3, v6  ; v6 = 3
;;     v8 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v7, v8+8
;;     v9 = call fn0(v0, v1)
;;     v10 = iconst.i32 3
;;     v11 = imul v9, v10  ; v10 = 3
;;     v12 = load.i64 notrap aligned readonly can_move region0 v0
;;     v13 = load.i64 notrap aligned region1 v12+8
;;     v14 = iconst.i64 2
;;     v15 = iadd v13, v14  ; v14 = 2
;;     v16 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v15, v16+8
;;     return v11
;; }
;; function func3(i64 vmctx) tail {
;;     region0 = 0 "vm"
;;     region1 = 4294967295 "fuel"
;;     region2 = 1 "memory head"
;;     region3 = 8 "memory"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64):
;;     v13 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v1 = load.i64 notrap aligned readonly can_move region0 v0
;;     v2 = load.i64 notrap aligned region1 v1+8
;;     v3 = iconst.i64 -1
;;     v4 = icmp sge v2, v3  ; v3 = -1
;;     trapnz v4, OutOfFuel
;;     v5 = iconst.i32 0
;;     v6 = iconst.i32 1
;;     v7 = iconst.i32 2
;;     v8 = uextend.i64 v5  ; v5 = 0
;;     v9 = uextend.i64 v7  ; v7 = 2
;;     v10 = iadd v8, v9
;;     v11 = load.i64 notrap aligned region2 v0+24
;;     v12 = icmp ugt v10, v11
;;     trapnz v12, MemoryOutOfBounds
;;     v14 = iadd v13, v8
;;     v15 = ireduce.i8 v6  ; v6 = 1
;;     v16 = uextend.i64 v15
;;     v17 = iconst.i64 0x0101_0101_0101_0101
;;     v18 = imul v16, v17  ; v17 = 0x0101_0101_0101_0101
;;     v19 = ireduce.i16 v18
;;     store access[0] little region3 v19, v14
;;     v20 = iconst.i64 7
;;     v21 = iadd v2, v20  ; v20 = 7
;;     v22 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v21, v22+8
;;     return
;; }
;; function func4(i64 vmctx, i32) tail {
;;     region0 = 0 "vm"
;;     region1 = 4294967295 "fuel"
;;     region2 = 1 "memory head"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i32, i64) system_v
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v13 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;     v3 = load.i64 notrap aligned region1 v2+8
;;     v4 = iconst.i64 -1
;;     v5 = icmp sge v3, v4  ; v4 = -1
;;     trapnz v5, OutOfFuel
;;     v6 = iconst.i32 0
;;     v7 = iconst.i32 1
;;     v8 = uextend.i64 v6  ; v6 = 0
;;     v9 = uextend.i64 v1
;;     v10 = iadd v8, v9
;;     v11 = load.i64 notrap aligned region2 v0+24
;;     v12 = icmp ugt v10, v11
;;     trapnz v12, MemoryOutOfBounds
;;     v14 = iadd v13, v8
;;     v15 = uextend.i64 v1
;;     v16 = iadd v3, v15
;;     v17 = iconst.i64 5
;;     v18 = iadd v16, v17  ; v17 = 5
;;     v19 = iconst.i64 0
;;     v20 = iadd v18, v19  ; v19 = 0
;;     v21 = iconst.i64 0
;;     v22 = icmp sge v20, v21  ; v21 = 0
;;     trapnz v22, OutOfFuel
;;     v23 = load.i64 notrap aligned readonly can_move region0 v0
;;     v24 = load.i64 notrap aligned readonly can_move region0 v23+72
;;     v25 = load.i64 notrap aligned readonly can_move region0 v24+24
;;     call_indirect sig0, v25(v14, v7, v9)  ; v7 = 1
;;     v26 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v20, v26+8
;;     return
;; }
;; function func5(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     region1 = 4294967295 "fuel"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i32, i64) -> i64 tail
;;     fn0 = colocated builtin[memory_grow] sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;     v3 = load.i64 notrap aligned region1 v2+8
;;     v4 = iconst.i64 -1
;;     v5 = icmp sge v3, v4  ; v4 = -1
;;     trapnz v5, OutOfFuel
;;     v6 = uextend.i64 v1
;;     v7 = iconst.i32 0
;;     v8 = iconst.i64 3
;;     v9 = iadd v3, v8  ; v8 = 3
;;     v10 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v9, v10+8
;;     v11 = call fn0(v0, v7, v6)  ; v7 = 0
;;     v12 = uextend.i64 v1
;;     v13 = iconst.i64 -1
;;     v14 = icmp eq v11, v13  ; v13 = -1
;;     v15 = iconst.i64 0
;;     v16 = select v14, v15, v12  ; v15 = 0
;;     v17 = iadd v3, v16
;;     v18 = iconst.i64 3
;;     v19 = iadd v17, v18  ; v18 = 3
;;     v20 = iconst.i64 -9223372036854775808
;;     v21 = select v14, v20, v19  ; v20 = -9223372036854775808
;;     v22 = iconst.i64 0
;;     v23 = icmp sge v21, v22  ; v22 = 0
;;     trapnz v23, OutOfFuel
;;     v24 = ireduce.i32 v11
;;     v25 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v19, v25+8
;;     return v24
;; }
