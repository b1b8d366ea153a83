//! References into a store cannot be kept across calls that may change the store.
#![forbid(unsafe_code)]

use std::cell::RefCell;

use precast_loader::runtime::Instance;
use precast_loader::{
    AsContextMut, Caller, Engine, ExternRef, Func, Linker, Memory, Store, StoreContextMut, TypedFunc,
};

fn slice_across_growth(mut store: Store<()>, memory: Memory) {
    let bytes = memory.data(&store);
    memory.grow(&mut store, 1).ok();
    drop(bytes[0]);
}

fn slice_across_a_call(mut store: Store<()>, memory: Memory, f: TypedFunc<(), ()>) {
    let bytes = memory.data_mut(&mut store);
    f.call(&mut store, ()).ok();
    bytes[0] = 1;
}

fn two_slices(mut store: Store<()>, a: Memory, b: Memory) {
    let one = a.data_mut(&mut store);
    let two = b.data_mut(&mut store);
    (one[0], two[0]) = (1, 2);
}

fn slice_across_the_end(store: Store<()>, memory: Memory) {
    let bytes = memory.data(&store);
    drop(store);
    drop(bytes[0]);
}

fn slice_across_the_data(store: Store<u8>, memory: Memory) {
    let bytes = memory.data(&store);
    store.into_data();
    drop(bytes[0]);
}

fn slice_and_data(mut store: Store<String>, memory: Memory) {
    let (bytes, data) = memory.data_and_store_mut(&mut store);
    store.data_mut().clear();
    data.push(char::from(bytes[0]));
}

fn data_across_the_data(mut store: Store<String>) {
    let mut context = store.as_context_mut();
    let data = context.data();
    context.data_mut().clear();
    println!("{data}");
}

thread_local! {
    static KEPT: RefCell<Option<Caller<'static, ()>>> = const { RefCell::new(None) };
}

fn caller_kept(linker: &mut Linker<()>) {
    linker
        .func_wrap("", "", |caller: Caller<'_, ()>| KEPT.set(Some(caller)))
        .ok();
}

fn caller_given_back(store: &mut Store<()>) {
    Func::wrap(store, |caller: Caller<'_, ()>| -> Caller<'_, ()> { caller });
}

fn context_kept(instance: &Instance) {
    let mut kept = None;
    instance
        .with(|store, _| {
            kept = Some(store);
            Ok(())
        })
        .ok();
}

fn context_longer_than_the_store() -> StoreContextMut<'static, ()> {
    let mut store = Store::new(&Engine::default(), ());
    store.as_context_mut()
}

fn borrowed_data() {
    let local = String::new();
    let store = Store::new(&Engine::default(), &local);
    drop(store);
}

fn borrowed_by_a_reference() {
    let local = String::new();
    ExternRef::new(&local);
}

fn borrowed_by_a_closure(store: &mut Store<()>) {
    let local = String::new();
    Func::wrap(store, || drop(local.len()));
}

fn main() {}
