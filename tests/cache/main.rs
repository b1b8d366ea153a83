//! The compilation cache: what it promises, on good days and bad ones.
//!
//! | module | what |
//! |---|---|
//! | `guests` | the modules, and whether one works |
//! | `scratch` | directories and small disks that go with the test |
//! | `sharing` | one compilation, one mapping; options; the budget |
//! | `damage` | every kind of broken entry is a miss |
//! | `parallel` | ten runtimes, one mapping; modules that come and go
//! | `places` | directories that are not as they should be; full disks |
//! | `refused` | a system that refuses descriptors, threads, code from files or from memory |
//! | `waiting` | who waits for whom: pools of the host, progress callbacks |
//! | `torture` | many processes against one that kills, damages and deletes |

mod damage;
mod guests;
mod parallel;
mod places;
mod refused;
mod scratch;
mod sharing;
mod torture;
mod waiting;
