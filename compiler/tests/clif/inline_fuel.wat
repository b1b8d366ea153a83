;; inline fuel
(module
  (func $add (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func $stop (param i32) (if (local.get 0) (then (unreachable))))
  (func (export "f") (param i32) (result i32)
    (call $stop (local.get 0))
    (call $add (local.get 0) (i32.const 7))))

;; ----
;; function func0(i64 vmctx, i32, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     region1 = 4294967295 "fuel"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i32):
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region1 v3+8
;;     v5 = iconst.i64 -1
;;     v6 = icmp sge v4, v5  ; v5 = -1
;;     trapnz v6, OutOfFuel
;;     v7 = iadd v1, v2
;;     v8 = iconst.i64 4
;;     v9 = iadd v4, v8  ; v8 = 4
;;     v10 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v9, v10+8
;;     return v7
;; }
;; function func1(i64 vmctx, i32) tail {
;;     region0 = 0 "vm"
;;     region1 = 4294967295 "fuel"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;     v3 = load.i64 notrap aligned region1 v2+8
;;     v4 = iconst.i64 -1
;;     v5 = icmp sge v3, v4  ; v4 = -1
;;     trapnz v5, OutOfFuel
;;     brif v1, block1, block2
;;
;; block1:
;;     v6 = iconst.i64 3
;;     v7 = iadd.i64 v3, v6  ; v6 = 3
;;     v8 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v7, v8+8
;;     sequence_point
;;     trap UnreachableCodeReached
;;
;; block2:
;;     v9 = iconst.i64 3
;;     v10 = iadd.i64 v3, v9  ; v9 = 3
;;     v11 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v10, v11+8
;;     return
;; }
;; function func2(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     region1 = 4294967295 "fuel"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;     v3 = load.i64 notrap aligned region1 v2+8
;;     v4 = iconst.i64 -1
;;     v5 = icmp sge v3, v4  ; v4 = -1
;;     trapnz v5, OutOfFuel
;;     v6 = iconst.i64 4
;;     v7 = uadd_overflow_trap v3, v6, OutOfFuel  ; v6 = 4
;;     brif v1, block1, block2
;;
;; block1:
;;     v8 = iconst.i64 2
;;     v9 = iadd.i64 v7, v8  ; v8 = 2
;;     v10 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v9, v10+8
;;     sequence_point
;;     trap UnreachableCodeReached
;;
;; block2:
;;     v11 = iconst.i32 7
;;     v12 = iconst.i64 6
;;     v13 = uadd_overflow_trap.i64 v7, v12, OutOfFuel  ; v12 = 6
;;     v14 = iadd.i32 v1, v11  ; v11 = 7
;;     v15 = iconst.i64 3
;;     v16 = iadd v13, v15  ; v15 = 3
;;     v17 = load.i64 notrap aligned readonly can_move region0 v0
;;     store notrap aligned region1 v16, v17+8
;;     return v14
;; }
