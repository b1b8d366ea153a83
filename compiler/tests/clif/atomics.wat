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
;;     region0 = 5 "shared memory"
;;     region1 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i32):
;;     v4 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v5 = load.i64 notrap aligned readonly can_move region1 v4
;;     v3 = uextend.i64 v1
;;     v6 = iadd v5, v3
;;     v7 = iconst.i64 3
;;     v8 = iadd v6, v7  ; v7 = 3
;;     v9 = ireduce.i8 v2
;;     v10 = atomic_rmw.i8 add v8, v9
;;     v11 = uextend.i32 v10
;;     return v11
;; }
;; function func1(i64 vmctx, i32, i64, i64) -> i64 tail {
;;     region0 = 5 "shared memory"
;;     region1 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i64, v3: i64):
;;     v7 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v8 = load.i64 notrap aligned readonly can_move region1 v7
;;     v4 = iconst.i32 7
;;     v5 = band v1, v4  ; v4 = 7
;;     trapnz v5, HeapMisaligned
;;     v6 = uextend.i64 v1
;;     v9 = iadd v8, v6
;;     v10 = atomic_cas v9, v2, v3
;;     return v10
;; }
;; function func2(i64 vmctx, i32) -> i64 tail {
;;     region0 = 5 "shared memory"
;;     region1 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v14 = load.i64 notrap aligned readonly can_move region1 v0+24
;;     v15 = load.i64 notrap aligned readonly can_move region1 v14
;;     v7 = load.i64 notrap aligned readonly can_move region1 v0+16
;;     v8 = load.i64 notrap aligned readonly can_move region1 v7
;;     v2 = iconst.i32 8
;;     v3 = iconst.i64 5
;;     v4 = iconst.i32 1
;;     v5 = band v2, v4  ; v2 = 8, v4 = 1
;;     trapnz v5, HeapMisaligned
;;     v6 = uextend.i64 v2  ; v2 = 8
;;     v9 = iadd v8, v6
;;     v10 = ireduce.i16 v3  ; v3 = 5
;;     atomic_store notrap little region0 v10, v9
;;     fence
;;     v11 = iconst.i32 3
;;     v12 = band v1, v11  ; v11 = 3
;;     trapnz v12, HeapMisaligned
;;     v13 = uextend.i64 v1
;;     v16 = iadd v15, v13
;;     v17 = atomic_load.i32 access[1] little region0 v16
;;     v18 = uextend.i64 v17
;;     return v18
;; }
;; function func3(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i32, i64, i32, i64) -> i32 tail
;;     sig1 = (i64, i32, i64, i32) -> i32 tail
;;     fn0 = colocated builtin[memory_wait32] sig0
;;     fn1 = colocated builtin[memory_notify] sig1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i32 4
;;     v3 = iconst.i32 0
;;     v4 = iconst.i64 -1
;;     v5 = uextend.i64 v2  ; v2 = 4
;;     v6 = iconst.i32 0
;;     v7 = call fn0(v0, v6, v5, v3, v4)  ; v6 = 0, v3 = 0, v4 = -1
;;     v8 = uextend.i64 v1
;;     v9 = iconst.i64 4
;;     v10, v11 = uadd_overflow v8, v9  ; v9 = 4
;;     v12 = iconst.i32 0
;;     v13 = call fn1(v0, v12, v10, v7)  ; v12 = 0
;;     return v13
;; }
;; function func4(i64 vmctx) -> i32 tail {
;;     region0 = 0 "vm"
;;     region1 = 1 "memory head"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64):
;;     v1 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v2 = iconst.i64 8
;;     v3 = iadd v1, v2  ; v2 = 8
;;     v4 = atomic_load.i64 notrap aligned region1 v3
;;     v5 = iconst.i64 16
;;     v6 = ushr v4, v5  ; v5 = 16
;;     v7 = ireduce.i32 v6
;;     v8 = iconst.i64 0x0001_0000
;;     v9 = iconst.i64 16
;;     v10 = ushr v8, v9  ; v8 = 0x0001_0000, v9 = 16
;;     v11 = ireduce.i32 v10
;;     v12 = iadd v7, v11
;;     return v12
;; }
;; function func5(i64 vmctx, i32) -> i32 tail {
;;     region0 = 12 "memory"
;;     region1 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v6 = load.i64 notrap aligned readonly can_move region1 v0+32
;;     v2 = iconst.i32 1
;;     v3 = iconst.i32 3
;;     v4 = band v1, v3  ; v3 = 3
;;     trapnz v4, HeapMisaligned
;;     v5 = uextend.i64 v1
;;     v7 = iadd v6, v5
;;     v8 = load.i32 access[0] little region0 v7
;;     v9 = isub v8, v2  ; v2 = 1
;;     v10 = uextend.i64 v1
;;     v11 = iadd v6, v10
;;     store access[0] little region0 v9, v11
;;     return v8
;; }
