//! The server on precast: `edge-server GUEST.precast STREAMS.precast [--port PORT]`.
//!
//! ```console
//! $ ./run.sh                       # serves on 127.0.0.1:8080
//! $ curl http://127.0.0.1:8080/good/20
//! 6765
//! $ curl --data 'hello' http://127.0.0.1:8080/echo
//! HELLO
//! $ ./run.sh --load 60             # mixed requests for 60 s, whose answers are checked
//! ```

mod guests;
mod streams;

use std::error::Error as StdError;

use precast_loader as wasm;
use precast_loader::{Config, Engine, Error, Module, Store};

/// Guests let others have a turn at the next tick.
fn set_deadline<T>(store: &mut Store<T>) -> Result<(), Error> {
    store.set_epoch_deadline(1)
}

fn main() -> Result<(), Box<dyn StdError>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (guest, streaming, port) = match args[..] {
        [guest, streaming] => (guest, streaming, 8080),
        [guest, streaming, "--port", port] => (guest, streaming, port.parse()?),
        _ => return Err("usage: edge-server GUEST.precast STREAMS.precast [--port PORT]".into()),
    };

    // Every guest must have been compiled so that a deadline stops it wherever it is.
    let engine = Engine::new(Config::new().epoch_interruption(true))?;
    // SAFETY: `precast compile` has written the file, and nobody changes it.
    let module = unsafe { Module::open(&engine, guest)? };
    // SAFETY: as above.
    let streaming = unsafe { Module::open(&engine, streaming)? };
    let guests = guests::OfRuntime::new(&engine, &module)?;
    streams::link(&engine, &streaming)?;
    let streams = Some(streams::streams as edge_server::Streams);
    edge_server::run(port, guests, streams, move || engine.increment_epoch())?;
    Ok(())
}
