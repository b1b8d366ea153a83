//! The loader asks the system which pages were written, where that is cheaper than to discard them
//! unasked. A wrong answer leaves nothing of a tenant.

use precast_loader::{Engine, InstancePre, Store};
use precast_tests::{call, strategies};

use crate::child::{case, passes_in_child};
use crate::kernel::{Call, Kernel, emulated, names};
use crate::reset::{assert_fresh, write, writer};

/// Whether this kernel tells of all pages of a range at once: Linux 6.7.
pub(crate) fn can_scan() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(7))
}

/// What the system says of written pages is believed only if it can be true. Otherwise everything
/// is discarded: when the call stops working, when it answers that nothing was written, and in a
/// forked child, whose file tells of the parent's pages. An answer that is about a part of the
/// range is not taken for one about all of it.
#[test]
fn answers_are_not_believed_blindly() {
    const NAME: &str = "written_pages::answers_are_not_believed_blindly";
    let Some(state) = case() else {
        if !emulated(NAME) {
            for state in [
                "refused", "nothing", "a part", "merged", "forked", "no mark",
            ] {
                passes_in_child(NAME, state);
            }
        }
        return;
    };
    if state == "no mark" {
        return without_a_mark();
    }
    for strategy in strategies() {
        let pre = writer(&Engine::default(), strategy);
        for _ in 0..20 {
            write(&pre, 0, 16, 100);
        }
        assert_fresh(&pre);
        // Pages that no tenant has written before: between the others, before and behind them.
        let elsewhere = || {
            for first in [50, 151, 1999, 2047, 1, 99] {
                write(&pre, first, 1, 1);
                assert_fresh(&pre);
            }
        };
        let answer = |answer: fn(&Call) -> Option<i64>| {
            Kernel::with(|kernel| {
                // The slot belongs to this thread.
                for _ in 0..3 {
                    write(&pre, 0, 16, 100);
                }
                let ((), calls) = kernel.answer(answer, elsewhere);
                let asked = names(&calls).iter().any(|name| name == "ioctl");
                assert!(asked || !can_scan(), "{strategy}: {state}");
            });
        };
        match &*state {
            "refused" => {
                answer(|call| (call.number == libc::SYS_ioctl).then_some(-i64::from(libc::EPERM)))
            }
            "nothing" => answer(|call| (call.number == libc::SYS_ioctl).then_some(0)),
            "a part" => answer(of_a_part),
            "merged" => {
                // A tenant makes content of the image zero.
                answer(merged);
                Kernel::with(|kernel| {
                    for _ in 0..3 {
                        write(&pre, 0, 16, 100);
                    }
                    let ((), calls) = kernel.answer(merged, || {
                        clear(&pre, 4 << 20);
                        assert_fresh(&pre);
                    });
                    let discards = calls.iter().filter(|c| c.number == libc::SYS_madvise);
                    assert!(
                        discards.count() < 8 || !can_scan(),
                        "{strategy}: asks for nothing"
                    );
                });
            }
            "forked" => {
                // SAFETY: the child only runs tenants, and no other thread of this process holds a
                // lock that the child needs.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(elsewhere));
                    // SAFETY: the call ends the child at once.
                    unsafe { libc::_exit(if passed.is_ok() { 9 } else { 1 }) };
                }
                // The parent's pages stay as they are meanwhile.
                let mut status = 0;
                // SAFETY: the call only writes to a local variable.
                assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                assert_eq!(libc::WEXITSTATUS(status), 9);
                elsewhere();
            }
            other => panic!("{other}"),
        }
    }
}

/// Answers a question about a range of pages for its first 1,600 pages only.
fn of_a_part(call: &Call) -> Option<i64> {
    // The places of the start, the end and the end of the walk in `struct pm_scan_arg`.
    let [at, to, walked] = [2, 3, 4];
    if call.number != libc::SYS_ioctl {
        return None;
    }
    // SAFETY: the thread that waits for the answer has put the structure there, and this process
    // has the file.
    unsafe {
        let scan = std::slice::from_raw_parts_mut(call.args[2] as *mut u64, 5);
        let end = scan[to];
        scan[to] = end.min(scan[at] + 1600 * 4096);
        let (fd, request) = (call.args[0], call.args[1]);
        let result = libc::syscall(libc::SYS_ioctl, fd, request, call.args[2]);
        scan[walked] = scan[to];
        scan[to] = end;
        Some(match result {
            -1 => -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap()),
            found => found,
        })
    }
}

/// Makes an instance, fills the page at an offset with zeros, writes to what tenants usually write
/// to, and drops the instance.
fn clear(pre: &InstancePre<()>, at: usize) {
    let mut store = Store::new(pre.module().engine(), ());
    let instance = pre.instantiate(&mut store).unwrap();
    let memory = instance.get_memory(&mut store, "m").unwrap();
    memory.write(&mut store, at, &[0; 4096]).unwrap();
    let write = (0_i32, 16_i32, 100_i32);
    call::<_, ()>(&mut store, instance, "write", write).unwrap();
}

/// Answers as if the system had put its page of zeros in the place of all pages of zeros (KSM with
/// `use_zero_pages`).
fn merged(call: &Call) -> Option<i64> {
    const IS_PFNZERO: u64 = 1 << 5;
    // The places of the regions, their number, and categories in `struct pm_scan_arg`.
    let [vec, vec_len, inverted, told] = [5, 6, 8, 11];
    if call.number != libc::SYS_ioctl {
        return None;
    }
    // SAFETY: the thread that waits for the answer has put the structures there, nobody uses the
    // pages of the memory meanwhile, and this process has the file.
    unsafe {
        let scan = std::slice::from_raw_parts(call.args[2] as *const u64, 12);
        let (fd, request) = (call.args[0], call.args[1]);
        let result = libc::syscall(libc::SYS_ioctl, fd, request, call.args[2]);
        let Ok(count) = usize::try_from(result) else {
            let error = std::io::Error::last_os_error().raw_os_error().unwrap();
            return Some(-i64::from(error));
        };
        let regions = scan[vec] as *mut [u64; 3];
        let found = std::slice::from_raw_parts(regions, count).to_vec();
        let mut answer = Vec::<[u64; 3]>::new();
        for [start, end, categories] in found {
            for page in (start..end).step_by(4096) {
                let bytes = std::slice::from_raw_parts(page as *const u64, 512);
                let is_zero = bytes.iter().all(|word| *word == 0);
                if is_zero && scan[inverted] & IS_PFNZERO != 0 {
                    continue;
                }
                let zero = if is_zero { IS_PFNZERO & scan[told] } else { 0 };
                match answer.last_mut() {
                    Some([_, last, of]) if *last == page && *of == categories | zero => {
                        *last += 4096;
                    }
                    _ => answer.push([page, page + 4096, categories | zero]),
                }
            }
        }
        assert!(answer.len() <= scan[vec_len] as usize);
        let to = std::slice::from_raw_parts_mut(regions, answer.len());
        to.copy_from_slice(&answer);
        Some(answer.len() as i64)
    }
}

/// Where the system does not wipe a page of forked children, the loader does not ask at all.
fn without_a_mark() {
    for strategy in strategies() {
        let pre = writer(&Engine::default(), strategy);
        Kernel::with(|kernel| {
            let answer = |call: &Call| {
                let wipes = call.number == libc::SYS_madvise
                    && call.args[2] == libc::MADV_WIPEONFORK as u64;
                wipes.then_some(-i64::from(libc::EINVAL))
            };
            let ((), calls) = kernel.answer(answer, || {
                for first in [0, 50, 151, 500] {
                    write(&pre, first, 16, 100);
                    assert_fresh(&pre);
                }
            });
            assert!(calls.iter().any(|call| answer(call).is_some()));
            assert!(!names(&calls).iter().any(|name| name == "ioctl"));
        });
    }
}
