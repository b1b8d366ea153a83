;; checked epoch
(module
  (memory 1)
  (func $short (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (param i32) (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (param i32) (result i32) (i32.mul (call $short (local.get 0)) (i32.const 3)))
  (func (memory.fill (i32.const 0) (i32.const 1) (i32.const 2))))

;; ----
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     sig0 = (i64, i32) tail
;;     fn0 = colocated u6:10 sig0
;;
;; block0(v0: i64, v1: i32):
;;     v2 = get_stack_pointer.i64
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region0 v3
;;     v5 = icmp ult v2, v4
;;     brif v5, block1, block2
;;
;; block1 cold:
;;     v6 = iconst.i32 10
;;     call fn0(v0, v6)  ; v6 = 10
;;     trap user200
;;
;; block2:
;;     v7 = iconst.i32 1
;;     v8 = iadd.i32 v1, v7  ; v7 = 1
;;     return v8
;; }
;; function u0:1(i64 vmctx, i32) tail {
;;     region0 = 0 "vm"
;;     region1 = 7 "interrupt"
;;     sig0 = (i64, i32) tail
;;     fn0 = colocated u6:10 sig0
;;
;; block0(v0: i64, v1: i32):
;;     v2 = get_stack_pointer.i64
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region0 v3
;;     v5 = icmp ult v2, v4
;;     brif v5, block1, block2
;;
;; block1 cold:
;;     v6 = iconst.i32 10
;;     call fn0(v0, v6)  ; v6 = 10
;;     trap user200
;;
;; block2:
;;     jump block3(v1)
;;
;; block3(v11: i32):
;;     v7 = load.i64 notrap aligned readonly can_move region0 v0
;;     sequence_point
;;     v8 = load.i64 notrap aligned region1 v7+16
;;     v9 = icmp ult v7, v8
;;     brif v9, block4, block5
;;
;; block4 cold:
;;     v10 = iconst.i32 12
;;     call fn0(v0, v10)  ; v10 = 12
;;     trap user200
;;
;; block5:
;;     v12 = iconst.i32 1
;;     v13 = isub.i32 v11, v12  ; v12 = 1
;;     brif v13, block3(v13), block6
;;
;; block6:
;;     return
;; }
;; function u0:2(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "vm"
;;     region1 = 7 "interrupt"
;;     sig0 = (i64, i32) tail
;;     sig1 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated u6:10 sig0
;;     fn1 = colocated u0:0 sig1
;;
;; block0(v0: i64, v1: i32):
;;     v2 = get_stack_pointer.i64
;;     v3 = load.i64 notrap aligned readonly can_move region0 v0
;;     v4 = load.i64 notrap aligned region0 v3
;;     v5 = icmp ult v2, v4
;;     brif v5, block1, block2
;;
;; block1 cold:
;;     v6 = iconst.i32 10
;;     call fn0(v0, v6)  ; v6 = 10
;;     trap user200
;;
;; block2:
;;     v7 = load.i64 notrap aligned readonly can_move region0 v0
;;     sequence_point
;;     v8 = load.i64 notrap aligned region1 v7+16
;;     v9 = icmp ult v7, v8
;;     brif v9, block3, block4
;;
;; block3 cold:
;;     v10 = iconst.i32 12
;;     call fn0(v0, v10)  ; v10 = 12
;;     trap user200
;;
;; block4:
;;     v11 = call fn1(v0, v1)
;;     v12 = iconst.i32 3
;;     v13 = imul v11, v12  ; v12 = 3
;;     return v13
;; }
;; function u0:3(i64 vmctx) tail {
;;     region0 = 0 "vm"
;;     region1 = 1 "memory head"
;;     sig0 = (i64, i32) tail
;;     sig1 = (i64, i32, i64) system_v
;;     fn0 = colocated u6:10 sig0
;;
;; block0(v0: i64):
;;     v1 = get_stack_pointer.i64
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;     v3 = load.i64 notrap aligned region0 v2
;;     v4 = icmp ult v1, v3
;;     brif v4, block1, block2
;;
;; block1 cold:
;;     v5 = iconst.i32 10
;;     call fn0(v0, v5)  ; v5 = 10
;;     trap user200
;;
;; block2:
;;     v6 = iconst.i32 0
;;     v7 = iconst.i32 1
;;     v8 = iconst.i32 2
;;     v9 = uextend.i64 v6  ; v6 = 0
;;     v10 = uextend.i64 v8  ; v8 = 2
;;     v11, v12 = uadd_overflow v9, v10
;;     v13 = load.i64 notrap aligned region1 v0+24
;;     v14 = icmp ugt v11, v13
;;     v15 = bor v12, v14
;;     brif v15, block3, block4
;;
;; block3 cold:
;;     v16 = iconst.i32 2
;;     call fn0(v0, v16)  ; v16 = 2
;;     trap user200
;;
;; block4:
;;     v17 = load.i64 notrap aligned region1 v0+16
;;     v18 = iadd v17, v9
;;     v19 = load.i64 notrap aligned readonly can_move region0 v0
;;     v20 = load.i64 notrap aligned readonly can_move region0 v19+72
;;     v21 = load.i64 notrap aligned readonly can_move region0 v20+24
;;     call_indirect sig1, v21(v18, v7, v10)  ; v7 = 1
;;     return
;; }
