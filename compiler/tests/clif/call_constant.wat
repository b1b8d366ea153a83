;; Indirect calls whose index is constant.
(module
  (type $unary (func (param i32) (result i32)))
  (table funcref (elem $f $g))
  (func $f (type $unary) (local.get 0))
  (func $g)
  (func (param i32) (result i32) (call_indirect (type $unary) (local.get 0) (i32.const 0)))
  (func (param i32) (result i32) (return_call_indirect (type $unary) (local.get 0) (i32.const 0)))
  ;; These have another type, or no element, and trap.
  (func (param i32) (result i32) (call_indirect (type $unary) (local.get 0) (i32.const 1)))
  (func (param i32) (result i32) (call_indirect (type $unary) (local.get 0) (i32.const 2))))

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
;; function func1(i64 vmctx) tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64):
;;     return
;; }
;; function func2(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated func0 sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i32 0
;;     v3 = call fn0(v0, v1)
;;     return v3
;; }
;; function func3(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated func0 sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i32 0
;;     return_call fn0(v0, v1)
;; }
;; function func4(i64 vmctx, i32) -> i32 tail {
;;     region0 = 4 "artifact"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     gv3 = symbol colocated userextname0
;;     gv4 = symbol colocated userextname1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i32 1
;;     v3 = iconst.i64 2
;;     v4 = uextend.i64 v2  ; v2 = 1
;;     v5 = icmp ult v4, v3  ; v3 = 2
;;     v6 = select_spectre_guard v5, v4, v3  ; v3 = 2
;;     v7 = symbol_value.i64 gv3
;;     v8 = iconst.i64 3
;;     v9 = ishl v6, v8  ; v8 = 3
;;     v10 = iadd v7, v9
;;     v11 = load.i32 notrap aligned readonly can_move little region0 v10+4
;;     v12 = iconst.i32 0
;;     v13 = icmp eq v11, v12  ; v12 = 0
;;     brif v13, block2, block1
;;
;; block1 cold:
;;     trapz.i8 v5, UndefinedElement
;;     v14 = iconst.i32 -1
;;     v15 = icmp.i32 eq v11, v14  ; v14 = -1
;;     trapnz v15, IndirectCallToNull
;;     sequence_point
;;     trap BadSignature
;;
;; block2:
;;     v16 = uload32.i64 notrap aligned readonly can_move little region0 v10
;;     v17 = symbol_value.i64 gv4
;;     v18 = iadd v17, v16
;;     v19 = call_indirect sig0, v18(v0, v1)
;;     return v19
;; }
;; function func5(i64 vmctx, i32) -> i32 tail {
;;     region0 = 4 "artifact"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     gv3 = symbol colocated userextname0
;;     gv4 = symbol colocated userextname1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i32 2
;;     v3 = iconst.i64 2
;;     v4 = uextend.i64 v2  ; v2 = 2
;;     v5 = icmp ult v4, v3  ; v3 = 2
;;     v6 = select_spectre_guard v5, v4, v3  ; v3 = 2
;;     v7 = symbol_value.i64 gv3
;;     v8 = iconst.i64 3
;;     v9 = ishl v6, v8  ; v8 = 3
;;     v10 = iadd v7, v9
;;     v11 = load.i32 notrap aligned readonly can_move little region0 v10+4
;;     v12 = iconst.i32 0
;;     v13 = icmp eq v11, v12  ; v12 = 0
;;     brif v13, block2, block1
;;
;; block1 cold:
;;     trapz.i8 v5, UndefinedElement
;;     v14 = iconst.i32 -1
;;     v15 = icmp.i32 eq v11, v14  ; v14 = -1
;;     trapnz v15, IndirectCallToNull
;;     sequence_point
;;     trap BadSignature
;;
;; block2:
;;     v16 = uload32.i64 notrap aligned readonly can_move little region0 v10
;;     v17 = symbol_value.i64 gv4
;;     v18 = iadd v17, v16
;;     v19 = call_indirect sig0, v18(v0, v1)
;;     return v19
;; }
