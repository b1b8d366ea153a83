(module
  (import "m" "m" (memory i64 1))
  (func (param i64) (result i64)
    (i64.load offset=0xffffffff_fffffff0 (local.get 0)))
  (func (param i64) (result i64)
    (i64.load offset=0xffffffff_ffffffff (local.get 0)))
  (func (result i64) (memory.size)))

;; ----
;; function func0(i64 vmctx, i64) -> i64 tail {
;;     region0 = 5 "shared memory"
;;     region1 = 0 "vm"
;;     region2 = 1 "memory head"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i64):
;;     v2 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v3 = load.i64 notrap aligned region2 v2+8
;;     v4 = iconst.i64 -8
;;     v5, v6 = uadd_overflow v1, v4  ; v4 = -8
;;     v7 = icmp ugt v5, v3
;;     v8 = bor v6, v7
;;     trapnz v8, MemoryOutOfBounds
;;     v9 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v10 = load.i64 notrap aligned region2 v9
;;     v11 = iadd v10, v1
;;     v12 = iconst.i64 -16
;;     v13 = iadd v11, v12  ; v12 = -16
;;     v14 = iconst.i64 0
;;     v15 = select_spectre_guard v8, v14, v13  ; v14 = 0
;;     v16 = load.i64 access[0] little region0 v15
;;     return v16
;; }
;; function func1(i64 vmctx, i64) -> i64 tail {
;;     region0 = 5 "shared memory"
;;     region1 = 0 "vm"
;;     region2 = 1 "memory head"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i64):
;;     v2 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v3 = load.i64 notrap aligned region2 v2+8
;;     v4 = iconst.i8 1
;;     trapnz v4, MemoryOutOfBounds  ; v4 = 1
;;     v5 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v6 = load.i64 notrap aligned region2 v5
;;     v7 = iadd v6, v1
;;     v8 = iconst.i64 -1
;;     v9 = iadd v7, v8  ; v8 = -1
;;     v10 = iconst.i64 0
;;     v11 = select_spectre_guard v4, v10, v9  ; v4 = 1, v10 = 0
;;     v12 = load.i64 access[0] little region0 v11
;;     return v12
;; }
;; function func2(i64 vmctx) -> i64 tail {
;;     region0 = 0 "vm"
;;     region1 = 1 "memory head"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64):
;;     v1 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v2 = load.i64 notrap aligned region1 v1+8
;;     v3 = iconst.i64 16
;;     v4 = ushr v2, v3  ; v3 = 16
;;     return v4
;; }
