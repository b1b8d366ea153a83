;; checked epoch
(module
  (memory 1)
  (func $short (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (param i32) (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (param i32) (result i32) (i32.mul (call $short (local.get 0)) (i32.const 3)))
  (func (memory.fill (i32.const 0) (i32.const 1) (i32.const 2))))
