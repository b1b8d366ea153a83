(module
  (memory 1)
  (func (param i32) (result i32)
    (i32.add (i32.load offset=4 (local.get 0)) (i32.load8_u (local.get 0))))
  (func (param i32 f64)
    (f64.store offset=0x1fffff8 (local.get 0) (local.get 1))
    (f64.store offset=0x1fffff9 (local.get 0) (local.get 1))))

;; ----
;; function func0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 8 "memory"
;;     region1 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v3 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v2 = uextend.i64 v1
;;     v4 = iadd v3, v2
;;     v5 = load.i32 access[0] little region0 v4+4
;;     v6 = uextend.i64 v1
;;     v7 = iadd v3, v6
;;     v8 = uload8.i32 access[1] little region0 v7
;;     v9 = iadd v5, v8
;;     return v9
;; }
;; function func1(i64 vmctx, i32, f64) tail {
;;     region0 = 8 "memory"
;;     region1 = 0 "vm"
;;     region2 = 1 "memory head"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: f64):
;;     v4 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v3 = uextend.i64 v1
;;     v5 = iadd v4, v3
;;     store access[0] little region0 v2, v5+0x01ff_fff8
;;     v6 = uextend.i64 v1
;;     v7 = load.i64 notrap aligned region2 v0+24
;;     v8 = iconst.i64 0x0200_0001
;;     v9 = iadd v6, v8  ; v8 = 0x0200_0001
;;     v10 = icmp ugt v9, v7
;;     trapnz v10, MemoryOutOfBounds
;;     v11 = iadd v4, v6
;;     v12 = iconst.i64 0x01ff_fff9
;;     v13 = iadd v11, v12  ; v12 = 0x01ff_fff9
;;     v14 = iconst.i64 0
;;     v15 = select_spectre_guard v10, v14, v13  ; v14 = 0
;;     store access[1] little region0 v2, v15
;;     return
;; }
