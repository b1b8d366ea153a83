;; checked
(module
  (memory 1 2 shared)
  (memory $fixed 1 1 shared)
  (memory $unshared 1)
  (func (param i32 i32) (result i32)
    (i32.atomic.rmw8.add_u offset=3 (local.get 0) (local.get 1)))
  (func (param i32 i64 i64) (result i64)
    (i64.atomic.rmw.cmpxchg (local.get 0) (local.get 1) (local.get 2)))
  (func (param i32) (result i64)
    (i64.atomic.store16 (i32.const 8) (i64.const 5))
    (atomic.fence)
    (i64.atomic.load32_u $fixed (local.get 0)))
  (func (param i32) (result i32)
    (memory.atomic.notify offset=4 (local.get 0)
      (memory.atomic.wait32 (i32.const 4) (i32.const 0) (i64.const -1))))
  (func (result i32) (i32.add (memory.size) (memory.size $fixed)))
  (func (param i32) (result i32)
    (i32.atomic.rmw.sub $unshared (local.get 0) (i32.const 1))))

;; ----
;; function func0(i64 vmctx, i32, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 5 "shared memory"
;;     region2 = 1 "memory head"
;;
;; block0(v0: i64, v1: i32, v2: i32):
;;     v18 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v19 = load.i64 notrap aligned readonly can_move region0 v18
;;     v7 = stack_addr.i64 ss0
;;     store notrap v0, v7
;;     v8 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     sequence_point
;;     v9 = uload32 notrap aligned region2 v8+8
;;     v10 = ireduce.i32 v9
;;     v11 = iconst.i32 -4
;;     v12 = iadd v10, v11  ; v11 = -4
;;     v13 = icmp ugt v1, v12
;;     trapnz v13, MemoryOutOfBounds
;;     v14 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v15 = load.i32 notrap aligned region2 v14+16
;;     v16 = band v1, v15
;;     v17 = uextend.i64 v16
;;     v20 = iadd v19, v17
;;     v21 = iconst.i64 3
;;     v22 = iadd v20, v21  ; v21 = 3
;;     v23 = ireduce.i8 v2
;;     v24 = atomic_rmw.i8 add v22, v23
;;     v25 = uextend.i32 v24
;;     return v25
;; }
;; function func1(i64 vmctx, i32, i64, i64) -> i64 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 5 "shared memory"
;;     region2 = 1 "memory head"
;;
;; block0(v0: i64, v1: i32, v2: i64, v3: i64):
;;     v21 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v22 = load.i64 notrap aligned readonly can_move region0 v21
;;     v8 = stack_addr.i64 ss0
;;     store notrap v0, v8
;;     v9 = iconst.i32 7
;;     v10 = band v1, v9  ; v9 = 7
;;     trapnz v10, HeapMisaligned
;;     v11 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     sequence_point
;;     v12 = uload32 notrap aligned region2 v11+8
;;     v13 = ireduce.i32 v12
;;     v14 = iconst.i32 -8
;;     v15 = iadd v13, v14  ; v14 = -8
;;     v16 = icmp ugt v1, v15
;;     trapnz v16, MemoryOutOfBounds
;;     v17 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v18 = load.i32 notrap aligned region2 v17+16
;;     v19 = band v1, v18
;;     v20 = uextend.i64 v19
;;     v23 = iadd v22, v20
;;     v24 = atomic_cas v23, v2, v3
;;     return v24
;; }
;; function func2(i64 vmctx, i32) -> i64 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 5 "shared memory"
;;     region2 = 1 "memory head"
;;
;; block0(v0: i64, v1: i32):
;;     v24 = load.i64 notrap aligned readonly can_move region0 v0+24
;;     v25 = load.i64 notrap aligned readonly can_move region0 v24
;;     v12 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v13 = load.i64 notrap aligned readonly can_move region0 v12
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v7 = iconst.i32 8
;;     v8 = iconst.i64 5
;;     v9 = iconst.i32 1
;;     v10 = band v7, v9  ; v7 = 8, v9 = 1
;;     trapnz v10, HeapMisaligned
;;     v11 = uextend.i64 v7  ; v7 = 8
;;     v14 = iadd v13, v11
;;     v15 = ireduce.i16 v8  ; v8 = 5
;;     atomic_store notrap little region1 v15, v14
;;     fence
;;     v16 = iconst.i32 3
;;     v17 = band v1, v16  ; v16 = 3
;;     trapnz v17, HeapMisaligned
;;     v18 = iconst.i32 0xfffc
;;     v19 = icmp ugt v1, v18  ; v18 = 0xfffc
;;     trapnz v19, MemoryOutOfBounds
;;     v20 = load.i64 notrap aligned readonly can_move region0 v0+24
;;     v21 = load.i32 notrap aligned region2 v20+16
;;     v22 = band v1, v21
;;     v23 = uextend.i64 v22
;;     v26 = iadd v25, v23
;;     v27 = atomic_load.i32 little region1 v26
;;     v28 = uextend.i64 v27
;;     return v28
;; }
;; function func3(i64 vmctx, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     sig0 = (i64, i32, i64, i32, i64) -> i32 tail
;;     sig1 = (i64, i32, i64, i32) -> i32 tail
;;     fn0 = colocated builtin[memory_wait32] sig0
;;     fn1 = colocated builtin[memory_notify] sig1
;;
;; block0(v0: i64, v1: i32):
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v2 = get_stack_pointer.i64
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region0 v3
;;     v5 = icmp ult v2, v4
;;     trapnz v5, StackOverflow
;;     v7 = iconst.i32 4
;;     v8 = iconst.i32 0
;;     v9 = iconst.i64 -1
;;     v10 = uextend.i64 v7  ; v7 = 4
;;     v11 = iconst.i32 0
;;     v12 = call fn0(v0, v11, v10, v8, v9)  ; v11 = 0, v8 = 0, v9 = -1
;;     v13 = uextend.i64 v1
;;     v14 = iconst.i64 4
;;     v15, v16 = uadd_overflow v13, v14  ; v14 = 4
;;     v17 = iconst.i32 0
;;     v18 = call fn1(v0, v17, v15, v12)  ; v17 = 0
;;     return v18
;; }
;; function func4(i64 vmctx) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 1 "memory head"
;;
;; block0(v0: i64):
;;     v5 = stack_addr.i64 ss0
;;     store notrap v0, v5
;;     v6 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v7 = iconst.i64 8
;;     v8 = iadd v6, v7  ; v7 = 8
;;     v9 = atomic_load.i64 notrap aligned region1 v8
;;     v10 = iconst.i64 16
;;     v11 = ushr v9, v10  ; v10 = 16
;;     v12 = ireduce.i32 v11
;;     v13 = iconst.i64 0x0001_0000
;;     v14 = iconst.i64 16
;;     v15 = ushr v13, v14  ; v13 = 0x0001_0000, v14 = 16
;;     v16 = ireduce.i32 v15
;;     v17 = iadd v12, v16
;;     return v17
;; }
;; function func5(i64 vmctx, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 12 "memory"
;;     region2 = 1 "memory head"
;;
;; block0(v0: i64, v1: i32):
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v7 = iconst.i32 1
;;     v8 = iconst.i32 3
;;     v9 = band v1, v8  ; v8 = 3
;;     trapnz v9, HeapMisaligned
;;     v10 = load.i32 notrap aligned region2 v0+64
;;     v11 = icmp ugt v1, v10
;;     trapnz v11, MemoryOutOfBounds
;;     v12 = load.i32 notrap aligned region2 v0+48
;;     v13 = band v1, v12
;;     v14 = uextend.i64 v13
;;     v15 = load.i64 notrap aligned region2 v0+32
;;     v16 = iadd v15, v14
;;     v17 = load.i32 little region1 v16
;;     v18 = isub v17, v7  ; v7 = 1
;;     v19 = load.i64 notrap aligned region2 v0+32
;;     v20 = iadd v19, v14
;;     store little region1 v18, v20
;;     return v17
;; }
