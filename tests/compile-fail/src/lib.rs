//! Nothing: the cases are in `cases`, and `main.rs` runs them.
