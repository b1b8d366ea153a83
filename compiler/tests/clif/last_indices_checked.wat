;; checked
;; Indices are compared with the last one for the access's end, which is in memory for usual ends.
;; What cannot be beyond the minimum is not checked.
(module
  (memory 1)
  (func $leaf)
  (func $run (param i32 i32 i32) (result i32)
    (i32.add (i32.load (local.get 0)) (i32.add (i32.load8_u (local.get 1)) (i32.load (local.get 2)))))
  (func $calls (param i32 i32) (result i32)
    (i32.load (local.get 0))
    (call $leaf)
    (i32.add (i32.load (local.get 1))))
  (func $unusual (param i32) (result i32) (i32.load offset=96 (local.get 0)))
  (func $below (param i32) (result i32)
    (i32.load offset=64512 (i32.shl (i32.and (local.get 0) (i32.const 255)) (i32.const 2)))))

;; ----
;; function func0(i64 vmctx) tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;
;; block0(v0: i64):
;;     v5 = stack_addr.i64 ss0
;;     store notrap v0, v5
;;     return
;; }
;; function func1(i64 vmctx, i32, i32, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 8 "memory"
;;     region2 = 1 "memory head"
;;
;; block0(v0: i64, v1: i32, v2: i32, v3: i32):
;;     v8 = stack_addr.i64 ss0
;;     store notrap v0, v8
;;     v9 = load.i32 notrap aligned region2 v0+48
;;     v10 = icmp ugt v1, v9
;;     trapnz v10, MemoryOutOfBounds
;;     v11 = load.i32 notrap aligned region2 v0+32
;;     v12 = band v1, v11
;;     v13 = uextend.i64 v12
;;     v14 = load.i64 notrap aligned region2 v0+16
;;     v15 = iadd v14, v13
;;     v16 = load.i32 little region1 v15
;;     v17 = load.i32 notrap aligned region2 v0+40
;;     v18 = icmp ugt v2, v17
;;     trapnz v18, MemoryOutOfBounds
;;     v19 = load.i32 notrap aligned region2 v0+32
;;     v20 = band v2, v19
;;     v21 = uextend.i64 v20
;;     v22 = load.i64 notrap aligned region2 v0+16
;;     v23 = iadd v22, v21
;;     v24 = uload8.i32 little region1 v23
;;     v25 = load.i32 notrap aligned region2 v0+48
;;     v26 = icmp ugt v3, v25
;;     trapnz v26, MemoryOutOfBounds
;;     v27 = load.i32 notrap aligned region2 v0+32
;;     v28 = band v3, v27
;;     v29 = uextend.i64 v28
;;     v30 = load.i64 notrap aligned region2 v0+16
;;     v31 = iadd v30, v29
;;     v32 = load.i32 little region1 v31
;;     v33 = iadd v24, v32
;;     v34 = iadd v16, v33
;;     return v34
;; }
;; function func2(i64 vmctx, i32, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 8 "memory"
;;     region2 = 1 "memory head"
;;     sig0 = (i64 vmctx) tail
;;     fn0 = colocated func0 sig0
;;
;; block0(v0: i64, v1: i32, v2: i32):
;;     v7 = stack_addr.i64 ss0
;;     store notrap v0, v7
;;     v3 = get_stack_pointer.i64
;;     v4 = load.i64 notrap aligned readonly can_move region0 v0
;;     v5 = load.i64 notrap aligned region0 v4
;;     v6 = icmp ult v3, v5
;;     trapnz v6, StackOverflow
;;     v8 = load.i32 notrap aligned region2 v0+48
;;     v9 = icmp ugt v1, v8
;;     trapnz v9, MemoryOutOfBounds
;;     v10 = load.i32 notrap aligned region2 v0+32
;;     v11 = band v1, v10
;;     v12 = uextend.i64 v11
;;     v13 = load.i64 notrap aligned region2 v0+16
;;     v14 = iadd v13, v12
;;     v15 = load.i32 little region1 v14
;;     call fn0(v0)
;;     v16 = load.i32 notrap aligned region2 v0+48
;;     v17 = icmp ugt v2, v16
;;     trapnz v17, MemoryOutOfBounds
;;     v18 = load.i32 notrap aligned region2 v0+32
;;     v19 = band v2, v18
;;     v20 = uextend.i64 v19
;;     v21 = load.i64 notrap aligned region2 v0+16
;;     v22 = iadd v21, v20
;;     v23 = load.i32 little region1 v22
;;     v24 = iadd v15, v23
;;     return v24
;; }
;; function func3(i64 vmctx, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 8 "memory"
;;     region2 = 1 "memory head"
;;
;; block0(v0: i64, v1: i32):
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v7 = uload32 notrap aligned region2 v0+24
;;     v8 = ireduce.i32 v7
;;     v9 = iconst.i32 -100
;;     v10 = iadd v8, v9  ; v9 = -100
;;     v11 = icmp ugt v1, v10
;;     trapnz v11, MemoryOutOfBounds
;;     v12 = load.i32 notrap aligned region2 v0+32
;;     v13 = band v1, v12
;;     v14 = uextend.i64 v13
;;     v15 = load.i64 notrap aligned region2 v0+16
;;     v16 = iadd v15, v14
;;     v17 = load.i32 little region1 v16+96
;;     return v17
;; }
;; function func4(i64 vmctx, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 8 "memory"
;;     region2 = 1 "memory head"
;;
;; block0(v0: i64, v1: i32):
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v7 = iconst.i32 255
;;     v8 = band v1, v7  ; v7 = 255
;;     v9 = iconst.i32 2
;;     v10 = ishl v8, v9  ; v9 = 2
;;     v11 = uextend.i64 v10
;;     v12 = load.i64 notrap aligned region2 v0+16
;;     v13 = iadd v12, v11
;;     v14 = load.i32 notrap little region1 v13+0xfc00
;;     return v14
;; }
