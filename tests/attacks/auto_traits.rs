//! Which types may move between threads, and which be shared. Each line is checked when this is
//! compiled; the test only says so.

use std::cell::Cell;
use std::rc::Rc;

use precast_loader::runtime::{self, HostModuleBuilder, InstanceConfig, Runtime, State, Target};
use precast_loader::{
    Caller, Engine, Error, Extern, ExternRef, Func, Global, Instance, InstancePre, InterruptHandle,
    Linker, Memory, Module, Store, StoreContext, StoreContextMut, Table, TypedFunc, Val,
};

/// Fails to compile if the type has one of the traits: `Tells<_>` is implemented once or more often.
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

/// Neither to be sent nor shared.
type Bound = Rc<()>;
/// To be sent, not to be shared.
type Unshared = Cell<u8>;

// A store is as free as its data. What borrows one stays on its thread, on whose stack the calls
// that it may be used in are.
never! {
    Store<Bound>: Send Sync;
    Store<Unshared>: Sync;
    Caller<'static, ()>: Send Sync;
    StoreContext<'static, ()>: Send Sync;
    StoreContextMut<'static, ()>: Send Sync;
}

always! {
    Store<()>: Send Sync;
    Store<Unshared>: Send;
    Engine: Send Sync;
    Module: Send Sync;
    // Host functions are Send and Sync, whatever the data of the stores that they are for.
    Linker<Bound>: Send Sync;
    InstancePre<Bound>: Send Sync;
    // Names of what is in a store, which nobody can use without it.
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
    // Behind locks.
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
