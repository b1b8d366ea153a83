(module
  (func (param i32) (result i32)
    (@metadata.code.branch_hint "\00")
    (if (result i32) (local.get 0) (then (i32.const 1)) (else (i32.const 2))))
  (func (param i32) (result i32)
    (@metadata.code.branch_hint "\01")
    (if (result i32) (local.get 0) (then (i32.const 1)) (else (i32.const 2))))
  (func (param i32) (result i32)
    (block $out (result i32)
      (@metadata.code.branch_hint "\00")
      (br_if $out (i32.const 7) (local.get 0))))
  (func (param i32)
    (loop $again
      (@metadata.code.branch_hint "\01")
      (br_if $again (local.get 0))))
  (func (param i32)
    (loop $again (br_if $again (local.get 0)))))

;; ----
;; function func0(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     brif v1, block1, block2
;;
;; block1 cold:
;;     v2 = iconst.i32 1
;;     jump block3(v2)  ; v2 = 1
;;
;; block2:
;;     v4 = iconst.i32 2
;;     jump block3(v4)  ; v4 = 2
;;
;; block3(v3: i32):
;;     return v3
;; }
;; function func1(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     brif v1, block1, block2
;;
;; block1:
;;     v2 = iconst.i32 1
;;     jump block3(v2)  ; v2 = 1
;;
;; block2 cold:
;;     v4 = iconst.i32 2
;;     jump block3(v4)  ; v4 = 2
;;
;; block3(v3: i32):
;;     return v3
;; }
;; function func2(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i32 7
;;     brif v1, block2, block1
;;
;; block2 cold:
;;     jump block3(v2)  ; v2 = 7
;;
;; block1:
;;     jump block3(v2)  ; v2 = 7
;;
;; block3(v3: i32):
;;     return v3
;; }
;; function func3(i64 vmctx, i32) tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 -> v1
;;     jump block1
;;
;; block1:
;;     brif.i32 v2, block1, block2
;;
;; block2 cold:
;;     return
;; }
;; function func4(i64 vmctx, i32) tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 -> v1
;;     jump block1
;;
;; block1:
;;     brif.i32 v2, block1, block2
;;
;; block2:
;;     return
;; }
