;; trampolines
(module
  (import "h" "host" (func $host (param i32 f64) (result i64)))
  (import "h" "pair" (func $pair (result i32 v128)))
  (memory 1 2)
  (table 2 funcref)
  (elem (i32.const 0) func $host)
  (func (export "run") (param i32) (result i32)
    (drop (call $host (local.get 0) (f64.const 1)))
    (call $pair)
    drop
    drop
    (drop (memory.grow (local.get 0)))
    (drop (call_indirect (param i32 f64) (result i64) (local.get 0) (f64.const 2) (i32.const 0)))
    (i32.trunc_f32_s (f32.nearest (f32.convert_i32_s (local.get 0))))))

;; ----
;; function native_entry[signature2](i64, i64, i32) -> i32 system_v {
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;
;; block0(v0: i64, v1: i64, v2: i32):
;;     v3 = load.i64 notrap aligned v0
;;     jump block1
;;
;; block1:
;;     v4 = get_frame_pointer.i64
;;     store notrap aligned v4, v3+40
;;     v5 = get_stack_pointer.i64
;;     store notrap aligned v5, v3+48
;;     v6 = get_exception_handler_address.i64 block1, 0
;;     store notrap aligned v6, v3+56
;;     try_call_indirect.i64 v1(v0, v2), sig0, block2(ret0), [ default: block3 ]
;;
;; block3 cold:
;;     v8 = iconst.i32 0
;;     return v8  ; v8 = 0
;;
;; block2(v7: i32):
;;     return v7
;; }
;; function array_entry[signature2](i64, i64, i64) system_v {
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;
;; block0(v0: i64, v1: i64, v2: i64):
;;     v3 = load.i32 notrap aligned little v2
;;     v4 = load.i64 notrap aligned v0
;;     jump block1
;;
;; block1:
;;     v5 = get_frame_pointer.i64
;;     store notrap aligned v5, v4+40
;;     v6 = get_stack_pointer.i64
;;     store notrap aligned v6, v4+48
;;     v7 = get_exception_handler_address.i64 block1, 0
;;     store notrap aligned v7, v4+56
;;     try_call_indirect.i64 v1(v0, v3), sig0, block2(ret0), [ default: block3 ]
;;
;; block3 cold:
;;     return
;;
;; block2(v8: i32):
;;     store notrap aligned little v8, v2
;;     return
;; }
;; function native_exit[signature0](i64 vmctx, i32, f64) -> i64 tail {
;;     sig0 = (i64, i32, f64) -> i64 system_v
;;
;; block0(v0: i64, v1: i32, v2: f64):
;;     v3 = load.i64 notrap aligned v0+40
;;     v4 = get_frame_pointer.i64
;;     v5 = load.i64 notrap aligned v4
;;     store notrap aligned v5, v3+24
;;     v6 = iconst.i64 8
;;     v7 = iadd v4, v6  ; v6 = 8
;;     store notrap aligned v7, v3+32
;;     v8 = load.i64 notrap aligned v0+16
;;     v9 = call_indirect sig0, v8(v0, v1, v2)
;;     return v9
;; }
;; function array_exit[signature0](i64 vmctx, i32, f64) -> i64 tail {
;;     ss0 = explicit_slot 32, align = 16
;;     sig0 = (i64, i64) system_v
;;
;; block0(v0: i64, v1: i32, v2: f64):
;;     v3 = load.i64 notrap aligned v0+40
;;     v4 = get_frame_pointer.i64
;;     v5 = load.i64 notrap aligned v4
;;     store notrap aligned v5, v3+24
;;     v6 = iconst.i64 8
;;     v7 = iadd v4, v6  ; v6 = 8
;;     store notrap aligned v7, v3+32
;;     v8 = stack_addr.i64 ss0
;;     store notrap aligned little v1, v8
;;     store notrap aligned little v2, v8+16
;;     v9 = load.i64 notrap aligned v0+16
;;     call_indirect sig0, v9(v0, v8)
;;     v10 = load.i64 notrap aligned little v8
;;     return v10
;; }
;; function array_exit[signature1](i64 vmctx) -> i32, i8x16 tail {
;;     ss0 = explicit_slot 32, align = 16
;;     sig0 = (i64, i64) system_v
;;
;; block0(v0: i64):
;;     v1 = load.i64 notrap aligned v0+40
;;     v2 = get_frame_pointer.i64
;;     v3 = load.i64 notrap aligned v2
;;     store notrap aligned v3, v1+24
;;     v4 = iconst.i64 8
;;     v5 = iadd v2, v4  ; v4 = 8
;;     store notrap aligned v5, v1+32
;;     v6 = stack_addr.i64 ss0
;;     v7 = load.i64 notrap aligned v0+16
;;     call_indirect sig0, v7(v0, v6)
;;     v8 = load.i32 notrap aligned little v6
;;     v9 = load.i8x16 notrap aligned little v6+16
;;     return v8, v9
;; }
;; function import[func0](i64 vmctx, i32, f64) -> i64 tail {
;;     sig0 = (i64 vmctx, i32, f64) -> i64 tail
;;
;; block0(v0: i64, v1: i32, v2: f64):
;;     v3 = load.i64 notrap aligned v0+112
;;     v4 = load.i64 notrap aligned v0+120
;;     return_call_indirect sig0, v3(v4, v1, v2)
;; }
;; function builtin[memory_grow](i64, i32, i64) -> i64 tail {
;;     sig0 = (i64, i32, i64) -> i64 system_v
;;
;; block0(v0: i64, v1: i32, v2: i64):
;;     v3 = load.i64 notrap aligned v0
;;     v4 = get_frame_pointer.i64
;;     v5 = load.i64 notrap aligned v4
;;     store notrap aligned v5, v3+24
;;     v6 = iconst.i64 8
;;     v7 = iadd v4, v6  ; v6 = 8
;;     store notrap aligned v7, v3+32
;;     v8 = load.i64 notrap aligned v3+72
;;     v9 = load.i64 notrap aligned v8
;;     v10 = call_indirect sig0, v9(v0, v1, v2)
;;     return v10
;; }
