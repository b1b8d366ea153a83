//! A guest whose backtrace has lines: `run(0)` traps in `divide`, which is inlined nowhere, below
//! `middle`, which is inlined.

#![no_std]

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

#[inline(never)]
fn divide(a: i32, b: i32) -> i32 {
    match a.checked_div(b) {
        Some(quotient) => quotient,
        None => core::arch::wasm32::unreachable(), // line 15
    }
}

#[inline(always)]
fn middle(n: i32) -> i32 {
    divide(n + 7, n) + 1 // line 21
}

#[unsafe(no_mangle)]
pub extern "C" fn run(n: i32) -> i32 {
    middle(n) * 2 // line 26
}
