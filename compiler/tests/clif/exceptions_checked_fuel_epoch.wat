;; checked fuel epoch
(module
  (memory 1)
  (tag $t (param i32))
  (func $f (param i32) (throw $t (i32.load (local.get 0))))
  ;; The fuel of the callee is read again in the handler.
  (func (param i32) (result i32)
    (block $h (result i32)
      (try_table (catch $t $h) (call $f (local.get 0)))
      (i32.const 0)))
  (func (param i32) (result i32)
    (loop $again (result i32)
      try (result i32)
        local.get 0
        call $f
        i32.const 0
      catch $t
        br_if $again
        i32.const 1
      end)))

;; ----
;; function func0(i64 vmctx, i32) tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 4294967295 "fuel"
;;     region2 = 8 "memory"
;;     region3 = 1 "memory head"
;;     sig0 = (i64) preserve_all
;;     sig1 = (i64) preserve_all
;;     sig2 = (i64) preserve_all
;;     sig3 = (i64, i64) -> i64 tail
;;     sig4 = (i64, i64) tail
;;     fn0 = colocated raise[StackOverflow] sig0
;;     fn1 = colocated raise[OutOfFuel] sig1
;;     fn2 = colocated raise[MemoryOutOfBounds] sig2
;;     fn3 = colocated builtin[exception_new] sig3
;;     fn4 = colocated builtin[exception_throw] sig4
;;
;; block0(v0: i64, v1: i32):
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v2 = get_stack_pointer.i64
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region0 v3
;;     v5 = icmp ult v2, v4
;;     brif v5, block1, block2
;;
;; block1 cold:
;;     sequence_point
;;     v7 = stack_addr.i64 ss0
;;     v8 = load.i64 notrap v7
;;     call fn0(v8)
;;     trap AfterNoReturn
;;
;; block2:
;;     v9 = load.i64 notrap aligned readonly can_move region0 v0
;;     v10 = load.i64 notrap aligned region1 v9+8
;;     v11 = iconst.i64 -1
;;     v12 = icmp sge v10, v11  ; v11 = -1
;;     brif v12, block3, block4
;;
;; block3 cold:
;;     v13 = load.i64 notrap aligned readonly can_move region0 v0
;;     store.i64 notrap aligned region1 v10, v13+8
;;     sequence_point
;;     v14 = stack_addr.i64 ss0
;;     v15 = load.i64 notrap v14
;;     call fn1(v15)
;;     trap AfterNoReturn
;;
;; block4:
;;     v16 = load.i32 notrap aligned region3 v0+48
;;     v17 = icmp.i32 ugt v1, v16
;;     brif v17, block5, block6
;;
;; block5 cold:
;;     v18 = iconst.i64 3
;;     v19 = iadd.i64 v10, v18  ; v18 = 3
;;     v20 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v19, v20+8
;;     sequence_point
;;     v21 = stack_addr.i64 ss0
;;     v22 = load.i64 notrap v21
;;     call fn2(v22)
;;     trap AfterNoReturn
;;
;; block6:
;;     v23 = load.i32 notrap aligned region3 v0+32
;;     v24 = band.i32 v1, v23
;;     v25 = uextend.i64 v24
;;     v26 = load.i64 notrap aligned region3 v0+16
;;     v27 = iadd v26, v25
;;     v28 = load.i32 little region2 v27
;;     v29 = iconst.i64 4
;;     v30 = iadd.i64 v10, v29  ; v29 = 4
;;     v31 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v30, v31+8
;;     v32 = iconst.i64 112
;;     v33 = iadd.i64 v0, v32  ; v32 = 112
;;     v34 = iconst.i64 4
;;     v35 = iadd.i64 v10, v34  ; v34 = 4
;;     v36 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v35, v36+8
;;     v37 = call fn3(v0, v33)
;;     store notrap aligned little region0 v28, v37+16
;;     v38 = iconst.i64 4
;;     v39 = iadd.i64 v10, v38  ; v38 = 4
;;     v40 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v39, v40+8
;;     call fn4(v0, v37)
;;     trap AfterNoReturn
;; }
;; function func1(i64 vmctx, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 4294967295 "fuel"
;;     region2 = 7 "interrupt"
;;     sig0 = (i64) preserve_all
;;     sig1 = (i64) preserve_all
;;     sig2 = (i64) preserve_all
;;     sig3 = (i64, i64) tail
;;     sig4 = (i64 vmctx, i32) tail
;;     fn0 = colocated raise[StackOverflow] sig0
;;     fn1 = colocated raise[OutOfFuel] sig1
;;     fn2 = colocated builtin[interrupted] sig2
;;     fn3 = colocated builtin[exception_throw] sig3
;;     fn4 = colocated func0 sig4
;;
;; block0(v0: i64, v1: i32):
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v2 = get_stack_pointer.i64
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region0 v3
;;     v5 = icmp ult v2, v4
;;     brif v5, block1, block2
;;
;; block1 cold:
;;     sequence_point
;;     v7 = stack_addr.i64 ss0
;;     v8 = load.i64 notrap v7
;;     call fn0(v8)
;;     trap AfterNoReturn
;;
;; block2:
;;     v9 = load.i64 notrap aligned readonly can_move region0 v0
;;     v10 = load.i64 notrap aligned region1 v9+8
;;     v11 = iconst.i64 -1
;;     v12 = icmp sge v10, v11  ; v11 = -1
;;     brif v12, block3, block4
;;
;; block3 cold:
;;     v13 = load.i64 notrap aligned readonly can_move region0 v0
;;     store.i64 notrap aligned region1 v10, v13+8
;;     sequence_point
;;     v14 = stack_addr.i64 ss0
;;     v15 = load.i64 notrap v14
;;     call fn1(v15)
;;     trap AfterNoReturn
;;
;; block4:
;;     v16 = load.i64 notrap aligned readonly can_move region0 v0
;;     sequence_point
;;     v17 = load.i64 notrap aligned region2 v16+16
;;     v18 = icmp ult v16, v17
;;     brif v18, block5, block6(v10)
;;
;; block5 cold:
;;     v19 = iconst.i64 1
;;     v20 = iadd.i64 v10, v19  ; v19 = 1
;;     v21 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v20, v21+8
;;     call fn2(v0)
;;     v22 = load.i64 notrap aligned readonly can_move region0 v0
;;     v23 = load.i64 notrap aligned region1 v22+8
;;     v24 = iconst.i64 -1
;;     v25 = iadd v23, v24  ; v24 = -1
;;     jump block6(v25)
;;
;; block6(v40: i64):
;;     jump block8
;;
;; block7(v26: i64) cold:
;;     v27 = load.i64 notrap aligned region0 v26
;;     v28 = iconst.i64 112
;;     v29 = iadd.i64 v0, v28  ; v28 = 112
;;     v30 = icmp eq v27, v29
;;     brif v30, block9, block10
;;
;; block9 cold:
;;     v31 = load.i32 notrap aligned little region0 v26+16
;;     v32 = load.i64 notrap aligned readonly can_move region0 v0
;;     v33 = load.i64 notrap aligned region1 v32+8
;;     v34 = iconst.i64 -1
;;     v35 = iadd v33, v34  ; v34 = -1
;;     jump block11(v31, v35)
;;
;; block10 cold:
;;     v37 = load.i64 notrap aligned readonly can_move region0 v0
;;     v38 = load.i64 notrap aligned region1 v37+8
;;     v39 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v38, v39+8
;;     call fn3(v0, v26)
;;     trap AfterNoReturn
;;
;; block8:
;;     v41 = iconst.i64 4
;;     v42 = iadd.i64 v40, v41  ; v41 = 4
;;     v43 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v42, v43+8
;;     try_call fn4(v0, v1), sig4, block12, [ default: block7(exn0) ]
;;
;; block12:
;;     v44 = iconst.i32 0
;;     v45 = load.i64 notrap aligned readonly can_move region0 v0
;;     v46 = load.i64 notrap aligned region1 v45+8
;;     v47 = iconst.i64 0
;;     v48 = iadd v46, v47  ; v47 = 0
;;     jump block11(v44, v48)  ; v44 = 0
;;
;; block11(v36: i32, v49: i64):
;;     v50 = iconst.i64 1
;;     v51 = iadd v49, v50  ; v50 = 1
;;     v52 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v51, v52+8
;;     return v36
;; }
;; function func2(i64 vmctx, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 4294967295 "fuel"
;;     region2 = 7 "interrupt"
;;     sig0 = (i64) preserve_all
;;     sig1 = (i64) preserve_all
;;     sig2 = (i64) preserve_all
;;     sig3 = (i64 vmctx, i32) tail
;;     sig4 = (i64, i64) tail
;;     fn0 = colocated raise[StackOverflow] sig0
;;     fn1 = colocated raise[OutOfFuel] sig1
;;     fn2 = colocated builtin[interrupted] sig2
;;     fn3 = colocated func0 sig3
;;     fn4 = colocated builtin[exception_throw] sig4
;;
;; block0(v0: i64, v1: i32):
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v2 = get_stack_pointer.i64
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region0 v3
;;     v5 = icmp ult v2, v4
;;     brif v5, block1, block2
;;
;; block1 cold:
;;     sequence_point
;;     v7 = stack_addr.i64 ss0
;;     v8 = load.i64 notrap v7
;;     call fn0(v8)
;;     trap AfterNoReturn
;;
;; block2:
;;     v9 = load.i64 notrap aligned readonly can_move region0 v0
;;     v10 = load.i64 notrap aligned region1 v9+8
;;     v11 = iconst.i64 -1
;;     v12 = icmp sge v10, v11  ; v11 = -1
;;     brif v12, block3, block4
;;
;; block3 cold:
;;     v13 = load.i64 notrap aligned readonly can_move region0 v0
;;     store.i64 notrap aligned region1 v10, v13+8
;;     sequence_point
;;     v14 = stack_addr.i64 ss0
;;     v15 = load.i64 notrap v14
;;     call fn1(v15)
;;     trap AfterNoReturn
;;
;; block4:
;;     v16 = load.i64 notrap aligned readonly can_move region0 v0
;;     sequence_point
;;     v17 = load.i64 notrap aligned region2 v16+16
;;     v18 = icmp ult v16, v17
;;     brif v18, block5, block6(v10)
;;
;; block5 cold:
;;     v19 = iconst.i64 1
;;     v20 = iadd.i64 v10, v19  ; v19 = 1
;;     v21 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v20, v21+8
;;     call fn2(v0)
;;     v22 = load.i64 notrap aligned readonly can_move region0 v0
;;     v23 = load.i64 notrap aligned region1 v22+8
;;     v24 = iconst.i64 -1
;;     v25 = iadd v23, v24  ; v24 = -1
;;     jump block6(v25)
;;
;; block6(v26: i64):
;;     v27 = iconst.i64 0
;;     v28 = iadd v26, v27  ; v27 = 0
;;     v29 = iconst.i64 0
;;     v30 = iadd v28, v29  ; v29 = 0
;;     jump block7(v30)
;;
;; block7(v31: i64):
;;     v32 = iconst.i64 1
;;     v33 = iadd v31, v32  ; v32 = 1
;;     v34 = iconst.i64 0
;;     v35 = icmp sge v33, v34  ; v34 = 0
;;     brif v35, block8, block9
;;
;; block8 cold:
;;     v36 = iconst.i64 1
;;     v37 = iadd.i64 v31, v36  ; v36 = 1
;;     v38 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v37, v38+8
;;     sequence_point
;;     v39 = stack_addr.i64 ss0
;;     v40 = load.i64 notrap v39
;;     call fn1(v40)
;;     trap AfterNoReturn
;;
;; block9:
;;     v41 = load.i64 notrap aligned readonly can_move region0 v0
;;     sequence_point
;;     v42 = load.i64 notrap aligned region2 v41+16
;;     v43 = icmp ult v41, v42
;;     brif v43, block10, block11(v33)
;;
;; block10 cold:
;;     v44 = load.i64 notrap aligned readonly can_move region0 v0
;;     store.i64 notrap aligned region1 v33, v44+8
;;     call fn2(v0)
;;     v45 = load.i64 notrap aligned readonly can_move region0 v0
;;     v46 = load.i64 notrap aligned region1 v45+8
;;     v47 = iconst.i64 0
;;     v48 = iadd v46, v47  ; v47 = 0
;;     jump block11(v48)
;;
;; block11(v50: i64):
;;     v51 = iconst.i64 3
;;     v52 = iadd v50, v51  ; v51 = 3
;;     v53 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v52, v53+8
;;     try_call fn3(v0, v1), sig3, block13, [ default: block12(exn0) ]
;;
;; block13:
;;     v54 = iconst.i32 0
;;     v55 = load.i64 notrap aligned readonly can_move region0 v0
;;     v56 = load.i64 notrap aligned region1 v55+8
;;     v57 = iconst.i64 -1
;;     v58 = iadd v56, v57  ; v57 = -1
;;     jump block14(v54, v58)  ; v54 = 0
;;
;; block12(v49: i64) cold:
;;     v61 = load.i64 notrap aligned region0 v49
;;     v62 = iconst.i64 112
;;     v63 = iadd.i64 v0, v62  ; v62 = 112
;;     v64 = icmp eq v61, v63
;;     brif v64, block16, block15(v49)
;;
;; block16:
;;     v65 = load.i32 notrap aligned little region0 v49+16
;;     v66 = load.i64 notrap aligned region0 v49+8
;;     v67 = load.i64 notrap aligned readonly can_move region0 v0
;;     v68 = load.i64 notrap aligned region1 v67+8
;;     brif v65, block18, block17
;;
;; block18:
;;     v69 = iconst.i64 0
;;     v70 = iadd.i64 v68, v69  ; v69 = 0
;;     jump block7(v70)
;;
;; block17:
;;     v71 = iconst.i32 1
;;     v72 = iconst.i64 0
;;     v73 = iadd.i64 v68, v72  ; v72 = 0
;;     jump block14(v71, v73)  ; v71 = 1
;;
;; block15(v60: i64) cold:
;;     v74 = load.i64 notrap aligned readonly can_move region0 v0
;;     v75 = load.i64 notrap aligned region1 v74+8
;;     v76 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v75, v76+8
;;     call fn4(v0, v60)
;;     trap AfterNoReturn
;;
;; block14(v59: i32, v77: i64):
;;     v78 = iconst.i64 2
;;     v79 = iadd v77, v78  ; v78 = 2
;;     v80 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v79, v80+8
;;     return v59
;; }
