//! What machine code assumes about its surroundings, apart from the VM context's layout
//! (see [`vm`](crate::vm)): builtins, library calls, trap codes, memory strategies.
//!
//! Each enum has a fixed number for each variant; numbers are never reused. A change to anything
//! here that old machine code would notice needs a new [`ABI`] number.

/// Version of what machine code assumes about the loader.
///
/// It changes for a vulnerability or a redesign, and for nothing else:
///
/// - **3** The base of a memory with 64-bit indices is read again after each call, because such a
///   memory moves when it grows. Code made for 1 and 2 kept it under [`Strategy::Guarded`].
///   Withdraws 1 and 2, see [`LEAST_SAFE`].
/// - **2** Builtins are reached through the store context, not through the link table; interruption
///   by fuel and by epochs.
/// - **1** The first one.
pub const ABI: u32 = 3;

/// Least ABI number whose code stays in the sandbox. What was made for an older one is refused for
/// that reason, and will be by every loader to come.
pub const LEAST_SAFE: u32 = 3;

macro_rules! numbered {
    ($(#[$attr:meta])* $vis:vis enum $Name:ident { $($(#[$vattr:meta])* $Variant:ident = $number:literal $text:literal),* $(,)? }) => {
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

            /// Name or message, as people read it.
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

numbered! {
    /// Why wasm code stopped. The texts are those of the official test suite.
    #[non_exhaustive]
    pub enum TrapCode {
        /// An `unreachable` instruction.
        Unreachable = 1 "unreachable",
        /// An access outside of a linear memory.
        MemoryOutOfBounds = 2 "out of bounds memory access",
        /// An access outside of a table.
        TableOutOfBounds = 3 "out of bounds table access",
        /// A `call_indirect` to an index outside of the table.
        UndefinedElement = 4 "undefined element",
        /// A `call_indirect` to a null element.
        UninitializedElement = 5 "uninitialized element",
        /// A `call_indirect` to a function of another type.
        IndirectCallTypeMismatch = 6 "indirect call type mismatch",
        /// The result of a signed division does not fit, or a float is out of the integer's range.
        IntegerOverflow = 7 "integer overflow",
        /// Division or remainder by zero.
        IntegerDivideByZero = 8 "integer divide by zero",
        /// Conversion of a NaN to an integer.
        InvalidConversionToInteger = 9 "invalid conversion to integer",
        /// The call stack is exhausted.
        StackOverflow = 10 "call stack exhausted",
        /// A null reference where an instruction needs one that is not.
        NullReference = 11 "null reference",
        /// The host asked for it, or the deadline of an epoch has passed.
        Interrupt = 12 "interrupted",
        /// Fuel is used up.
        OutOfFuel = 13 "all fuel consumed",
    }
}

numbered! {
    /// Routines of the loader that machine code calls through
    /// [`VmStoreContext::builtins`](crate::vm::VmStoreContext::builtins).
    ///
    /// All use the C convention. Those that take a VM context as first argument are called through
    /// a thunk in the artifact that stores `exit_fp` and `exit_sp` first, and may raise a trap.
    /// Indices of memories, tables, segments and functions are those of the module's index spaces,
    /// u32; lengths and positions are u64.
    #[non_exhaustive]
    pub enum Builtin {
        /// `(vmctx, memory, delta: u64) -> u64`: pages before, or `u64::MAX` (not grown).
        MemoryGrow = 1 "memory_grow",
        /// `(vmctx, memory, segment, dst: u64, src: u64, len: u64)`; raises.
        MemoryInit = 2 "memory_init",
        /// `(dst: *mut u8, src: *const u8, len: u64)`: bytes that may overlap; in bounds, checked
        /// by the caller. No thunk.
        MemMove = 3 "memmove",
        /// `(dst: *mut u8, value: u32, len: u64)`: low byte of value; in bounds. No thunk.
        MemSet = 4 "memset",
        /// `(vmctx, table, delta: u64, init: u64) -> u64`: elements before, or `u64::MAX`.
        TableGrow = 5 "table_grow",
        /// `(vmctx, table, segment, dst: u64, src: u64, len: u64)`; raises.
        TableInit = 6 "table_init",
        /// `(vmctx, dst_table, src_table, dst: u64, src: u64, len: u64)`; raises.
        TableCopy = 7 "table_copy",
        /// `(vmctx, table, dst: u64, value: u64, len: u64)`; raises.
        TableFill = 8 "table_fill",
        /// `(vmctx, function) -> *const VmFuncRef`: fills the function's slot.
        RefFunc = 9 "ref_func",
        /// `(vmctx, code: u32)`: raises the [`TrapCode`]; never returns. Used where traps are not
        /// made by signals ([`Strategy::Checked`]).
        RaiseTrap = 10 "raise_trap",
        /// `(vmctx, dst: *mut u8, src: *const u8, len: u64)`: [`Self::MemMove`] in pieces, see
        /// [`PIECE`]; raises.
        MemoryCopy = 11 "memory_copy",
        /// `(vmctx, dst: *mut u8, value: u32, len: u64)`: [`Self::MemSet`] in pieces; raises.
        MemoryFill = 12 "memory_fill",
    }
}

impl Builtin {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Position of its address in [`VmBuiltins`](crate::vm::VmBuiltins).
    pub const fn position(self) -> usize {
        self as usize - 1
    }

    /// Whether the first argument is the VM context and calls go through a thunk.
    pub const fn takes_vmctx(self) -> bool {
        !matches!(self, Self::MemMove | Self::MemSet)
    }
}

numbered! {
    /// Operations that some CPUs lack and Cranelift calls a function for, which machine code
    /// reaches through the link table. (Rounding is not among them: the compiler writes it out.)
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
    /// How accesses to linear memory are kept inside it, and how traps are made.
    pub enum Strategy {
        /// Reserved address space with guard pages; accesses out of bounds fault, and a signal
        /// handler turns the fault into a trap.
        Guarded = 1 "guarded",
        /// Explicit checks before each access; traps are calls of [`Builtin::RaiseTrap`], so that
        /// neither a large reservation nor a signal handler is needed.
        Checked = 2 "checked",
    }
}

impl Strategy {
    /// Whether memories of this kind are *guarded* in modules with this strategy: reserved with
    /// [`GUARDED_RESERVATION`] bytes, so that they never move and that every address which a 32-bit
    /// index and a small static offset can make lies inside. All others move when they outgrow
    /// their room, and every access to them is checked.
    ///
    /// Compiler and loader both ask here and nowhere else.
    pub const fn guards(self, memory64: bool) -> bool {
        matches!(self, Self::Guarded) && !memory64
    }
}

numbered! {
    /// How code that calls nothing can be stopped.
    pub enum Interruption {
        /// Not at all: only where it calls the host.
        None = 0 "none",
        /// It counts what it does in [`VmStoreContext::fuel`](crate::vm::VmStoreContext::fuel), and
        /// stops when that is used up.
        Fuel = 1 "fuel",
        /// It looks at [`VmStoreContext::interrupt`](crate::vm::VmStoreContext::interrupt) in every
        /// loop and every recursion.
        Epoch = 2 "epoch",
    }
}

/// Most bytes of stack that a function takes before it compares the stack pointer with
/// [`VmStoreContext::stack_limit`](crate::vm::VmStoreContext::stack_limit)
/// ([`Strategy::Checked`]), or without doing so because it calls no function. In front of one with a
/// larger frame there is code that compares first. Guarded code always compares first, but for
/// functions that have no frame and call nothing.
pub const UNCHECKED_FRAME: u32 = 32 << 10;

/// Most bytes of stack that an entry, exit or thunk of an artifact takes, with the arguments and
/// results that it passes: those of a function, at most 1,000 each. None of them compares.
pub const TRAMPOLINE_FRAME: u32 = 64 << 10;

/// Most bytes of stack that machine code takes below the limit before the loader's code, or a host
/// function, runs there: a function that has not compared yet, then an exit or thunk. A function's
/// arguments on the stack are the caller's, but for those of a tail call, which has room for as many in
/// the exit's share.
pub const MACHINE_RESERVE: usize = UNCHECKED_FRAME as usize + TRAMPOLINE_FRAME as usize;

/// Bytes of address space that a guarded 32-bit memory is reserved with: every sum of a 32-bit
/// index and a static offset below [`GUARDED_OFFSET_LIMIT`] stays inside.
pub const GUARDED_RESERVATION: u64 = (4 << 30) + GUARDED_OFFSET_LIMIT;

/// Static offsets from this on (counted to the access's end) are checked explicitly even in a
/// guarded memory.
pub const GUARDED_OFFSET_LIMIT: u64 = 32 << 20;

/// Most bytes that an operator on a range of a memory or table works on between two looks at
/// [`VmStoreContext::interrupt`](crate::vm::VmStoreContext::interrupt), in code that can be stopped by
/// it: a millisecond or so.
///
/// The compiler calls the builtins that look for what is longer, and the loader's work in pieces of
/// this size.
pub const PIECE: u64 = 4 << 20;
