;; counters
(module
  (type $t (func (param i32) (result i32)))
  (table funcref (elem $leaf))
  (func $leaf (type $t) (local.get 0))
  (func (param i32) (result i32)
    (loop $l
      (if (local.get 0) (then (nop)) (else (unreachable)))
      (br_if $l (call_indirect (type $t) (local.get 0) (local.get 0))))
    (block $a (block $b (br_table $a $b (local.get 0))))
    (i32.const 5)))

;; ----
;; function func0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 4294967294 "counters"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = load.i64 notrap aligned region0 v0+16
;;     v3 = iconst.i64 1
;;     v4 = iadd v2, v3  ; v3 = 1
;;     store notrap aligned region0 v4, v0+16
;;     return v1
;; }
;; function func1(i64 vmctx, i32) -> i32 tail {
;;     region0 = 4294967294 "counters"
;;     region1 = 4 "artifact"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     gv3 = symbol colocated userextname0
;;     gv4 = symbol colocated userextname1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v8 -> v1
;;     v2 = load.i64 notrap aligned region0 v0+24
;;     v3 = iconst.i64 1
;;     v4 = iadd v2, v3  ; v3 = 1
;;     store notrap aligned region0 v4, v0+24
;;     jump block1
;;
;; block1:
;;     v5 = load.i64 notrap aligned region0 v0+32
;;     v6 = iconst.i64 1
;;     v7 = iadd v5, v6  ; v6 = 1
;;     store notrap aligned region0 v7, v0+32
;;     brif.i32 v8, block2, block3
;;
;; block2:
;;     v9 = load.i64 notrap aligned region0 v0+40
;;     v10 = iconst.i64 1
;;     v11 = iadd v9, v10  ; v10 = 1
;;     store notrap aligned region0 v11, v0+40
;;     jump block4
;;
;; block3:
;;     sequence_point
;;     trap UnreachableCodeReached
;;
;; block4:
;;     v12 = uextend.i64 v8
;;     v13 = load.i64 notrap aligned region0 v0+72
;;     v14 = load.i64 notrap aligned region0 v0+80
;;     v15 = select v14, v13, v12
;;     v16 = icmp eq v15, v12
;;     v17 = iconst.i64 1
;;     v18 = iconst.i64 -1
;;     v19 = select v16, v17, v18  ; v17 = 1, v18 = -1
;;     v20 = iadd v14, v19
;;     store notrap aligned region0 v15, v0+72
;;     store notrap aligned region0 v20, v0+80
;;     v21 = iconst.i64 1
;;     v22 = uextend.i64 v8
;;     v23 = icmp ult v22, v21  ; v21 = 1
;;     trapz v23, UndefinedElement
;;     v24 = select_spectre_guard v23, v22, v21  ; v21 = 1
;;     v25 = symbol_value.i64 gv3
;;     v26 = iconst.i64 3
;;     v27 = ishl v24, v26  ; v26 = 3
;;     v28 = iadd v25, v27
;;     v29 = uload32 notrap aligned readonly can_move little region1 v28
;;     v30 = symbol_value.i64 gv4
;;     v31 = iadd v30, v29
;;     v32 = call_indirect sig0, v31(v0, v8)
;;     brif v32, block1, block5
;;
;; block5:
;;     v33 = load.i64 notrap aligned region0 v0+48
;;     v34 = iconst.i64 1
;;     v35 = iadd v33, v34  ; v34 = 1
;;     store notrap aligned region0 v35, v0+48
;;     v36 = iconst.i32 1
;;     v37 = icmp.i32 ult v8, v36  ; v36 = 1
;;     brif v37, block7, block6
;;
;; block6:
;;     v38 = load.i64 notrap aligned region0 v0+56
;;     v39 = iconst.i64 1
;;     v40 = iadd v38, v39  ; v39 = 1
;;     store notrap aligned region0 v40, v0+56
;;     jump block7
;;
;; block7:
;;     v41 = load.i64 notrap aligned region0 v0+64
;;     v42 = iconst.i64 1
;;     v43 = iadd v41, v42  ; v42 = 1
;;     store notrap aligned region0 v43, v0+64
;;     v44 = iconst.i32 5
;;     return v44  ; v44 = 5
;; }
