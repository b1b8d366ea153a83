//! Only the loader can implement the traits whose implementations must agree with machine code.
#![forbid(unsafe_code)]

use precast_loader::{Error, IntoFunc, ValType, WasmRet, WasmTy};

struct Mine;

impl<T: 'static> IntoFunc<T, (), ()> for Mine {}

impl WasmRet for Mine {}

unsafe impl WasmTy for Mine {
    const TYPE: ValType = ValType::FUNCREF;
    type Native = u64;
}

fn name_it() {
    let _: Option<precast_loader::HostFunc> = None;
    let _: Option<precast_loader::host::HostFunc> = None;
}

fn call_it() {
    let _ = precast_loader::into_func::sealed::IntoHost::<(), (), ()>::into_host(|| {});
    let _ = (|| 1_i32).into_host();
    let _: Result<i32, Error> = 1_i32.into_result();
}

fn main() {}
