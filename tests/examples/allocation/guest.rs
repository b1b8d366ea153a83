//! The guest: greets by name. Strings cross between host and guest through memory that the guest's
//! allocator gives out. Compiled for `wasm32-unknown-unknown`, see `build.rs`.

use std::alloc::Layout;

#[link(wasm_import_module = "env")]
extern "C" {
    fn log(ptr: *const u8, len: usize);
}

/// Logs a greeting of the name at `ptr`.
///
/// # Safety
/// There are `len` bytes at `ptr`.
#[no_mangle]
pub unsafe extern "C" fn greet(ptr: *const u8, len: usize) {
    let message = format!("wasm >> {}", hello(ptr, len));
    log(message.as_ptr(), message.len());
}

/// A greeting of the name at `ptr`: its address in the upper 32 bits, its length in the lower. The
/// host gives it back with [`deallocate`].
///
/// # Safety
/// As for [`greet`].
#[no_mangle]
pub unsafe extern "C" fn greeting(ptr: *const u8, len: usize) -> u64 {
    let message = hello(ptr, len).into_boxed_str();
    let len = message.len();
    let ptr = Box::into_raw(message).cast::<u8>();
    (ptr as u64) << 32 | len as u64
}

unsafe fn hello(ptr: *const u8, len: usize) -> String {
    let name = std::slice::from_raw_parts(ptr, len);
    format!("Hello, {}!", String::from_utf8_lossy(name))
}

/// Room for `size` bytes.
#[no_mangle]
pub extern "C" fn allocate(size: usize) -> *mut u8 {
    // SAFETY: the size is not zero.
    unsafe { std::alloc::alloc(bytes(size)) }
}

/// Gives back what [`allocate`] or [`greeting`] gave out.
///
/// # Safety
/// It did, with this size, and nobody uses it any more.
#[no_mangle]
pub unsafe extern "C" fn deallocate(ptr: *mut u8, size: usize) {
    std::alloc::dealloc(ptr, bytes(size));
}

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size.max(1), 1).expect("sizes are below 2 GiB")
}
