;; checked
(module (func) (func unreachable))

;; ----
;; function u0:0(i64 vmctx) tail {
;;     region0 = 0 "vm"
;;     sig0 = (i64, i32) tail
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
;;     return
;; }
;; function u0:1(i64 vmctx) tail {
;;     region0 = 0 "vm"
;;     sig0 = (i64, i32) tail
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
;;     v6 = iconst.i32 1
;;     call fn0(v0, v6)  ; v6 = 1
;;     trap user200
;; }
