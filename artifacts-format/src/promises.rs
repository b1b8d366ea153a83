//! Which values machine code may treat as constant, and which functions keep them constant.
//!
//! Machine code reads values that the loader made. The compiler keeps them in registers, moves the
//! reads to better places, or folds the values into code, and each such use relies on the loader
//! not changing the value for long enough. So this table has a row for every value that machine
//! code reads. A row says how long a value that was read stays right, whether its address can be
//! read at any time, which functions of the loader keep the promise, and which tests fail if one of
//! them does not.
//!
//! The compiler derives from these rows, and from nothing else, which loads are read-only, which it
//! may move or hoist, and what it may fold. If a promise can no longer be kept, its row gets a
//! shorter [`Lifetime`] and the ABI a new [number](crate::ABI).
//!
//! Two promises are behind several rows:
//!
//! - The length of a memory or table never shrinks while code may use it, so what was checked once
//!   stays in bounds.
//! - No part of an instance goes away before its store does, even if the instance is closed:
//!   neither VM context, nor memories with base and length, nor tables, nor code. But code of a
//!   closed instance is never entered again.

/// How long a value that machine code has read stays right. A longer lifetime compares as greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lifetime {
    /// Other threads may change the value at any moment, so code reads it each time.
    Moment,
    /// Until the code that read the value calls something. Any callee, even a routine of the
    /// loader, may change it.
    UntilCall,
    /// As long as the instance is in a store, closed or not. If the loader replaces such a value
    /// nevertheless, the old value must still work for code that has read it.
    Instance,
    /// The value is the same for every instance of the artifact.
    Forever,
}

/// When code may read from the address of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// Whenever code of the instance runs.
    Valid,
    /// Only after a check that the code has made, so the read must stay behind that check.
    Checked,
}

macro_rules! promises {
    ($(
        $(#[$attr:meta])*
        $Promise:ident: $Lifetime:ident, $Address:ident,
            kept by $($keeper:literal)*, broken by $($test:literal)*;
    )*) => {
        /// A value that machine code reads.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Promise { $($(#[$attr])* $Promise),* }

        impl Promise {
            /// All rows.
            pub const ALL: &'static [Self] = &[$(Self::$Promise),*];

            /// How long a value that was read stays right.
            pub const fn lifetime(self) -> Lifetime {
                match self { $(Self::$Promise => Lifetime::$Lifetime),* }
            }

            /// When the value can be read.
            pub const fn address(self) -> Address {
                match self { $(Self::$Promise => Address::$Address),* }
            }

            /// Functions of the loader that keep the promise.
            pub const fn keepers(self) -> &'static [&'static str] {
                match self { $(Self::$Promise => &[$($keeper),*]),* }
            }

            /// Tests that fail if the promise is not kept: test binary, module, function.
            pub const fn tests(self) -> &'static [&'static str] {
                match self { $(Self::$Promise => &[$($test),*]),* }
            }
        }
    };
}

promises! {
    /// [`VmContextHeader::store`](crate::vm::VmContextHeader::store).
    StorePointer: Instance, Valid,
        kept by "InstanceData::new" "InstanceData::enter_store",
        broken by "loader::promises::store::a_reused_instance_uses_its_new_store";
    /// [`VmStoreContext::builtins`](crate::vm::VmStoreContext::builtins), and the addresses there.
    Builtins: Forever, Valid,
        kept by "Store::new",
        broken by "loader::promises::store::a_reused_instance_uses_its_new_store";
    /// [`VmStoreContext::stack_limit`](crate::vm::VmStoreContext::stack_limit) of the activation.
    StackLimit: UntilCall, Valid,
        kept by "enter_outermost",
        broken by "loader::promises::store::the_stack_limit_is_that_of_the_thread"
            "loader::stack::code_that_calls_nothing_runs_on_what_is_left";
    /// [`VmStoreContext::interrupt`](crate::vm::VmStoreContext::interrupt).
    InterruptWord: Moment, Valid,
        kept by "Interrupt::raise",
        broken by "loader::promises::store::the_interrupt_word_is_read_each_time";
    /// [`VmStoreContext::fuel`](crate::vm::VmStoreContext::fuel).
    Fuel: UntilCall, Valid,
        kept by "Store::set_fuel",
        broken by "loader::promises::store::fuel_that_a_host_function_gives_counts";

    /// [Counters](crate::counters) of code that makes profiles. Only that code writes them.
    Counters: UntilCall, Valid,
        kept by "InstanceData::new" "InstanceData::reset",
        broken by "loader::profiles::counters_survive_resets_and_reuse";

    /// Base of a [guarded](crate::Strategy::guards) memory. The [`GUARDED_RESERVATION`] bytes from
    /// the base on are the memory's, and an access to them beyond the first `len` bytes faults.
    ///
    /// [`GUARDED_RESERVATION`]: crate::abi::GUARDED_RESERVATION
    GuardedMemoryBase: Instance, Valid,
        kept by "MemoryEntity::new" "MemoryEntity::grow" "MemoryEntity::release" "mismatch",
        broken by "loader::promises::memory::guarded_memories_never_move"
            "loader::promises::memory::who_expects_a_guard_gets_one"
            "loader::promises::closing::memories_keep_base_and_length";
    /// Base of a memory that is not guarded and cannot grow: its maximum is its minimum.
    FixedMemoryBase: Instance, Valid,
        kept by "grow_memory" "MemoryEntity::release" "limits_fit",
        broken by "loader::promises::lengths::fixed_memories_cannot_grow"
            "loader::promises::closing::memories_keep_base_and_length";
    /// Base of any other memory: growth moves it.
    MovingMemoryBase: UntilCall, Valid,
        kept by "MemoryEntity::grow",
        broken by "loader::promises::memory::memories_move_and_grow_under_running_code";
    /// Base of a shared memory that is not guarded. Its maximum is reserved from the start, so that
    /// it grows in place while other threads use it.
    SharedMemoryBase: Instance, Valid,
        kept by "Shared::new" "Shared::grow",
        broken by "loader::promises::shared::shared_memories_never_move";
    /// Length of a memory whose maximum is its minimum.
    FixedMemoryLen: Instance, Valid,
        kept by "grow_memory" "MemoryEntity::release" "limits_fit" "Instance::reset",
        broken by "loader::promises::lengths::a_reset_keeps_what_importers_expect"
            "loader::promises::lengths::fixed_memories_cannot_grow"
            "loader::promises::lengths::fixed_imports_get_fixed_memories"
            "loader::promises::closing::memories_keep_base_and_length";
    /// Length of a shared memory whose maximum is more than its minimum. Any thread that uses it
    /// may make it grow, at any moment. It never shrinks.
    SharedMemoryLen: Moment, Valid,
        kept by "Shared::grow",
        broken by "loader::promises::shared::the_length_is_read_each_time";
    /// Length, and last indices, of any other memory. It never shrinks.
    GrowingMemoryLen: UntilCall, Valid,
        kept by "MemoryEntity::grow" "MemoryEntity::release",
        broken by "loader::promises::memory::memories_move_and_grow_under_running_code"
            "loader::promises::lengths::last_indices_follow_the_length"
            "loader::promises::closing::memories_keep_base_and_length";
    /// Minimum length of a memory, as the module declares it that defines or imports the memory.
    /// The memory is never shorter, so accesses below the minimum need no check, and cannot fault.
    MemoryMinimum: Instance, Valid,
        kept by "MemoryEntity::new" "MemoryEntity::release" "limits_fit" "MemoryEntity::expect"
            "Instance::reset",
        broken by "loader::promises::lengths::memories_are_never_below_their_minimum"
            "loader::promises::lengths::a_reset_keeps_what_importers_expect";
    /// Mask of a memory with 32-bit indices. It grows with the length, so both are read after the
    /// same calls; that of a shared memory never changes.
    MemoryMask: UntilCall, Valid,
        kept by "MemoryEntity::new" "MemoryEntity::grow" "Shared::new",
        broken by "loader::promises::memory::masked_indices_stay_in_the_reservation"
            "loader::promises::shared::the_mask_is_that_of_the_maximum";
    /// Address of the [`VmMemory`](crate::vm::VmMemory) of an imported or shared memory.
    ImportedMemory: Instance, Valid,
        kept by "InstanceData::import" "InstanceData::write_self_pointers" "MemoryEntity::set_vm",
        broken by "loader::promises::memory::memories_move_and_grow_under_running_code"
            "loader::promises::closing::what_others_import_stays";
    /// The bytes of a memory.
    MemoryBytes: UntilCall, Checked,
        kept by "Memory::write",
        broken by "loader::promises::memory::bytes_that_others_write_are_seen";

    /// Base of a table that cannot grow: nothing that could make it grow can reach it, or its
    /// maximum is its minimum.
    FixedTableBase: Instance, Valid,
        kept by "grow_table",
        broken by "loader::promises::table::fixed_tables_cannot_grow";
    /// Length of a table that cannot grow.
    FixedTableLen: Instance, Valid,
        kept by "grow_table" "limits_fit" "TableEntity::expect" "TableEntity::release"
            "Instance::reset",
        broken by "loader::promises::table::a_reset_keeps_what_importers_expect"
            "loader::promises::closing::tables_stay_as_long_as_instances_of_the_host_take_them_to_be"
            "loader::promises::table::fixed_tables_cannot_grow";
    /// Base of any other table: growth moves it.
    GrowingTableBase: UntilCall, Valid,
        kept by "TableEntity::update",
        broken by "loader::promises::table::tables_move_and_grow_under_running_code";
    /// Length of any other table. It never shrinks.
    GrowingTableLen: UntilCall, Valid,
        kept by "TableEntity::update",
        broken by "loader::promises::table::tables_move_and_grow_under_running_code";
    /// Address of the [`VmTable`](crate::vm::VmTable) of an imported table.
    ImportedTable: Instance, Valid,
        kept by "InstanceData::import" "TableEntity::set_vm",
        broken by "loader::promises::table::tables_move_and_grow_under_running_code"
            "loader::promises::closing::what_others_import_stays";
    /// The elements of a table that is not frozen.
    TableElements: UntilCall, Checked,
        kept by "Table::set",
        broken by "loader::promises::table::elements_that_others_set_are_seen";
    /// Length and [elements](crate::records::FrozenEntry) of a frozen table.
    FrozenElements: Forever, Valid,
        kept by "InstanceData::export",
        broken by "loader::promises::table::frozen_tables_are_the_same_for_all";

    /// [`VmFuncRef::code`](crate::vm::VmFuncRef::code). When an instance is closed, the loader
    /// replaces this by other code; the old code still works.
    FuncRefCode: UntilCall, Checked,
        kept by "InstanceData::func_ref" "StoreCore::close_instance",
        broken by "loader::promises::call::references_stay_what_they_are"
            "loader::promises::closing::code_of_a_closed_instance_is_not_entered";
    /// [`VmFuncRef::ctx`](crate::vm::VmFuncRef::ctx).
    FuncRefContext: Instance, Checked,
        kept by "InstanceData::func_ref",
        broken by "loader::promises::call::references_stay_what_they_are";
    /// [`VmFuncRef::type_id`](crate::vm::VmFuncRef::type_id).
    FuncRefType: Instance, Checked,
        kept by "InstanceData::func_ref",
        broken by "loader::promises::call::references_stay_what_they_are";
    /// Whether the funcref slot of a function is filled. A filled slot stays filled.
    FuncRefSlot: UntilCall, Valid,
        kept by "InstanceData::func_ref" "InstanceData::reset",
        broken by "loader::promises::call::references_stay_what_they_are";
    /// [`VmFuncImport::code`](crate::vm::VmFuncImport::code). When the instance that the function
    /// belongs to is closed, the loader replaces this by other code; the old code still works.
    ImportCode: Instance, Valid,
        kept by "InstanceData::import" "StoreCore::close_instance",
        broken by "loader::promises::call::imports_stay_what_they_are"
            "loader::promises::closing::code_of_a_closed_instance_is_not_entered";
    /// [`VmFuncImport::ctx`](crate::vm::VmFuncImport::ctx).
    ImportContext: Instance, Valid,
        kept by "InstanceData::import",
        broken by "loader::promises::call::imports_stay_what_they_are";

    /// Address of the value of an imported global.
    ImportedGlobal: Instance, Valid,
        kept by "InstanceData::import",
        broken by "loader::promises::global::mutable_globals_are_read_again"
            "loader::promises::closing::what_others_import_stays";
    /// Value of a mutable global.
    MutableGlobal: UntilCall, Valid,
        kept by "Global::set",
        broken by "loader::promises::global::mutable_globals_are_read_again";
    /// Value of an immutable global that is known only at instantiation.
    ImmutableGlobal: Instance, Valid,
        kept by "InstanceData::initialise" "Global::set" "fits",
        broken by "loader::promises::global::immutable_globals_cannot_be_set"
            "loader::promises::global::immutable_globals_are_of_the_instance";
    /// Value of an immutable global that the compiler can compute and folds into the code.
    FoldedGlobal: Forever, Valid,
        kept by "Global::set",
        broken by "loader::promises::global::immutable_globals_cannot_be_set";

    /// Address of the [`VmTag`](crate::vm::VmTag) of an imported tag.
    ImportedTag: Instance, Valid,
        kept by "InstanceData::import" "InstanceData::reset",
        broken by "loader::exceptions::tags_are_told_apart_by_identity";
    /// A [`VmException`](crate::vm::VmException) and its values.
    Exception: UntilCall, Checked,
        kept by "exception_new" "exception_get",
        broken by "loader::exceptions::payloads_of_all_types";
    /// Offsets of the parts of the VM context. The code contains them; the loader takes them from
    /// the artifact.
    ContextOffsets: Forever, Valid,
        kept by "InstanceData::at",
        broken by "format::versions::abi"
            "loader::promises::store::every_part_of_the_context_is_used";
    /// The flag that a segment is dropped. Code sets it and never reads it.
    DroppedFlags: UntilCall, Valid,
        kept by "InstanceData::is_dropped" "InstanceData::reset",
        broken by "loader::promises::store::every_part_of_the_context_is_used";
    /// A slot of the GOT: the address of a library routine, or the id of a long signature.
    GotSlots: Forever, Valid,
        kept by "patch",
        broken by "loader::promises::call::long_signatures_keep_their_ids";
}

impl Promise {
    /// Whether the value does not change while code of the instance can run. A load of it is then
    /// read-only, and the compiler may fold the value where it knows it.
    pub const fn is_constant(self) -> bool {
        matches!(self.lifetime(), Lifetime::Instance | Lifetime::Forever)
    }

    /// Whether a load of the value may be moved to anywhere in a function.
    pub const fn can_move(self) -> bool {
        self.is_constant() && matches!(self.address(), Address::Valid)
    }

    /// The promise about the base of a memory that is or is not [guarded](crate::Strategy::guards).
    pub const fn memory_base(is_guarded: bool, is_shared: bool, is_fixed: bool) -> Self {
        if is_guarded {
            Self::GuardedMemoryBase
        } else if is_shared {
            Self::SharedMemoryBase
        } else if is_fixed {
            Self::FixedMemoryBase
        } else {
            Self::MovingMemoryBase
        }
    }

    /// The promise about the base of a table.
    pub const fn table_base(is_fixed: bool) -> Self {
        if is_fixed {
            Self::FixedTableBase
        } else {
            Self::GrowingTableBase
        }
    }

    /// The promise about the value of a global that is not folded.
    pub const fn global(mutable: bool) -> Self {
        if mutable {
            Self::MutableGlobal
        } else {
            Self::ImmutableGlobal
        }
    }
}
