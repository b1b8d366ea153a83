;; checked epoch
(module
  (memory 1)
  (func $short (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (param i32) (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (param i32) (result i32) (i32.mul (call $short (local.get 0)) (i32.const 3)))
  (func (memory.fill (i32.const 0) (i32.const 1) (i32.const 2))))

;; ----
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     sig0 = (i64) preserve_all
;;     fn0 = colocated u13:10 sig0
;;
;; block0(v0: i64, v1: i32):
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v2 = get_stack_pointer.i64
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region0 v3
;;     v5 = icmp ult v2, v4
;;     brif v5, block1, block2
;;
;; block1 cold:
;;     sequence_point
;;     v7 = stack_addr.i64 ss0
;;     v8 = load.i64 notrap v7
;;     call fn0(v8)
;;     trap user200
;;
;; block2:
;;     v9 = iconst.i32 1
;;     v10 = iadd.i32 v1, v9  ; v9 = 1
;;     return v10
;; }
;; function u0:1(i64 vmctx, i32) tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 7 "interrupt"
;;     sig0 = (i64) preserve_all
;;     sig1 = (i64) preserve_all
;;     fn0 = colocated u13:10 sig0
;;     fn1 = colocated u13:12 sig1
;;
;; block0(v0: i64, v1: i32):
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v2 = get_stack_pointer.i64
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region0 v3
;;     v5 = icmp ult v2, v4
;;     brif v5, block1, block2
;;
;; block1 cold:
;;     sequence_point
;;     v7 = stack_addr.i64 ss0
;;     v8 = load.i64 notrap v7
;;     call fn0(v8)
;;     trap user200
;;
;; block2:
;;     jump block3(v1)
;;
;; block3(v14: i32):
;;     v9 = load.i64 notrap aligned readonly can_move region0 v0
;;     sequence_point
;;     v10 = load.i64 notrap aligned region1 v9+16
;;     v11 = icmp ult v9, v10
;;     brif v11, block4, block5
;;
;; block4 cold:
;;     sequence_point
;;     v12 = stack_addr.i64 ss0
;;     v13 = load.i64 notrap v12
;;     call fn1(v13)
;;     trap user200
;;
;; block5:
;;     v15 = iconst.i32 1
;;     v16 = isub.i32 v14, v15  ; v15 = 1
;;     brif v16, block3(v16), block6
;;
;; block6:
;;     return
;; }
;; function u0:2(i64 vmctx, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 7 "interrupt"
;;     sig0 = (i64) preserve_all
;;     sig1 = (i64) preserve_all
;;     sig2 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated u13:10 sig0
;;     fn1 = colocated u13:12 sig1
;;     fn2 = colocated u0:0 sig2
;;
;; block0(v0: i64, v1: i32):
;;     v6 = stack_addr.i64 ss0
;;     store notrap v0, v6
;;     v2 = get_stack_pointer.i64
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region0 v3
;;     v5 = icmp ult v2, v4
;;     brif v5, block1, block2
;;
;; block1 cold:
;;     sequence_point
;;     v7 = stack_addr.i64 ss0
;;     v8 = load.i64 notrap v7
;;     call fn0(v8)
;;     trap user200
;;
;; block2:
;;     v9 = load.i64 notrap aligned readonly can_move region0 v0
;;     sequence_point
;;     v10 = load.i64 notrap aligned region1 v9+16
;;     v11 = icmp ult v9, v10
;;     brif v11, block3, block4
;;
;; block3 cold:
;;     sequence_point
;;     v12 = stack_addr.i64 ss0
;;     v13 = load.i64 notrap v12
;;     call fn1(v13)
;;     trap user200
;;
;; block4:
;;     v14 = call fn2(v0, v1)
;;     v15 = iconst.i32 3
;;     v16 = imul v14, v15  ; v15 = 3
;;     return v16
;; }
;; function u0:3(i64 vmctx) tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     region1 = 1 "memory head"
;;     sig0 = (i64) preserve_all
;;     sig1 = (i64) preserve_all
;;     sig2 = (i64, i32, i64) system_v
;;     fn0 = colocated u13:10 sig0
;;     fn1 = colocated u13:2 sig1
;;
;; block0(v0: i64):
;;     v5 = stack_addr.i64 ss0
;;     store notrap v0, v5
;;     v1 = get_stack_pointer.i64
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;     v3 = load.i64 notrap aligned region0 v2
;;     v4 = icmp ult v1, v3
;;     brif v4, block1, block2
;;
;; block1 cold:
;;     sequence_point
;;     v6 = stack_addr.i64 ss0
;;     v7 = load.i64 notrap v6
;;     call fn0(v7)
;;     trap user200
;;
;; block2:
;;     v8 = iconst.i32 0
;;     v9 = iconst.i32 1
;;     v10 = iconst.i32 2
;;     v11 = uextend.i64 v8  ; v8 = 0
;;     v12 = uextend.i64 v10  ; v10 = 2
;;     v13, v14 = uadd_overflow v11, v12
;;     v15 = load.i64 notrap aligned region1 v0+24
;;     v16 = icmp ugt v13, v15
;;     v17 = bor v14, v16
;;     brif v17, block3, block4
;;
;; block3 cold:
;;     sequence_point
;;     v18 = stack_addr.i64 ss0
;;     v19 = load.i64 notrap v18
;;     call fn1(v19)
;;     trap user200
;;
;; block4:
;;     v20 = load.i64 notrap aligned region1 v0+16
;;     v21 = iadd v20, v11
;;     v22 = load.i64 notrap aligned readonly can_move region0 v0
;;     v23 = load.i64 notrap aligned readonly can_move region0 v22+72
;;     v24 = load.i64 notrap aligned readonly can_move region0 v23+24
;;     call_indirect sig2, v24(v21, v9, v12)  ; v9 = 1
;;     return
;; }
