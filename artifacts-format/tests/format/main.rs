//! Tests of the format from both ends: the reader finds what the builder wrote, and anything
//! damaged is an error.

mod checks;
mod counters;
mod damage;
mod golden;
mod layout;
mod sample;
mod trailer;
mod variants;
mod versions;
