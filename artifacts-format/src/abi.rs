//! What machine code assumes about its surroundings, apart from the VM context's layout
//! (see [`vm`](crate::vm)): builtins, library calls, trap codes, memory strategies.
//!
//! Each variant of an enum has a fixed number, and numbers are never reused. A change to anything
//! here that old machine code would notice needs a new [`ABI`] number.
//!
//! # Adding a kind of trap
//! 1. Add a variant to [`TrapCode`], with the next number and its message, and say so at [`ABI`].
//! 2. Raise it. Code does so through `compiler/src/translate/trap.rs`, the only file that decides
//!    how code raises a trap under each strategy; where Cranelift has a trap code of its own, that
//!    file says which trap it is. A routine of the loader (`loader/src/vm/builtins`) returns the
//!    trap as its error.
//! 3. Add tests for both strategies, with the function and the offset of the backtrace, to
//!    `tests/loader/traps.rs`.

/// Version of what machine code assumes about the loader.
///
/// What changes this number and the others, and what they promise, is in `VERSIONS.md` of this
/// package. The number changes for a vulnerability or a redesign, and for nothing else:
///
/// - **4** The first one that is released. It is what ABI 3 had become: while that was not
///   released, its number stood for several states, which do not understand each other.
/// - **3** The base of a memory with 64-bit indices is read again after each call, because such a
///   memory moves when it grows. Code made for ABI 1 and 2 kept the base under
///   [`Strategy::Guarded`], so ABI 3 withdraws both, see [`LEAST_SAFE`]. Exceptions exist:
///   [tags](crate::vm::VmTag) in the VM context, [handlers](crate::handlers) of calls, three
///   builtins. Atomic operators, with two trap codes. A memory has a
///   [mask](crate::vm::VmMemory::mask) for its indices, and the [last](crate::vm::VmMemory::last)
///   indices that accesses can have. Memories can be shared between threads, with three more
///   builtins, and can have pages of one byte. Code can have both kinds of interruption. Code that
///   finds the interrupt word raised calls a builtin, after which it may go on. [Address
///   maps](crate::addresses) know inlined calls. Value types are 32-bit numbers, so that references
///   can have the type of a signature; types have supertypes and recursive groups
///   ([`TypeRecord`](crate::records::TypeRecord)), which a builtin compares. Code can call the
///   host's listener at the entry and the end of [functions](Builtin::FunctionBefore). The header
///   has the [proposals](crate::Header::features) of the module. An artifact with a GOT ends with a
///   whole page, so that the GOT can be filled in wherever a linker puts the artifact.
/// - **2** Builtins are reached through the store context, not through the GOT. Interruption
///   by fuel and by epochs exists.
/// - **1** The first version.
pub const ABI: u32 = 4;

/// The least ABI number whose code stays in the sandbox. An artifact made for an older ABI is
/// refused for that reason, by this loader and by every later one.
pub const LEAST_SAFE: u32 = 3;

macro_rules! numbered {
    ($(#[$attr:meta])* $vis:vis enum $Name:ident {
        $($(#[$vattr:meta])* $Variant:ident = $number:literal $text:literal),* $(,)?
    }) => {
        $(#[$attr])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        $vis enum $Name { $($(#[$vattr])* $Variant = $number),* }

        impl $Name {
            /// Every variant, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$Variant),*];

            /// The variant with this number.
            pub const fn from_number(n: u32) -> Option<Self> {
                match n { $($number => Some(Self::$Variant),)* _ => None }
            }

            /// The name or the message that people read.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$Variant => $text),* }
            }
        }

        impl core::fmt::Display for $Name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.text())
            }
        }
    };
}

pub(crate) use numbered;

numbered! {
    /// Why wasm code stopped. The messages are those of the official test suite.
    ///
    /// ```
    /// use precast_artifact::TrapCode;
    ///
    /// assert_eq!(TrapCode::StackOverflow.to_string(), "call stack exhausted");
    /// ```
    #[non_exhaustive]
    pub enum TrapCode {
        /// An `unreachable` instruction.
        UnreachableCodeReached = 1 "unreachable",
        /// An access outside of a linear memory.
        MemoryOutOfBounds = 2 "out of bounds memory access",
        /// An access outside of a table.
        TableOutOfBounds = 3 "out of bounds table access",
        /// A `call_indirect` to an index outside of the table.
        UndefinedElement = 4 "undefined element",
        /// A `call_indirect` to a null element.
        IndirectCallToNull = 5 "uninitialized element",
        /// A `call_indirect` to a function of another type.
        BadSignature = 6 "indirect call type mismatch",
        /// The result of a signed division does not fit, or a float is out of the integer's range.
        IntegerOverflow = 7 "integer overflow",
        /// Division or remainder by zero.
        IntegerDivisionByZero = 8 "integer divide by zero",
        /// Conversion of a NaN to an integer.
        BadConversionToInteger = 9 "invalid conversion to integer",
        /// The call stack is exhausted.
        StackOverflow = 10 "call stack exhausted",
        /// An instruction that needs a reference found the null reference.
        NullReference = 11 "null reference",
        /// The host asked the code to stop, or the deadline of an epoch has passed.
        Interrupt = 12 "interrupted",
        /// Fuel is used up.
        OutOfFuel = 13 "all fuel consumed",
        /// An atomic access to an address that is not a multiple of its size.
        HeapMisaligned = 14 "unaligned atomic",
        /// Waiting on a memory that is not shared.
        AtomicWaitNonSharedMemory = 15 "expected shared memory",
        /// A call through the null reference.
        NullFunctionReference = 16 "null function reference",
    }
}

impl core::error::Error for TrapCode {}

numbered! {
    /// Routines of the loader that machine code calls through
    /// [`VmStoreContext::builtins`](crate::vm::VmStoreContext::builtins).
    ///
    /// All builtins use the C convention. A builtin whose first argument is a VM context may raise
    /// a trap, and is called through a thunk in the artifact that stores `exit_fp` and `exit_sp`
    /// first. Indices of memories, tables, segments and functions are u32 and those of the module's
    /// index spaces; lengths and positions are u64.
    #[non_exhaustive]
    pub enum Builtin {
        /// `(vmctx, memory, delta: u64) -> u64`: returns the former number of pages, or `u64::MAX`
        /// if the memory did not grow.
        MemoryGrow = 1 "memory_grow",
        /// `(vmctx, memory, segment, dst: u64, src: u64, len: u64)`: may raise a trap.
        MemoryInit = 2 "memory_init",
        /// `(dst: *mut u8, src: *const u8, len: u64)`: copies bytes; the ranges may overlap. The
        /// caller has checked the bounds. There is no thunk.
        MemMove = 3 "memmove",
        /// `(dst: *mut u8, value: u32, len: u64)`: fills with the low byte of `value`. The caller
        /// has checked the bounds. There is no thunk.
        MemSet = 4 "memset",
        /// `(vmctx, table, delta: u64, init: u64) -> u64`: returns the former number of elements,
        /// or `u64::MAX` if the table did not grow.
        TableGrow = 5 "table_grow",
        /// `(vmctx, table, segment, dst: u64, src: u64, len: u64)`: may raise a trap.
        TableInit = 6 "table_init",
        /// `(vmctx, dst_table, src_table, dst: u64, src: u64, len: u64)`: may raise a trap.
        TableCopy = 7 "table_copy",
        /// `(vmctx, table, dst: u64, value: u64, len: u64)`: may raise a trap.
        TableFill = 8 "table_fill",
        /// `(vmctx, function) -> *const VmFuncRef`: fills the function's funcref slot and returns
        /// its address.
        RefFunc = 9 "ref_func",
        /// `(vmctx, code: u32)`: raises the [`TrapCode`] and never returns. Code uses it where
        /// traps are not made by signals ([`Strategy::Checked`]).
        RaiseTrap = 10 "raise_trap",
        /// `(vmctx, dst: *mut u8, src: *const u8, len: u64)`: [`Self::MemMove`] that works in
        /// pieces of [`PIECE`] bytes; may raise a trap between them.
        MemoryCopy = 11 "memory_copy",
        /// `(vmctx, dst: *mut u8, value: u32, len: u64)`: [`Self::MemSet`] that works in pieces of
        /// [`PIECE`] bytes; may raise a trap between them.
        MemoryFill = 12 "memory_fill",
        /// `(vmctx, tag: *const VmTag) -> *mut VmException`: returns a new exception, whose values
        /// the code writes before it calls anything else; may raise a trap.
        ExceptionNew = 13 "exception_new",
        /// `(vmctx, exnref: u64) -> *mut VmException`: returns the exception that a reference
        /// refers to, valid until the code calls something; may raise [`TrapCode::NullReference`].
        ExceptionGet = 14 "exception_get",
        /// `(vmctx, exception: *mut VmException)`: resumes at the handler of the innermost call
        /// that has one, or ends the activation; never returns.
        ExceptionThrow = 15 "exception_throw",
        /// `(vmctx, memory, address: u64, expected: u32, timeout: i64) -> u32`:
        /// `memory.atomic.wait32` on a shared memory, at an address that includes the static
        /// offset; may raise a trap. The timeout is in nanoseconds, and there is none if it is
        /// negative. Returns 0 if the thread was notified, 1 if the value differed from `expected`,
        /// 2 after the timeout.
        MemoryWait32 = 16 "memory_wait32",
        /// `(vmctx, memory, address: u64, expected: u64, timeout: i64) -> u32`: the same for
        /// `memory.atomic.wait64`.
        MemoryWait64 = 17 "memory_wait64",
        /// `(vmctx, memory, address: u64, count: u32) -> u32`: wakes up to `count` threads that
        /// wait at an address of a shared memory, and returns how many; may raise a trap.
        MemoryNotify = 18 "memory_notify",
        /// `(vmctx)`: called by code that finds
        /// [`VmStoreContext::interrupt`](crate::vm::VmStoreContext::interrupt) raised. Returns if
        /// the code should continue, or raises a trap. The thunk preserves all registers.
        Interrupted = 19 "interrupted",
        /// `(vmctx, found: u64, expected: u64) -> u64`: returns 1 if the type with the
        /// [type id](crate::signature) `found` is a subtype of `expected`, which differs from it,
        /// else 0.
        IsSubtype = 20 "is_subtype",
        /// `(vmctx, function, values: *const ValRaw)`: tells the host's listener that a function
        /// begins, with its parameters. Only code that is compiled for listeners calls it.
        FunctionBefore = 21 "function_before",
        /// `(vmctx, function, values: *const ValRaw)`: tells the host's listener that a function
        /// returns, with its results, or that it ends by a tail call, without values.
        FunctionAfter = 22 "function_after",
    }
}

impl Builtin {
    /// The number of builtins.
    pub const COUNT: usize = Self::ALL.len();

    /// Position of the builtin's address in [`VmBuiltins`](crate::vm::VmBuiltins).
    pub const fn position(self) -> usize {
        self as usize - 1
    }

    /// Whether the first argument is the VM context and calls go through a thunk.
    pub const fn takes_vmctx(self) -> bool {
        !matches!(self, Self::MemMove | Self::MemSet)
    }
}

numbered! {
    /// Operations that some CPUs lack, for which Cranelift calls a function. Machine code reaches
    /// these functions through the GOT. (Rounding is not among them, because the compiler
    /// expands rounding into instructions.)
    #[non_exhaustive]
    pub enum LibCall {
        /// Fused multiply-add of f32.
        FmaF32 = 9 "fmaf",
        /// Fused multiply-add of f64.
        FmaF64 = 10 "fma",
        /// The x86 instruction `pshufb` on two 128-bit vectors.
        X86Pshufb = 11 "x86_pshufb",
    }
}

numbered! {
    /// How accesses to linear memory are kept in bounds, and how traps are made.
    pub enum Strategy {
        /// Memories have reserved address space with guard pages. An access out of bounds faults,
        /// and a signal handler turns the fault into a trap.
        Guarded = 1 "guarded",
        /// Code checks bounds before each access. Traps are calls of [`Builtin::RaiseTrap`], so
        /// that neither a large reservation nor a signal handler is needed.
        Checked = 2 "checked",
    }
}

impl Strategy {
    /// Whether a memory with these indices and pages is *guarded* in a module with this strategy. A
    /// guarded memory is reserved with [`GUARDED_RESERVATION`] bytes, so that it never moves and
    /// that every sum of a 32-bit index and a small static offset lies inside the reservation.
    /// Every access to any other memory is checked, and it moves when it outgrows its reservation,
    /// unless it is shared. The length of a memory with pages of one byte is no multiple of the
    /// system's page size, so the system cannot find the accesses right behind its end.
    ///
    /// Compiler and loader both use this function, so that they cannot disagree.
    pub const fn guards(self, memory64: bool, page_shift: u32) -> bool {
        matches!(self, Self::Guarded) && !memory64 && page_shift == 16
    }
}

numbered! {
    /// How the host can stop running code.
    ///
    /// ```
    /// use precast_artifact::Interruption;
    ///
    /// let both = Interruption::of(true, true);
    /// assert!(both.includes(Interruption::Fuel));
    /// assert!(!Interruption::Fuel.has_epochs());
    /// assert_eq!(both.to_string(), "fuel+epoch");
    /// ```
    pub enum Interruption {
        /// The host cannot: code stops only where it calls the host.
        None = 0 "none",
        /// Code counts its work in [`VmStoreContext::fuel`](crate::vm::VmStoreContext::fuel), and
        /// stops when the fuel is used up.
        Fuel = 1 "fuel",
        /// Code reads [`VmStoreContext::interrupt`](crate::vm::VmStoreContext::interrupt) in every
        /// loop and every recursion.
        Epoch = 2 "epoch",
        /// Code does both: fuel bounds the work, and the host can stop the code before the fuel is
        /// used up.
        FuelAndEpoch = 3 "fuel+epoch",
    }
}

impl Interruption {
    /// Whether code counts fuel.
    pub const fn counts_fuel(self) -> bool {
        matches!(self, Self::Fuel | Self::FuelAndEpoch)
    }

    /// Whether code reads the interrupt word.
    pub const fn has_epochs(self) -> bool {
        matches!(self, Self::Epoch | Self::FuelAndEpoch)
    }

    /// The kind of interruption with these parts.
    pub const fn of(fuel: bool, epochs: bool) -> Self {
        match (fuel, epochs) {
            (false, false) => Self::None,
            (true, false) => Self::Fuel,
            (false, true) => Self::Epoch,
            (true, true) => Self::FuelAndEpoch,
        }
    }

    /// Whether code of this kind can be stopped in every way that code of `other` can.
    pub const fn includes(self, other: Self) -> bool {
        (self.counts_fuel() || !other.counts_fuel()) && (self.has_epochs() || !other.has_epochs())
    }
}

/// Maximum number of bytes of stack that a function takes before it compares the stack pointer with
/// [`VmStoreContext::stack_limit`](crate::vm::VmStoreContext::stack_limit) ([`Strategy::Checked`]),
/// or that a function which calls no function takes without comparing at all. A function with a
/// larger frame has code in front of it that compares first. Guarded code compares before it takes
/// any frame, except in functions that call nothing and have no larger frame.
pub const UNCHECKED_FRAME: u32 = 32 << 10;

/// Maximum number of bytes of stack that an entry, exit or thunk of an artifact takes, including
/// the arguments and results that it passes (at most 1,000 each, as for any function). None of them
/// compares with the stack limit.
pub const TRAMPOLINE_FRAME: u32 = 64 << 10;

/// Maximum number of bytes of stack that machine code takes below the stack limit before the
/// loader's code, or a host function, runs there: those of a function that has not compared yet,
/// then those of an exit or thunk. A function's arguments on the stack belong to its caller's
/// frame. Those of a tail call do not, but the exit's share has room for them.
pub const MACHINE_RESERVE: usize = UNCHECKED_FRAME as usize + TRAMPOLINE_FRAME as usize;

/// Maximum sum of static offset and size of an access for which code relies on
/// [`VmMemory::mask`](crate::vm::VmMemory::mask): that many bytes are reserved behind the greatest
/// masked index.
pub const MASKED_OFFSET_LIMIT: u64 = 64 << 10;

/// Bytes of address space that are reserved for a guarded 32-bit memory: every sum of a 32-bit
/// index and a static offset below [`GUARDED_OFFSET_LIMIT`] lies inside.
pub const GUARDED_RESERVATION: u64 = (4 << 30) + GUARDED_OFFSET_LIMIT;

/// An access whose static offset plus size reaches this number is checked explicitly even in a
/// guarded memory.
pub const GUARDED_OFFSET_LIMIT: u64 = 32 << 20;

/// Maximum number of bytes that an operator on a range of a memory or table works on between two
/// reads of [`VmStoreContext::interrupt`](crate::vm::VmStoreContext::interrupt), in code that the
/// host can stop by it: about a millisecond of work.
///
/// For longer ranges the compiler calls the builtins that read the word, and the loader works in
/// pieces of this size.
pub const PIECE: u64 = 4 << 20;
