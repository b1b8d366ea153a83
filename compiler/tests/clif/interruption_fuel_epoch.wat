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
;;     v7 = iadd v3, v6  ; v6 = 1
;;     jump block1(v7, v1)
;;
;; block1(v8: i64, v18: i32):
;;     v17 -> v18
;;     v9 = iconst.i64 0
;;     v10 = icmp sge v8, v9  ; v9 = 0
;;     trapnz v10, OutOfFuel
;;     v11 = load.i64 notrap aligned readonly can_move region0 v0
;;     sequence_point
;;     v12 = load.i64 notrap aligned region2 v11+16
;;     v13 = icmp ult v11, v12
;;     brif v13, block2, block3(v8)
;;
;; block2 cold:
;;     v14 = load.i64 notrap aligned readonly can_move region0 v0
;;     store.i64 notrap aligned region1 v8, v14+8
;;     call fn0(v0)
;;     v15 = load.i64 notrap aligned readonly can_move region0 v0
;;     v16 = load.i64 notrap aligned region1 v15+8
;;     jump block3(v16)
;;
;; block3(v21: i64):
;;     v19 = iconst.i32 1
;;     v20 = isub.i32 v18, v19  ; v19 = 1
;;     v22 = iconst.i64 5
;;     v23 = iadd v21, v22  ; v22 = 5
;;     brif v20, block1(v23, v20), block4
;;
;; block4:
;;     v24 = load.i64 notrap aligned readonly can_move region0 v0
;;     store.i64 notrap aligned region1 v23, v24+8
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
;;     v25 = load.i64 notrap aligned readonly can_move region0 v0+16
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
;; block2(v28: i64):
;;     v18 = uextend.i64 v6  ; v6 = 0
;;     v19 = uextend.i64 v1
;;     v20, v21 = uadd_overflow v18, v19
;;     v22 = load.i64 notrap aligned region3 v0+24
;;     v23 = icmp ugt v20, v22
;;     v24 = bor v21, v23
;;     trapnz v24, MemoryOutOfBounds
;;     v26 = iadd.i64 v25, v18
;;     v27 = uextend.i64 v1
;;     v29 = iconst.i64 5
;;     v30 = iadd v28, v29  ; v29 = 5
;;     v31 = iadd v30, v27
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
;;     call fn1(v0, v26, v7, v19)  ; v7 = 1
;;     jump block5
;;
;; block4:
;;     v37 = load.i64 notrap aligned readonly can_move region0 v0
;;     v38 = load.i64 notrap aligned readonly can_move region0 v37+72
;;     v39 = load.i64 notrap aligned readonly can_move region0 v38+24
;;     call_indirect sig2, v39(v26, v7, v19)  ; v7 = 1
;;     jump block5
;;
;; block5:
;;     v41 = load.i64 notrap aligned readonly can_move region0 v0
;;     store.i64 notrap aligned region1 v31, v41+8
;;     return
;; }
