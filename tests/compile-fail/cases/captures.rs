//! Values that host functions and references capture can be used and dropped on any thread.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::rc::Rc;

use precast_loader::runtime::{HostModule, HostModuleBuilder, InstanceConfig, Runtime};
use precast_loader::{Engine, ExternRef, Func, FuncType, Linker, Store};

// Each function has one error, because the compiler reports the same reason only once.

fn linker(linker: &mut Linker<()>) {
    let rc = Rc::new(());
    linker.func_wrap("", "", move || drop(Rc::clone(&rc))).ok();
}

fn linker_of_any_type(linker: &mut Linker<()>) {
    let rc = Rc::new(());
    linker.func_new("", "", a_type_of_functions(), move |_, _, _| Ok(drop(Rc::clone(&rc)))).ok();
}

fn linker_shared(linker: &mut Linker<()>) {
    let cell = Cell::new(1);
    linker.func_wrap("", "", move || cell.set(2)).ok();
}

fn store(store: &mut Store<()>) {
    let rc = Rc::new(());
    Func::wrap(store, move || drop(Rc::clone(&rc)));
}

fn store_of_any_type(store: &mut Store<()>) {
    let rc = Rc::new(());
    Func::new(store, a_type_of_functions(), move |_, _, _| Ok(drop(Rc::clone(&rc))));
}

fn host_module(module: HostModuleBuilder) {
    let rc = Rc::new(());
    module.func("", move || drop(Rc::clone(&rc)));
}

fn host_module_of_any_type(module: HostModuleBuilder) {
    let rc = Rc::new(());
    module.func_new("", a_type_of_functions(), move |_, _, _| Ok(drop(Rc::clone(&rc))));
}

fn runtime(engine: &Engine) {
    let rc = Rc::new(());
    let _: Runtime<()> = Runtime::with_data(engine, move || drop(Rc::clone(&rc)));
}

fn resolver(config: InstanceConfig) {
    let rc = Rc::new(());
    config.with_import_resolver(move |_, _, _| {
        drop(Rc::clone(&rc));
        None
    });
}

fn data_of_a_runtime() {
    let _: HostModuleBuilder<Rc<()>> = HostModule::builder("");
}

fn reference() {
    ExternRef::new(Rc::new(()));
}

fn reference_shared() {
    ExternRef::new(Cell::new(1));
}

fn main() {}

fn a_type_of_functions() -> FuncType {
    FuncType::new(&Engine::default(), [], [])
}
