;; checked
(module (func) (func unreachable))

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
;; function func1(i64 vmctx) tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "vm"
;;     sig0 = (i64) preserve_all
;;     fn0 = colocated raise[UnreachableCodeReached] sig0
;;
;; block0(v0: i64):
;;     v5 = stack_addr.i64 ss0
;;     store notrap v0, v5
;;     v1 = get_stack_pointer.i64
;;     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;     v3 = load.i64 notrap aligned region0 v2
;;     v4 = icmp ult v1, v3
;;     trapnz v4, StackOverflow
;;     sequence_point
;;     v6 = stack_addr.i64 ss0
;;     v7 = load.i64 notrap v6
;;     call fn0(v7)
;;     trap AfterNoReturn
;; }
