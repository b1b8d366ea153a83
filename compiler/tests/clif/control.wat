(module
  (func (param i32) (result i32)
    (block (result i32)
      (drop (br_if 0 (i32.const 7) (local.get 0)))
      (i32.const 8)))
  (func (param i32)
    (loop
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (br_if 0 (local.get 0))))
  (func (param i32) (result i32)
    (if (result i32) (local.get 0) (then (i32.const 1)) (else (i32.const 2))))
  (func (param i32 i32) (result i32)
    (if (local.get 0) (then (local.set 1 (i32.const 3))))
    (local.get 1))
  (func (param i32 i32) (result i32)
    (local.get 1)
    (if (param i32) (result i32) (local.get 0) (then (drop) (i32.const 4))))
  (func (param i32) (result i32)
    (block $a (result i32)
      (block $b (result i32)
        (br_table $a $b $a (i32.const 5) (local.get 0)))
      (drop)
      (i32.const 6)))
  (func (param i32)
    (if (local.get 0) (then (unreachable)))
    (loop (br 0))
    (block (br 0))))

;; ----
;; function func0(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i32 7
;;     brif v1, block2(v2), block1  ; v2 = 7
;;
;; block1:
;;     v4 = iconst.i32 8
;;     jump block2(v4)  ; v4 = 8
;;
;; block2(v3: i32):
;;     return v3
;; }
;; function func1(i64 vmctx, i32) tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     jump block1(v1)
;;
;; block1(v2: i32):
;;     v3 = iconst.i32 1
;;     v4 = isub v2, v3  ; v3 = 1
;;     brif v4, block1(v4), block2
;;
;; block2:
;;     return
;; }
;; function func2(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     brif v1, block1, block2
;;
;; block1:
;;     v2 = iconst.i32 1
;;     jump block3(v2)  ; v2 = 1
;;
;; block2:
;;     v4 = iconst.i32 2
;;     jump block3(v4)  ; v4 = 2
;;
;; block3(v3: i32):
;;     return v3
;; }
;; function func3(i64 vmctx, i32, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i32):
;;     brif v1, block1, block2(v2)
;;
;; block1:
;;     v3 = iconst.i32 3
;;     jump block2(v3)  ; v3 = 3
;;
;; block2(v4: i32):
;;     return v4
;; }
;; function func4(i64 vmctx, i32, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32, v2: i32):
;;     brif v1, block1, block2
;;
;; block1:
;;     v3 = iconst.i32 4
;;     jump block3(v3)  ; v3 = 4
;;
;; block2:
;;     jump block3(v2)
;;
;; block3(v4: i32):
;;     return v4
;; }
;; function func5(i64 vmctx, i32) -> i32 tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     v2 = iconst.i32 5
;;     v4 = iconst.i32 1
;;     v5 = isub v1, v4  ; v4 = 1
;;     v6 = iconst.i32 1
;;     v7 = icmp ult v5, v6  ; v6 = 1
;;     brif v7, block3, block2
;;
;; block2:
;;     jump block1(v2)  ; v2 = 5
;;
;; block3:
;;     jump block4(v2)  ; v2 = 5
;;
;; block4(v8: i32):
;;     v9 = iconst.i32 6
;;     jump block1(v9)  ; v9 = 6
;;
;; block1(v3: i32):
;;     return v3
;; }
;; function func6(i64 vmctx, i32) tail {
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64, v1: i32):
;;     brif v1, block1, block2
;;
;; block1:
;;     sequence_point
;;     trap UnreachableCodeReached
;;
;; block2:
;;     jump block3
;;
;; block3:
;;     jump block3
;; }
