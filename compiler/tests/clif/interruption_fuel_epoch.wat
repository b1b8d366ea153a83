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
;;     sig0 = (i64) preserve_all
;;     fn0 = colocated builtin[interrupted] sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;     v3 = load.i64 notrap aligned region1 v2+8
;;     v4 = iconst.i64 -1
;;     v5 = icmp sge v3, v4  ; v4 = -1
;;     trapnz v5, OutOfFuel
;;     v6 = iconst.i64 1
;;     v7 = uadd_overflow_trap v3, v6, OutOfFuel  ; v6 = 1
;;     v8 = iconst.i64 0
;;     v9 = iadd v7, v8  ; v8 = 0
;;     jump block1(v9, v1)
;;
;; block1(v10: i64, v22: i32):
;;     v21 -> v22
;;     v11 = iconst.i64 0
;;     v12 = iadd v10, v11  ; v11 = 0
;;     v13 = load.i64 notrap aligned readonly can_move region0 v0
;;     sequence_point
;;     v14 = load.i64 notrap aligned region2 v13+16
;;     v15 = icmp ult v13, v14
;;     brif v15, block2, block3(v12)
;;
;; block2 cold:
;;     v16 = load.i64 notrap aligned readonly can_move region0 v0
;;     store.i64 notrap aligned region1 v12, v16+8
;;     call fn0(v0)
;;     v17 = load.i64 notrap aligned readonly can_move region0 v0
;;     v18 = load.i64 notrap aligned region1 v17+8
;;     v19 = iconst.i64 0
;;     v20 = iadd v18, v19  ; v19 = 0
;;     jump block3(v20)
;;
;; block3(v25: i64):
;;     v23 = iconst.i32 1
;;     v24 = isub.i32 v22, v23  ; v23 = 1
;;     brif v24, block5, block4
;;
;; block5:
;;     v26 = iconst.i64 5
;;     v27 = iadd.i64 v25, v26  ; v26 = 5
;;     v28 = iconst.i64 0
;;     v29 = icmp sge v27, v28  ; v28 = 0
;;     trapnz v29, OutOfFuel
;;     v30 = iconst.i64 0
;;     v31 = iadd v27, v30  ; v30 = 0
;;     jump block1(v31, v24)
;;
;; block4:
;;     v32 = iconst.i64 5
;;     v33 = iadd.i64 v25, v32  ; v32 = 5
;;     v34 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v33, v34+8
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
;;     sig0 = (i64) preserve_all
;;     sig1 = (i64, i64, i32, i64) tail
;;     sig2 = (i64, i32, i64) system_v
;;     fn0 = colocated builtin[interrupted] sig0
;;     fn1 = colocated builtin[memory_fill] sig1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v23 = load.i64 notrap aligned readonly can_move region0 v0+16
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
;;     brif v10, block1, block2(v3)
;;
;; block1 cold:
;;     v11 = iconst.i64 5
;;     v12 = iadd.i64 v3, v11  ; v11 = 5
;;     v13 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v12, v13+8
;;     call fn0(v0)
;;     v14 = load.i64 notrap aligned readonly can_move region0 v0
;;     v15 = load.i64 notrap aligned region1 v14+8
;;     v16 = iconst.i64 -5
;;     v17 = iadd v15, v16  ; v16 = -5
;;     jump block2(v17)
;;
;; block2(v26: i64):
;;     v18 = uextend.i64 v6  ; v6 = 0
;;     v19 = uextend.i64 v1
;;     v20 = iadd v18, v19
;;     v21 = load.i64 notrap aligned region3 v0+24
;;     v22 = icmp ugt v20, v21
;;     trapnz v22, MemoryOutOfBounds
;;     v24 = iadd.i64 v23, v18
;;     v25 = uextend.i64 v1
;;     v27 = iadd v26, v25
;;     v28 = iconst.i64 5
;;     v29 = iadd v27, v28  ; v28 = 5
;;     v30 = iconst.i64 0
;;     v31 = iadd v29, v30  ; v30 = 0
;;     v40 -> v31
;;     v32 = iconst.i64 0
;;     v33 = icmp sge v31, v32  ; v32 = 0
;;     trapnz v33, OutOfFuel
;;     v34 = iconst.i64 0x0040_0000
;;     v35 = icmp ule v19, v34  ; v34 = 0x0040_0000
;;     brif v35, block4, block3
;;
;; block3 cold:
;;     v36 = load.i64 notrap aligned readonly can_move region0 v0
;;     store.i64 notrap aligned region1 v31, v36+8
;;     call fn1(v0, v24, v7, v19)  ; v7 = 1
;;     jump block5
;;
;; block4:
;;     v37 = load.i64 notrap aligned readonly can_move region0 v0
;;     v38 = load.i64 notrap aligned readonly can_move region0 v37+72
;;     v39 = load.i64 notrap aligned readonly can_move region0 v38+24
;;     call_indirect sig2, v39(v24, v7, v19)  ; v7 = 1
;;     jump block5
;;
;; block5:
;;     v41 = load.i64 notrap aligned readonly can_move region0 v0
;;     store.i64 notrap aligned region1 v31, v41+8
;;     return
;; }
