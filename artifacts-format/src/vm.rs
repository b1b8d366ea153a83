//! What machine code sees: the VM context and everything it points at.
//!
//! The compiler takes `offset_of!` of these types, the loader uses the same types, and the
//! assertions below pin each offset. Changing any of them means a new [`ABI`](crate::ABI) number.
//! The module [`promises`](crate::promises) says for how long machine code may keep what it reads
//! here.
//!
//! ```text
//!   VmContext (one per instance; `size` and every offset below come from the artifact's VmLayout)
//!   +0    VmContextHeader                     fixed
//!   ...   globals      inline, 8 or 16 bytes  defined globals; imported ones are pointers
//!   ...   memories     VmMemory               defined memories; imported and shared ones are
//!                                             *mut VmMemory
//!   ...   tables       VmTable                defined, not frozen; imported ones are *mut VmTable
//!   ...   func_imports [VmFuncImport]         one per imported function
//!   ...   funcrefs     [VmFuncRef]            one per function whose reference can escape
//!   ...   tags         VmTag                  defined tags; imported ones are *const VmTag
//!   ...   dropped      [u8]                   one per run-time data and element segment
//!   ...   counters     [u64]                  of code that makes profiles
//! ```
//!
//! Machine code writes only to globals, which are in front of `func_imports`, to the dropped flags,
//! and to [`counters`](crate::counters). A loader has to restore the first two before it reuses a
//! context, and lets counters go on.
//!
//! Calling conventions, for a wasm signature `(P…) -> (R…)`:
//!
//! | code | convention | signature |
//! |---|---|---|
//! | wasm function | Cranelift `tail` | `(vmctx, P…) -> R…` |
//! | native entry (host calls wasm) | C | `(vmctx, code, P…) -> R` ; at most one result, no v128 |
//! | array entry (host calls wasm) | C | `(vmctx, code, *mut ValRaw)` ; arguments in, results out |
//! | native exit (wasm calls host) | `tail` | `(*const VmFuncImport, P…) -> R` ; calls `shim` |
//! | array exit (wasm calls host) | `tail` | `(*const VmFuncImport, P…) -> R…` ; calls `shim` |
//! | native shim (host function) | C | `(*const VmFuncImport, P…) -> R` |
//! | array shim (host function) | C | `(*const VmFuncImport, *mut ValRaw)` |
//! | builtin | C | see [`Builtin`](crate::Builtin) |
//!
//! "C" is the platform's own C convention (System V on Linux). An i32 is passed as `int`, an f32 as
//! `float`, a funcref as `*const VmFuncRef` (null is the null reference), an externref or exnref as
//! u64 (zero is the null reference).
//!
//! - An *entry* stores its frame pointer, stack pointer and landing pad in the store's
//!   [`VmStoreContext`] (`entry_*`) and calls `code` with `try_call`. A trap resumes at the landing
//!   pad, which returns to the host at once, with a meaningless result: the host then reads
//!   `VmStoreContext::trapped`. The host saves and restores the `entry_*` of an outer activation.
//! - An *exit*, and a builtin's thunk, stores the edge of the wasm frames before it calls out, so
//!   that the host can walk them: `exit_fp`, the frame pointer of its caller, and `exit_sp`, the
//!   address of the return address into its caller.
//! - On x86-64 the `tail` and C conventions pass values in the same registers and preserve the same
//!   registers. So where no value is on the stack
//!   ([`is_tail_like_c`](crate::signature::is_tail_like_c)), the loader may replace an exit by a
//!   shim that does what the exit would do, and may call wasm functions itself after doing what the
//!   entry would do.
//! - Host functions and builtins never unwind through wasm frames: they resume at `entry_handler`,
//!   or, where an exception is thrown, at a [handler](crate::handlers) of one of the wasm frames of
//!   the activation, with the address of its [`VmException`] in the register for the first payload
//!   that Cranelift gives the convention `tail`.
//!
//! # Adding a convention for calls of the host
//! 1. Add a row above, and a field for its exit to
//!    [`SignatureRecord`](crate::records::SignatureRecord).
//! 2. Make the exit in `compiler/src/trampoline.rs`, under a symbol of its own, and decide in
//!    `compiler/src/plan.rs` which signatures have one.
//! 3. Make the shims: macros in `loader/src/into_func.rs` make those of closures, and macros in
//!    `loader/src/host_async.rs` those of futures. `loader/src/vm/shims.rs` has what they share,
//!    and `loader/src/arch` what is machine code. `loader/src/vm/host.rs` chooses the exit and the
//!    shim of each import.
//! 4. The exit must fit into [`TRAMPOLINE_FRAME`](crate::abi::TRAMPOLINE_FRAME). Add tests with
//!    values of every type, errors and panics to `tests/loader/host.rs`.
//!
//! # Byte order
//! Machine code and the loader run on the same machine, so everything that the loader
//! makes for machine code (VM context, GOT, store context, tables) is in the target's own
//! order. So is the artifact's template of the VM context, because it holds the initial values of
//! globals. Guest memory, [`FrozenEntry`](crate::records::FrozenEntry) and arrays of [`ValRaw`] are
//! little-endian even on a big-endian target (s390x), and code there says so at each access. A v128
//! always has its lane 0 first, in a global too. All other records and tables of the artifact are
//! little-endian, and machine code does not read them.

/// State of one store that machine code reads and writes: limits, and the edges of the innermost
/// wasm activation.
#[derive(Debug)]
#[repr(C)]
pub struct VmStoreContext {
    /// Lowest address that the stack pointer of a wasm function may have. A function that would go
    /// below it traps with [`TrapCode::StackOverflow`](crate::TrapCode::StackOverflow).
    pub stack_limit: usize,
    /// Remaining fuel, negated: code counts up, and stops where this is not negative
    /// ([`Interruption::Fuel`](crate::Interruption::Fuel)).
    pub fuel: i64,
    /// Zero lets code run; [`INTERRUPT_LEAST`] or more makes it call
    /// [`Builtin::Interrupted`](crate::Builtin::Interrupted). Other threads write this word
    /// ([`Interruption::Epoch`](crate::Interruption::Epoch)).
    pub interrupt: u64,
    /// Frame pointer of the wasm function that last called out of wasm code.
    pub exit_fp: usize,
    /// Address of the word with the return address into that function: the end of its stack.
    pub exit_sp: usize,
    /// Frame pointer of the entry trampoline of the innermost activation.
    pub entry_fp: usize,
    /// Stack pointer of the entry trampoline at its `try_call`.
    pub entry_sp: usize,
    /// Address of the entry trampoline's landing pad.
    pub entry_handler: usize,
    /// Not zero when the activation that just returned to the host ended by a trap, a host error or
    /// a host panic. The loader keeps the details beside this struct.
    pub trapped: u64,
    /// Routines of the loader.
    pub builtins: *const VmBuiltins,
}

/// Addresses of the [`Builtin`](crate::Builtin)s at their [positions](crate::Builtin::position). A
/// loader may have more builtins than an artifact knows.
///
/// There is one table for the whole process. If builtins were slots of the GOT, every module
/// would have a GOT to patch, which costs two system calls and a page of its own for each
/// module that is opened.
#[derive(Debug)]
#[repr(C)]
pub struct VmBuiltins(pub [*const (); crate::Builtin::COUNT]);

/// The least value of [`VmStoreContext::interrupt`] that means "stop". It is higher than any
/// address, so that code may compare the word with a pointer that it already has in a register.
pub const INTERRUPT_LEAST: u64 = 1 << 61;

/// Start of every VM context.
#[derive(Debug)]
#[repr(C)]
pub struct VmContextHeader {
    /// The store that the instance lives in.
    pub store: *mut VmStoreContext,
    /// The loader's own data about the instance; machine code never reads it.
    pub instance: *mut core::ffi::c_void,
}

/// A linear memory as machine code sees it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct VmMemory {
    /// Address of the first byte. It never changes for a [guarded](crate::Strategy::guards) or a
    /// shared memory; other memories move when they grow.
    pub base: *mut u8,
    /// Current length in bytes. Other threads write the length of a shared memory, atomically.
    pub len: usize,
    /// Keeps speculation in the memory: code that has compared a 32-bit index with `len` uses the
    /// bitwise AND of index and mask. The mask is one less than a power of two that `len` does not
    /// exceed, and at least `mask + 1 +` [`MASKED_OFFSET_LIMIT`](crate::abi::MASKED_OFFSET_LIMIT)
    /// bytes from `base` on are reserved for the memory. All bits are set if the memory's indices
    /// are 64-bit; such indices are not masked with it.
    pub mask: usize,
    /// For each of the [`ENDS`](Self::ENDS), the greatest index at which an access that ends that
    /// many bytes behind its index is in bounds: `len` minus the end, or 0 if the memory is
    /// shorter. Checked code compares 32-bit indices with these numbers, if the memory's minimum is
    /// not less than the end. They change with `len`. They are not used for a memory with 64-bit
    /// indices, nor for a shared memory, because other threads must see its growth as one change.
    pub last: [u32; Self::ENDS.len()],
}

impl VmMemory {
    /// The ends of accesses that [`last`](Self::last) knows, ascending: those of bytes, and of
    /// words in structures of up to 64 bytes.
    pub const ENDS: [u32; 18] = [
        1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64,
    ];

    /// What machine code sees of a memory with this base, length and mask.
    #[must_use]
    pub fn new(base: *mut u8, len: usize, mask: usize) -> Self {
        let last = Self::last(len);
        Self {
            base,
            len,
            mask,
            last,
        }
    }

    /// The value of the field [`last`](Self::last) for a length.
    #[must_use]
    pub fn last(len: usize) -> [u32; Self::ENDS.len()] {
        // The cast is right for 32-bit indices: such a memory is at most 2^32 bytes long.
        Self::ENDS.map(|end| len.saturating_sub(end as usize) as u32)
    }
}

/// A table as machine code sees it. Elements are 8 bytes: `*const VmFuncRef` for a table of
/// funcref, a u64 for a table of externref; zero is the null reference.
#[derive(Debug)]
#[repr(C)]
pub struct VmTable {
    /// Address of the first element; growth changes it.
    pub base: *mut u64,
    /// Number of elements.
    pub len: usize,
}

/// An import slot: what a call of an imported function needs.
///
/// For a function of another instance, `code` is its machine code and `ctx` its VM context; the
/// other fields are unused. For a host function, `code` is an exit trampoline of the *importing*
/// module (or code that stands in for it) and `ctx` is the address of this struct itself.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct VmFuncImport {
    /// Machine code to call, convention `tail`, first argument `ctx`.
    pub code: *const u8,
    /// First argument of `code`.
    pub ctx: *mut core::ffi::c_void,
    /// The host function's shim that the exit trampoline calls.
    pub shim: *const u8,
    /// The host function's own data; only the shim knows its type.
    pub data: *const core::ffi::c_void,
    /// VM context of the importing instance; null for a host function that no instance imported.
    pub owner: *mut VmContextHeader,
    /// The store, for the exit trampoline.
    pub store: *mut VmStoreContext,
}

/// A function reference.
///
/// The funcref slot of a function in a VM context is all zero until the loader fills it, at the
/// first `ref.func`, table initialisation or export that needs the reference.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct VmFuncRef {
    /// Machine code, convention `tail`, first argument `ctx`; null while the slot is not filled.
    pub code: *const u8,
    /// First argument of `code`.
    pub ctx: *mut core::ffi::c_void,
    /// Identity of the signature, see [`type_id`](crate::signature::type_id).
    pub type_id: u64,
    /// Array entry for this signature.
    pub array_entry: *const u8,
    /// Native entry for this signature, or null if the signature has none.
    pub native_entry: *const u8,
}

/// A tag of exceptions. Its address is its identity: two tags are the same if they have the same
/// address.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct VmTag {
    /// Type id of the signature, whose parameters are the values of exceptions with this tag.
    pub type_id: u64,
    /// Number of these values.
    pub values: u64,
}

/// An exception as machine code sees it. Its values follow, as an array of [`ValRaw`].
#[derive(Debug, Clone, Copy)]
#[repr(C, align(16))]
pub struct VmException {
    /// The exception's tag.
    pub tag: *const VmTag,
    /// The reference to the exception, which is never null.
    pub reference: u64,
}

/// One wasm value at the boundary between host and wasm, as arrays of arguments and results hold
/// it: 16 bytes. The value is in the first bytes, little-endian; the other bytes are undefined.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub union ValRaw {
    /// An `i32`.
    pub i32: i32,
    /// An `i64`.
    pub i64: i64,
    /// The bits of an `f32`.
    pub f32: u32,
    /// The bits of an `f64`.
    pub f64: u64,
    /// A `v128`.
    pub v128: u128,
    /// A `funcref`; null is the null reference.
    pub funcref: *const VmFuncRef,
    /// An `externref`; zero is the null reference.
    pub externref: u64,
    /// An `exnref`; zero is the null reference.
    pub exnref: u64,
}

impl core::fmt::Debug for ValRaw {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ValRaw(..)")
    }
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(
        size_of::<usize>() == 8,
        "precast artifacts are for 64-bit targets"
    );
    assert!(size_of::<VmStoreContext>() == 80);
    assert!(offset_of!(VmStoreContext, stack_limit) == 0);
    assert!(offset_of!(VmStoreContext, fuel) == 8);
    assert!(offset_of!(VmStoreContext, interrupt) == 16);
    assert!(offset_of!(VmStoreContext, exit_fp) == 24);
    assert!(offset_of!(VmStoreContext, exit_sp) == 32);
    assert!(offset_of!(VmStoreContext, entry_fp) == 40);
    assert!(offset_of!(VmStoreContext, entry_sp) == 48);
    assert!(offset_of!(VmStoreContext, entry_handler) == 56);
    assert!(offset_of!(VmStoreContext, trapped) == 64);
    assert!(offset_of!(VmStoreContext, builtins) == 72);
    assert!(size_of::<VmBuiltins>() == 176);
    assert!(size_of::<VmContextHeader>() == 16);
    assert!(offset_of!(VmContextHeader, store) == 0);
    assert!(offset_of!(VmContextHeader, instance) == 8);
    assert!(size_of::<VmMemory>() == 96);
    assert!(offset_of!(VmMemory, base) == 0 && offset_of!(VmMemory, len) == 8);
    assert!(offset_of!(VmMemory, mask) == 16 && offset_of!(VmMemory, last) == 24);
    assert!(size_of::<VmTable>() == 16);
    assert!(offset_of!(VmTable, base) == 0 && offset_of!(VmTable, len) == 8);
    assert!(size_of::<VmFuncImport>() == 48);
    assert!(offset_of!(VmFuncImport, code) == 0 && offset_of!(VmFuncImport, ctx) == 8);
    assert!(offset_of!(VmFuncImport, shim) == 16 && offset_of!(VmFuncImport, data) == 24);
    assert!(offset_of!(VmFuncImport, owner) == 32 && offset_of!(VmFuncImport, store) == 40);
    assert!(size_of::<VmFuncRef>() == 40);
    assert!(offset_of!(VmFuncRef, code) == 0 && offset_of!(VmFuncRef, ctx) == 8);
    assert!(offset_of!(VmFuncRef, type_id) == 16);
    assert!(offset_of!(VmFuncRef, array_entry) == 24 && offset_of!(VmFuncRef, native_entry) == 32);
    assert!(size_of::<VmTag>() == 16);
    assert!(offset_of!(VmTag, type_id) == 0 && offset_of!(VmTag, values) == 8);
    assert!(size_of::<VmException>() == 16 && align_of::<VmException>() == align_of::<ValRaw>());
    assert!(offset_of!(VmException, tag) == 0 && offset_of!(VmException, reference) == 8);
    assert!(size_of::<ValRaw>() == 16);
};
