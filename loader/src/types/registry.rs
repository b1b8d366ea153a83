//! The function types of the process that are not their own ids, see
//! [`precast_artifact::signature`].
//!
//! A type is added once and kept for ever, so a reference to its entry is as good as the type
//! itself: it is compared by address and read without a lock. An id means the same type in every
//! engine, so types of different engines cannot be mixed up, and modules that several engines use
//! are mapped once.
//!
//! Types are not given back when their modules are dropped, because values of the host may have
//! them. So the number of types is limited, for each module and for the process. A host that loads
//! any number of strangers' modules that refer to types gives each process a number of them.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock, PoisonError, RwLock};

use precast_artifact::records::{FINAL, NONE, SignatureRecord};
use precast_artifact::signature::{self, INTERNED_TYPE_ID};
use precast_artifact::{Artifact, types as artifact};

use super::FuncType;
use super::value::{ConcreteFunc, HeapType, RefType, ValType};
use crate::error::Error;

/// Maximum number of types that all modules together may add: far more than programs have, and
/// little memory for what a host loads in years.
const MAX_TYPES: usize = 1 << 20;

/// Maximum number of parameters and results of these types together: about a gigabyte of memory.
const MAX_VALUES: usize = 1 << 24;

/// Maximum number of types of one module that refers to types, so that a few modules do not take
/// the room of all others. Programs have some hundreds.
const MAX_MODULE_TYPES: usize = 1 << 14;

/// Maximum number of parameters and results of these types together.
const MAX_MODULE_VALUES: usize = 1 << 18;

/// A type that is kept for ever.
pub(crate) struct Entry {
    pub(super) id: u64,
    /// It is set when the whole group is known, because types of a group refer to each other.
    ty: OnceLock<FuncType>,
    /// The supertypes, the nearest first.
    above: Box<[&'static Entry]>,
}

impl Entry {
    pub(super) fn ty(&'static self) -> &'static FuncType {
        // Entries leave the registry when the type is set.
        self.ty.get_or_init(|| FuncType::of([], []))
    }

    /// Whether the other type is a supertype of this one.
    pub(super) fn is_below(&self, other: &'static Entry) -> bool {
        self.above.iter().any(|above| std::ptr::eq(*above, other))
    }
}

#[derive(Default)]
struct Registry {
    /// By id, without its mark.
    entries: Vec<&'static Entry>,
    /// The parameters and results of all types.
    values: usize,
    /// Types that parameters and results determine.
    plain: HashMap<FuncType, &'static Entry>,
    /// The first type of each other group.
    groups: HashMap<Box<[Member]>, Box<[ConcreteFunc]>>,
}

static REGISTRY: LazyLock<RwLock<Registry>> = LazyLock::new(RwLock::default);

/// The structure of a type in a recursive group.
#[derive(PartialEq, Eq, Hash)]
struct Member {
    params: Box<[Value]>,
    results: Box<[Value]>,
    is_final: bool,
    above: Option<Type>,
}

#[derive(PartialEq, Eq, Hash)]
enum Value {
    Plain(artifact::ValType),
    Concrete { nullable: bool, ty: Type },
}

/// A type that a type refers to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Type {
    /// A type of the same group, by its place in it.
    Here(u32),
    /// A type of another group.
    Known(ConcreteFunc),
}

impl Registry {
    /// The entry with an id that is not a type itself.
    fn entry(&self, id: u64) -> Option<&'static Entry> {
        self.entries.get((id ^ INTERNED_TYPE_ID) as usize).copied()
    }

    fn add(&mut self, id: Option<u64>, above: Option<ConcreteFunc>) -> &'static Entry {
        let supertypes = above.iter().flat_map(|ConcreteFunc(entry)| {
            std::iter::once(*entry).chain(entry.above.iter().copied())
        });
        let entry: &'static Entry = Box::leak(Box::new(Entry {
            id: id.unwrap_or(INTERNED_TYPE_ID | self.entries.len() as u64),
            ty: OnceLock::new(),
            above: supertypes.collect(),
        }));
        if id.is_none() {
            self.entries.push(entry);
        }
        entry
    }

    /// Checks that types with so many parameters and results together can be added.
    ///
    /// # Errors
    /// [`Error::Limit`].
    fn check_room(&self, types: usize, values: usize) -> Result<(), Error> {
        let types = self.entries.len() + self.plain.len() + types;
        let what = "types that modules of this process refer to";
        check(what, types, MAX_TYPES)?;
        let what = "parameters and results of types that modules of this process refer to";
        check(what, self.values + values, MAX_VALUES)
    }

    /// The entry of a type that parameters and results determine.
    fn plain(&mut self, ty: &FuncType) -> ConcreteFunc {
        if let Some(known) = self.plain.get(ty) {
            return ConcreteFunc(known);
        }
        let entry = self.add(ty.own_id(), None);
        self.values += ty.types.len();
        entry.ty.get_or_init(|| ty.clone());
        self.plain.insert(ty.clone(), entry);
        ConcreteFunc(entry)
    }

    /// The entries of a group.
    fn group(&mut self, group: Box<[Member]>) -> Box<[ConcreteFunc]> {
        if let Some(known) = self.groups.get(&group) {
            return known.clone();
        }
        let mut entries: Vec<ConcreteFunc> = Vec::with_capacity(group.len());
        for member in &group {
            let above = member.above.map(|above| match above {
                // A supertype comes before its subtypes.
                Type::Here(i) => entries[i as usize],
                Type::Known(ty) => ty,
            });
            entries.push(ConcreteFunc(self.add(None, above)));
        }
        for (member, this) in group.iter().zip(&entries) {
            let value = |value: &Value| match value {
                Value::Plain(ty) => ValType::of_artifact(*ty, &[]),
                Value::Concrete { nullable, ty } => {
                    let ty = match ty {
                        Type::Here(i) => entries[*i as usize],
                        Type::Known(ty) => *ty,
                    };
                    ValType::Ref(RefType::new(*nullable, HeapType::ConcreteFunc(ty)))
                }
            };
            let ty = FuncType::of(
                member.params.iter().map(value),
                member.results.iter().map(value),
            );
            self.values += ty.types.len();
            this.0.ty.get_or_init(|| ty.with_identity(*this));
        }
        let entries: Box<[_]> = entries.into();
        self.groups.insert(group, entries.clone());
        entries
    }
}

/// # Errors
/// [`Error::Limit`].
fn check(what: &'static str, wanted: usize, limit: usize) -> Result<(), Error> {
    let (is_within, wanted, limit) = (wanted <= limit, wanted as u64, limit as u64);
    match is_within {
        true => Ok(()),
        false => Err(Error::Limit {
            what,
            wanted,
            limit,
        }),
    }
}

/// Checks how many types a module has that refers to types.
///
/// # Errors
/// [`Error::Limit`].
fn check_module(types: usize, values: usize) -> Result<(), Error> {
    let what = "types of a module that refers to types";
    check(what, types, MAX_MODULE_TYPES)?;
    let what = "parameters and results of all types of a module that refers to types";
    check(what, values, MAX_MODULE_VALUES)
}

/// The entry of a function type.
pub(super) fn concrete(ty: &FuncType) -> ConcreteFunc {
    if let Some(identity) = ty.identity() {
        return identity;
    }
    let registry = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = registry.plain.get(ty) {
        return ConcreteFunc(known);
    }
    drop(registry);
    let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
    registry.plain(ty)
}

/// The type with an id that is not a type itself.
pub(super) fn of_id(id: u64) -> Option<ConcreteFunc> {
    let registry = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    registry.entry(id).map(ConcreteFunc)
}

/// Whether the type with the id `found` is the one with the id `expected`, or has it as a
/// supertype.
pub(crate) fn is_subtype(found: u64, expected: u64) -> bool {
    if found == expected {
        return true;
    }
    // A type that is its own id has neither supertypes nor subtypes.
    if found & expected & INTERNED_TYPE_ID == 0 {
        return false;
    }
    let registry = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    match (registry.entry(found), registry.entry(expected)) {
        (Some(found), Some(expected)) => found.is_below(expected),
        _ => false,
    }
}

/// The types of all signatures of an artifact that was checked, if it
/// [refers](Artifact::refers_to_types) to types, else nothing. Types that are new are added.
///
/// # Errors
/// [`Error::Limit`] if there are too many types in the module or in the process.
pub(crate) fn types_of(artifact: &Artifact<'_>) -> Result<Box<[ConcreteFunc]>, Error> {
    if !artifact.refers_to_types() {
        return Ok(Box::default());
    }
    let signatures = artifact.signatures();
    let count = signatures.len();
    let values = |s: &SignatureRecord| s.params as usize + s.results as usize;
    check_module(count, signatures.iter().map(values).sum())?;
    let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
    let mut types: Vec<ConcreteFunc> = Vec::with_capacity(count);
    while types.len() < count {
        let first = types.len() as u32;
        let (_, len) = artifact.type_group(first);
        let is_single = len == 1 && artifact.type_record(first).is_none();
        let signature = artifact.signature(first);
        let is_plain = is_single
            && signature.is_some_and(|s| {
                s.params()
                    .chain(s.results())
                    .all(|ty| ty.concrete() != Some(first))
            });
        if let (true, Some(signature)) = (is_plain, signature) {
            let ty = FuncType::of_artifact(signature, &types);
            if !registry.plain.contains_key(&ty) {
                registry.check_room(1, ty.types.len())?;
            }
            types.push(registry.plain(&ty));
        } else {
            let members = (first..first + len).map(|i| member(artifact, i, first, &types));
            let group: Box<[_]> = members.collect();
            if !registry.groups.contains_key(&group) {
                let values = |m: &Member| m.params.len() + m.results.len();
                registry.check_room(group.len(), group.iter().map(values).sum())?;
            }
            types.extend(registry.group(group));
        }
    }
    Ok(types.into())
}

/// The structure of the type of a signature whose group starts at `first`. `types` are those before
/// the group.
fn member(artifact: &Artifact<'_>, signature: u32, first: u32, types: &[ConcreteFunc]) -> Member {
    let of = |index: u32| match types.get(index as usize) {
        Some(ty) => Type::Known(*ty),
        None => Type::Here(index - first),
    };
    let value = |ty: artifact::ValType| match ty {
        artifact::ValType::Ref(artifact::RefType {
            nullable,
            heap: artifact::HeapType::Concrete(index),
        }) => Value::Concrete {
            nullable,
            ty: of(index),
        },
        ty => Value::Plain(ty),
    };
    let record = artifact.type_record(signature);
    let (params, results) = match artifact.signature(signature) {
        Some(s) => (
            s.params().map(value).collect(),
            s.results().map(value).collect(),
        ),
        None => (Box::default(), Box::default()),
    };
    Member {
        params,
        results,
        is_final: record.is_none_or(|r| r.flags & FINAL != 0),
        above: record.map(|r| r.supertype).filter(|s| *s != NONE).map(of),
    }
}

/// The id of a type that parameters and results determine, if it is the type itself.
#[inline]
pub(crate) fn own_id(
    params: impl IntoIterator<Item = ValType>,
    results: impl IntoIterator<Item = ValType>,
) -> Option<u64> {
    let plain = |ty: ValType| ty.to_plain();
    signature::type_id_of(
        params.into_iter().map(plain),
        results.into_iter().map(plain),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types are kept for ever, so modules cannot add any number of long ones.
    #[test]
    fn long_types_use_up_the_room_before_many_do() {
        let mut registry = Registry::default();
        let long = FuncType::of([ValType::I32; 1000], [ValType::I64; 1000]);
        registry.plain(&long);
        registry.plain(&long);
        assert_eq!(registry.values, 2000);
        assert!(registry.check_room(1000, MAX_VALUES - 2000).is_ok());
        assert!(registry.check_room(MAX_TYPES - 2, 0).is_ok());
        for (types, values, expected) in [
            (1, MAX_VALUES, "parameters and results"),
            (MAX_TYPES, 0, "types that modules"),
        ] {
            let error = registry.check_room(types, values).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn one_module_cannot_take_the_room_of_all() {
        assert!(check_module(MAX_MODULE_TYPES, MAX_MODULE_VALUES).is_ok());
        let error = check_module(MAX_MODULE_TYPES + 1, 0).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("types of a module") && text.contains("16385"),
            "{text}"
        );
        assert!(check_module(1, MAX_MODULE_VALUES + 1).is_err());
    }
}
