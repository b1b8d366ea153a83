//! Safe programs that try to break the loader's promises through its public interface. Those that do
//! not even compile are in `tests/compile-fail`.

#![forbid(unsafe_code)]

mod auto_traits;
