//! WASI in calls that suspend: guests that sleep or wait for streams of the host block no thread,
//! and may be dropped wherever they wait.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use precast_artifact::Strategy;
use precast_loader::{Engine, Error, Instance, Linker, Store};
use precast_tests::executor::{block_on, poll_once};
use precast_tests::{module, strategies};
use precast_wasi::{
    AsyncInput, AsyncOutput, SharedWasiCtx, Sleep, WasiCtx, WasiCtxBuilder, WasiView,
    add_to_linker_async,
};

/// `sleep(ms)`, `echo()` copies standard input to standard output until its end, and `poll(ms)`
/// waits for input and a time, and returns how many events there were, and the first one's tag.
/// `poll_both(ms)` waits for room in standard output, too.
const WAT: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $flags (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $clock (param $at i32) (param $ms i32)
    (i32.store8 offset=8 (local.get $at) (i32.const 0))
    (i32.store offset=16 (local.get $at) (i32.const 1))
    (i64.store offset=24 (local.get $at)
      (i64.mul (i64.extend_i32_u (local.get $ms)) (i64.const 1000000))))
  (func (export "sleep") (param $ms i32) (result i32)
    (call $clock (i32.const 256) (local.get $ms))
    (call $poll (i32.const 256) (i32.const 512) (i32.const 1) (i32.const 8)))
  (func (export "poll") (param $ms i32) (result i32 i32)
    (call $clock (i32.const 256) (local.get $ms))
    (i32.store8 (i32.const 312) (i32.const 1))
    (if (call $poll (i32.const 256) (i32.const 512) (i32.const 2) (i32.const 8))
      (then unreachable))
    (i32.load (i32.const 8)) (i32.load8_u (i32.const 522)))
  (func (export "poll_both") (param $ms i32) (result i32 i32)
    (call $clock (i32.const 256) (local.get $ms))
    (i32.store8 (i32.const 312) (i32.const 1))
    (i32.store8 (i32.const 360) (i32.const 2)) (i32.store (i32.const 368) (i32.const 1))
    (if (call $poll (i32.const 256) (i32.const 512) (i32.const 3) (i32.const 8))
      (then unreachable))
    (i32.load (i32.const 8)) (i32.load8_u (i32.const 522)))
  (func (export "nonblocking") (result i32)
    (drop (call $flags (i32.const 0) (i32.const 4)))
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 100))
    (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
  (func (export "echo") (result i32) (local $from i32) (local $left i32)
    (loop $next
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 100))
      (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
      (local.set $from (i32.const 1024))
      (local.set $left (i32.load (i32.const 8)))
      (if (i32.eqz (local.get $left)) (then (return (i32.const 7))))
      (loop $more
        (i32.store (i32.const 0) (local.get $from))
        (i32.store (i32.const 4) (local.get $left))
        (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
          (then unreachable))
        (local.set $from (i32.add (local.get $from) (i32.load (i32.const 8))))
        (local.set $left (i32.sub (local.get $left) (i32.load (i32.const 8))))
        (br_if $more (local.get $left)))
      (br $next))
    unreachable))"#;

/// A pipe of some bytes between the host and a guest.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    capacity: usize,
    closed: bool,
    waker: Option<Waker>,
    dropped: bool,
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        let pipe = Self::default();
        pipe.0.lock().unwrap().capacity = capacity;
        pipe
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let (result, waker) = {
            let mut state = self.0.lock().unwrap();
            (change(&mut state), state.waker.take())
        };
        waker.into_iter().for_each(Waker::wake);
        result
    }

    fn send(&self, bytes: &[u8]) {
        self.change(|state| state.bytes.extend(bytes));
    }

    fn close(&self) {
        self.change(|state| state.closed = true);
    }

    fn take(&self) -> String {
        let bytes = self.change(|state| std::mem::take(&mut state.bytes));
        String::from_utf8(bytes.into()).unwrap()
    }

    fn wait(&self, context: &Context<'_>, is_ready: impl Fn(&State) -> bool) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        if is_ready(&state) {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

struct Input(Pipe);

impl Drop for Input {
    fn drop(&mut self) {
        self.0.change(|state| state.dropped = true);
    }
}

impl AsyncInput for Input {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.0
            .wait(context, |state| state.closed || !state.bytes.is_empty())
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.change(|state| {
            if state.bytes.is_empty() && !state.closed {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let n = state.bytes.len().min(bytes.len());
            for (to, from) in bytes.iter_mut().zip(state.bytes.drain(..n)) {
                *to = from;
            }
            Ok(n)
        })
    }
}

impl AsyncOutput for Pipe {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.wait(context, |state| state.bytes.len() < state.capacity)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.change(|state| {
            let n = bytes.len().min(state.capacity - state.bytes.len());
            if n == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            state.bytes.extend(&bytes[..n]);
            Ok(n)
        })
    }
}

/// A timer whose time the test advances.
#[derive(Clone, Default)]
struct Clock(Arc<Mutex<(Duration, Vec<Waker>)>>, Arc<AtomicUsize>);

impl Clock {
    fn advance(&self, time: Duration) {
        let wakers = {
            let mut state = self.0.lock().unwrap();
            state.0 += time;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn sleep(&self, time: Duration) -> Sleep {
        struct Live(Arc<AtomicUsize>);
        impl Drop for Live {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.1.fetch_add(1, Ordering::Relaxed);
        let live = Live(self.1.clone());
        let state = self.0.clone();
        let end = state.lock().unwrap().0 + time;
        Box::pin(poll_fn(move |context| {
            let _live = &live;
            let mut state = state.lock().unwrap();
            if state.0 >= end {
                return Poll::Ready(());
            }
            state.1.push(context.waker().clone());
            Poll::Pending
        }))
    }

    /// The number of sleepers.
    fn sleeping(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }
}

fn timer(clock: &Clock) -> impl Fn(Duration) -> Sleep + Send + Sync + use<> {
    let clock = clock.clone();
    move |time| clock.sleep(time)
}

fn guest_of<W: WasiView + Send + 'static>(strategy: Strategy, wasi: W) -> (Store<W>, Instance) {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    add_to_linker_async(&mut linker, |wasi: &mut W| wasi).unwrap();
    let mut store = Store::new(&engine, wasi);
    let module = module(&engine, WAT, strategy);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

pub(crate) fn guest(strategy: Strategy, wasi: WasiCtxBuilder) -> (Store<WasiCtx>, Instance) {
    guest_of(strategy, wasi.build())
}

pub(crate) async fn sleep<W>(guest: (Store<W>, Instance), time: i32) -> Result<i32, Error>
where
    W: WasiView + Send + 'static,
{
    let (mut store, instance) = guest;
    let sleep = instance.get_typed_func::<i32, i32>(&mut store, "sleep")?;
    sleep.call_async(&mut store, time).await
}

#[test]
fn sleeping_guests_share_a_thread() {
    for strategy in strategies() {
        let mut guests: Vec<_> = (0..20)
            .map(|i| Box::pin(sleep(guest(strategy, WasiCtxBuilder::new()), 200 + i)))
            .collect();
        let start = Instant::now();
        block_on(poll_fn(|context| {
            guests.retain_mut(|guest| match guest.as_mut().poll(context) {
                Poll::Ready(slept) => {
                    assert_eq!(slept.unwrap(), 0);
                    false
                }
                Poll::Pending => true,
            });
            match guests.is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }));
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(219), "{took:?}");
        assert!(
            took < Duration::from_millis(20 * 200),
            "one after the other: {took:?}"
        );
    }
}

#[test]
fn the_hosts_timer_wakes_guests() {
    for strategy in strategies() {
        let clock = Clock::default();
        let wasi = WasiCtxBuilder::new().timer(timer(&clock));
        let mut slept = Box::pin(sleep(guest(strategy, wasi), 3_600_000));
        assert!(poll_once(slept.as_mut()).is_pending());
        clock.advance(Duration::from_secs(3599));
        assert!(poll_once(slept.as_mut()).is_pending());
        assert_eq!(clock.sleeping(), 1);
        clock.advance(Duration::from_secs(1));
        assert!(matches!(poll_once(slept.as_mut()), Poll::Ready(Ok(0))));
        assert_eq!(clock.sleeping(), 0);
    }
}

/// A host that has said how guests sleep, and not what wakes them, is asked.
#[test]
fn a_guest_sleeps_as_the_host_has_said() {
    for strategy in strategies() {
        let slept = Arc::new(Mutex::new(Vec::new()));
        let sleeps = slept.clone();
        let wasi = WasiCtxBuilder::new().sleep(move |time| sleeps.lock().unwrap().push(time));
        let hour = 3_600_000;
        let mut call = Box::pin(sleep(guest(strategy, wasi), hour));
        assert!(matches!(poll_once(call.as_mut()), Poll::Ready(Ok(0))));
        assert_eq!(*slept.lock().unwrap(), [Duration::from_secs(3600)]);
        // A timer is for guests that can be suspended.
        let clock = Clock::default();
        let wasi = WasiCtxBuilder::new()
            .timer(timer(&clock))
            .sleep(|_| unreachable!("the timer takes its place"));
        let mut call = Box::pin(sleep(guest(strategy, wasi), hour));
        assert!(poll_once(call.as_mut()).is_pending());
        clock.advance(Duration::from_secs(3600));
        assert!(matches!(poll_once(call.as_mut()), Poll::Ready(Ok(0))));
    }
}

#[test]
fn a_guest_waits_for_input_and_for_room() {
    for strategy in strategies() {
        let (input, output) = (Pipe::default(), Pipe::new(4));
        let wasi = WasiCtxBuilder::new()
            .stdin_async(Input(input.clone()))
            .stdout_async(output.clone());
        let (mut store, instance) = guest(strategy, wasi);
        let echo = instance
            .get_typed_func::<(), i32>(&mut store, "echo")
            .unwrap();
        {
            let mut echo = Box::pin(echo.call_async(&mut store, ()));
            assert!(poll_once(echo.as_mut()).is_pending(), "no input");
            input.send(b"hello ");
            assert!(poll_once(echo.as_mut()).is_pending(), "no room");
            assert_eq!(output.take(), "hell");
            assert!(poll_once(echo.as_mut()).is_pending(), "no input");
            assert_eq!(output.take(), "o ");
            input.send(b"you");
            input.close();
            assert!(matches!(poll_once(echo.as_mut()), Poll::Ready(Ok(7))));
            assert_eq!(output.take(), "you");
        }
        // Another thread wakes it.
        let (input, output) = (Pipe::default(), Pipe::new(1 << 20));
        let wasi = WasiCtxBuilder::new()
            .stdin_async(Input(input.clone()))
            .stdout_async(output.clone());
        let (mut store, instance) = guest(strategy, wasi);
        let echo = instance
            .get_typed_func::<(), i32>(&mut store, "echo")
            .unwrap();
        let host = std::thread::spawn(move || {
            for _ in 0..100 {
                input.send(b"0123456789");
                std::thread::yield_now();
            }
            input.close();
        });
        assert_eq!(block_on(echo.call_async(&mut store, ())).unwrap(), 7);
        host.join().unwrap();
        assert_eq!(output.take(), "0123456789".repeat(100));
    }
}

#[test]
fn what_comes_first_ends_a_poll() {
    for strategy in strategies() {
        let clock = Clock::default();
        let input = Pipe::default();
        let wasi = WasiCtxBuilder::new()
            .timer(timer(&clock))
            .stdin_async(Input(input.clone()));
        let (mut store, instance) = guest(strategy, wasi);
        let poll = instance
            .get_typed_func::<i32, (i32, i32)>(&mut store, "poll")
            .unwrap();
        let mut run = |before: &dyn Fn(), after: &dyn Fn()| {
            before();
            let mut polled = Box::pin(poll.call_async(&mut store, 1000));
            if let Poll::Ready(events) = poll_once(polled.as_mut()) {
                return (true, events.unwrap());
            }
            after();
            match poll_once(polled.as_mut()) {
                Poll::Ready(events) => (false, events.unwrap()),
                Poll::Pending => panic!("nothing ended the wait"),
            }
        };
        let (nothing, second) = (|| {}, || clock.advance(Duration::from_secs(1)));
        assert_eq!(run(&nothing, &second), (false, (1, 0)), "the time is over");
        assert_eq!(
            run(&nothing, &|| input.send(b"x")),
            (false, (1, 1)),
            "there is input"
        );
        assert_eq!(
            run(&nothing, &nothing),
            (true, (1, 1)),
            "there is still input"
        );
        assert_eq!(clock.sleeping(), 0);
    }
}

/// A pipe of the system cannot wake a task, but must not keep a stream from waking it either.
#[test]
fn a_poll_of_a_stream_and_a_pipe_of_the_system_ends_with_either() {
    for strategy in strategies() {
        let (input, mut writer) = io::pipe().unwrap();
        let output = Pipe::default();
        let wasi = WasiCtxBuilder::new()
            .stdin_from(input)
            .stdout_async(output.clone());
        let (mut store, instance) = guest(strategy, wasi);
        let poll = instance
            .get_typed_func::<i32, (i32, i32)>(&mut store, "poll_both")
            .unwrap();
        let short = block_on(poll.call_async(&mut store, 20)).unwrap();
        assert_eq!(short, (1, 0), "the time is over");
        let mut polled = Box::pin(poll.call_async(&mut store, 20_000));
        assert!(poll_once(polled.as_mut()).is_pending());
        output.change(|state| state.capacity = 1);
        assert_eq!(block_on(polled).unwrap(), (1, 2), "there is room");
        output.change(|state| state.capacity = 0);
        let mut polled = Box::pin(poll.call_async(&mut store, 20_000));
        assert!(poll_once(polled.as_mut()).is_pending());
        writer.write_all(b"x").unwrap();
        assert_eq!(block_on(polled).unwrap(), (1, 1), "there is input");
    }
}

#[test]
fn guests_are_dropped_wherever_they_wait() {
    for strategy in strategies() {
        // The guest is dropped before it begins, asleep, without input, without room, and in a
        // poll.
        for (name, sent, polls) in [
            ("sleep", "", 0),
            ("sleep", "", 1),
            ("echo", "", 1),
            ("echo", "more than room", 1),
            ("poll", "", 1),
        ] {
            let clock = Clock::default();
            let (input, output) = (Pipe::default(), Pipe::new(4));
            input.send(sent.as_bytes());
            let wasi = WasiCtxBuilder::new()
                .timer(timer(&clock))
                .stdin_async(Input(input.clone()))
                .stdout_async(output.clone());
            let (mut store, instance) = guest(strategy, wasi);
            let func = instance.get_func(&mut store, name).unwrap();
            {
                let params = match name {
                    "echo" => vec![],
                    _ => vec![precast_loader::Val::I32(1000)],
                };
                let results = if name == "poll" { 2 } else { 1 };
                let mut results = vec![precast_loader::Val::I32(0); results];
                let mut call = Box::pin(func.call_async(&mut store, &params, &mut results));
                for _ in 0..polls {
                    assert!(poll_once(call.as_mut()).is_pending(), "{name}");
                }
            }
            assert_eq!(clock.sleeping(), 0, "{name}: nothing sleeps any more");
            // The store goes on, with what the streams have now.
            let poll = instance
                .get_typed_func::<i32, (i32, i32)>(&mut store, "poll")
                .unwrap();
            input.send(b"x");
            assert_eq!(block_on(poll.call_async(&mut store, 0)).unwrap().1 & 1, 0);
            drop(store);
            assert!(input.0.lock().unwrap().dropped);
        }
    }
}

#[test]
fn a_call_that_cannot_suspend_is_an_error() {
    for strategy in strategies() {
        let (mut store, instance) = guest(strategy, WasiCtxBuilder::new());
        let sleep = instance
            .get_typed_func::<i32, i32>(&mut store, "sleep")
            .unwrap();
        assert!(matches!(sleep.call(&mut store, 1), Err(Error::NotAsync)));

        // A blocking call inside of one that suspends.
        let engine = Engine::default();
        let mut linker: Linker<WasiCtx> = Linker::new(&engine);
        add_to_linker_async(&mut linker, |wasi| wasi).unwrap();
        let mut store = Store::new(&engine, WasiCtxBuilder::new().build());
        let inner = linker
            .instantiate(&mut store, &module(&engine, WAT, strategy))
            .unwrap();
        let inner = inner
            .get_typed_func::<i32, i32>(&mut store, "sleep")
            .unwrap();
        linker
            .func_wrap(
                "h",
                "block",
                move |mut caller: precast_loader::Caller<'_, WasiCtx>| inner.call(&mut caller, 1),
            )
            .unwrap();
        let outer = r#"(module
            (import "h" "block" (func $block (result i32)))
            (func (export "run") (result i32) (call $block)))"#;
        let outer = linker
            .instantiate(&mut store, &module(&engine, outer, strategy))
            .unwrap();
        let run = outer.get_typed_func::<(), i32>(&mut store, "run").unwrap();
        let ended = block_on(run.call_async(&mut store, ())).unwrap_err();
        assert!(matches!(ended, Error::NotAsync), "{ended}");
    }
}

#[test]
fn a_guest_that_does_not_want_to_wait_is_told_so() {
    for strategy in strategies() {
        let wasi = WasiCtxBuilder::new().stdin_async(Input(Pipe::default()));
        let (mut store, instance) = guest(strategy, wasi);
        let read = instance
            .get_typed_func::<(), i32>(&mut store, "nonblocking")
            .unwrap();
        let mut read = Box::pin(read.call_async(&mut store, ()));
        assert!(
            matches!(poll_once(read.as_mut()), Poll::Ready(Ok(6))),
            "EAGAIN"
        );
    }
}

#[test]
fn functions_that_wait_with_their_thread_are_told_again() {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    precast_wasi::add_to_linker(&mut linker, |wasi: &mut WasiCtx| wasi).unwrap();
    let wasi = WasiCtxBuilder::new().stdin_async(Input(Pipe::default()));
    let mut store = Store::new(&engine, wasi.build());
    let module = module(&engine, WAT, Strategy::Guarded);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let read = instance
        .get_typed_func::<(), i32>(&mut store, "nonblocking")
        .unwrap();
    assert_eq!(read.call(&mut store, ()).unwrap(), 6);
    let poll = instance
        .get_typed_func::<i32, (i32, i32)>(&mut store, "poll")
        .unwrap();
    assert_eq!(poll.call(&mut store, 3_600_000).unwrap(), (1, 1));
}

#[test]
fn a_shared_context_suspends_too() {
    for strategy in strategies() {
        let clock = Clock::default();
        let input = Pipe::default();
        let wasi = WasiCtxBuilder::new()
            .timer(timer(&clock))
            .stdin_async(Input(input.clone()))
            .build();
        let shared = SharedWasiCtx::new(wasi);
        let mut first = Box::pin(sleep(guest_of(strategy, shared.clone()), 1000));
        let (mut store, instance) = guest_of(strategy, shared);
        let poll = instance
            .get_typed_func::<i32, (i32, i32)>(&mut store, "poll")
            .unwrap();
        let mut second = Box::pin(poll.call_async(&mut store, 5000));
        assert!(poll_once(first.as_mut()).is_pending());
        assert!(poll_once(second.as_mut()).is_pending());
        input.send(b"x");
        assert!(matches!(
            poll_once(second.as_mut()),
            Poll::Ready(Ok((1, 1)))
        ));
        clock.advance(Duration::from_secs(1));
        assert!(matches!(poll_once(first.as_mut()), Poll::Ready(Ok(0))));
    }
}
