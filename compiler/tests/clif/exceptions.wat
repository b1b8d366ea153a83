(module
  (import "h" "f" (func $f (param i32) (result i32)))
  (tag $t (param i32 f64))
  (tag $r (param externref))
  ;; A throw that its own function catches is a jump.
  (func (param i32) (result i32)
    (block $h (result i32 f64)
      (try_table (catch $t $h) (throw $t (local.get 0) (f64.const 1)))
      (unreachable))
    (drop))
  ;; The normal path of a call in a `try_table` is that of a call outside of it.
  (func (param i32) (result i32)
    (block $h (result externref exnref)
      (return (try_table (result i32) (catch_ref $r $h) (call $f (local.get 0)))))
    (drop) (drop) (i32.const -1))
  (func (param i32) (result i32)
    (block $all
      (return (try_table (result i32) (catch_all $all) (call $f (local.get 0)))))
    (i32.const -1))
  ;; What the inner clauses do not catch goes to the outer ones.
  (func (param i32)
    (block $outer (result exnref)
      (try_table (catch_all_ref $outer)
        (block $inner (result i32 f64)
          (try_table (catch $t $inner) (drop (call $f (local.get 0))))
          (return))
        (drop) (drop))
      (return))
    (throw_ref))
  ;; A tail call leaves its function before it is called, and so its handlers too.
  (func (param i32) (result i32)
    (block $h
      (try_table (catch_all $h) (return_call $f (local.get 0))))
    (unreachable))
  ;; The encoding that came before.
  (func (param i32) (result i32)
    try (result i32)
      local.get 0
      call $f
    catch $t
      drop
    catch_all
      rethrow 0
    end)
  (func (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0
        call $f
      delegate 0
    catch_all
      i32.const -1
    end))

;; ----
;; function func1(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i64) tail
;;     sig1 = (i64, i64) -> i64 tail
;;     fn0 = colocated builtin[exception_throw] sig0
;;     fn1 = colocated builtin[exception_new] sig1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     jump block2
;;
;; block1(v2: i64) cold:
;;     v3 = load.i64 notrap aligned region0 v2
;;     v4 = iconst.i64 64
;;     v5 = iadd.i64 v0, v4  ; v4 = 64
;;     v6 = icmp eq v3, v5
;;     brif v6, block3, block4
;;
;; block3 cold:
;;     v7 = load.i32 notrap aligned little region0 v2+16
;;     v8 = load.f64 notrap aligned little region0 v2+32
;;     jump block5(v7, v8)
;;
;; block4 cold:
;;     call fn0(v0, v2)
;;     trap AfterNoReturn
;;
;; block2:
;;     v11 = f64const 0x1.0000000000000p0
;;     v12 = iconst.i64 64
;;     v13 = iadd.i64 v0, v12  ; v12 = 64
;;     v14 = call fn1(v0, v13)
;;     store.i32 notrap aligned little region0 v1, v14+16
;;     store notrap aligned little region0 v11, v14+32  ; v11 = 0x1.0000000000000p0
;;     jump block1(v14)
;;
;; block5(v9: i32, v10: f64):
;;     return v9
;; }
;; function func2(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64, i64) tail
;;     sig1 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated builtin[exception_throw] sig0
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     jump block2
;;
;; block1(v2: i64) cold:
;;     v3 = load.i64 notrap aligned region0 v2
;;     v4 = iconst.i64 80
;;     v5 = iadd.i64 v0, v4  ; v4 = 80
;;     v6 = icmp eq v3, v5
;;     brif v6, block3, block4
;;
;; block3 cold:
;;     v7 = load.i64 notrap aligned little region0 v2+16
;;     v8 = load.i64 notrap aligned region0 v2+8
;;     jump block5(v7, v8)
;;
;; block4 cold:
;;     call fn0(v0, v2)
;;     trap AfterNoReturn
;;
;; block2:
;;     v11 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v12 = load.i64 notrap aligned readonly can_move region0 v0+24
;;     try_call_indirect v11(v12, v1), sig1, block6(ret0), [ default: block1(exn0) ]
;;
;; block6(v13: i32):
;;     return v13
;;
;; block5(v9: i64, v10: i64):
;;     v14 = iconst.i32 -1
;;     return v14  ; v14 = -1
;; }
;; function func3(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     jump block2
;;
;; block1(v2: i64) cold:
;;     jump block3
;;
;; block2:
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v4 = load.i64 notrap aligned readonly can_move region0 v0+24
;;     try_call_indirect v3(v4, v1), sig0, block4(ret0), [ default: block1(exn0) ]
;;
;; block4(v5: i32):
;;     return v5
;;
;; block3:
;;     v6 = iconst.i32 -1
;;     return v6  ; v6 = -1
;; }
;; function func4(i64 vmctx, i32) tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     sig1 = (i64, i64) -> i64 tail
;;     sig2 = (i64, i64) tail
;;     fn0 = colocated builtin[exception_get] sig1
;;     fn1 = colocated builtin[exception_throw] sig2
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     jump block2
;;
;; block1(v2: i64) cold:
;;     v3 = load.i64 notrap aligned region0 v2+8
;;     jump block3(v3)
;;
;; block2:
;;     jump block5
;;
;; block4(v5: i64) cold:
;;     v6 = load.i64 notrap aligned region0 v5
;;     v7 = iconst.i64 64
;;     v8 = iadd.i64 v0, v7  ; v7 = 64
;;     v9 = icmp eq v6, v8
;;     brif v9, block6, block7
;;
;; block6 cold:
;;     v10 = load.i32 notrap aligned little region0 v5+16
;;     v11 = load.f64 notrap aligned little region0 v5+32
;;     jump block8(v10, v11)
;;
;; block7 cold:
;;     jump block1(v5)
;;
;; block5:
;;     v14 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v15 = load.i64 notrap aligned readonly can_move region0 v0+24
;;     try_call_indirect v14(v15, v1), sig0, block9(ret0), [ default: block4(exn0) ]
;;
;; block9(v16: i32):
;;     return
;;
;; block8(v12: i32, v13: f64):
;;     return
;;
;; block3(v4: i64):
;;     v17 = call fn0(v0, v4)
;;     call fn1(v0, v17)
;;     trap AfterNoReturn
;; }
;; function func5(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     jump block2
;;
;; block1(v2: i64) cold:
;;     jump block3
;;
;; block2:
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v4 = load.i64 notrap aligned readonly can_move region0 v0+24
;;     return_call_indirect sig0, v3(v4, v1)
;;
;; block3:
;;     sequence_point
;;     trap UnreachableCodeReached
;; }
;; function func6(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     sig1 = (i64, i64) -> i64 tail
;;     sig2 = (i64, i64) tail
;;     fn0 = colocated builtin[exception_get] sig1
;;     fn1 = colocated builtin[exception_throw] sig2
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v4 = load.i64 notrap aligned readonly can_move region0 v0+24
;;     try_call_indirect v3(v4, v1), sig0, block2(ret0), [ default: block1(exn0) ]
;;
;; block2(v5: i32):
;;     jump block3(v5)
;;
;; block1(v2: i64) cold:
;;     v8 = load.i64 notrap aligned region0 v2
;;     v9 = iconst.i64 64
;;     v10 = iadd.i64 v0, v9  ; v9 = 64
;;     v11 = icmp eq v8, v10
;;     brif v11, block5, block4(v2)
;;
;; block5:
;;     v12 = load.i32 notrap aligned little region0 v2+16
;;     v13 = load.f64 notrap aligned little region0 v2+32
;;     v14 = load.i64 notrap aligned region0 v2+8
;;     jump block3(v12)
;;
;; block4(v7: i64) cold:
;;     v15 = load.i64 notrap aligned region0 v7+8
;;     v16 = call fn0(v0, v15)
;;     call fn1(v0, v16)
;;     trap AfterNoReturn
;;
;; block3(v6: i32):
;;     return v6
;; }
;; function func7(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v4 = load.i64 notrap aligned readonly can_move region0 v0+16
;;     v5 = load.i64 notrap aligned readonly can_move region0 v0+24
;;     try_call_indirect v4(v5, v1), sig0, block3(ret0), [ default: block2(exn0) ]
;;
;; block3(v6: i32):
;;     jump block4(v6)
;;
;; block2(v3: i64) cold:
;;     jump block1(v3)
;;
;; block4(v7: i32):
;;     jump block5(v7)
;;
;; block1(v2: i64) cold:
;;     v9 = load.i64 notrap aligned region0 v2+8
;;     v10 = iconst.i32 -1
;;     jump block5(v10)  ; v10 = -1
;;
;; block5(v8: i32):
;;     return v8
;; }
