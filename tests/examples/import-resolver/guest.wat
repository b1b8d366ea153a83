(module $guest
  (import "env" "print" (func $print))
  (func (export "_start") (call $print)))
