//! The compilation cache keeps its promises, also in directories and on systems that misbehave.
//!
//! | module | what |
//! |---|---|
//! | `guests` | the modules that are compiled, and checks that they work |
//! | `scratch` | temporary directories and small file systems |
//! | `signed` | caches that use only what trusted keys have signed |
//! | `sharing` | modules are compiled once and mapped once; options; the budget |
//! | `damage` | every kind of broken entry is a miss |
//! | `parallel` | ten runtimes share one mapping; modules come and go while others run |
//! | `directories` | directories with odd contents or permissions; full and read-only disks |
//! | `refused` | a system that refuses descriptors, threads, and code from files or from memory |
//! | `waiting` | which threads wait for which: pools of the host, progress callbacks |
//! | `sources` | files of modules that did not change are not read again |
//! | `torture` | many processes while others are killed, and entries damaged and deleted |

mod damage;
mod directories;
mod guests;
mod parallel;
mod refused;
mod scratch;
mod sharing;
mod signed;
mod sources;
mod torture;
mod waiting;
