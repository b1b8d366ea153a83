;; fuel epoch
(module
  (memory 1)
  (func (param i32) (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (param i32) (memory.fill (i32.const 0) (i32.const 1) (local.get 0))))

;; ----
;; function func0(i64 vmctx, i32) tail {
;;     region0 = 0 "vm"
;;     region1 = 4294967295 "fuel"
;;     region2 = 7 "interrupt"
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
;;     v6 = iconst.i64 1
;;     v7 = iadd v3, v6  ; v6 = 1
;;     jump block1(v7, v1)
;;
;; block1(v8: i64, v14: i32):
;;     v9 = iconst.i64 0
;;     v10 = icmp sge v8, v9  ; v9 = 0
;;     trapnz v10, OutOfFuel
;;     v11 = load.i64 notrap aligned readonly can_move region0 v0
;;     sequence_point
;;     v12 = load.i64 notrap aligned region2 v11+16
;;     v13 = icmp ult v11, v12
;;     trapnz v13, Interrupt
;;     v15 = iconst.i32 1
;;     v16 = isub v14, v15  ; v15 = 1
;;     v17 = iconst.i64 5
;;     v18 = iadd v8, v17  ; v17 = 5
;;     brif v16, block1(v18, v16), block2
;;
;; block2:
;;     v19 = load.i64 notrap aligned readonly can_move region0 v0
;;     store.i64 notrap aligned region1 v18, v19+8
;;     return
;; }
;; function func1(i64 vmctx, i32) tail {
;;     region0 = 0 "vm"
;;     region1 = 4294967295 "fuel"
;;     region2 = 7 "interrupt"
;;     region3 = 1 "memory head"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i64, i32, i64) tail
;;     sig1 = (i64, i32, i64) system_v
;;     fn0 = colocated builtin[memory_fill] sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v18 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;     v3 = load.i64 notrap aligned region1 v2+8
;;     v4 = iconst.i64 -1
;;     v5 = icmp sge v3, v4  ; v4 = -1
;;     trapnz v5, OutOfFuel
;;     v6 = iconst.i32 0
;;     v7 = iconst.i32 1
;;     v8 = load.i64 notrap aligned readonly can_move region0 v0
;;     sequence_point
;;     v9 = load.i64 notrap aligned region2 v8+16
;;     v10 = icmp ult v8, v9
;;     trapnz v10, Interrupt
;;     v11 = uextend.i64 v6  ; v6 = 0
;;     v12 = uextend.i64 v1
;;     v13, v14 = uadd_overflow v11, v12
;;     v15 = load.i64 notrap aligned region3 v0+24
;;     v16 = icmp ugt v13, v15
;;     v17 = bor v14, v16
;;     trapnz v17, MemoryOutOfBounds
;;     v19 = iadd v18, v11
;;     v20 = uextend.i64 v1
;;     v21 = iconst.i64 5
;;     v22 = iadd v3, v21  ; v21 = 5
;;     v23 = iadd v22, v20
;;     v32 -> v23
;;     v24 = iconst.i64 0
;;     v25 = icmp sge v23, v24  ; v24 = 0
;;     trapnz v25, OutOfFuel
;;     v26 = iconst.i64 0x0040_0000
;;     v27 = icmp ule v12, v26  ; v26 = 0x0040_0000
;;     brif v27, block2, block1
;;
;; block1 cold:
;;     v28 = load.i64 notrap aligned readonly can_move region0 v0
;;     store.i64 notrap aligned region1 v23, v28+8
;;     call fn0(v0, v19, v7, v12)  ; v7 = 1
;;     jump block3
;;
;; block2:
;;     v29 = load.i64 notrap aligned readonly can_move region0 v0
;;     v30 = load.i64 notrap aligned readonly can_move region0 v29+72
;;     v31 = load.i64 notrap aligned readonly can_move region0 v30+24
;;     call_indirect sig1, v31(v19, v7, v12)  ; v7 = 1
;;     jump block3
;;
;; block3:
;;     v33 = load.i64 notrap aligned readonly can_move region0 v0
;;     store.i64 notrap aligned region1 v23, v33+8
;;     return
;; }
