(module
  (func (param i64 i64) (result i64 i64) (i64.mul_wide_s (local.get 0) (local.get 1)))
  (func (param i64 i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 1)))
  (func (param i64 i64 i64 i64) (result i64 i64)
    (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func (param i64 i64 i64 i64) (result i64 i64)
    (i64.sub128 (local.get 0) (local.get 1) (local.get 2) (local.get 3))))

;; ----
;; function func0(i64 vmctx, i64, i64) -> i64, i64 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i64, v2: i64):
;;     v3 = sextend.i128 v1
;;     v4 = sextend.i128 v2
;;     v5 = imul v3, v4
;;     v6, v7 = isplit v5
;;     return v6, v7
;; }
;; function func1(i64 vmctx, i64, i64) -> i64, i64 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i64, v2: i64):
;;     v3 = uextend.i128 v1
;;     v4 = uextend.i128 v2
;;     v5 = imul v3, v4
;;     v6, v7 = isplit v5
;;     return v6, v7
;; }
;; function func2(i64 vmctx, i64, i64, i64, i64) -> i64, i64 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i64, v2: i64, v3: i64, v4: i64):
;;     v5 = iconcat v3, v4
;;     v6 = iconcat v1, v2
;;     v7 = iadd v6, v5
;;     v8, v9 = isplit v7
;;     return v8, v9
;; }
;; function func3(i64 vmctx, i64, i64, i64, i64) -> i64, i64 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i64, v2: i64, v3: i64, v4: i64):
;;     v5 = iconcat v3, v4
;;     v6 = iconcat v1, v2
;;     v7 = isub v6, v5
;;     v8, v9 = isplit v7
;;     return v8, v9
;; }
