//! Pointers, lengths and numbers that only a hostile or broken guest passes.

use super::*;
use crate::{clock, poll, process};

const END: u32 = 256 << 10;

/// Pointers that are outside of the memory, or whose data would reach beyond its end.
const BAD: [u32; 4] = [END, END - 1, u32::MAX, u32::MAX - 7];

type Context = WasiCtx;
type Memory<'a> = GuestMemory<'a>;
type Call = Box<dyn Fn(&mut Context, &mut Memory<'_>, u32) -> Result<()>>;

/// Every function that takes pointers, once for each of its pointers, which the test fills in.
fn calls(fd: u32) -> Vec<(&'static str, Call)> {
    macro_rules! calls {
        ($($name:literal: |$c:ident, $m:ident, $p:ident| $call:expr;)*) => {
            vec![$((
                $name,
                Box::new(move |$c: &mut Context, $m: &mut Memory<'_>, $p| $call) as Call,
            )),*]
        };
    }
    calls! {
        "args_get 1": |c, m, p| process::args_get(c, m, p, OUT);
        "args_get 2": |c, m, p| process::args_get(c, m, OUT, p);
        "args_sizes_get 1": |c, m, p| process::args_sizes_get(c, m, p, OUT);
        "args_sizes_get 2": |c, m, p| process::args_sizes_get(c, m, OUT, p);
        "environ_get 1": |c, m, p| process::environ_get(c, m, p, OUT);
        "environ_get 2": |c, m, p| process::environ_get(c, m, OUT, p);
        "environ_sizes_get 1": |c, m, p| process::environ_sizes_get(c, m, p, OUT);
        "environ_sizes_get 2": |c, m, p| process::environ_sizes_get(c, m, OUT, p);
        "clock_res_get": |c, m, p| clock::clock_res_get(c, m, 0, p);
        "clock_time_get": |c, m, p| clock::clock_time_get(c, m, 1, 0, p);
        "fd_fdstat_get": |c, m, p| fdstat::fd_fdstat_get(c, m, fd, p);
        "fd_filestat_get": |c, m, p| fdstat::fd_filestat_get(c, m, fd, p);
        "fd_read list": |c, m, p| fd::fd_read(c, m, fd, p, 1, OUT);
        "fd_read result": |c, m, p| fd::fd_read(c, m, fd, INPUT, 1, p);
        "fd_write list": |c, m, p| fd::fd_write(c, m, fd, p, 1, OUT);
        "fd_write result": |c, m, p| fd::fd_write(c, m, fd, INPUT, 1, p);
        "fd_pread list": |c, m, p| fd::fd_pread(c, m, fd, p, 1, 0, OUT);
        "fd_pread result": |c, m, p| fd::fd_pread(c, m, fd, INPUT, 1, 0, p);
        "fd_pwrite list": |c, m, p| fd::fd_pwrite(c, m, fd, p, 1, 0, OUT);
        "fd_pwrite result": |c, m, p| fd::fd_pwrite(c, m, fd, INPUT, 1, 0, p);
        "fd_seek": |c, m, p| fd::fd_seek(c, m, fd, 1, 0, p);
        "fd_tell": |c, m, p| fd::fd_tell(c, m, fd, p);
        "fd_readdir buffer": |c, m, p| readdir::fd_readdir(c, m, DIR, p, 100, 0, OUT);
        "fd_readdir result": |c, m, p| readdir::fd_readdir(c, m, DIR, INPUT, 100, 0, p);
        "fd_prestat_get": |c, m, p| open::fd_prestat_get(c, m, DIR, p);
        "fd_prestat_dir_name": |c, m, p| open::fd_prestat_dir_name(c, m, DIR, p, u32::MAX);
        "path_create_directory": |c, m, p| path::path_create_directory(c, m, DIR, p, 9);
        "path_filestat_get path": |c, m, p| path::path_filestat_get(c, m, DIR, 0, p, 9, OUT);
        "path_filestat_get result": |c, m, p| path::path_filestat_get(c, m, DIR, 0, 0, 1, p);
        "path_filestat_set_times":
            |c, m, p| path::path_filestat_set_times(c, m, DIR, 0, p, 9, 0, 0, 0);
        "path_link 1": |c, m, p| path::path_link(c, m, DIR, 0, p, 9, DIR, 0, 1);
        "path_link 2": |c, m, p| path::path_link(c, m, DIR, 0, 0, 1, DIR, p, 9);
        "path_open path": |c, m, p| open::path_open(c, m, DIR, 0, p, 9, 1, 64, 0, 0, OUT);
        "path_open result": |c, m, p| open::path_open(c, m, DIR, 0, 0, 1, 1, 64, 0, 0, p);
        "path_readlink path": |c, m, p| path::path_readlink(c, m, DIR, p, 9, INPUT, 9, OUT);
        "path_readlink buffer": |c, m, p| path::path_readlink(c, m, DIR, 0, 1, p, 9, OUT);
        "path_readlink result": |c, m, p| path::path_readlink(c, m, DIR, 0, 1, INPUT, 9, p);
        "path_remove_directory": |c, m, p| path::path_remove_directory(c, m, DIR, p, 9);
        "path_rename 1": |c, m, p| path::path_rename(c, m, DIR, p, 9, DIR, 0, 1);
        "path_rename 2": |c, m, p| path::path_rename(c, m, DIR, 0, 1, DIR, p, 9);
        "path_symlink 1": |c, m, p| path::path_symlink(c, m, p, 9, DIR, 0, 1);
        "path_symlink 2": |c, m, p| path::path_symlink(c, m, 0, 1, DIR, p, 9);
        "path_unlink_file": |c, m, p| path::path_unlink_file(c, m, DIR, p, 9);
        "poll_oneoff 1": |c, m, p| poll::poll_oneoff(c, m, p, INPUT, 1, OUT);
        "poll_oneoff 2": |c, m, p| poll::poll_oneoff(c, m, INPUT, p, 1, OUT);
        "poll_oneoff 3": |c, m, p| poll::poll_oneoff(c, m, INPUT, INPUT + 64, 1, p);
        "random_get": |c, m, p| process::random_get(c, m, p, 9);
    }
}

fn guest() -> (TempDir, Guest) {
    let folder = folder();
    std::fs::write(folder.path().join("file"), "file").unwrap();
    let builder = WasiCtxBuilder::new()
        .preopened_dir(folder.path(), "/long-enough-a-name", DirAccess::ReadWrite)
        .and_then(|b| b.args(["program", "argument"]))
        .and_then(|b| b.env("NAME", "value"))
        .unwrap();
    let mut guest = Guest::new(builder.build());
    assert_eq!(guest.open("file", 0, READ | WRITE), Ok(4));
    (folder, guest)
}

#[test]
fn pointers_outside_of_memory_are_faults_and_do_nothing() {
    let (folder, mut guest) = guest();
    // Address 0 holds a name of one byte, that of a new file; INPUT one buffer, also a
    // subscription.
    guest.bytes[0] = b'n';
    guest.put_list(&[(2048, 8)]);
    for (name, call) in calls(4) {
        for pointer in BAD {
            let before = guest.bytes.clone();
            let result = guest.call(|ctx, memory| call(ctx, memory, pointer));
            assert_eq!(result, Err(Errno::FAULT), "{name} at {pointer:#x}");
            assert!(guest.bytes == before, "{name} has written something");
        }
    }
    // No descriptor was opened whose number could not be reported, and no file was created or
    // written to.
    assert_eq!(guest.seek(4, 0, 1), Ok(0));
    assert_eq!(guest.close(5), Err(Errno::BADF));
    assert_eq!(contents(folder.path().join("file")), "file");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn an_empty_memory_is_enough_to_fail_in() {
    let (_folder, mut guest) = guest();
    for (name, call) in calls(4) {
        for pointer in [0, 1, OUT, INPUT, u32::MAX] {
            let result = call(&mut guest.ctx, &mut GuestMemory::new(&mut []), pointer);
            assert_eq!(result, Err(Errno::FAULT), "{name}");
        }
    }
}

#[test]
fn lengths_and_counts_that_wrap_are_faults() {
    let (_folder, mut guest) = guest();
    for count in [END, 1 << 29, (1 << 29) + 1, u32::MAX] {
        let result = guest.call(|c, m| fd::fd_read(c, m, 4, INPUT, count, OUT));
        assert_eq!(result, Err(Errno::FAULT));
        let result = guest.call(|c, m| fd::fd_write(c, m, 4, INPUT, count, OUT));
        assert_eq!(result, Err(Errno::FAULT));
        let result = guest.call(|c, m| poll::poll_oneoff(c, m, 0, 0, count, OUT));
        assert_eq!(result, Err(Errno::FAULT));
        let result = guest.call(|c, m| process::random_get(c, m, INPUT, count));
        assert_eq!(result, Err(Errno::FAULT));
        let result = guest.call(|c, m| readdir::fd_readdir(c, m, DIR, INPUT, count, 0, OUT));
        assert_eq!(result, Err(Errno::FAULT));
        let result = guest.call(|c, m| path::path_create_directory(c, m, DIR, INPUT, count));
        assert_eq!(result, Err(Errno::FAULT));
    }
    let (list, count) = guest.put_list(&[(0, 8), (u32::MAX, u32::MAX)]);
    let result = guest.call(|c, m| fd::fd_write(c, m, 4, list, count, OUT));
    assert_eq!(result, Err(Errno::FAULT));
    assert_eq!(guest.seek(4, 0, 1), Ok(0), "nothing was written");
}

#[test]
fn offsets_beyond_the_type_are_refused() {
    let (folder, mut guest) = guest();
    for offset in [u64::MAX, 1 << 63, i64::MAX as u64] {
        let (at, len) = guest.put(b"x");
        let (list, count) = guest.put_list(&[(at, len)]);
        let result = guest.call(|c, m| fd::fd_pwrite(c, m, 4, list, count, offset, OUT));
        assert!(
            matches!(result, Err(Errno::INVAL | Errno::FBIG)),
            "{result:?}"
        );
        let result = guest.call(|c, m| fdstat::fd_filestat_set_size(c, m, 4, offset));
        if result.is_ok() {
            // A tmpfs has files of the largest length that the type has.
            assert_eq!(offset, i64::MAX as u64);
            let back = guest.call(|c, m| fdstat::fd_filestat_set_size(c, m, 4, 4));
            assert_eq!(back, Ok(()));
        } else {
            assert!(
                matches!(result, Err(Errno::INVAL | Errno::FBIG)),
                "{result:?}"
            );
        }
        let result = guest.call(|c, m| fd::fd_allocate(c, m, 4, offset, u64::MAX));
        assert_eq!(result, Err(Errno::INVAL));
        let result = guest.call(|c, m| fd::fd_allocate(c, m, 4, offset, i64::MAX as u64));
        assert!(
            matches!(result, Err(Errno::INVAL | Errno::FBIG)),
            "{result:?}"
        );
    }
    assert_eq!(guest.seek(4, -1, 0), Err(Errno::INVAL));
    assert_eq!(guest.seek(4, i64::MIN, 1), Err(Errno::INVAL));
    assert_eq!(guest.seek(4, i64::MIN, 2), Err(Errno::INVAL));
    assert_eq!(guest.seek(4, 0, 3), Err(Errno::INVAL));
    assert_eq!(guest.seek(4, 0, u32::MAX), Err(Errno::INVAL));
    assert_eq!(contents(folder.path().join("file")), "file");
}

#[test]
fn descriptors_that_do_not_exist() {
    let (_folder, mut guest) = guest();
    for fd in [5, 1000, 1 << 30, u32::MAX] {
        assert_eq!(guest.close(fd), Err(Errno::BADF));
        assert_eq!(guest.read(fd, 1), Err(Errno::BADF));
        assert_eq!(guest.fdstat(fd), Err(Errno::BADF));
        assert_eq!(guest.readdir(fd, 100, 0), Err(Errno::BADF));
        // Both numbers must exist, so that a guest cannot make the table grow.
        let result = guest.call(|c, m| fd::fd_renumber(c, m, 4, fd));
        assert_eq!(result, Err(Errno::BADF));
        let result = guest.call(|c, m| fd::fd_renumber(c, m, fd, 4));
        assert_eq!(result, Err(Errno::BADF));
        let result = guest.call(|c, m| fd::fd_renumber(c, m, fd, fd));
        assert_eq!(result, Err(Errno::BADF));
        let result = guest.call(|c, m| process::sock_shutdown(c, m, fd, 0));
        assert_eq!(result, Err(Errno::BADF));
    }
    assert_eq!(guest.read(4, 4).unwrap(), b"file");
}

#[test]
fn flags_that_do_not_exist() {
    let (_folder, mut guest) = guest();
    for bit in 0..32 {
        let with = |lookup, oflags, fdflags| Open {
            lookup,
            oflags,
            fdflags,
            rights: READ,
        };
        let flags = 1 << bit;
        if bit >= 1 {
            let result = guest.open_with(DIR, "file", with(flags, 0, 0));
            assert_eq!(result, Err(Errno::INVAL));
        }
        if bit >= 4 {
            let result = guest.open_with(DIR, "file", with(0, flags, 0));
            assert_eq!(result, Err(Errno::INVAL));
            let result = guest.call(|c, m| fdstat::fd_filestat_set_times(c, m, 4, 0, 0, flags));
            assert_eq!(result, Err(Errno::INVAL));
        }
        if bit >= 5 {
            let result = guest.open_with(DIR, "file", with(0, 0, flags));
            assert_eq!(result, Err(Errno::INVAL));
            let result = guest.call(|c, m| fdstat::fd_fdstat_set_flags(c, m, 4, flags));
            assert_eq!(result, Err(Errno::INVAL));
        }
        if bit >= 3 {
            let result = guest.call(|c, m| fd::fd_advise(c, m, 4, 0, 0, flags));
            assert_eq!(result, Err(Errno::INVAL));
        }
    }
}

#[test]
fn invalid_names_are_refused() {
    let (_folder, mut guest) = guest();
    let long = "n".repeat(256);
    let deep = "d/".repeat(5000);
    for (name, errno) in [
        ("", Errno::NOENT),
        ("a\0b", Errno::INVAL),
        (&long, Errno::NAMETOOLONG),
        (&deep, Errno::NAMETOOLONG),
        ("missing/file", Errno::NOENT),
        ("file/below", Errno::NOTDIR),
    ] {
        assert_eq!(guest.open(name, CREAT, WRITE), Err(errno), "{name:?}");
        assert_eq!(guest.at(MKDIR, name), Err(errno), "{name:?}");
        assert_eq!(guest.at(UNLINK, name), Err(errno), "{name:?}");
        assert_eq!(guest.stat(name, FOLLOW), Err(errno), "{name:?}");
        assert_eq!(guest.readlink(name, 10), Err(errno), "{name:?}");
    }
    let (at, len) = guest.put(b"\xff\xfe");
    let result = guest.call(|c, m| path::path_create_directory(c, m, DIR, at, len));
    assert_eq!(result, Err(Errno::ILSEQ));
}
