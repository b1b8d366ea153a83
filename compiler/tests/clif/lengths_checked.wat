;; checked
;; The length is subtracted from once in a run of checks, at its end. What cannot be beyond the
;; minimum is not checked.
(module
  (memory 1)
  (func $leaf)
  (func $run (param i32 i32 i32) (result i32)
    (i32.add (i32.load (local.get 0)) (i32.add (i32.load8_u (local.get 1)) (i32.load (local.get 2)))))
  (func $calls (param i32 i32) (result i32)
    (i32.load (local.get 0))
    (call $leaf)
    (i32.add (i32.load (local.get 1))))
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
;;     v1 = get_stack_pointer.i64
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;     v3 = load.i64 notrap aligned region0 v2
;;     v4 = icmp ult v1, v3
;;     trapnz v4, StackOverflow
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
;;     v4 = get_stack_pointer.i64
;;     v5 = load.i64 notrap aligned readonly can_move region0 v0
;;     v6 = load.i64 notrap aligned region0 v5
;;     v7 = icmp ult v4, v6
;;     trapnz v7, StackOverflow
;;     v9 = uload32 notrap aligned region2 v0+24
;;     v10 = ireduce.i32 v9
;;     v11 = iconst.i32 -4
;;     v12 = iadd v10, v11  ; v11 = -4
;;     v13 = icmp ugt v1, v12
;;     trapnz v13, MemoryOutOfBounds
;;     v14 = load.i32 notrap aligned region2 v0+32
;;     v15 = band v1, v14
;;     v16 = uextend.i64 v15
;;     v17 = load.i64 notrap aligned region2 v0+16
;;     v18 = iadd v17, v16
;;     v19 = load.i32 little region1 v18
;;     v20 = uload32 notrap aligned region2 v0+24
;;     v21 = ireduce.i32 v20
;;     v22 = iconst.i32 1
;;     v23 = isub v21, v22  ; v22 = 1
;;     v24 = icmp ugt v2, v23
;;     trapnz v24, MemoryOutOfBounds
;;     v25 = load.i32 notrap aligned region2 v0+32
;;     v26 = band v2, v25
;;     v27 = uextend.i64 v26
;;     v28 = load.i64 notrap aligned region2 v0+16
;;     v29 = iadd v28, v27
;;     v30 = uload8.i32 little region1 v29
;;     v31 = uload32 notrap aligned region2 v0+24
;;     v32 = ireduce.i32 v31
;;     v33 = iconst.i32 -4
;;     v34 = iadd v32, v33  ; v33 = -4
;;     v35 = icmp ugt v3, v34
;;     trapnz v35, MemoryOutOfBounds
;;     v36 = load.i32 notrap aligned region2 v0+32
;;     v37 = band v3, v36
;;     v38 = uextend.i64 v37
;;     v39 = load.i64 notrap aligned region2 v0+16
;;     v40 = iadd v39, v38
;;     v41 = load.i32 little region1 v40
;;     v42 = iadd v30, v41
;;     v43 = iadd v19, v42
;;     return v43
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
;;     v8 = uload32 notrap aligned region2 v0+24
;;     v9 = ireduce.i32 v8
;;     v10 = iconst.i32 4
;;     v11 = isub v9, v10  ; v10 = 4
;;     v12 = icmp ugt v1, v11
;;     trapnz v12, MemoryOutOfBounds
;;     v13 = load.i32 notrap aligned region2 v0+32
;;     v14 = band v1, v13
;;     v15 = uextend.i64 v14
;;     v16 = load.i64 notrap aligned region2 v0+16
;;     v17 = iadd v16, v15
;;     v18 = load.i32 little region1 v17
;;     call fn0(v0)
;;     v19 = uload32 notrap aligned region2 v0+24
;;     v20 = ireduce.i32 v19
;;     v21 = iconst.i32 4
;;     v22 = isub v20, v21  ; v21 = 4
;;     v23 = icmp ugt v2, v22
;;     trapnz v23, MemoryOutOfBounds
;;     v24 = load.i32 notrap aligned region2 v0+32
;;     v25 = band v2, v24
;;     v26 = uextend.i64 v25
;;     v27 = load.i64 notrap aligned region2 v0+16
;;     v28 = iadd v27, v26
;;     v29 = load.i32 little region1 v28
;;     v30 = iadd v18, v29
;;     return v30
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
;;     v2 = get_stack_pointer.i64
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region0 v3
;;     v5 = icmp ult v2, v4
;;     trapnz v5, StackOverflow
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
