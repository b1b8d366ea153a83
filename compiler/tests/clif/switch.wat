;; Branch tables of few targets.
(module
  (func $inside (param i32) (result i32)
    (block (block (br_table 0 1 1 0 (local.get 0))) (return (i32.const 1))) (i32.const 2))
  (func $ranges (param i32) (result i32)
    (block (block (block (br_table 0 0 1 2 (local.get 0))) (return (i32.const 1))) (return (i32.const 2))) (i32.const 3))
  (func $bits (param i32) (result i32)
    (block (block (block (br_table 0 1 0 2 1 0 2 (local.get 0))) (return (i32.const 1))) (return (i32.const 2))) (i32.const 3))
  (func $values (param i32) (result i32)
    (block (result i32) (br_table 0 1 0 1 0 (i32.const 5) (local.get 0))))
  (func $table (param i32) (result i32)
    (block (block (block (block (block
      (br_table 0 1 2 3 4 (local.get 0))) (return (i32.const 1))) (return (i32.const 2))) (return (i32.const 3))) (return (i32.const 4))) (i32.const 5)))

;; ----
;; function func0(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i32 1
;;     v3 = isub v1, v2  ; v2 = 1
;;     v4 = iconst.i32 2
;;     v5 = icmp ult v3, v4  ; v4 = 2
;;     brif v5, block2, block1
;;
;; block1:
;;     v6 = iconst.i32 1
;;     return v6  ; v6 = 1
;;
;; block2:
;;     v7 = iconst.i32 2
;;     return v7  ; v7 = 2
;; }
;; function func1(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i32 2
;;     v3 = icmp ult v1, v2  ; v2 = 2
;;     brif v3, block2, block4
;;
;; block4:
;;     v4 = iconst.i32 3
;;     v5 = icmp.i32 ult v1, v4  ; v4 = 3
;;     brif v5, block3, block1
;;
;; block2:
;;     v6 = iconst.i32 1
;;     return v6  ; v6 = 1
;;
;; block3:
;;     v7 = iconst.i32 2
;;     return v7  ; v7 = 2
;;
;; block1:
;;     v8 = iconst.i32 3
;;     return v8  ; v8 = 3
;; }
;; function func2(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i32 6
;;     v3 = icmp uge v1, v2  ; v2 = 6
;;     brif v3, block1, block4
;;
;; block4:
;;     v4 = iconst.i64 1
;;     v5 = uextend.i64 v1
;;     v6 = ishl v4, v5  ; v4 = 1
;;     v7 = iconst.i64 37
;;     v8 = band v6, v7  ; v7 = 37
;;     brif v8, block2, block5
;;
;; block5:
;;     v9 = iconst.i64 18
;;     v10 = band.i64 v6, v9  ; v9 = 18
;;     brif v10, block3, block1
;;
;; block2:
;;     v11 = iconst.i32 1
;;     return v11  ; v11 = 1
;;
;; block3:
;;     v12 = iconst.i32 2
;;     return v12  ; v12 = 2
;;
;; block1:
;;     v13 = iconst.i32 3
;;     return v13  ; v13 = 3
;; }
;; function func3(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i32 5
;;     v4 = iconst.i32 4
;;     v5 = icmp uge v1, v4  ; v4 = 4
;;     brif v5, block2, block4
;;
;; block4:
;;     v6 = iconst.i64 1
;;     v7 = uextend.i64 v1
;;     v8 = ishl v6, v7  ; v6 = 1
;;     v9 = iconst.i64 10
;;     v10 = band v8, v9  ; v9 = 10
;;     brif v10, block3, block2
;;
;; block2:
;;     jump block1(v2)  ; v2 = 5
;;
;; block3:
;;     jump block5(v2)  ; v2 = 5
;;
;; block1(v3: i32):
;;     jump block5(v3)
;;
;; block5(v11: i32):
;;     return v11
;; }
;; function func4(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     br_table v1, block1, [block2, block3, block4, block5]
;;
;; block2:
;;     v2 = iconst.i32 1
;;     return v2  ; v2 = 1
;;
;; block3:
;;     v3 = iconst.i32 2
;;     return v3  ; v3 = 2
;;
;; block4:
;;     v4 = iconst.i32 3
;;     return v4  ; v4 = 3
;;
;; block5:
;;     v5 = iconst.i32 4
;;     return v5  ; v5 = 4
;;
;; block1:
;;     v6 = iconst.i32 5
;;     return v6  ; v6 = 5
;; }
