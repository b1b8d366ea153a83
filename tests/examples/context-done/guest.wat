;; A function that never returns, and calls nothing.
(module $infinite_loop
  (func (export "infinite_loop")
    (loop (br 0))))
