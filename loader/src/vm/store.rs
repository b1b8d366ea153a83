//! The core of a store: the part that does not depend on the data of the host.
//!
//! Machine code and the signal handler reach the store through a raw pointer. The crate uses the
//! same pointer, [`StoreCore::this`], for the fields that they use, and holds no reference to the
//! core while wasm code runs.

#![expect(
    clippy::vec_box,
    reason = "handles point into the boxes, which must not move"
)]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use precast_artifact::vm::{VmBuiltins, VmStoreContext, VmTag};
use smallvec::SmallVec;

use super::edges::SavedActivation;
use super::ending::Ending;
use super::externrefs::ExternRefs;
#[cfg(feature = "async")]
use super::fibers::Fibers;
use super::frames::RawFrames;
use super::global::HostGlobal;
use super::host::StoreFunc;
use super::instance::InstanceData;
use super::interrupt::{self, Epochs, InterruptUsers};
use super::listeners::Listeners;
use super::memory::MemoryEntity;
use super::module::MappedModule;
use super::store_id::StoreId;
use super::table::TableEntity;
use super::together::Together;
use super::usage::Usage;
use crate::backtrace::MemoryFault;
use crate::deadline::UpdateDeadline;
use crate::error::Error;
use crate::limits::{ResourceLimiter, StoreLimits};

/// The part of a store that does not depend on `T`.
#[doc(hidden)]
#[repr(C)]
pub struct StoreCore {
    /// The first field, see `StoreInner`.
    pub(crate) vm: VmStoreContext,
    /// The pointer for all fields that machine code uses too.
    pub(crate) this: *mut StoreCore,
    pub(crate) stack_bytes: usize,
    pub(crate) id: StoreId,
    /// The limits that hold if there is no `limiter`.
    pub(crate) limits: StoreLimits,
    /// Asks the host when a deadline has passed; `None` ends the code.
    pub(crate) ask_host: Option<AskHost>,
    /// Finds the host's own limiter.
    pub(crate) limiter: Option<FindLimiter>,
    pub(crate) usage: Usage,
    pub(crate) ending: Option<Ending>,
    pub(crate) frames: RawFrames,
    /// The epoch that a deadline is counted in.
    pub(crate) epochs: &'static Epochs,
    pub(crate) interrupt_users: InterruptUsers,
    /// Modules of the instances, sorted by address. An instance holds the `Arc` of each.
    modules: SmallVec<[TextRange; 1]>,
    guarded: SmallVec<[NonNull<MemoryEntity>; 1]>,
    pub(crate) instances: SmallVec<[Box<InstanceData>; 2]>,
    /// Items that the host made, its listener, and what counts together with other stores; `None`
    /// before the first one.
    pub(crate) made: Option<Box<HostItems>>,
    /// `None` before the first external reference.
    pub(crate) externrefs: Option<Box<ExternRefs>>,
    /// The activation of this store around the innermost one.
    pub(crate) outer: *const SavedActivation,
    #[cfg(feature = "async")]
    pub(crate) fibers: Fibers,
}

/// What few stores have: what the host made in them besides instances, and what they share.
#[derive(Default)]
pub(crate) struct HostItems {
    pub(crate) funcs: Vec<Box<StoreFunc>>,
    pub(crate) memories: Vec<Box<MemoryEntity>>,
    pub(crate) tables: Vec<Box<TableEntity>>,
    pub(crate) globals: Vec<Box<HostGlobal>>,
    pub(crate) tags: Vec<Box<VmTag>>,
    pub(crate) listeners: Option<Listeners>,
    /// `None` as long as the store shares no limits and grows no shared memory. The last field, so
    /// that the items are gone when the shared limits learn of that.
    pub(crate) together: Option<Together>,
}

/// Finds the limiter in the data of a store. Nobody else uses the data while the limiter is in use.
pub(crate) type FindLimiter = for<'a> unsafe fn(
    *mut StoreCore,
    PhantomData<&'a mut ()>,
) -> &'a mut (dyn ResourceLimiter + 'a);

/// Asks the host when a deadline has passed. Nobody else uses the store meanwhile.
pub(crate) type AskHost = unsafe fn(*mut StoreCore) -> Result<UpdateDeadline, Error>;

struct TextRange {
    start: usize,
    end: usize,
    module: *const MappedModule,
}

impl StoreCore {
    /// A store without instances, whose code calls these builtins. The caller sets `this` when the
    /// core has its final address.
    #[inline]
    pub(crate) fn new(
        stack_bytes: usize,
        epochs: &'static Epochs,
        builtins: &'static VmBuiltins,
    ) -> Self {
        Self {
            vm: VmStoreContext {
                stack_limit: usize::MAX,
                fuel: 0,
                interrupt: interrupt::GO_ON,
                exit_fp: 0,
                exit_sp: 0,
                entry_fp: 0,
                entry_sp: 0,
                entry_handler: 0,
                trapped: 0,
                builtins,
            },
            this: std::ptr::null_mut(),
            stack_bytes,
            id: StoreId::next(),
            limits: StoreLimits::default(),
            ask_host: None,
            limiter: None,
            usage: Usage::default(),
            ending: None,
            frames: RawFrames::EMPTY,
            epochs,
            interrupt_users: InterruptUsers::default(),
            modules: SmallVec::new(),
            guarded: SmallVec::new(),
            instances: SmallVec::new(),
            made: None,
            externrefs: None,
            outer: std::ptr::null(),
            #[cfg(feature = "async")]
            fibers: Fibers::none(),
        }
    }

    /// Whether code of the store ever ran: each entry notes its frame, see
    /// [`activation`](super::activation).
    pub(crate) fn ran(&self) -> bool {
        self.vm.entry_fp != 0
    }

    /// Notes that code ran on another stack, whose edges the store does not keep.
    #[cfg(feature = "async")]
    pub(crate) fn note_that_code_ran(&mut self) {
        if self.vm.entry_fp == 0 {
            // No frame is there. It is only read while code is active.
            self.vm.entry_fp = 1;
        }
    }

    pub(crate) fn listeners(&mut self) -> Option<&mut Listeners> {
        self.made.as_mut()?.listeners.as_mut()
    }

    pub(crate) fn made_mut(&mut self) -> &mut HostItems {
        self.made.get_or_insert_default()
    }

    /// The module whose text contains `pc`. Called from a signal handler too.
    pub(crate) fn module_at(&self, pc: usize) -> Option<&MappedModule> {
        // SAFETY: an instance of this store holds the module.
        Some(unsafe { &*self.text_at(pc)?.module })
    }

    /// [`StoreCore::module_at`] that holds the module.
    pub(crate) fn held_module_at(&self, pc: usize) -> Option<Arc<MappedModule>> {
        let module = self.text_at(pc)?.module;
        // SAFETY: the pointer is that of an `Arc`, which an instance of this store holds.
        unsafe {
            Arc::increment_strong_count(module);
            Some(Arc::from_raw(module))
        }
    }

    fn text_at(&self, pc: usize) -> Option<&TextRange> {
        let after = self.modules.partition_point(|m| m.start <= pc);
        let text = &self.modules[after.checked_sub(1)?];
        (pc < text.end).then_some(text)
    }

    /// The guarded memory of this store in whose reservation an address lies. A signal handler
    /// calls this.
    fn guarded_at(&self, address: usize) -> Option<&MemoryEntity> {
        // SAFETY: the store or one of its instances owns the memories.
        let mut guarded = self.guarded.iter().map(|memory| unsafe { memory.as_ref() });
        guarded.find(|memory| {
            let (start, end) = memory.space();
            (start..end).contains(&address)
        })
    }

    /// Whether an address lies in the reservation of a guarded memory of this store.
    pub(crate) fn is_guest_memory(&self, address: usize) -> bool {
        self.guarded_at(address).is_some()
    }

    /// What an access to an address is to the guest, if the address lies in the reservation of a
    /// guarded memory of this store.
    pub(crate) fn fault_at(&self, address: usize) -> Option<MemoryFault> {
        let memory = self.guarded_at(address)?;
        Some(MemoryFault {
            address: (address - memory.space().0) as u64,
            size: memory.len() as u64,
        })
    }

    pub(crate) fn modules(&self) -> impl Iterator<Item = &MappedModule> {
        // SAFETY: instances of this store hold the modules.
        self.modules.iter().map(|m| unsafe { &*m.module })
    }

    /// Adds a module that an instance of this store is about to hold. Returns whether it is new.
    pub(crate) fn add_module(&mut self, module: &Arc<MappedModule>) -> bool {
        let (start, end) = module.text();
        let i = self.modules.partition_point(|m| m.start < start);
        let module = Arc::as_ptr(module);
        if self.modules.get(i).is_some_and(|m| m.module == module) || start == end {
            return false;
        }
        self.modules.insert(i, TextRange { start, end, module });
        true
    }

    /// Adds a memory of this store, if it is guarded.
    pub(crate) fn add_guarded(&mut self, memory: NonNull<MemoryEntity>) {
        // SAFETY: the store or one of its instances owns the memory.
        let entity = unsafe { memory.as_ref() };
        if entity.is_guarded() {
            let start = entity.space().0;
            // Several instances of a store can have the same shared memory. Other memories are not
            // looked for, because there may be many.
            if entity.shared().is_none() || self.guarded_at(start).is_none() {
                self.guarded.push(memory);
            }
        }
    }
}
