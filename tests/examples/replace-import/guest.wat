(module $needs_import
  (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
  ;; What is imported can be exported.
  (export "abort" (func $abort)))
