;; counts=1000,10,1000,0,2,100000,1000,1000 votes=1:900
(module
  (type $t (func (param i32) (result i32)))
  (table funcref (elem $seldom $often))
  (func $often (type $t) (local.get 0))
  (func $seldom (type $t) (i32.const 1))
  ;; The profile says 1000 calls, of which 0 take the first arm of the first `if`, and 2 that of the second
  ;; one, that the loop runs 100000 times, and what the indirect call calls.
  (func (param i32) (result i32)
    (if (local.get 0) (then (unreachable)))
    (if (i32.eqz (local.get 0)) (then (local.set 0 (i32.const 5))))
    (loop $l
      (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (if (local.get 0) (then (nop)) (else (local.set 0 (i32.const 6))))
    (call_indirect (type $t) (local.get 0) (local.get 0))))

;; ----
;; function func0(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     return v1
;; }
;; function func1(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i32 1
;;     return v2  ; v2 = 1
;; }
;; function func2(i64 vmctx, i32) -> i32 tail {
;;     region0 = 4 "artifact"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     gv3 = symbol colocated userextname0
;;     gv4 = symbol colocated userextname1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated func0 sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     brif v1, block1, block2
;;
;; block1 cold:
;;     sequence_point
;;     trap UnreachableCodeReached
;;
;; block2:
;;     v2 = iconst.i32 0
;;     v3 = icmp.i32 eq v1, v2  ; v2 = 0
;;     v4 = uextend.i32 v3
;;     brif v4, block3, block4(v1)
;;
;; block3 cold:
;;     v5 = iconst.i32 5
;;     jump block4(v5)  ; v5 = 5
;;
;; block4(v9: i32):
;;     jump block5(v9)
;;
;; block5(v6: i32):
;;     v7 = iconst.i32 1
;;     v8 = isub v6, v7  ; v7 = 1
;;     brif v8, block5(v8), block6
;;
;; block6:
;;     brif.i32 v8, block7, block8
;;
;; block7:
;;     jump block9(v8)
;;
;; block8 cold:
;;     v10 = iconst.i32 6
;;     jump block9(v10)  ; v10 = 6
;;
;; block9(v11: i32):
;;     v12 = iconst.i32 1
;;     v13 = icmp ne v11, v12  ; v12 = 1
;;     brif v13, block10, block11
;;
;; block10 cold:
;;     v14 = iconst.i64 2
;;     v15 = uextend.i64 v11
;;     v16 = icmp ult v15, v14  ; v14 = 2
;;     trapz v16, UndefinedElement
;;     v17 = select_spectre_guard v16, v15, v14  ; v14 = 2
;;     v18 = symbol_value.i64 gv3
;;     v19 = iconst.i64 3
;;     v20 = ishl v17, v19  ; v19 = 3
;;     v21 = iadd v18, v20
;;     v22 = uload32 notrap aligned readonly can_move little region0 v21
;;     v23 = symbol_value.i64 gv4
;;     v24 = iadd v23, v22
;;     v25 = call_indirect sig0, v24(v0, v11)
;;     jump block12(v25)
;;
;; block11:
;;     v27 = call fn0(v0, v11)
;;     jump block12(v27)
;;
;; block12(v26: i32):
;;     return v26
;; }
