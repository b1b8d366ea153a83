(module
  (type $t (func (param i32) (result i32)))
  (type $open (sub (func (param i64))))
  (table $typed 4 (ref $t) (ref.func $f))
  (table $any (export "any") 4 funcref)
  (elem declare func $f)
  (func $f (type $t) (local.get 0))
  (func (param (ref null $t) i32) (result i32)
    (call_ref $t (local.get 1) (local.get 0)))
  (func (param (ref $t) i32) (result i32)
    (return_call_ref $t (local.get 1) (local.get 0)))
  (func (param (ref null $t)) (result i32)
    (block $null
      (return (call_ref $t (i32.const 1) (br_on_null $null (local.get 0)))))
    (i32.const 2))
  (func (param (ref null $t)) (result (ref $t))
    (block $found (result (ref $t))
      (br_on_non_null $found (local.get 0))
      (ref.func $f)))
  (func (param (ref null $t)) (result (ref $t))
    (ref.as_non_null (local.get 0)))
  (func (param i32) (result i32)
    (table.set $typed (i32.const 0) (table.get $typed (local.get 0)))
    (call_indirect $typed (type $t) (i32.const 3) (local.get 0)))
  (func (param i32)
    (call_indirect $any (type $open) (i64.const 3) (local.get 0))))

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
;; function func1(i64 vmctx, i64, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i64, v2: i32):
;;     trapz v1, NullFunctionReference
;;     v3 = load.i64 notrap aligned region0 v1
;;     v4 = load.i64 notrap aligned readonly region0 v1+8
;;     v5 = call_indirect sig0, v3(v4, v2)
;;     return v5
;; }
;; function func2(i64 vmctx, i64, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i64, v2: i32):
;;     v3 = load.i64 notrap aligned region0 v1
;;     v4 = load.i64 notrap aligned readonly region0 v1+8
;;     return_call_indirect sig0, v3(v4, v2)
;; }
;; function func3(i64 vmctx, i64) -> i32 tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i64):
;;     v2 = iconst.i32 1
;;     brif v1, block1, block2
;;
;; block1:
;;     v3 = load.i64 notrap aligned region0 v1
;;     v4 = load.i64 notrap aligned readonly region0 v1+8
;;     v5 = call_indirect sig0, v3(v4, v2)  ; v2 = 1
;;     return v5
;;
;; block2:
;;     v6 = iconst.i32 2
;;     return v6  ; v6 = 2
;; }
;; function func4(i64 vmctx, i64) -> i64 tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i32) -> i64 tail
;;     fn0 = colocated builtin[ref_func] sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i64):
;;     brif v1, block2(v1), block1
;;
;; block1:
;;     v3 = iconst.i64 48
;;     v4 = iadd.i64 v0, v3  ; v3 = 48
;;     v5 = load.i64 notrap aligned region0 v4
;;     brif v5, block4, block3
;;
;; block3 cold:
;;     v6 = iconst.i32 0
;;     v7 = call fn0(v0, v6)  ; v6 = 0
;;     jump block4
;;
;; block4:
;;     jump block2(v4)
;;
;; block2(v2: i64):
;;     return v2
;; }
;; function func5(i64 vmctx, i64) -> i64 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i64):
;;     trapz v1, NullReference
;;     return v1
;; }
;; function func6(i64 vmctx, i32) -> i32 tail {
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
;;     v2 = iconst.i32 0
;;     v3 = uextend.i64 v1
;;     v4 = iconst.i64 4
;;     v5 = icmp uge v3, v4  ; v4 = 4
;;     trapnz v5, TableOutOfBounds
;;     v6 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v7 = iconst.i64 3
;;     v8 = ishl v3, v7  ; v7 = 3
;;     v9 = iadd v6, v8
;;     v10 = select_spectre_guard v5, v6, v9
;;     v11 = load.i64 notrap aligned region1 v10
;;     v12 = uextend.i64 v2  ; v2 = 0
;;     v13 = iconst.i64 4
;;     v14 = icmp uge v12, v13  ; v13 = 4
;;     trapnz v14, TableOutOfBounds
;;     v15 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v16 = iconst.i64 3
;;     v17 = ishl v12, v16  ; v16 = 3
;;     v18 = iadd v15, v17
;;     v19 = select_spectre_guard v14, v15, v18
;;     store notrap aligned region1 v11, v19
;;     v20 = iconst.i32 3
;;     v21 = uextend.i64 v1
;;     v22 = iconst.i64 4
;;     v23 = icmp uge v21, v22  ; v22 = 4
;;     trapnz v23, UndefinedElement
;;     v24 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v25 = iconst.i64 3
;;     v26 = ishl v21, v25  ; v25 = 3
;;     v27 = iadd v24, v26
;;     v28 = select_spectre_guard v23, v24, v27
;;     v29 = load.i64 notrap aligned region1 v28
;;     v30 = load.i64 notrap aligned region2 v29
;;     v31 = load.i64 notrap aligned readonly region2 v29+8
;;     v32 = call_indirect sig0, v30(v31, v20)  ; v20 = 3
;;     return v32
;; }
;; function func7(i64 vmctx, i32) tail {
;;     region0 = 2 "table head"
;;     region1 = 3 "table elements"
;;     region2 = 0 "vm"
;;     region3 = 4 "artifact"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     gv3 = symbol colocated userextname0
;;     sig0 = (i64, i64, i64) -> i64 tail
;;     sig1 = (i64 vmctx, i64) tail
;;     fn0 = colocated builtin[is_subtype] sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i64 3
;;     v3 = uextend.i64 v1
;;     v4 = load.i64 notrap aligned region0 v0+40
;;     v5 = icmp uge v3, v4
;;     trapnz v5, UndefinedElement
;;     v6 = load.i64 notrap aligned region0 v0+32
;;     v7 = iconst.i64 3
;;     v8 = ishl v3, v7  ; v7 = 3
;;     v9 = iadd v6, v8
;;     v10 = select_spectre_guard v5, v6, v9
;;     v11 = load.i64 notrap aligned region1 v10
;;     trapz v11, IndirectCallToNull
;;     v12 = load.i64 notrap aligned readonly region2 v11+16
;;     v13 = symbol_value.i64 gv3
;;     v14 = load.i64 notrap aligned readonly can_move region3 v13
;;     v15 = icmp eq v12, v14
;;     brif v15, block2, block1
;;
;; block1 cold:
;;     v16 = call fn0(v0, v12, v14)
;;     trapz v16, BadSignature
;;     jump block2
;;
;; block2:
;;     v17 = load.i64 notrap aligned region2 v11
;;     v18 = load.i64 notrap aligned readonly region2 v11+8
;;     call_indirect sig1, v17(v18, v2)  ; v2 = 3
;;     return
;; }
