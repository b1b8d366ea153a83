;; epoch
(module
  (memory 1)
  (func $short (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (param i32) (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (param i32) (result i32) (i32.mul (call $short (local.get 0)) (i32.const 3)))
  (func (memory.fill (i32.const 0) (i32.const 1) (i32.const 2))))

;; ----
;; function func0(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i32 1
;;     v3 = iadd v1, v2  ; v2 = 1
;;     return v3
;; }
;; function func1(i64 vmctx, i32) tail {
;;     region0 = 0 "vm"
;;     region1 = 7 "interrupt"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64) preserve_all
;;     fn0 = colocated builtin[interrupted] sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     jump block1(v1)
;;
;; block1(v6: i32):
;;     v5 -> v6
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;     sequence_point
;;     v3 = load.i64 notrap aligned region1 v2+16
;;     v4 = icmp ult v2, v3
;;     brif v4, block2, block3
;;
;; block2 cold:
;;     call fn0(v0)
;;     jump block3
;;
;; block3:
;;     v7 = iconst.i32 1
;;     v8 = isub.i32 v6, v7  ; v7 = 1
;;     brif v8, block1(v8), block4
;;
;; block4:
;;     return
;; }
;; function func2(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     region1 = 7 "interrupt"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64) preserve_all
;;     sig1 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated builtin[interrupted] sig0
;;     fn1 = colocated func0 sig1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v5 -> v1
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;     sequence_point
;;     v3 = load.i64 notrap aligned region1 v2+16
;;     v4 = icmp ult v2, v3
;;     brif v4, block1, block2
;;
;; block1 cold:
;;     call fn0(v0)
;;     jump block2
;;
;; block2:
;;     v6 = call fn1(v0, v1)
;;     v7 = iconst.i32 3
;;     v8 = imul v6, v7  ; v7 = 3
;;     return v8
;; }
;; function func3(i64 vmctx) tail {
;;     region0 = 1 "memory head"
;;     region1 = 0 "vm"
;;     region2 = 8 "memory"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64):
;;     v9 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v1 = iconst.i32 0
;;     v2 = iconst.i32 1
;;     v3 = iconst.i32 2
;;     v4 = uextend.i64 v1  ; v1 = 0
;;     v5 = uextend.i64 v3  ; v3 = 2
;;     v6 = iadd v4, v5
;;     v7 = load.i64 notrap aligned region0 v0+24
;;     v8 = icmp ugt v6, v7
;;     trapnz v8, MemoryOutOfBounds
;;     v10 = iadd v9, v4
;;     v11 = ireduce.i8 v2  ; v2 = 1
;;     v12 = uextend.i64 v11
;;     v13 = iconst.i64 0x0101_0101_0101_0101
;;     v14 = imul v12, v13  ; v13 = 0x0101_0101_0101_0101
;;     v15 = ireduce.i16 v14
;;     store access[0] little region2 v15, v10
;;     return
;; }
