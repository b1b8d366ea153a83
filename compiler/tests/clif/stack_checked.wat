;; checked
(module (func) (func unreachable))

;; ----
;; function u0:0(i64 vmctx) tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     sig0 = (i64) preserve_all
;;     fn0 = colocated u13:10 sig0
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
;;     return
;; }
;; function u0:1(i64 vmctx) tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     sig0 = (i64) preserve_all
;;     sig1 = (i64) preserve_all
;;     fn0 = colocated u13:10 sig0
;;     fn1 = colocated u13:1 sig1
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
;;     sequence_point
;;     v8 = stack_addr.i64 ss0
;;     v9 = load.i64 notrap v8
;;     call fn1(v9)
;;     trap user200
;; }
