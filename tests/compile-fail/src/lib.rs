//! This library is empty. The cases are in `cases`, and `main.rs` runs them.
