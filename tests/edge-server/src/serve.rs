//! HTTP: `GET /KIND/NUMBER` for guests, `GET /wait/MILLISECONDS` waits without a guest (to compare
//! with), `POST /echo` is for a guest that streams.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket};

use crate::{Failure, Guests, KINDS, deadline};

/// The body of an answer.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>;

/// Answers requests whose bodies and answers are streams.
pub type Streams = fn(Incoming) -> Pin<Box<dyn Future<Output = Body> + Send>>;

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Answers a request without a body.
async fn answer(guests: &impl Guests, path: &str) -> (StatusCode, Vec<u8>) {
    let mut parts = path.trim_start_matches('/').split('/');
    let name = parts.next().unwrap_or_default();
    let n: i32 = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    if name == "wait" {
        tokio::time::sleep(Duration::from_millis(n.unsigned_abs().into())).await;
        return (StatusCode::OK, format!("slept {n}").into_bytes());
    }
    let kind = KINDS.iter().position(|known| *known == name);
    let Some((kind, number)) = kind.and_then(|kind| Some((kind, i32::try_from(kind).ok()?))) else {
        return (StatusCode::NOT_FOUND, b"there is no such guest".to_vec());
    };
    // When the time is over, the future is dropped, and with it the guest.
    match tokio::time::timeout(deadline(kind), guests.handle(number, n)).await {
        Ok(Ok(output)) => (StatusCode::OK, output),
        Ok(Err(Failure::Trap)) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            b"the guest trapped".to_vec(),
        ),
        Ok(Err(Failure::Other(error))) => (StatusCode::INTERNAL_SERVER_ERROR, error.into_bytes()),
        Err(_) => (
            StatusCode::GATEWAY_TIMEOUT,
            b"the guest took too long".to_vec(),
        ),
    }
}

async fn respond(
    guests: impl Guests,
    streams: Option<Streams>,
    request: Request<Incoming>,
) -> Response<Body> {
    if let (&Method::POST, "/echo", Some(streams)) =
        (request.method(), request.uri().path(), streams)
    {
        return Response::new(streams(request.into_body()).await);
    }
    let (status, body) = answer(&guests, request.uri().path()).await;
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    response
}

/// Connections that the system keeps until they are accepted, when many come at once.
const BACKLOG: u32 = 4096;

/// After so many turns of tasks, a thread looks for what has arrived and which timers are due. An
/// endless guest's turn lasts until the next tick, so with tokio's default of 61 turns, threads
/// that have such guests would notice a deadline up to 61 ms too late.
const TURNS: u32 = 2;

/// Serves for ever, on two threads: on 127.0.0.1, where port 0 stands for any. Prints the address,
/// and calls `tick` each millisecond.
///
/// # Errors
/// The system's.
pub fn run(
    port: u16,
    guests: impl Guests,
    streams: Option<Streams>,
    tick: impl Fn() + Send + 'static,
) -> std::io::Result<()> {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(1));
            tick();
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .event_interval(TURNS)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = listen(port)?;
        println!("http://{}", listener.local_addr()?);
        serve(listener, guests, streams).await
    })
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    socket.listen(BACKLOG)
}

async fn serve(
    listener: TcpListener,
    guests: impl Guests,
    streams: Option<Streams>,
) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let guests = guests.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let guests = guests.clone();
                async move { Ok::<_, Infallible>(respond(guests, streams, request).await) }
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
