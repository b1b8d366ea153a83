//! Types of functions, memories, tables and globals, as the host sees them.

mod registry;
mod value;

use std::fmt;

use precast_artifact::records::{INDEX64, SHARED};
use precast_artifact::signature::{INTERNED_TYPE_ID, is_tail_like_c};
use precast_artifact::{Artifact, Strategy, reader, types as artifact};
use smallvec::SmallVec;

pub(crate) use registry::{is_subtype, own_id, types_of};
pub use value::{ConcreteFunc, HeapType, RefType, ValType};

use crate::arch::ARCH;
use crate::error::Error;

/// Base-two logarithm of the bytes of a wasm page, unless a module says otherwise.
const PAGE_SHIFT: u8 = 16;

/// Type of a function.
///
/// A type that [`FuncType::new`] makes has no supertype, is final, and belongs to no group of types
/// that refer to each other. Types of modules may be of other kinds; two of them are equal only if
/// these match, too.
///
/// ```
/// use precast_loader::{Engine, FuncType, ValType};
///
/// let ty = FuncType::new(&Engine::default(), [ValType::I32, ValType::I64], [ValType::F32]);
/// assert_eq!(ty.to_string(), "func (i32 i64) -> (f32)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FuncType {
    /// The parameters, then the results. Nearly all types are short enough to need no allocation.
    types: SmallVec<[ValType; 10]>,
    params: usize,
    /// The type itself, if parameters and results do not determine it.
    identity: Option<ConcreteFunc>,
}

impl FuncType {
    pub(crate) fn of(
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Self {
        let mut types: SmallVec<_> = params.into_iter().collect();
        let params = types.len();
        types.extend(results);
        Self {
            types,
            params,
            identity: None,
        }
    }

    /// Types of the parameters.
    pub fn params(&self) -> &[ValType] {
        &self.types[..self.params]
    }

    /// Types of the results.
    pub fn results(&self) -> &[ValType] {
        &self.types[self.params..]
    }

    /// Whether functions of this type can be used as functions of the type `of`: it is the same
    /// type, or a module says that it is a subtype.
    pub fn matches(&self, of: &Self) -> bool {
        match (self.identity, of.identity) {
            (Some(a), Some(b)) => HeapType::ConcreteFunc(a).matches(HeapType::ConcreteFunc(b)),
            _ => self == of,
        }
    }

    /// Whether the host can call functions of this type as if they were of the type `of`: all that
    /// `of` takes and gives is of the types that this one takes and gives.
    pub(crate) fn can_be_called_as(&self, of: &Self) -> bool {
        let all = |a: &[ValType], b: &[ValType]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.matches(*b))
        };
        all(of.params(), self.params()) && all(self.results(), of.results())
    }

    fn with_identity(mut self, identity: ConcreteFunc) -> Self {
        self.identity = Some(identity);
        self
    }

    fn identity(&self) -> Option<ConcreteFunc> {
        self.identity
    }

    /// Whether machine code passes values of this type as it does those of a signature of an
    /// artifact: all references are passed alike.
    pub(crate) fn is_passed_as(&self, other: reader::Signature<'_>) -> bool {
        let alike = |(a, b): (&ValType, artifact::ValType)| match a {
            ValType::Ref(_) => b.is_ref(),
            a => a.to_plain() == Some(b),
        };
        self.params().len() == other.params().len()
            && self.results().len() == other.results().len()
            && self.params().iter().zip(other.params()).all(alike)
            && self.results().iter().zip(other.results()).all(alike)
    }

    /// See [`is_tail_like_c`].
    pub(crate) fn is_tail_like_c(&self) -> bool {
        // All references are passed alike.
        let passed = |ty: &ValType| ty.to_plain().unwrap_or(artifact::ValType::FUNCREF);
        let types: SmallVec<[artifact::ValType; 10]> = self.types.iter().map(passed).collect();
        let (params, results) = types.split_at(self.params);
        is_tail_like_c(ARCH, params, results)
    }

    /// The type of a signature whose parameters and results determine it. `types` are those of the
    /// artifact's signatures, as far as the signature refers to them.
    pub(crate) fn of_artifact(signature: reader::Signature<'_>, types: &[ConcreteFunc]) -> Self {
        let value = |ty| ValType::of_artifact(ty, types);
        Self::of(
            signature.params().map(value),
            signature.results().map(value),
        )
    }

    /// The type id, if the type is its own id.
    fn own_id(&self) -> Option<u64> {
        match self.identity {
            Some(_) => None,
            None => own_id(
                self.params().iter().copied(),
                self.results().iter().copied(),
            ),
        }
    }

    /// The type id, see [`precast_artifact::signature`].
    pub(crate) fn id(&self) -> u64 {
        self.own_id()
            .unwrap_or_else(|| registry::concrete(self).id())
    }

    /// The type that an id stands for.
    pub(crate) fn from_id(id: u64) -> Self {
        if id & INTERNED_TYPE_ID != 0 {
            return registry::of_id(id).map_or_else(|| Self::of([], []), |ty| ty.ty().clone());
        }
        let digits = |id: u64| {
            (0..21)
                .map(move |i| (id >> (3 * i)) as u32 & 7)
                .map_while(artifact::ValType::from_number)
        };
        let value = |ty| ValType::of_artifact(ty, &[]);
        let results = id >> (3 * (digits(id).count() + 1));
        Self::of(digits(id).map(value), digits(results).map(value))
    }
}

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let write = |f: &mut fmt::Formatter<'_>, types: &[ValType]| {
            for (i, ty) in types.iter().enumerate() {
                if i > 0 {
                    f.write_str(" ")?;
                }
                ty.fmt(f)?;
            }
            Ok(())
        };
        f.write_str("func (")?;
        write(f, self.params())?;
        f.write_str(") -> (")?;
        write(f, self.results())?;
        f.write_str(")")
    }
}

/// Names of types, with spaces between them.
pub(crate) fn names(types: &[ValType]) -> String {
    let names: Vec<_> = types.iter().map(ValType::to_string).collect();
    names.join(" ")
}

/// The type id of a signature of an artifact whose module does not exist yet, which refers to these
/// types.
pub(crate) fn type_id_in(
    artifact: &Artifact<'_>,
    types: &[ConcreteFunc],
    signature: u32,
) -> Option<u64> {
    match types.get(signature as usize) {
        Some(ty) => Some(ty.id()),
        None => Some(FuncType::of_artifact(artifact.signature(signature)?, &[]).id()),
    }
}

/// Type of a linear memory.
///
/// ```
/// let ty = precast_loader::MemoryType::new(1, Some(16));
/// assert_eq!(ty.to_string(), "memory 1 16");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemoryType {
    /// Initial pages.
    pub min: u64,
    /// Maximum of pages.
    pub max: Option<u64>,
    /// Whether addresses are 64-bit.
    pub memory64: bool,
    /// Whether several threads can use the memory at the same time, see
    /// [`SharedMemory`](crate::SharedMemory). Such a memory has a maximum.
    pub shared: bool,
    /// Base-two logarithm of the bytes of a page: 16, or 0 for pages of one byte.
    pub page_size_log2: u8,
}

impl MemoryType {
    /// A memory with 32-bit addresses and pages of 64 KiB.
    pub fn new(min: u32, max: Option<u32>) -> Self {
        Self {
            min: min.into(),
            max: max.map(u64::from),
            memory64: false,
            shared: false,
            page_size_log2: PAGE_SHIFT,
        }
    }

    /// A memory for several threads, with 32-bit addresses and pages of 64 KiB.
    ///
    /// ```
    /// let ty = precast_loader::MemoryType::shared(1, 16);
    /// assert_eq!(ty.to_string(), "memory 1 16 shared");
    /// ```
    pub fn shared(min: u32, max: u32) -> Self {
        Self {
            shared: true,
            ..Self::new(min, Some(max))
        }
    }

    /// The bytes of this number of pages; `u64::MAX` if there are more.
    pub(crate) fn bytes(&self, pages: u64) -> u64 {
        pages.saturating_mul(1 << self.page_size_log2)
    }

    /// The whole pages in this number of bytes.
    pub(crate) fn pages(&self, bytes: u64) -> u64 {
        bytes >> self.page_size_log2
    }

    /// The maximum of pages that addresses can reach.
    pub(crate) fn largest(&self) -> u64 {
        match (self.memory64, self.page_size_log2) {
            (false, 0) => u32::MAX.into(),
            (false, _) => 1 << 16,
            (true, 0) => u64::MAX,
            (true, _) => 1 << 48,
        }
    }

    /// Whether a module with this strategy has guarded memories of this type.
    pub(crate) fn is_guarded_by(&self, strategy: Strategy) -> bool {
        strategy.guards(self.memory64, self.page_size_log2.into())
    }

    /// A memory with 64-bit addresses.
    pub fn new64(min: u64, max: Option<u64>) -> Self {
        Self {
            min,
            max,
            memory64: true,
            shared: false,
            page_size_log2: PAGE_SHIFT,
        }
    }

    /// Checks that a memory can have this type.
    ///
    /// # Errors
    /// [`Error::InvalidType`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        let what = "a linear memory";
        let expected = if !matches!(self.page_size_log2, 0 | PAGE_SHIFT) {
            "pages of 1 or of 65536 bytes, whose base-two logarithms are 0 and 16"
        } else if self.shared && self.max.is_none() {
            "a maximum, as every shared memory has"
        } else {
            let (bits, unit) = (if self.memory64 { 64 } else { 32 }, "pages");
            let limit = (self.largest(), unit, bits);
            return check_limits(self, (self.min, self.max), limit, what);
        };
        Err(Error::InvalidType {
            what,
            found: self.to_string(),
            expected: expected.into(),
        })
    }
}

/// Checks limits of a type, against each other and against what addresses or indices can reach.
fn check_limits(
    ty: &dyn fmt::Display,
    (min, max): (u64, Option<u64>),
    (limit, unit, bits): (u64, &str, u32),
    what: &'static str,
) -> Result<(), Error> {
    let expected = if max.is_some_and(|max| max < min) {
        "a maximum that is not below the minimum".to_owned()
    } else if min.max(max.unwrap_or(0)) > limit {
        format!("at most {limit} {unit}, all that {bits} bits can address")
    } else {
        return Ok(());
    };
    Err(Error::InvalidType {
        what,
        found: ty.to_string(),
        expected,
    })
}

impl fmt::Display for MemoryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = if self.memory64 { "i64 " } else { "" };
        write!(f, "memory {index}{}", limits(self.min, self.max))?;
        if self.shared {
            f.write_str(" shared")?;
        }
        match self.page_size_log2 {
            PAGE_SHIFT => Ok(()),
            shift => write!(f, " (pagesize {})", 1_u128 << shift.min(127)),
        }
    }
}

/// Type of a table.
///
/// ```
/// use precast_loader::{TableType, ValType};
///
/// let ty = TableType::new(ValType::FUNCREF, 10, None);
/// assert_eq!(ty.to_string(), "table 10 funcref");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableType {
    /// Type of the elements: a reference type.
    pub element: ValType,
    /// Initial elements.
    pub min: u64,
    /// Maximum of elements.
    pub max: Option<u64>,
    /// Whether indices are 64-bit.
    pub table64: bool,
}

impl TableType {
    /// A table with 32-bit indices.
    pub fn new(element: ValType, min: u32, max: Option<u32>) -> Self {
        Self {
            element,
            min: min.into(),
            max: max.map(u64::from),
            table64: false,
        }
    }

    /// A table with 64-bit indices.
    pub fn new64(element: ValType, min: u64, max: Option<u64>) -> Self {
        Self {
            element,
            min,
            max,
            table64: true,
        }
    }

    /// Checks that a table can have this type.
    ///
    /// # Errors
    /// [`Error::InvalidType`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !self.element.is_ref() {
            return Err(Error::InvalidType {
                what: "a table",
                found: self.to_string(),
                expected: "elements of a reference type, such as funcref or externref".into(),
            });
        }
        let (bits, limit) = if self.table64 {
            (64, u64::MAX)
        } else {
            (32, u32::MAX.into())
        };
        let unit = "elements";
        check_limits(self, (self.min, self.max), (limit, unit, bits), "a table")
    }
}

impl fmt::Display for TableType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = if self.table64 { "i64 " } else { "" };
        write!(
            f,
            "table {index}{} {}",
            limits(self.min, self.max),
            self.element
        )
    }
}

/// Type of a global.
///
/// ```
/// use precast_loader::{GlobalType, ValType};
///
/// let ty = GlobalType::new(ValType::I64, true);
/// assert_eq!(ty.to_string(), "global (mut i64)");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GlobalType {
    /// Type of the value.
    pub content: ValType,
    /// Whether the value can change.
    pub mutable: bool,
}

impl GlobalType {
    /// A global type.
    pub fn new(content: ValType, mutable: bool) -> Self {
        Self { content, mutable }
    }
}

impl fmt::Display for GlobalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mutable {
            write!(f, "global (mut {})", self.content)
        } else {
            write!(f, "global {}", self.content)
        }
    }
}

/// Type of an import or export.
///
/// ```
/// use precast_loader::{ExternType, Module};
///
/// fn has_memory(module: &Module) -> bool {
///     matches!(module.get_export("memory"), Some(ExternType::Memory(_)))
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExternType {
    /// A function.
    Func(FuncType),
    /// A linear memory.
    Memory(MemoryType),
    /// A table.
    Table(TableType),
    /// A global.
    Global(GlobalType),
    /// A tag of exceptions: their values are the parameters of a function that gives nothing.
    Tag(FuncType),
}

macro_rules! kinds {
    ($($get:ident $unwrap:ident $Kind:ident $Type:ty, $what:literal),* $(,)?) => {
        impl ExternType {
            $(
                #[doc = concat!("The type of ", $what, ", if this is one.")]
                pub fn $get(&self) -> Option<&$Type> {
                    match self { Self::$Kind(ty) => Some(ty), _ => None }
                }

                #[doc = concat!("The type of ", $what, ".")]
                ///
                /// # Panics
                #[doc = concat!("If this is not the type of ", $what, ".")]
                pub fn $unwrap(&self) -> &$Type {
                    match self.$get() {
                        Some(ty) => ty,
                        None => panic!("found {self}, expected the type of {}", $what),
                    }
                }
            )*
        }
    };
}

kinds! {
    func unwrap_func Func FuncType, "a function",
    memory unwrap_memory Memory MemoryType, "a linear memory",
    table unwrap_table Table TableType, "a table",
    global unwrap_global Global GlobalType, "a global",
    tag unwrap_tag Tag FuncType, "a tag",
}

impl fmt::Display for ExternType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Func(t) => t.fmt(f),
            Self::Memory(t) => t.fmt(f),
            Self::Table(t) => t.fmt(f),
            Self::Global(t) => t.fmt(f),
            Self::Tag(t) => write!(f, "tag ({})", names(t.params())),
        }
    }
}

fn limits(min: u64, max: Option<u64>) -> String {
    max.map_or_else(|| format!("{min}"), |max| format!("{min} {max}"))
}

pub(crate) fn maximum(max: u64) -> Option<u64> {
    (max != u64::MAX).then_some(max)
}

pub(crate) fn memory_type(artifact: &Artifact<'_>, index: u32) -> Option<MemoryType> {
    let r = artifact.memories().get(index as usize)?;
    Some(MemoryType {
        min: r.min,
        max: maximum(r.max),
        memory64: r.flags & INDEX64 != 0,
        shared: r.flags & SHARED != 0,
        page_size_log2: r.page_shift as u8,
    })
}
