//! Calls on stacks of their own, which can be suspended: *fibers*.
//!
//! ```text
//!   poll (stack of the poller)             fiber (stack of its own)
//!   GuestCall::poll ── switch ──────────>  run ─> entry ─> wasm ─> shim ─> poll of a host future
//!        Pending    <───── switch ───────────────────────────────  suspend
//!        (the future moves to another thread, or is dropped)
//!   GuestCall::poll ── switch ──────────>  ... poll of the host future again ...
//!        Ready      <───── switch ───────  run, the call being over
//! ```
//!
//! **What may be suspended.** The frames of a suspended fiber may continue on another thread. So
//! its only frames are those of this module, of wasm code, and of one shim, which holds a future
//! that is `Send`. [`suspend`] refuses everything else: if a synchronous host function is between
//! the fiber and the asynchronous one, the call fails with [`Error::NotAsync`]. Functions whose
//! frames are there while the fiber is suspended touch no thread-local but in functions that are
//! never inlined, because compilers take the address of one for a constant.
//!
//! **What belongs to a thread** is set at each switch, by [`resume`], whose frame is on the
//! poller's stack: the store whose code runs, which the signal handler reads, and the list of the
//! stacks that the thread runs code on. So nothing of a suspended fiber is left on the thread that
//! ran it.
//!
//! **What belongs to the store** is exchanged with each switch, too: the edges of the innermost
//! activation and the stack limit. While its call is suspended, a store is marked as active, so
//! that every other entry takes its slow way and is refused there.
//!
//! **Cancellation.** A suspended fiber whose future is dropped goes on once more: [`suspend`]
//! returns an error, the shim drops the host future, and the activation ends as by a trap, at the
//! landing pad of its entry. Nothing unwinds through wasm code. A future that is leaked instead
//! leaves its stack and all that is on it as they are, for ever; the store refuses all calls of
//! wasm code then, and all calls on stacks of their own.

use std::ffi::c_void;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use precast_artifact::TrapCode;

use super::activation;
use super::edges::SavedActivation;
pub(crate) use super::fibers::Fiber;
use super::fibers::SUSPENDED;
use super::stopping::ends;
use super::store::StoreCore;
use crate::arch::{enter_stack, leave_stack, prepare_stack, switch_stack};
use crate::error::Error;
use crate::sys::stack::FurtherStack;
use crate::sys::stack_pool::{Stack, StackSettings};

/// While this exists, the host calls a host function, and not machine code: frames of the host are
/// on the stack of the fiber, so the fiber cannot be suspended.
pub(crate) struct HostCall {
    fiber: *mut Fiber,
    before: bool,
}

impl HostCall {
    /// # Safety
    /// `core` is valid, and no fiber of it is resumed or ends before this is dropped, except for
    /// fibers that begin meanwhile.
    pub(crate) unsafe fn begin(core: *mut StoreCore) -> Self {
        // SAFETY: by this function's contract; a running fiber is on its stack, which is there.
        unsafe {
            let fiber = (*core).fibers.running;
            let before = match fiber.as_mut() {
                Some(fiber) => std::mem::replace(&mut fiber.is_pinned, true),
                None => false,
            };
            Self { fiber, before }
        }
    }
}

impl Drop for HostCall {
    fn drop(&mut self) {
        // SAFETY: by the contract of `begin`.
        if let Some(fiber) = unsafe { self.fiber.as_mut() } {
            fiber.is_pinned = self.before;
        }
    }
}

/// A future of the host.
pub(crate) type HostFuture<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

/// What is at the top of the stack of a call.
#[repr(C)]
struct Body<F, R> {
    /// The first field, because a fiber does not know the types of its call.
    fiber: Fiber,
    call: MaybeUninit<F>,
    result: MaybeUninit<std::thread::Result<Result<R, Error>>>,
}

/// A call of wasm code on a stack of its own, as a future.
pub(crate) struct GuestCall<F, R> {
    core: *mut StoreCore,
    settings: StackSettings,
    state: State<F, R>,
}

enum State<F, R> {
    New(F),
    Suspended(Stack, NonNull<Body<F, R>>),
    Over(PhantomData<R>),
}

// SAFETY: the closure and the result are `Send`, and so are host futures, which are all else that a
// suspended stack holds. The maker vouches for the store.
unsafe impl<F: Send, R: Send> Send for GuestCall<F, R> {}

// No pointer leads into the future: the closure is moved to the fiber's stack before it runs.
impl<F, R> Unpin for GuestCall<F, R> {}

impl<F: FnOnce(*mut StoreCore, usize) -> Result<R, Error>, R> GuestCall<F, R> {
    /// A call that `call` makes, which is given the store and the lowest address of its stack.
    ///
    /// # Safety
    /// Until the future is dropped, nobody else uses the store, whose data is `Send`. `call` enters
    /// wasm code of the store once, by [`activation::enter_on_fiber`], or calls a host function. It
    /// holds nothing to drop meanwhile that is not `Send`, and uses no thread-local after that.
    pub(crate) unsafe fn new(core: *mut StoreCore, settings: StackSettings, call: F) -> Self {
        let state = State::New(call);
        Self {
            core,
            settings,
            state,
        }
    }

    /// Puts a call on a stack.
    fn place(core: *mut StoreCore, stack: &Stack, call: F) -> NonNull<Body<F, R>> {
        let range = stack.range();
        let align = align_of::<Body<F, R>>().max(16);
        let top = (range.end - size_of::<Body<F, R>>()) / align * align;
        assert!(
            top > range.end - range.len() / 2,
            "arguments of a call are few"
        );
        let body = top as *mut Body<F, R>;
        // SAFETY: the place is at the top of a stack that nobody uses, aligned and large enough.
        unsafe {
            let fiber = Fiber {
                store: core.cast(),
                low: range.start,
                sp: prepare_stack(top, run::<F, R>, body.cast()),
                stack: FurtherStack::new(range),
                elsewhere: SavedActivation::IDLE,
                around: std::ptr::null_mut(),
                context: std::ptr::null_mut(),
                is_entered: false,
                is_pinned: false,
                is_cancelled: false,
                is_done: false,
            };
            (&raw mut (*body).fiber).write(fiber);
            (&raw mut (*body).call).write(MaybeUninit::new(call));
            NonNull::new_unchecked(body)
        }
    }
}

impl<F: FnOnce(*mut StoreCore, usize) -> Result<R, Error>, R> Future for GuestCall<F, R> {
    type Output = Result<R, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let core = self.core;
        let (stack, body, is_new) =
            match std::mem::replace(&mut self.state, State::Over(PhantomData)) {
                State::New(call) => {
                    // SAFETY: the store is valid until the future is dropped.
                    unsafe { (*core).fibers.check() }?;
                    let stack = Stack::take(self.settings)?;
                    let body = Self::place(core, &stack, call);
                    (stack, body, true)
                }
                State::Suspended(stack, body) => (stack, body, false),
                State::Over(_) => panic!("the future of a call was polled after it was ready"),
            };
        let poll: *mut Context<'_> = context;
        // SAFETY: the fiber is new or suspended, and this future is the only one to resume it.
        if !unsafe { resume(body.cast(), poll.cast()) } {
            self.state = State::Suspended(stack, body);
            // SAFETY: the store is valid until the future is dropped.
            unsafe {
                (*core).interrupt_users.waker.set(context.waker());
                // A thread that raised the interrupt word before that has not woken the task.
                if ends(core) {
                    context.waker().wake_by_ref();
                }
            }
            return Poll::Pending;
        }
        // SAFETY: the fiber is done, so it has written its result, and nobody uses the stack.
        let result = unsafe { (*body.as_ptr()).result.assume_init_read() };
        stack.park(self.settings.kept);
        if !is_new {
            // SAFETY: the store is valid until the future is dropped.
            drop(unsafe { (*core).interrupt_users.waker.take() });
        }
        match result {
            Ok(result) => Poll::Ready(result),
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl<F, R> Drop for GuestCall<F, R> {
    fn drop(&mut self) {
        let State::Suspended(stack, body) =
            std::mem::replace(&mut self.state, State::Over(PhantomData))
        else {
            return;
        };
        // SAFETY: the fiber is suspended, and this future is the only one to resume it. When it is
        // done, it has written its result, and nobody uses the stack.
        let result = unsafe {
            (*body.as_ptr()).fiber.is_cancelled = true;
            if !resume(body.cast(), std::ptr::null_mut()) {
                // Nothing that runs on a cancelled fiber is suspended, see `suspend`.
                std::process::abort();
            }
            drop((*self.core).interrupt_users.waker.take());
            (*body.as_ptr()).result.assume_init_read()
        };
        stack.park(self.settings.kept);
        // The drop of a host future has panicked.
        if let Err(panic) = result
            && !std::thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}

/// Runs a fiber until it is suspended or done, and returns whether it is done. All thread-locals
/// are used here, on the stack of the poller, which stays on its thread meanwhile.
///
/// # Safety
/// The fiber is new or suspended, and nobody else resumes it. Its store is valid, and used by
/// nobody else. `context` is that of the poll, unless the fiber is cancelled.
#[inline(never)]
unsafe fn resume(fiber: NonNull<Fiber>, context: *mut c_void) -> bool {
    let fiber = fiber.as_ptr();
    // SAFETY: by this function's contract; both sides reach the fiber and the store only through
    // these pointers.
    unsafe {
        let core: *mut StoreCore = (*fiber).store.cast();
        if (*core).vm.entry_sp == SUSPENDED {
            (*core).vm.entry_sp = 0;
        }
        // This is read before the exchange, because the edges that are swapped in do not say
        // whether code of the store ran.
        let ran = (*core).ran();
        let vm = &raw mut (*core).vm;
        (*fiber).elsewhere.exchange(vm, &mut (*core).outer);
        if ran {
            (*core).note_that_code_ran();
        }
        (*fiber).around = (*core).fibers.running;
        (*fiber).context = context;
        (*core).fibers.running = fiber;
        FurtherStack::enter(&raw mut (*fiber).stack);
        activation::goes_on(core);

        enter_stack(&raw mut (*fiber).sp);

        activation::is_left();
        FurtherStack::leave(&raw mut (*fiber).stack);
        (*core).fibers.running = (*fiber).around;
        (*fiber).context = std::ptr::null_mut();
        (*fiber).elsewhere.exchange(vm, &mut (*core).outer);
        (*core).note_that_code_ran();
        let is_done = (*fiber).is_done;
        if (*core).fibers.suspended != 0 && (*core).vm.entry_sp == 0 {
            (*core).vm.entry_sp = SUSPENDED;
        }
        is_done
    }
}

/// The first function on the stack of a fiber.
///
/// # Safety
/// `data` is the [`Body`] of a new fiber that was just resumed.
unsafe extern "C" fn run<F, R>(data: *mut c_void) -> !
where
    F: FnOnce(*mut StoreCore, usize) -> Result<R, Error>,
{
    let body = data.cast::<Body<F, R>>();
    // SAFETY: by this function's contract; the poller does not touch the body while this runs.
    unsafe {
        let call = (*body).call.assume_init_read();
        let (core, low) = ((*body).fiber.store.cast(), (*body).fiber.low);
        let result = catch_unwind(AssertUnwindSafe(|| call(core, low)));
        (*body).result.write(result);
        (*body).fiber.is_done = true;
        leave_stack((*body).fiber.sp)
    }
}

/// The fiber that the running code of a store can be suspended with, seen from a host function that
/// machine code or the fiber itself has just called.
///
/// # Errors
/// [`Error::NotAsync`] if there are frames of the host between the fiber and this function, or
/// there is no fiber.
///
/// # Safety
/// `core` is valid.
pub(crate) unsafe fn suspendable(core: *const StoreCore) -> Result<NonNull<Fiber>, Error> {
    // SAFETY: by this function's contract.
    let (fiber, outer) = unsafe { ((*core).fibers.running, (*core).outer) };
    // The outermost activation on a fiber is the fiber's own, if the fiber has entered wasm code.
    // Otherwise it is one of a host function that the fiber calls.
    let is_own = |fiber: &Fiber| {
        // SAFETY: as above.
        let is_active = unsafe { activation::is_active(core) };
        outer.is_null() && !fiber.is_pinned && fiber.is_entered == is_active
    };
    // SAFETY: a running fiber is on its stack, which is there.
    let fiber = NonNull::new(fiber).filter(|fiber| is_own(unsafe { fiber.as_ref() }));
    fiber.ok_or(Error::NotAsync)
}

/// Polls a future of the host for the first time, and drops it if it is ready. The code is not
/// suspended meanwhile, so this may be inlined where thread-locals are used.
///
/// # Safety
/// `fiber` is what [`suspendable`] has returned for this host function.
#[inline(always)]
pub(crate) unsafe fn begin_to_poll<'a, R>(
    fiber: NonNull<Fiber>,
    mut future: HostFuture<'a, R>,
) -> ControlFlow<R, HostFuture<'a, R>> {
    // SAFETY: by this function's contract; the context is valid while the poll lasts.
    let context = unsafe { &mut *(*fiber.as_ptr()).context.cast::<Context<'_>>() };
    match future.as_mut().poll(context) {
        Poll::Ready(result) => ControlFlow::Break(result),
        Poll::Pending => ControlFlow::Continue(future),
    }
}

/// Waits for a future of the host that is pending, and drops it in a function that is never
/// inlined. The fiber is suspended meanwhile.
///
/// # Errors
/// An error if the call is to end, because its future was dropped or because the store is
/// interrupted.
///
/// # Safety
/// `fiber` is what [`suspendable`] has returned for this host function, which has polled the future
/// before. The caller's frames hold nothing that is not `Send`, and touch no thread-local after
/// this.
#[inline(never)]
pub(crate) unsafe fn wait_on<R>(
    fiber: NonNull<Fiber>,
    future: HostFuture<'_, R>,
) -> Result<R, Error> {
    /// Drops the future, also when its poll panics.
    struct Held<'a, R>(Option<HostFuture<'a, R>>);

    impl<R> Drop for Held<'_, R> {
        #[inline(never)]
        fn drop(&mut self) {
            drop(self.0.take());
        }
    }

    let mut held = Held(Some(future));
    loop {
        // SAFETY: by this function's contract.
        unsafe {
            suspend(fiber)?;
            if ends((*fiber.as_ptr()).store.cast()) {
                return Err(TrapCode::Interrupt.into());
            }
            let Some(future) = &mut held.0 else {
                unreachable!("just put there");
            };
            if let Poll::Ready(result) = poll(fiber, future.as_mut()) {
                return Ok(result);
            }
        }
    }
}

/// Polls a future of the host, and does what [`wait_on`] does if it is pending.
///
/// # Errors
/// As for [`wait_on`].
///
/// # Safety
/// As for [`wait_on`], but the future was not polled before.
pub(crate) unsafe fn wait_and_drop<R>(
    fiber: NonNull<Fiber>,
    future: HostFuture<'_, R>,
) -> Result<R, Error> {
    /// [`begin_to_poll`], never inlined.
    #[inline(never)]
    unsafe fn begin<'a, R>(
        fiber: NonNull<Fiber>,
        future: HostFuture<'a, R>,
    ) -> ControlFlow<R, HostFuture<'a, R>> {
        // SAFETY: by the contract of the function around this.
        unsafe { begin_to_poll(fiber, future) }
    }

    // SAFETY: by this function's contract.
    unsafe {
        match begin(fiber, future) {
            ControlFlow::Break(result) => Ok(result),
            ControlFlow::Continue(future) => wait_on(fiber, future),
        }
    }
}

/// Polls a future of the host with the context of the poll that the fiber runs for. This is never
/// inlined, so that addresses of thread-locals that the future uses are not kept across a switch.
///
/// # Safety
/// The fiber is running and was not cancelled.
#[inline(never)]
unsafe fn poll<R>(
    fiber: NonNull<Fiber>,
    future: Pin<&mut (dyn Future<Output = R> + Send + '_)>,
) -> Poll<R> {
    // SAFETY: the context is valid while the poll lasts.
    let context = unsafe { &mut *(*fiber.as_ptr()).context.cast::<Context<'_>>() };
    std::hint::black_box(future).poll(context)
}

/// Leaves the stack of the fiber, until its future is polled again.
///
/// # Errors
/// [`Error::Canceled`] if the future was dropped. The caller then ends the activation.
///
/// # Safety
/// The fiber is running and this runs on its stack.
#[inline(never)]
unsafe fn suspend(fiber: NonNull<Fiber>) -> Result<(), Error> {
    let fiber = fiber.as_ptr();
    // SAFETY: by this function's contract.
    unsafe {
        let core: *mut StoreCore = (*fiber).store.cast();
        (*core).fibers.suspended += 1;
        switch_stack(&raw mut (*fiber).sp);
        (*core).fibers.suspended -= 1;
        if (*fiber).is_cancelled {
            return Err(Error::Canceled);
        }
    }
    Ok(())
}
