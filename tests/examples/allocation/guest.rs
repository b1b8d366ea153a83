//! The guest, which greets by name. Strings pass between host and guest in memory of the guest's
//! allocator. `build.rs` compiles this file for `wasm32-unknown-unknown`.

use std::alloc::Layout;

#[link(wasm_import_module = "env")]
extern "C" {
    fn log(ptr: *const u8, len: usize);
}

/// Logs a greeting of the name at `ptr`.
///
/// # Safety
/// There must be `len` bytes at `ptr`.
#[no_mangle]
pub unsafe extern "C" fn greet(ptr: *const u8, len: usize) {
    let message = format!("wasm >> {}", hello(ptr, len));
    log(message.as_ptr(), message.len());
}

/// Returns a greeting of the name at `ptr`: its address in the upper 32 bits and its length in the
/// lower 32 bits. The host frees it with [`deallocate`].
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

/// Allocates `size` bytes.
#[no_mangle]
pub extern "C" fn allocate(size: usize) -> *mut u8 {
    // SAFETY: the size is not zero.
    unsafe { std::alloc::alloc(bytes(size)) }
}

/// Frees memory of [`allocate`] or [`greeting`].
///
/// # Safety
/// The memory must have this size, and it must not be used any more.
#[no_mangle]
pub unsafe extern "C" fn deallocate(ptr: *mut u8, size: usize) {
    std::alloc::dealloc(ptr, bytes(size));
}

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size.max(1), 1).expect("sizes are below 2 GiB")
}
