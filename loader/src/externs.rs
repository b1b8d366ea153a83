//! Items of instances and of the host, of any kind.

use crate::func::Func;
use crate::global::Global;
use crate::memory::Memory;
use crate::shared_memory::SharedMemory;
use crate::store::AsContext;
use crate::table::Table;
use crate::tag::Tag;
use crate::types::ExternType;
use crate::vm::item::{Item, RawImport};
use crate::vm::store::StoreCore;

/// An item of an instance or of the host.
///
/// ```
/// use precast_loader::{Extern, Instance, Store};
///
/// fn look(instance: Instance, store: &mut Store<()>) {
///     match instance.get_export(&mut *store, "memory") {
///         Some(Extern::Memory(memory)) => println!("a memory of {} pages", memory.size(&*store)),
///         Some(other) => println!("an export of type {}", other.ty(&*store)),
///         None => println!("nothing is exported as `memory`"),
///     }
/// }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A linear memory of one store.
    Memory(Memory),
    /// A linear memory of several threads.
    SharedMemory(SharedMemory),
    /// A table.
    Table(Table),
    /// A global.
    Global(Global),
    /// A tag of exceptions.
    Tag(Tag),
}

macro_rules! extern_kinds {
    ($($into:ident $Kind:ident, $what:literal),* $(,)?) => {
        impl Extern {
            $(
                #[doc = concat!("The item, if it is ", $what, ".")]
                pub fn $into(self) -> Option<$Kind> {
                    match self { Self::$Kind(item) => Some(item), _ => None }
                }
            )*
        }
        impl Export {
            $(
                #[doc = concat!("The item, if it is ", $what, ".")]
                pub fn $into(self) -> Option<$Kind> {
                    self.item.$into()
                }
            )*
        }
        $(impl From<$Kind> for Extern {
            fn from(item: $Kind) -> Self {
                Self::$Kind(item)
            }
        })*
    };
}

extern_kinds! {
    into_func Func, "a function",
    into_memory Memory, "a linear memory of one store",
    into_shared_memory SharedMemory, "a linear memory of several threads",
    into_table Table, "a table",
    into_global Global, "a global",
    into_tag Tag, "a tag",
}

impl Extern {
    pub(crate) fn from_item(core: &StoreCore, item: Item) -> Self {
        match item {
            Item::Func(func_ref) => Self::Func(Func::from_ref(core, func_ref)),
            // SAFETY: the item belongs to the store of `core`.
            Item::Memory(entity) => match unsafe { entity.as_ref().shared() } {
                Some(shared) => Self::SharedMemory(SharedMemory::from_vm(shared)),
                None => Self::Memory(Memory::from_entity(core, entity)),
            },
            Item::Table(entity) => Self::Table(Table::from_entity(core, entity)),
            Item::Global(value, ty) => Self::Global(Global::from_raw(core, value, ty)),
            Item::Tag(tag) => Self::Tag(Tag::from_raw(core, tag)),
        }
    }

    pub(crate) fn belongs_to(&self, core: &StoreCore) -> bool {
        match self {
            Self::Func(func) => func.belongs_to(core),
            Self::Memory(memory) => memory.belongs_to(core),
            Self::SharedMemory(_) => true,
            Self::Table(table) => table.belongs_to(core),
            Self::Global(global) => global.belongs_to(core),
            Self::Tag(tag) => tag.belongs_to(core),
        }
    }

    /// The item that the handle points to, as an import.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub(crate) fn to_raw(&self, core: &StoreCore) -> RawImport<'_> {
        RawImport::Item(match self {
            Self::Func(func) => Item::Func(func.func_ref(core)),
            Self::Memory(memory) => Item::Memory(memory.entity(core)),
            Self::SharedMemory(memory) => return RawImport::SharedMemory(memory.vm()),
            Self::Table(table) => Item::Table(table.entity(core)),
            Self::Global(global) => Item::Global(global.value(core), global.ty()),
            Self::Tag(tag) => Item::Tag(tag.place(core)),
        })
    }

    /// The type. For a memory or a table, this is the type that it was declared with.
    ///
    /// # Panics
    /// If the item belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        match self {
            Self::Func(f) => ExternType::Func(f.ty(store)),
            Self::Memory(m) => ExternType::Memory(m.ty(store)),
            Self::SharedMemory(m) => ExternType::Memory(m.ty()),
            Self::Table(t) => ExternType::Table(t.ty(store)),
            Self::Global(g) => ExternType::Global(g.ty()),
            Self::Tag(t) => ExternType::Tag(t.ty(store)),
        }
    }
}

/// An export of an instance, see [`Instance::exports`](crate::Instance::exports).
///
/// ```
/// use precast_loader::{Instance, Store};
///
/// fn list(instance: Instance, store: &mut Store<()>) {
///     for export in instance.exports(&mut *store) {
///         println!("{}: {}", export.name(), export.ty(&*store));
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Export {
    name: String,
    item: Extern,
}

impl Export {
    pub(crate) fn new(name: &str, item: Extern) -> Self {
        let name = name.to_owned();
        Self { name, item }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type, see [`Extern::ty`].
    ///
    /// # Panics
    /// If the item belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        self.item.ty(store)
    }

    /// The item.
    pub fn into_extern(self) -> Extern {
        self.item
    }
}
