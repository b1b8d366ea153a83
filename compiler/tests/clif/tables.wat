(module
  (import "t" "imported" (table $imported 2 externref))
  (type $nullary (func (result i32)))
  (table $grows (export "grows") 4 10 funcref)
  (table $fixed (export "fixed") 4 4 funcref)
  (table $frozen 3 funcref)
  (table $wide (export "wide") i64 4 10 externref)
  (elem $active (table $frozen) (i32.const 0) func $answer $answer)
  (elem $passive func $answer)
  (func $answer (type $nullary) (i32.const 42))
  (func (param i32) (result externref)
    (table.get $imported (local.get 0)))
  (func (param i64 externref)
    (table.set $wide (local.get 0) (local.get 1)))
  ;; The length of a table that cannot grow is a constant.
  (func (param i32 i32) (result funcref)
    (table.set $fixed (local.get 0) (ref.func $answer))
    (table.get $grows (local.get 1)))
  (func (param i32) (result i32 i32)
    (table.grow $grows (ref.null func) (table.size $grows))
    (ref.is_null (table.get $grows (local.get 0))))
  (func (param i32)
    (table.fill $grows (local.get 0) (ref.func $answer) (i32.const 2))
    (table.copy $fixed $grows (i32.const 1) (local.get 0) (i32.const 2))
    (table.init $grows $passive (local.get 0) (i32.const 0) (i32.const 1))
    (elem.drop $passive))
  ;; Calls through a table that can change, and through one that cannot.
  (func (param i32) (result i32)
    (i32.add (call_indirect $grows (type $nullary) (local.get 0))
      (call_indirect $frozen (type $nullary) (local.get 0)))))

;; ----
;; function func0(i64 vmctx) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64):
;;     v1 = iconst.i32 42
;;     return v1  ; v1 = 42
;; }
;; function func1(i64 vmctx, i32) -> i64 tail {
;;     region0 = 0 "vm"
;;     region1 = 2 "table head"
;;     region2 = 3 "table elements"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = uextend.i64 v1
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v4 = load.i64 notrap aligned region1 v3+8
;;     v5 = icmp uge v2, v4
;;     trapnz v5, TableOutOfBounds
;;     v6 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v7 = load.i64 notrap aligned region1 v6
;;     v8 = iconst.i64 3
;;     v9 = ishl v2, v8  ; v8 = 3
;;     v10 = iadd v7, v9
;;     v11 = select_spectre_guard v5, v7, v10
;;     v12 = load.i64 notrap aligned region2 v11
;;     return v12
;; }
;; function func2(i64 vmctx, i64, i64) tail {
;;     region0 = 2 "table head"
;;     region1 = 3 "table elements"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i64, v2: i64):
;;     v3 = load.i64 notrap aligned region0 v0+64
;;     v4 = icmp uge v1, v3
;;     trapnz v4, TableOutOfBounds
;;     v5 = load.i64 notrap aligned region0 v0+56
;;     v6 = iconst.i64 3
;;     v7 = ishl v1, v6  ; v6 = 3
;;     v8 = iadd v5, v7
;;     v9 = select_spectre_guard v4, v5, v8
;;     store notrap aligned region1 v2, v9
;;     return
;; }
;; function func3(i64 vmctx, i32, i32) -> i64 tail {
;;     region0 = 0 "vm"
;;     region1 = 2 "table head"
;;     region2 = 3 "table elements"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i32) -> i64 tail
;;     fn0 = colocated builtin[ref_func] sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i32):
;;     v16 -> v2
;;     v3 = iconst.i64 72
;;     v4 = iadd v0, v3  ; v3 = 72
;;     v5 = load.i64 notrap aligned region0 v4
;;     brif v5, block2, block1
;;
;; block1 cold:
;;     v6 = iconst.i32 0
;;     v7 = call fn0(v0, v6)  ; v6 = 0
;;     jump block2
;;
;; block2:
;;     v8 = uextend.i64 v1
;;     v9 = iconst.i64 4
;;     v10 = icmp uge v8, v9  ; v9 = 4
;;     trapnz v10, TableOutOfBounds
;;     v11 = load.i64 notrap aligned readonly can_move region1 v0+40
;;     v12 = iconst.i64 3
;;     v13 = ishl v8, v12  ; v12 = 3
;;     v14 = iadd v11, v13
;;     v15 = select_spectre_guard v10, v11, v14
;;     store.i64 notrap aligned region2 v4, v15
;;     v17 = uextend.i64 v2
;;     v18 = load.i64 notrap aligned region1 v0+32
;;     v19 = icmp uge v17, v18
;;     trapnz v19, TableOutOfBounds
;;     v20 = load.i64 notrap aligned region1 v0+24
;;     v21 = iconst.i64 3
;;     v22 = ishl v17, v21  ; v21 = 3
;;     v23 = iadd v20, v22
;;     v24 = select_spectre_guard v19, v20, v23
;;     v25 = load.i64 notrap aligned region2 v24
;;     return v25
;; }
;; function func4(i64 vmctx, i32) -> i32, i32 tail {
;;     region0 = 2 "table head"
;;     region1 = 3 "table elements"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i32, i64, i64) -> i64 tail
;;     fn0 = colocated builtin[table_grow] sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i64 0
;;     v3 = load.i64 notrap aligned region0 v0+32
;;     v4 = ireduce.i32 v3
;;     v5 = uextend.i64 v4
;;     v6 = iconst.i32 1
;;     v7 = call fn0(v0, v6, v5, v2)  ; v6 = 1, v2 = 0
;;     v8 = ireduce.i32 v7
;;     v9 = uextend.i64 v1
;;     v10 = load.i64 notrap aligned region0 v0+32
;;     v11 = icmp uge v9, v10
;;     trapnz v11, TableOutOfBounds
;;     v12 = load.i64 notrap aligned region0 v0+24
;;     v13 = iconst.i64 3
;;     v14 = ishl v9, v13  ; v13 = 3
;;     v15 = iadd v12, v14
;;     v16 = select_spectre_guard v11, v12, v15
;;     v17 = load.i64 notrap aligned region1 v16
;;     v18 = iconst.i64 0
;;     v19 = icmp eq v17, v18  ; v18 = 0
;;     v20 = uextend.i32 v19
;;     return v8, v20
;; }
;; function func5(i64 vmctx, i32) tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i32) -> i64 tail
;;     sig1 = (i64, i32, i64, i64, i64) tail
;;     sig2 = (i64, i32, i32, i64, i64, i64) tail
;;     sig3 = (i64, i32, i32, i64, i64, i64) tail
;;     fn0 = colocated builtin[ref_func] sig0
;;     fn1 = colocated builtin[table_fill] sig1
;;     fn2 = colocated builtin[table_copy] sig2
;;     fn3 = colocated builtin[table_init] sig3
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v12 -> v1
;;     v2 = iconst.i64 72
;;     v3 = iadd v0, v2  ; v2 = 72
;;     v4 = load.i64 notrap aligned region0 v3
;;     brif v4, block2, block1
;;
;; block1 cold:
;;     v5 = iconst.i32 0
;;     v6 = call fn0(v0, v5)  ; v5 = 0
;;     jump block2
;;
;; block2:
;;     v7 = iconst.i32 2
;;     v8 = uextend.i64 v1
;;     v9 = uextend.i64 v7  ; v7 = 2
;;     v10 = iconst.i32 1
;;     call fn1(v0, v10, v8, v3, v9)  ; v10 = 1
;;     v11 = iconst.i32 1
;;     v13 = iconst.i32 2
;;     v14 = uextend.i64 v11  ; v11 = 1
;;     v15 = uextend.i64 v1
;;     v16 = uextend.i64 v13  ; v13 = 2
;;     v17 = iconst.i32 2
;;     v18 = iconst.i32 1
;;     call fn2(v0, v17, v18, v14, v15, v16)  ; v17 = 2, v18 = 1
;;     v19 = iconst.i32 0
;;     v20 = iconst.i32 1
;;     v21 = uextend.i64 v12
;;     v22 = uextend.i64 v19  ; v19 = 0
;;     v23 = uextend.i64 v20  ; v20 = 1
;;     v24 = iconst.i32 1
;;     v25 = iconst.i32 1
;;     call fn3(v0, v24, v25, v21, v22, v23)  ; v24 = 1, v25 = 1
;;     v26 = iconst.i8 1
;;     store notrap aligned region0 v26, v0+112  ; v26 = 1
;;     return
;; }
;; function func6(i64 vmctx, i32) -> i32 tail {
;;     region0 = 2 "table head"
;;     region1 = 3 "table elements"
;;     region2 = 0 "vm"
;;     region3 = 4 "artifact"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     gv3 = symbol colocated userextname0
;;     gv4 = symbol colocated userextname1
;;     sig0 = (i64 vmctx) -> i32 tail
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = uextend.i64 v1
;;     v3 = load.i64 notrap aligned region0 v0+32
;;     v4 = icmp uge v2, v3
;;     trapnz v4, UndefinedElement
;;     v5 = load.i64 notrap aligned region0 v0+24
;;     v6 = iconst.i64 3
;;     v7 = ishl v2, v6  ; v6 = 3
;;     v8 = iadd v5, v7
;;     v9 = select_spectre_guard v4, v5, v8
;;     v10 = load.i64 notrap aligned region1 v9
;;     trapz v10, IndirectCallToNull
;;     v11 = load.i64 notrap aligned readonly region2 v10+16
;;     v12 = iconst.i64 8
;;     v13 = icmp eq v11, v12  ; v12 = 8
;;     trapz v13, BadSignature
;;     v14 = load.i64 notrap aligned region2 v10
;;     v15 = load.i64 notrap aligned readonly region2 v10+8
;;     v16 = call_indirect sig0, v14(v15)
;;     v17 = iconst.i64 3
;;     v18 = uextend.i64 v1
;;     v19 = icmp ult v18, v17  ; v17 = 3
;;     v20 = select_spectre_guard v19, v18, v17  ; v17 = 3
;;     v21 = symbol_value.i64 gv3
;;     v22 = iconst.i64 3
;;     v23 = ishl v20, v22  ; v22 = 3
;;     v24 = iadd v21, v23
;;     v25 = load.i32 notrap aligned readonly can_move little region3 v24+4
;;     v26 = iconst.i32 -1
;;     v27 = icmp ne v25, v26  ; v26 = -1
;;     brif v27, block2, block1
;;
;; block1 cold:
;;     trapz.i8 v19, UndefinedElement
;;     v28 = iconst.i32 -1
;;     v29 = icmp.i32 eq v25, v28  ; v28 = -1
;;     trapnz v29, IndirectCallToNull
;;     sequence_point
;;     trap BadSignature
;;
;; block2:
;;     v30 = uload32.i64 notrap aligned readonly can_move little region3 v24
;;     v31 = symbol_value.i64 gv4
;;     v32 = iadd v31, v30
;;     v33 = call_indirect sig0, v32(v0)
;;     v34 = iadd.i32 v16, v33
;;     return v34
;; }
