// A program that adds up in parallel, in a module that imports a shared memory and `thread-spawn`, as
// wasm32-wasi-threads has it. zig's C library has no threads, so this file has what it needs of one:
// starting a thread, and waiting for it.
//
// Arguments: none. Prints the sum that all threads found, which does not depend on their number.

#include <stdint.h>

#define THREADS 4
#define ROUNDS 1600000000u
#define STACK 16384

__attribute__((import_module("wasi"), import_name("thread-spawn"))) int thread_spawn(void *start);
__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_write"))) int fd_write(
    int fd, const void *buffers, int count, int *written);
__attribute__((import_module("wasi_snapshot_preview1"), import_name("proc_exit"))) _Noreturn void
proc_exit(int code);

// What a thread begins with. `threads.s` reads the first field.
struct start {
    void *stack_end;
    uint32_t first;
    int is_done;
};

static _Alignas(16) char stacks[THREADS][STACK];
static struct start starts[THREADS];
static uint64_t sum;

// Called by `wasi_thread_start` in threads.s, on a stack of its own.
void run_thread(int tid, struct start *start) {
    (void)tid;
    uint64_t part = 0;
    for (uint32_t i = start->first; i < ROUNDS; i += THREADS) {
        uint64_t x = i * 0x9e3779b97f4a7c15u;
        part += (x ^ x >> 29) & 0xff;
    }
    __atomic_fetch_add(&sum, part, __ATOMIC_SEQ_CST);
    __atomic_store_n(&start->is_done, 1, __ATOMIC_SEQ_CST);
    __builtin_wasm_memory_atomic_notify(&start->is_done, 1);
}

void _start(void) {
    for (int i = 0; i < THREADS; i++) {
        starts[i].stack_end = stacks[i] + STACK;
        starts[i].first = i;
        if (thread_spawn(&starts[i]) <= 0) proc_exit(1);
    }
    for (int i = 0; i < THREADS; i++) {
        while (!__atomic_load_n(&starts[i].is_done, __ATOMIC_SEQ_CST))
            __builtin_wasm_memory_atomic_wait32(&starts[i].is_done, 0, -1);
    }
    char text[24], *at = text + sizeof text;
    *--at = '\n';
    for (uint64_t rest = sum; rest || *at == '\n'; rest /= 10) *--at = '0' + rest % 10;
    struct { const char *at; int len; } buffer = {at, text + sizeof text - at};
    int written;
    if (fd_write(1, &buffer, 1, &written)) proc_exit(2);
}
