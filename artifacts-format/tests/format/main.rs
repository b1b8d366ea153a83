//! The format from both ends: what the builder writes, the reader finds again; and what is damaged
//! is an error.

mod checks;
mod damage;
mod golden;
mod layout;
mod sample;
mod versions;
