;; Branch hints change where code is, and nothing that it does. Hints that are malformed are ignored.
(module
  (func (export "unlikely if") (param i32) (result i32)
    (@metadata.code.branch_hint "\00")
    (if (result i32) (local.get 0) (then (i32.const 1)) (else (i32.const 2))))
  (func (export "likely if") (param i32) (result i32)
    (@metadata.code.branch_hint "\01")
    (if (result i32) (local.get 0) (then (i32.const 1)) (else (i32.const 2))))
  (func (export "unlikely br_if") (param i32) (result i32 i64)
    (block $out (result i32 i64)
      (i32.const 3) (i64.const 4) (local.get 0)
      (@metadata.code.branch_hint "\00")
      (br_if $out)
      (drop) (drop) (i32.const 5) (i64.const 6)))
  (func (export "likely br_if") (param i32) (result i32)
    (local $sum i32)
    (loop $again (result i32)
      (local.set $sum (i32.add (local.get $sum) (local.get 0)))
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (local.get $sum)
      (local.get 0)
      (@metadata.code.branch_hint "\01")
      (br_if $again)))
  (func (export "return") (param i32) (result i32)
    (@metadata.code.branch_hint "\00")
    (br_if 0 (i32.const 9) (local.get 0))
    (drop) (i32.const 8))
  (func (export "traps") (param i32)
    (@metadata.code.branch_hint "\00")
    (if (local.get 0) (then (unreachable)))))

(assert_return (invoke "unlikely if" (i32.const 1)) (i32.const 1))
(assert_return (invoke "unlikely if" (i32.const 0)) (i32.const 2))
(assert_return (invoke "likely if" (i32.const 1)) (i32.const 1))
(assert_return (invoke "likely if" (i32.const 0)) (i32.const 2))
(assert_return (invoke "unlikely br_if" (i32.const 1)) (i32.const 3) (i64.const 4))
(assert_return (invoke "unlikely br_if" (i32.const 0)) (i32.const 5) (i64.const 6))
(assert_return (invoke "likely br_if" (i32.const 10)) (i32.const 55))
(assert_return (invoke "return" (i32.const 1)) (i32.const 9))
(assert_return (invoke "return" (i32.const 0)) (i32.const 8))
(assert_return (invoke "traps" (i32.const 0)))
(assert_trap (invoke "traps" (i32.const 1)) "unreachable")

;; (module (func (export "f") (result i32) (if (result i32) (i32.const 1) (then (i32.const 2))
;; (else (i32.const 3))))) with a section of hints in front of the code.
(module binary
  "\00asm\01\00\00\00"
  "\01\05\01\60\00\01\7f" "\03\02\01\00" "\07\05\01\01f\00\00"
  ;; The hint is at the `if`: function 0, one hint, offset 3, size 1, not taken.
  "\00\20\19metadata.code.branch_hint\01\00\01\03\01\00"
  "\0a\0e\01\0c\00\41\01\04\7f\41\02\05\41\03\0b\0b")
(assert_return (invoke "f") (i32.const 2))
(module binary
  "\00asm\01\00\00\00"
  "\01\05\01\60\00\01\7f" "\03\02\01\00" "\07\05\01\01f\00\00"
  ;; A hint of two bytes, which no version has.
  "\00\20\19metadata.code.branch_hint\01\00\01\03\02\00"
  "\0a\0e\01\0c\00\41\01\04\7f\41\02\05\41\03\0b\0b")
(assert_return (invoke "f") (i32.const 2))
(module binary
  "\00asm\01\00\00\00"
  "\01\05\01\60\00\01\7f" "\03\02\01\00" "\07\05\01\01f\00\00"
  ;; The section ends in the middle of a hint.
  "\00\1f\19metadata.code.branch_hint\01\00\01\03\01"
  "\0a\0e\01\0c\00\41\01\04\7f\41\02\05\41\03\0b\0b")
(assert_return (invoke "f") (i32.const 2))
(module binary
  "\00asm\01\00\00\00"
  "\01\05\01\60\00\01\7f" "\03\02\01\00" "\07\05\01\01f\00\00"
  ;; A function and an offset that do not exist, and an offset inside of an operator.
  "\00\28\19metadata.code.branch_hint\02\00\02\04\01\01\7f\01\00\63\01\00\01\01"
  "\0a\0e\01\0c\00\41\01\04\7f\41\02\05\41\03\0b\0b")
(assert_return (invoke "f") (i32.const 2))
(module binary
  "\00asm\01\00\00\00"
  "\01\05\01\60\00\01\7f" "\03\02\01\00" "\07\05\01\01f\00\00"
  ;; A thousand million hints in a few bytes.
  "\00\22\19metadata.code.branch_hint\01\00\80\94\eb\dc\03\03"
  "\0a\0e\01\0c\00\41\01\04\7f\41\02\05\41\03\0b\0b")
(assert_return (invoke "f") (i32.const 2))
