//! A guest for each request.
//!
//! Each request gets a store and an instance of its own, which are gone when it is answered. A
//! guest that waits is suspended and blocks no thread; a guest that computes lets others have a
//! turn each millisecond; a guest that takes too long is dropped wherever it is. What it prints is
//! the answer.
//!
//! ```console
//! $ ./run.sh                       # serves on 127.0.0.1:8080
//! $ curl http://127.0.0.1:8080/good/20
//! 6765
//! $ ./run.sh --load 60             # serves itself mixed requests for 60 s, checks the answers
//! ```

mod load;

use std::convert::Infallible;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use precast_loader::{
    Caller, Config, Engine, Error, Extern, InstancePre, Linker, Module, Store, StoreLimits,
    StoreLimitsBuilder,
};
use tokio::net::TcpListener;

/// How long a guest may take.
pub(crate) const DEADLINE: Duration = Duration::from_millis(100);

/// How much memory a guest may have, in pages of 64 KiB.
pub(crate) const PAGES: usize = 64;

/// Maximum number of bytes of an answer.
const MAX_OUTPUT: usize = 64 << 10;

/// The kinds of requests, in the order of the guest's numbers.
pub(crate) const KINDS: [&str; 5] = ["good", "slow", "trap", "hungry", "endless"];

/// The data of a store.
struct Guest {
    output: Vec<u8>,
    limits: StoreLimits,
}

impl Guest {
    fn print(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.output.len() + bytes.len() > MAX_OUTPUT {
            return Err(Error::host("the answer is too long"));
        }
        self.output.extend(bytes);
        Ok(())
    }
}

/// What guests may import.
fn linker(engine: &Engine) -> Result<Linker<Guest>, Error> {
    let mut linker = Linker::new(engine);
    let print = |mut caller: Caller<'_, Guest>, at: u32, len: u32| -> Result<(), Error> {
        let memory = caller.get_export("memory").and_then(Extern::into_memory);
        let memory = memory.ok_or_else(|| Error::host("the guest exports no memory"))?;
        let (bytes, guest) = memory.data_and_store_mut(&mut caller);
        let text = bytes
            .get(at as usize..)
            .and_then(|bytes| bytes.get(..len as usize));
        guest.print(text.ok_or_else(|| Error::host("the text is outside of the memory"))?)
    };
    linker.func_wrap("edge", "print", print)?;
    linker.func_wrap(
        "edge",
        "number",
        |mut caller: Caller<'_, Guest>, number: i64| {
            caller.data_mut().print(number.to_string().as_bytes())
        },
    )?;
    linker.func_wrap_async("edge", "sleep", |_, (milliseconds,): (u32,)| {
        Box::new(tokio::time::sleep(Duration::from_millis(
            milliseconds.into(),
        )))
    })?;
    Ok(linker)
}

/// Runs a guest for one request.
async fn handle(pre: &InstancePre<Guest>, kind: i32, n: i32) -> Result<Vec<u8>, Error> {
    let limits = StoreLimitsBuilder::new().memory_size(PAGES << 16).build();
    let output = Vec::new();
    let mut store = Store::new(pre.module().engine(), Guest { output, limits });
    store.limiter(|guest| &mut guest.limits);
    store.epoch_deadline_async_yield_and_update(1);
    store.set_epoch_deadline(1)?;
    let instance = pre.instantiate_async(&mut store).await?;
    let handle = instance.get_typed_func::<(i32, i32), ()>(&mut store, "handle")?;
    handle.call_async(&mut store, (kind, n)).await?;
    Ok(store.into_data().output)
}

/// Answers a request.
async fn answer(pre: &InstancePre<Guest>, path: &str) -> (StatusCode, Vec<u8>) {
    let mut parts = path.trim_start_matches('/').split('/');
    let kind = parts
        .next()
        .and_then(|kind| KINDS.iter().position(|known| *known == kind));
    let n = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let Some(kind) = kind.and_then(|kind| i32::try_from(kind).ok()) else {
        return (StatusCode::NOT_FOUND, b"there is no such guest".to_vec());
    };
    // When the time is over, the future is dropped, and with it the guest.
    match tokio::time::timeout(DEADLINE, handle(pre, kind, n)).await {
        Ok(Ok(output)) => (StatusCode::OK, output),
        Ok(Err(error)) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            (StatusCode::INTERNAL_SERVER_ERROR, first.as_bytes().to_vec())
        }
        Err(_) => (
            StatusCode::GATEWAY_TIMEOUT,
            b"the guest took too long".to_vec(),
        ),
    }
}

async fn serve(listener: TcpListener, pre: InstancePre<Guest>) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let pre = pre.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let pre = pre.clone();
                async move {
                    let (status, body) = answer(&pre, request.uri().path()).await;
                    let mut response = Response::new(Full::new(Bytes::from(body)));
                    *response.status_mut() = status;
                    Ok::<_, Infallible>(response)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            // An error is that of a client that has gone away.
            connection
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
    }
}

fn main() -> Result<(), Box<dyn StdError>> {
    let mut args = std::env::args().skip(1);
    let guest = args
        .next()
        .ok_or("usage: edge-server GUEST.precast [--load SECONDS]")?;
    let load = match args.next().as_deref() {
        Some("--load") => Some(Duration::from_secs(
            args.next().unwrap_or_default().parse()?,
        )),
        _ => None,
    };

    // Every guest must have been compiled so that a deadline stops it wherever it is.
    let engine = Engine::new(Config::new().epoch_interruption(true))?;
    // SAFETY: `precast compile` has written the file, and nobody changes it.
    let module = unsafe { Module::open(&engine, guest)? };
    let pre = linker(&engine)?.instantiate_pre(&module)?;
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(1));
            engine.increment_epoch();
        }
    });

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let port = if load.is_some() { 0 } else { 8080 };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = runtime.block_on(TcpListener::bind(address))?;
    let address = listener.local_addr()?;
    match load {
        None => {
            println!("http://{address}");
            Ok(runtime.block_on(serve(listener, pre))?)
        }
        Some(duration) => {
            runtime.spawn(serve(listener, pre));
            load::run(address, duration)
        }
    }
}
