;; checked epoch
(module
  (memory 1)
  (func $short (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (param i32) (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (param i32) (result i32) (i32.mul (call $short (local.get 0)) (i32.const 3)))
  (func (memory.fill (i32.const 0) (i32.const 1) (i32.const 2))))

;; ----
;; function func0(i64 vmctx, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;
;; block0(v0: i64, v1: i32):
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v7 = iconst.i32 1
;;     v8 = iadd v1, v7  ; v7 = 1
;;     return v8
;; }
;; function func1(i64 vmctx, i32) tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 7 "interrupt"
;;     sig0 = (i64) preserve_all
;;     fn0 = colocated builtin[interrupted] sig0
;;
;; block0(v0: i64, v1: i32):
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v2 = get_stack_pointer.i64
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region0 v3
;;     v5 = icmp ult v2, v4
;;     trapnz v5, StackOverflow
;;     jump block1(v1)
;;
;; block1(v11: i32):
;;     v10 -> v11
;;     v7 = load.i64 notrap aligned readonly can_move region0 v0
;;     sequence_point
;;     v8 = load.i64 notrap aligned region1 v7+16
;;     v9 = icmp ult v7, v8
;;     brif v9, block2, block3
;;
;; block2 cold:
;;     call fn0(v0)
;;     jump block3
;;
;; block3:
;;     v12 = iconst.i32 1
;;     v13 = isub.i32 v11, v12  ; v12 = 1
;;     brif v13, block1(v13), block4
;;
;; block4:
;;     return
;; }
;; function func2(i64 vmctx, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 7 "interrupt"
;;     sig0 = (i64) preserve_all
;;     sig1 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated builtin[interrupted] sig0
;;     fn1 = colocated func0 sig1
;;
;; block0(v0: i64, v1: i32):
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v2 = get_stack_pointer.i64
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region0 v3
;;     v5 = icmp ult v2, v4
;;     trapnz v5, StackOverflow
;;     v7 = load.i64 notrap aligned readonly can_move region0 v0
;;     sequence_point
;;     v8 = load.i64 notrap aligned region1 v7+16
;;     v9 = icmp ult v7, v8
;;     brif v9, block1, block2
;;
;; block1 cold:
;;     call fn0(v0)
;;     jump block2
;;
;; block2:
;;     v10 = call fn1(v0, v1)
;;     v11 = iconst.i32 3
;;     v12 = imul v10, v11  ; v11 = 3
;;     return v12
;; }
;; function func3(i64 vmctx) tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 1 "memory head"
;;     region2 = 8 "memory"
;;
;; block0(v0: i64):
;;     v5 = stack_addr.i64 ss0
;;     store notrap v0, v5
;;     v6 = iconst.i32 0
;;     v7 = iconst.i32 1
;;     v8 = iconst.i32 2
;;     v9 = uextend.i64 v6  ; v6 = 0
;;     v10 = uextend.i64 v8  ; v8 = 2
;;     v11 = iadd v9, v10
;;     v12 = load.i64 notrap aligned region1 v0+24
;;     v13 = icmp ugt v11, v12
;;     trapnz v13, MemoryOutOfBounds
;;     v14 = load.i64 notrap aligned region1 v0+16
;;     v15 = iadd v14, v9
;;     v16 = iconst.i64 0
;;     v17 = select_spectre_guard v13, v16, v15  ; v16 = 0
;;     v18 = ireduce.i8 v7  ; v7 = 1
;;     v19 = uextend.i64 v18
;;     v20 = iconst.i64 0x0101_0101_0101_0101
;;     v21 = imul v19, v20  ; v20 = 0x0101_0101_0101_0101
;;     v22 = ireduce.i16 v21
;;     store little region2 v22, v17
;;     return
;; }
