(module
  (import "m" "imported" (global $imported (mut i32)))
  (import "m" "constant" (global $constant i64))
  (global $sp (mut i32) (i32.const 65536))
  (global $folded i32 (i32.add (i32.const 3) (i32.const 4)))
  (global $late i64 (global.get $constant))
  (global $shared (export "shared") (mut f32) (f32.const 1))
  (func (result i32 i64 i64 f32)
    (global.set $sp (i32.sub (global.get $sp) (i32.const 16)))
    (global.set $imported (global.get $folded))
    (global.get $imported) (global.get $constant) (global.get $late) (global.get $shared)))

;; ----
;; function func0(i64 vmctx) -> i32, i64, i64, f32 tail {
;;     region0 = 13 "global"
;;     region1 = 6 "shared global"
;;     region2 = 0 "vm"
;;     region3 = 17 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move gv0
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;; block0(v0: i64):
;;     v1 = load.i32 notrap aligned region0 v0+32
;;     v2 = iconst.i32 16
;;     v3 = isub v1, v2  ; v2 = 16
;;     store notrap aligned region0 v3, v0+32
;;     v4 = iconst.i32 7
;;     v5 = load.i64 notrap aligned readonly can_move region2 v0+16
;;     store notrap aligned region1 v4, v5  ; v4 = 7
;;     v6 = load.i64 notrap aligned readonly can_move region2 v0+16
;;     v7 = load.i32 notrap aligned region1 v6
;;     v8 = load.i64 notrap aligned readonly can_move region2 v0+24
;;     v9 = load.i64 notrap aligned readonly can_move region1 v8
;;     v10 = load.i64 notrap aligned readonly can_move region3 v0+48
;;     v11 = load.f32 notrap aligned region1 v0+56
;;     return v7, v9, v10, v11
;; }
