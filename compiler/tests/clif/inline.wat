;; inline
(module
  (memory 1)
  (func $load (param i32) (result i32) (i32.load (local.get 0)))
  (func $early (param i32 i32) (result i32)
    (if (local.get 0) (then (return (local.get 1))))
    (local.set 0 (call $load (local.get 1)))
    (local.get 0))
  (func (export "f") (param i32) (result i32)
    (local i32)
    (local.set 1 (call $early (local.get 0) (i32.const 7)))
    (i32.add (call $load (local.get 1)) (call $early (i32.const 0) (local.get 1)))))

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
;;     v5 = load.i32 access[0] little region0 v4
;;     return v5
;; }
;; function func1(i64 vmctx, i32, i32) -> i32 tail {
;;     region0 = 8 "memory"
;;     region1 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i32):
;;     v4 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     brif v1, block1, block2
;;
;; block1:
;;     return v2
;;
;; block2:
;;     v3 = uextend.i64 v2
;;     v5 = iadd.i64 v4, v3
;;     v6 = load.i32 access[0] little region0 v5
;;     return v6
;; }
;; function func2(i64 vmctx, i32) -> i32 tail {
;;     region0 = 8 "memory"
;;     region1 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v6 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v2 = iconst.i32 0
;;     v3 = iconst.i32 7
;;     brif v1, block1, block2
;;
;; block1:
;;     jump block3(v3)  ; v3 = 7
;;
;; block2:
;;     v5 = uextend.i64 v3  ; v3 = 7
;;     v7 = iadd.i64 v6, v5
;;     v8 = load.i32 notrap little region0 v7
;;     jump block3(v8)
;;
;; block3(v4: i32):
;;     v9 = uextend.i64 v4
;;     v10 = iadd.i64 v6, v9
;;     v11 = load.i32 access[1] little region0 v10
;;     v12 = iconst.i32 0
;;     brif v12, block4, block5  ; v12 = 0
;;
;; block4:
;;     jump block6(v4)
;;
;; block5:
;;     v14 = uextend.i64 v4
;;     v15 = iadd.i64 v6, v14
;;     v16 = load.i32 access[2] little region0 v15
;;     jump block6(v16)
;;
;; block6(v13: i32):
;;     v17 = iadd.i32 v11, v13
;;     return v17
;; }
