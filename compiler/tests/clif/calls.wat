(module
  (type $t (func (param i32) (result i32)))
  (type $u (func))
  (import "m" "f" (func $import (type $t)))
  (table $frozen 4 4 funcref)
  (table $uniform 2 2 funcref)
  (table $open (export "open") 2 funcref)
  (elem (table $frozen) (i32.const 1) func $a $import $b)
  (elem (table $uniform) (i32.const 0) func $a)
  (func $a (type $t) (call $import (local.get 0)))
  (func $b (type $u) (drop (call $a (i32.const 1))))
  (func (param i32) (result i32)
    (call_indirect $frozen (type $t) (i32.const 7) (local.get 0)))
  (func (param i32) (result i32)
    (return_call_indirect $uniform (type $t) (i32.const 7) (local.get 0)))
  (func (param i32) (result i32)
    (call_indirect $open (type $t) (i32.const 7) (local.get 0)))
  (func (type $t) (return_call $a (local.get 0)))
  (func (type $t) (return_call $import (local.get 0)))
  (func (result i32) (table.size $frozen)))

;; ----
;; function func1(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0+32
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0+40
;;     v4 = call_indirect sig0, v2(v3, v1)
;;     return v4
;; }
;; function func2(i64 vmctx) tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated func1 sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64):
;;     v1 = iconst.i32 1
;;     v2 = call fn0(v0, v1)  ; v1 = 1
;;     return
;; }
;; function func3(i64 vmctx, i32) -> i32 tail {
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
;;     v2 = iconst.i32 7
;;     v3 = iconst.i64 4
;;     v4 = uextend.i64 v1
;;     v5 = icmp ult v4, v3  ; v3 = 4
;;     v6 = select_spectre_guard v5, v4, v3  ; v3 = 4
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
;;     v19 = call_indirect sig0, v18(v0, v2)  ; v2 = 7
;;     return v19
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
;;     v2 = iconst.i32 7
;;     v3 = iconst.i64 2
;;     v4 = uextend.i64 v1
;;     v5 = icmp ult v4, v3  ; v3 = 2
;;     v6 = select_spectre_guard v5, v4, v3  ; v3 = 2
;;     v7 = symbol_value.i64 gv3
;;     v8 = iconst.i64 3
;;     v9 = ishl v6, v8  ; v8 = 3
;;     v10 = iadd v7, v9
;;     v11 = load.i32 notrap aligned readonly can_move little region0 v10+4
;;     v12 = iconst.i32 -1
;;     v13 = icmp ne v11, v12  ; v12 = -1
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
;;     return_call_indirect sig0, v18(v0, v2)  ; v2 = 7
;; }
;; function func5(i64 vmctx, i32) -> i32 tail {
;;     region0 = 2 "table head"
;;     region1 = 3 "table elements"
;;     region2 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i32 7
;;     v3 = uextend.i64 v1
;;     v4 = load.i64 notrap aligned region0 v0+24
;;     v5 = icmp uge v3, v4
;;     trapnz v5, UndefinedElement
;;     v6 = load.i64 notrap aligned region0 v0+16
;;     v7 = iconst.i64 3
;;     v8 = ishl v3, v7  ; v7 = 3
;;     v9 = iadd v6, v8
;;     v10 = select_spectre_guard v5, v6, v9
;;     v11 = load.i64 notrap aligned region1 v10
;;     trapz v11, IndirectCallToNull
;;     v12 = load.i64 notrap aligned readonly region2 v11+16
;;     v13 = iconst.i64 65
;;     v14 = icmp eq v12, v13  ; v13 = 65
;;     trapz v14, BadSignature
;;     v15 = load.i64 notrap aligned region2 v11
;;     v16 = load.i64 notrap aligned readonly region2 v11+8
;;     v17 = call_indirect sig0, v15(v16, v2)  ; v2 = 7
;;     return v17
;; }
;; function func6(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated func1 sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     return_call fn0(v0, v1)
;; }
;; function func7(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0+32
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0+40
;;     return_call_indirect sig0, v2(v3, v1)
;; }
;; function func8(i64 vmctx) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64):
;;     v1 = iconst.i64 4
;;     v2 = ireduce.i32 v1  ; v1 = 4
;;     return v2
;; }
