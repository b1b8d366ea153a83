//! A guest for WASI whose standard input is the body of the request and whose standard output is
//! that of the answer. It runs while both are on their way, and is suspended while it waits: for
//! the client to send more, for the client to take what there is, or for a time.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use edge_server::{Body, LONG_DEADLINE, PAGES};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Frame, Incoming};
use precast_loader::{
    Engine, Error, InstancePre, Linker, Module, Store, StoreLimits, StoreLimitsBuilder,
};
use precast_wasi::{AsyncInput, AsyncOutput, Sleep, WasiCtx, WasiCtxBuilder};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

/// How many pieces of an answer may wait for the client.
const PIECES: usize = 4;

type Piece = Result<Bytes, io::Error>;

/// The data of a store.
struct Guest {
    wasi: WasiCtx,
    limits: StoreLimits,
}

/// The linked module.
static GUESTS: OnceLock<InstancePre<Guest>> = OnceLock::new();

/// Links the module that [`streams`] runs.
///
/// # Errors
/// The module imports something besides WASI.
pub fn link(engine: &Engine, module: &Module) -> Result<(), Error> {
    let mut linker = Linker::new(engine);
    precast_wasi::add_to_linker_async(&mut linker, |guest: &mut Guest| &mut guest.wasi)?;
    // A second module would be left out, but there is only one.
    GUESTS.set(linker.instantiate_pre(module)?).ok();
    Ok(())
}

/// Starts a guest. The answer ends when the guest does.
pub fn streams(request: Incoming) -> Pin<Box<dyn Future<Output = Body> + Send>> {
    let (sender, receiver) = mpsc::channel(PIECES);
    let (input, output) = (Input::new(request), Output(PollSender::new(sender.clone())));
    tokio::spawn(async move {
        let guest = tokio::time::timeout(LONG_DEADLINE, run(input, output)).await;
        let error = match guest {
            Ok(Ok(())) => return,
            Ok(Err(error)) => io::Error::other(error),
            Err(_) => ErrorKind::TimedOut.into(),
        };
        // Sending fails if the client has gone, which needs no report.
        sender.send(Err(error)).await.ok();
    });
    Box::pin(std::future::ready(Answer(receiver).boxed_unsync()))
}

async fn run(input: Input, output: Output) -> Result<(), Error> {
    let pre = GUESTS
        .get()
        .ok_or_else(|| Error::msg("there is no guest"))?;
    let timer = |time: Duration| -> Sleep { Box::pin(tokio::time::sleep(time)) };
    let wasi = WasiCtxBuilder::new()
        .stdin_async(input)
        .stdout_async(output)
        .timer(timer)
        .build();
    let limits = StoreLimitsBuilder::new().memory_size(PAGES << 16).build();
    let mut store = Store::new(pre.module().engine(), Guest { wasi, limits });
    store.limiter(|guest| &mut guest.limits);
    store.epoch_deadline_async_yield_and_update(1);
    store.set_epoch_deadline(1)?;
    let instance = pre.instantiate_async(&mut store).await?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    start.call_async(&mut store, ()).await
}

/// The body of a request.
struct Input {
    body: Incoming,
    piece: Bytes,
    end: Option<ErrorKind>,
    ended: bool,
}

impl Input {
    fn new(body: Incoming) -> Self {
        Self {
            body,
            piece: Bytes::new(),
            end: None,
            ended: false,
        }
    }
}

impl AsyncInput for Input {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.piece.is_empty() && !self.ended {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => self.piece = frame.into_data().unwrap_or_default(),
                Some(Err(_)) => (self.end, self.ended) = (Some(ErrorKind::ConnectionReset), true),
                None => self.ended = true,
            }
        }
        Poll::Ready(())
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !self.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        if let (true, Some(error)) = (self.piece.is_empty(), self.end) {
            return Err(error.into());
        }
        let piece = self.piece.split_to(bytes.len().min(self.piece.len()));
        bytes[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

/// Where the guest writes its answer.
struct Output(PollSender<Piece>);

impl AsyncOutput for Output {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // An error is reported by `write`.
        self.0.poll_reserve(context).map(drop)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match self.0.poll_reserve(&mut context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Err(ErrorKind::BrokenPipe.into()),
            Poll::Pending => return Err(ErrorKind::WouldBlock.into()),
        }
        let sent = self.0.send_item(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }
}

/// The body of an answer.
struct Answer(mpsc::Receiver<Piece>);

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = ready!(self.0.poll_recv(context));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }
}
