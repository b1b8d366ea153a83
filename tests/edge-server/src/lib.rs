//! A guest for each request.
//!
//! Each request gets a store and an instance of its own, which are gone when it is answered. A
//! guest that waits is suspended and blocks no thread; a guest that computes lets others have a
//! turn each millisecond; a guest that takes too long is dropped wherever it is. What it prints is
//! the answer.
//!
//! | file | what |
//! |---|---|
//! | `main.rs` | the server on precast |
//! | `guests.rs` | stores, host functions, instances |
//! | `streams.rs` | guests for WASI that read a request and write the answer while both are on their way |
//! | `lib.rs`, `serve.rs` | HTTP, for guests on any runtime |
//! | `bin/load.rs` | many requests, whose answers are checked |
//! | `bin/cost.rs` | the cost of calls that can be suspended |

mod serve;

use std::future::Future;
use std::time::Duration;

pub use serve::{Body, Streams, run};

/// How long a guest may take.
pub const DEADLINE: Duration = Duration::from_millis(100);

/// How long a guest may take whose request asks for a long wait.
pub const LONG_DEADLINE: Duration = Duration::from_secs(30);

/// How much memory a guest may have, in pages of 64 KiB.
pub const PAGES: usize = 64;

/// Maximum number of bytes of an answer.
pub const MAX_OUTPUT: usize = 64 << 10;

/// The kinds of requests, in the order of the guest's numbers.
pub const KINDS: [&str; 6] = ["good", "slow", "trap", "hungry", "endless", "park"];

/// How long a guest for a request of this kind may take.
pub fn deadline(kind: usize) -> Duration {
    match KINDS.get(kind) {
        Some(&"park") => LONG_DEADLINE,
        _ => DEADLINE,
    }
}

/// Why a guest has no answer.
#[derive(Debug)]
pub enum Failure {
    /// The guest trapped.
    Trap,
    /// Anything else.
    Other(String),
}

/// Guests on some runtime.
pub trait Guests: Clone + Send + Sync + 'static {
    /// Runs a guest for one request.
    fn handle(&self, kind: i32, n: i32) -> impl Future<Output = Result<Vec<u8>, Failure>> + Send;
}
