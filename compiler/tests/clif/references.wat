(module
  (table $t 1 10 externref)
  (elem declare func $f)
  (elem $passive func $f)
  (func $f)
  (func (result funcref) (ref.func $f))
  (func (param externref i32) (result i32)
    (table.set $t (local.get 1) (local.get 0))
    (ref.is_null (table.get $t (i32.const 0))))
  (func (param i32) (result i32)
    (table.grow $t (ref.null extern) (local.get 0)))
  (func (elem.drop $passive)))

;; ----
;; function func0(i64 vmctx) tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64):
;;     return
;; }
;; function func1(i64 vmctx) -> i64 tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i32) -> i64 tail
;;     fn0 = colocated builtin[ref_func] sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64):
;;     v1 = iconst.i64 32
;;     v2 = iadd v0, v1  ; v1 = 32
;;     v3 = load.i64 notrap aligned region0 v2
;;     brif v3, block2, block1
;;
;; block1 cold:
;;     v4 = iconst.i32 0
;;     v5 = call fn0(v0, v4)  ; v4 = 0
;;     jump block2
;;
;; block2:
;;     return v2
;; }
;; function func2(i64 vmctx, i64, i32) -> i32 tail {
;;     region0 = 2 "table head"
;;     region1 = 3 "table elements"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i64, v2: i32):
;;     v3 = uextend.i64 v2
;;     v4 = load.i64 notrap aligned region0 v0+24
;;     v5 = icmp uge v3, v4
;;     trapnz v5, TableOutOfBounds
;;     v6 = load.i64 notrap aligned region0 v0+16
;;     v7 = iconst.i64 3
;;     v8 = ishl v3, v7  ; v7 = 3
;;     v9 = iadd v6, v8
;;     v10 = select_spectre_guard v5, v6, v9
;;     store notrap aligned region1 v1, v10
;;     v11 = iconst.i32 0
;;     v12 = uextend.i64 v11  ; v11 = 0
;;     v13 = load.i64 notrap aligned region0 v0+24
;;     v14 = icmp uge v12, v13
;;     trapnz v14, TableOutOfBounds
;;     v15 = load.i64 notrap aligned region0 v0+16
;;     v16 = iconst.i64 3
;;     v17 = ishl v12, v16  ; v16 = 3
;;     v18 = iadd v15, v17
;;     v19 = select_spectre_guard v14, v15, v18
;;     v20 = load.i64 notrap aligned region1 v19
;;     v21 = iconst.i64 0
;;     v22 = icmp eq v20, v21  ; v21 = 0
;;     v23 = uextend.i32 v22
;;     return v23
;; }
;; function func3(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i32, i64, i64) -> i64 tail
;;     fn0 = colocated builtin[table_grow] sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i64 0
;;     v3 = uextend.i64 v1
;;     v4 = iconst.i32 0
;;     v5 = call fn0(v0, v4, v3, v2)  ; v4 = 0, v2 = 0
;;     v6 = ireduce.i32 v5
;;     return v6
;; }
;; function func4(i64 vmctx) tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64):
;;     v1 = iconst.i8 1
;;     store notrap aligned region0 v1, v0+72  ; v1 = 1
;;     return
;; }
