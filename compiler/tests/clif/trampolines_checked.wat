;; checked fuel trampolines
(module
  (memory 1)
  (func (export "run") (param i32) (result i32)
    (i32.div_u (i32.load (local.get 0)) (local.get 0))))

;; ----
;; function native_entry[signature0](i64, i64, i32) -> i32 system_v {
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
;; function array_entry[signature0](i64, i64, i64) system_v {
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
;; function raise[MemoryOutOfBounds](i64) preserve_all {
;;     sig0 = (i64, i32) system_v
;;
;; block0(v0: i64):
;;     v1 = iconst.i32 2
;;     v2 = load.i64 notrap aligned v0
;;     v3 = get_frame_pointer.i64
;;     v4 = load.i64 notrap aligned v3
;;     store notrap aligned v4, v2+24
;;     v5 = iconst.i64 8
;;     v6 = iadd v3, v5  ; v5 = 8
;;     store notrap aligned v6, v2+32
;;     v7 = load.i64 notrap aligned v2+72
;;     v8 = load.i64 notrap aligned v7+72
;;     call_indirect sig0, v8(v0, v1)  ; v1 = 2
;;     trap AfterNoReturn
;; }
;; function raise[IntegerDivisionByZero](i64) preserve_all {
;;     sig0 = (i64, i32) system_v
;;
;; block0(v0: i64):
;;     v1 = iconst.i32 8
;;     v2 = load.i64 notrap aligned v0
;;     v3 = get_frame_pointer.i64
;;     v4 = load.i64 notrap aligned v3
;;     store notrap aligned v4, v2+24
;;     v5 = iconst.i64 8
;;     v6 = iadd v3, v5  ; v5 = 8
;;     store notrap aligned v6, v2+32
;;     v7 = load.i64 notrap aligned v2+72
;;     v8 = load.i64 notrap aligned v7+72
;;     call_indirect sig0, v8(v0, v1)  ; v1 = 8
;;     trap AfterNoReturn
;; }
;; function raise[StackOverflow](i64) preserve_all {
;;     sig0 = (i64, i32) system_v
;;
;; block0(v0: i64):
;;     v1 = iconst.i32 10
;;     v2 = load.i64 notrap aligned v0
;;     v3 = get_frame_pointer.i64
;;     v4 = load.i64 notrap aligned v3
;;     store notrap aligned v4, v2+24
;;     v5 = iconst.i64 8
;;     v6 = iadd v3, v5  ; v5 = 8
;;     store notrap aligned v6, v2+32
;;     v7 = load.i64 notrap aligned v2+72
;;     v8 = load.i64 notrap aligned v7+72
;;     call_indirect sig0, v8(v0, v1)  ; v1 = 10
;;     trap AfterNoReturn
;; }
;; function raise[OutOfFuel](i64) preserve_all {
;;     sig0 = (i64, i32) system_v
;;
;; block0(v0: i64):
;;     v1 = iconst.i32 13
;;     v2 = load.i64 notrap aligned v0
;;     v3 = get_frame_pointer.i64
;;     v4 = load.i64 notrap aligned v3
;;     store notrap aligned v4, v2+24
;;     v5 = iconst.i64 8
;;     v6 = iadd v3, v5  ; v5 = 8
;;     store notrap aligned v6, v2+32
;;     v7 = load.i64 notrap aligned v2+72
;;     v8 = load.i64 notrap aligned v7+72
;;     call_indirect sig0, v8(v0, v1)  ; v1 = 13
;;     trap AfterNoReturn
;; }
