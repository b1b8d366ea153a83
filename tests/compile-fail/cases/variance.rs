//! Every public type that holds functions for a `T`, or leads to a store that does, is invariant in
//! `T`. It can be used neither for a more general nor for a less general `T`.
#![forbid(unsafe_code)]

use precast_loader::runtime::{
    HostModuleBuilder, Instance, InstanceConfig, InstanceIn, Runtime, State, Target,
};
use precast_loader::{Caller, InstancePre, Linker, Store, StoreContext, StoreContextMut, TypedFunc};

type General = for<'a> fn(&'a str);
type Special = fn(&'static str);

macro_rules! both_ways {
    ($($special:ident, $general:ident: $Type:ident<$($lt:lifetime)?>;)*) => {
        $(
            fn $special(x: $Type<$($lt,)? General>) -> $Type<$($lt,)? Special> { x }
            fn $general(x: $Type<$($lt,)? Special>) -> $Type<$($lt,)? General> { x }
        )*
    };
}

both_ways! {
    store, store_back: Store<>;
    linker, linker_back: Linker<>;
    instance_pre, instance_pre_back: InstancePre<>;
    context, context_back: StoreContext<'static>;
    context_mut, context_mut_back: StoreContextMut<'static>;
    caller, caller_back: Caller<'static>;
    runtime, runtime_back: Runtime<>;
    state, state_back: State<>;
    instance, instance_back: Instance<>;
    instance_in, instance_in_back: InstanceIn<'static>;
    config, config_back: InstanceConfig<>;
    target, target_back: Target<>;
    host_module, host_module_back: HostModuleBuilder<>;
}

fn params(x: TypedFunc<General, ()>) -> TypedFunc<Special, ()> { x }
fn params_back(x: TypedFunc<Special, ()>) -> TypedFunc<General, ()> { x }
fn results(x: TypedFunc<(), General>) -> TypedFunc<(), Special> { x }
fn results_back(x: TypedFunc<(), Special>) -> TypedFunc<(), General> { x }

fn main() {}
