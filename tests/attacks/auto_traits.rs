//! Which types are `Send` and which are `Sync`. Each line is checked when this file is compiled.
//! The test only makes that visible.

use std::cell::Cell;
use std::rc::Rc;

use precast_loader::runtime::{self, HostModuleBuilder, InstanceConfig, Runtime, State, Target};
use precast_loader::{
    Caller, Engine, Error, Extern, ExternRef, Func, Global, Instance, InstancePre, InterruptHandle,
    Linker, Memory, Module, Store, StoreContext, StoreContextMut, Table, TypedFunc, Val,
};

/// Fails to compile if a type has one of the traits, because `Tells<_>` is then implemented twice,
/// and the compiler cannot infer which implementation is meant.
macro_rules! never {
    ($($T:ty: $($Trait:ident)+;)*) => {
        $($(const _: () = {
            trait Tells<A> {
                fn tell() {}
            }
            struct HasTheTrait;
            impl<T: ?Sized> Tells<()> for T {}
            impl<T: ?Sized + $Trait> Tells<HasTheTrait> for T {}
            let _ = <$T as Tells<_>>::tell;
        };)+)*
    };
}

macro_rules! always {
    ($($T:ty: $($Trait:ident)+;)*) => {
        $($(const _: () = {
            const fn has<T: ?Sized + $Trait>() {}
            has::<$T>();
        };)+)*
    };
}

/// A type that is neither `Send` nor `Sync`.
type Bound = Rc<()>;
/// A type that is `Send`, but not `Sync`.
type Unshared = Cell<u8>;

// A store is `Send` and `Sync` if its data is, and so is what borrows it: the futures of
// asynchronous host functions hold that, and move between threads.
never! {
    Store<Bound>: Send Sync;
    Store<Unshared>: Sync;
    Caller<'static, Bound>: Send Sync;
    Caller<'static, Unshared>: Sync;
    StoreContext<'static, Unshared>: Send Sync;
    StoreContextMut<'static, Bound>: Send Sync;
    StoreContextMut<'static, Unshared>: Sync;
}

always! {
    Store<()>: Send Sync;
    Store<Unshared>: Send;
    Caller<'static, ()>: Send Sync;
    Caller<'static, Unshared>: Send;
    StoreContext<'static, ()>: Send Sync;
    StoreContextMut<'static, ()>: Send Sync;
    StoreContextMut<'static, Unshared>: Send;
    Engine: Send Sync;
    Module: Send Sync;
    // Host functions are `Send` and `Sync`, independently of the data of the stores that they are
    // for.
    Linker<Bound>: Send Sync;
    InstancePre<Bound>: Send Sync;
    // Handles, which cannot be used without their store.
    Instance: Send Sync;
    Extern: Send Sync;
    Func: Send Sync;
    Memory: Send Sync;
    Table: Send Sync;
    Global: Send Sync;
    TypedFunc<i32, i32>: Send Sync;
    Val: Send Sync;
    ExternRef: Send Sync;
    InterruptHandle: Send Sync;
    Error: Send Sync;
    // The stores are behind locks.
    Runtime<Unshared>: Send Sync;
    runtime::Instance<Unshared>: Send Sync;
    State<Unshared>: Send;
    Target<Unshared>: Send Sync;
    HostModuleBuilder<Unshared>: Send Sync;
    InstanceConfig<Unshared>: Send;
    runtime::Context: Send Sync;
}

#[test]
fn are_what_they_should_be() {}
