//! Attacks from published advisories about other engines.
//!
//! Attacks with slashes after symbolic links are in `sandbox`, those on read-only directories in
//! `read_only`, those with pointers and lengths in `hostile`.

use std::fs::FileTimes;
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::{poll, process};

/// RUSTSEC-2026-0020 and similar ones: the host worked or allocated in proportion to a number that
/// the guest passed.
#[test]
fn counts_have_limits_or_cost_nothing() {
    let (_folder, mut guest) = guest();
    guest.bytes.resize(64 << 20, 0);
    let start = Instant::now();
    // More than a million subscriptions, first to clocks that are ready and then to descriptors.
    for tag in [0_u8, 1] {
        for i in 0..1_300_000 {
            guest.bytes[48 * i + 8] = tag;
        }
        for count in [4097, 1_300_000] {
            let result = guest.call(|c, m| poll::poll_oneoff(c, m, 0, 0, count, OUT));
            assert_eq!(result, Err(Errno::INVAL), "{count}");
        }
    }
    // As many subscriptions as are allowed, all of them to clocks that are ready. The events follow
    // the subscriptions.
    guest.bytes[..48 * 4096].fill(0);
    let events = 32 << 20;
    let result = guest.call(|c, m| poll::poll_oneoff(c, m, 0, events, 4096, events - 4));
    assert_eq!((result, guest.u32(events - 4)), (Ok(()), 4096));
    // A million buffers: the write is short.
    let fd = guest.open("file", 0, READ | WRITE).unwrap();
    for i in 0..1_000_000_usize {
        guest.bytes[8 * i..][..8].copy_from_slice(&[0, 0, 0, 1, 1, 0, 0, 0]);
    }
    let result = guest.call(|c, m| fd::fd_write(c, m, fd, 0, 1_000_000, events));
    assert_eq!((result, guest.u32(events)), (Ok(()), 32));
    let result = guest.call(|c, m| fd::fd_read(c, m, fd, 0, 1_000_000, events));
    assert!(result.is_ok());
    // Buffers for directory entries and for random bytes may have any size: they are guest memory.
    let len = guest.bytes.len() as u32 - 8;
    let result = guest.call(|c, m| readdir::fd_readdir(c, m, DIR, 8, len, 0, 0));
    assert!(result.is_ok() && guest.u32(0) < 1000);
    let result = guest.call(|c, m| process::random_get(c, m, 0, len));
    assert_eq!(result, Ok(()));
    assert!(start.elapsed() < Duration::from_secs(30));
}

/// A guest gets as many descriptors as the limit allows and not one more, in whatever way.
#[test]
fn descriptors_have_a_limit() {
    let (_folder, mut guest) = guest();
    let mut opened = 0;
    let error = loop {
        match guest.open("file", 0, READ) {
            Ok(_) => opened += 1,
            Err(error) => break error,
        }
        assert!(opened <= 1024);
    };
    assert_eq!((error, opened), (Errno::MFILE, 1024 - 5));
    assert_eq!(guest.open(".", DIRECTORY, READ), Err(Errno::MFILE));
    // RUSTSEC-2025-0046, RUSTSEC-2026-0182: descriptors were renumbered although one of the numbers
    // did not exist.
    for (from, to) in [(1023, 1024), (2000, 5), (5, u32::MAX), (u32::MAX, u32::MAX)] {
        let result = guest.call(|c, m| fd::fd_renumber(c, m, from, to));
        assert_eq!(result, Err(Errno::BADF));
    }
    let result = guest.call(|c, m| fd::fd_renumber(c, m, 1023, 5));
    assert_eq!(result, Ok(()));
    assert_eq!(guest.open("file", 0, READ), Ok(1023));
}

/// A guest with two read-write directories: 3, and 4, which is inside of 3.
fn guest() -> (TempDir, Guest) {
    let folder = folder();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::fs::write(folder.path().join("file"), "file").unwrap();
    let builder = WasiCtxBuilder::new()
        .preopened_dir(folder.path(), "/", DirAccess::ReadWrite)
        .and_then(|b| b.preopened_dir(folder.path().join("sub"), "/sub", DirAccess::ReadWrite));
    (folder, Guest::new(builder.unwrap().build()))
}

/// Files can have times that the standard library's clock, or the snapshot's, cannot represent.
#[test]
fn no_time_is_a_panic() {
    let (folder, mut guest) = guest();
    let path = folder.path().join("file");
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let before_1970 = SystemTime::UNIX_EPOCH - Duration::new(1_000_000, 1);
    let after_2554 = SystemTime::UNIX_EPOCH + Duration::from_secs(20_000_000_000);
    let fd = guest.open("file", 0, READ).unwrap();
    for time in [before_1970, after_2554] {
        let times = FileTimes::new().set_accessed(time).set_modified(time);
        if file.set_times(times).is_err() {
            continue;
        }
        for lookup in [0, FOLLOW] {
            assert_eq!(guest.stat("file", lookup), Ok((4, 4)));
        }
        let result = guest.call(|c, m| fdstat::fd_filestat_get(c, m, fd, OUT));
        assert_eq!(result, Ok(()));
        let told = guest.u64(OUT + 48);
        assert!(told == 0 || told > 1 << 63, "{told}");
        // Setting one of the times keeps the other one.
        assert_eq!(guest.set_times("file", 0, (7, 0, 1)), Ok(()));
        let modified = file.metadata().unwrap().modified().unwrap();
        assert!(modified < SystemTime::UNIX_EPOCH || told > 1 << 63);
    }
    for flags in 0..16 {
        for time in [0, 1, 999_999_999, 1_000_000_000, i64::MAX as u64, u64::MAX] {
            let both = flags & 3 == 3 || flags & 12 == 12;
            let path = guest.set_times("file", FOLLOW, (time, time, flags));
            let fd = guest.call(|c, m| fdstat::fd_filestat_set_times(c, m, fd, time, time, flags));
            for result in [path, fd] {
                assert_eq!(
                    result == Err(Errno::INVAL),
                    both,
                    "{flags} {time} {result:?}"
                );
            }
        }
    }
}

/// RUSTSEC-2026-0149, for rights that a guest has given up itself: truncating needs the right to
/// write.
#[test]
fn truncating_takes_the_right_to_write() {
    let (folder, mut guest) = guest();
    let (_, _, base, inheriting) = guest.fdstat(DIR).unwrap();
    let size = 1 << 22;
    let set = |guest: &mut Guest, inheriting| {
        guest.call(|c, m| fdstat::fd_fdstat_set_rights(c, m, DIR, base, inheriting))
    };
    assert_eq!(set(&mut guest, inheriting & !(WRITE | size)), Ok(()));
    for (oflags, rights) in [(TRUNC, READ), (TRUNC, 0), (CREAT | TRUNC, READ), (0, WRITE)] {
        let opened = guest.open("file", oflags, rights);
        assert_eq!(opened, Err(Errno::BADF), "{oflags} {rights}");
    }
    assert!(guest.open("file", CREAT, READ).is_ok());
    assert_eq!(contents(folder.path().join("file")), "file");
}

/// RUSTSEC-2026-0188: a guest linked or moved a file to a directory with more rights.
#[test]
fn links_and_renames_give_no_rights() {
    let (folder, mut guest) = guest();
    let (_, _, base, inheriting) = guest.fdstat(DIR).unwrap();
    let result =
        guest.call(|c, m| fdstat::fd_fdstat_set_rights(c, m, DIR, base, inheriting & !WRITE));
    assert_eq!(result, Ok(()));
    let refused = Err(Errno::NOTCAPABLE);
    for lookup in [0, FOLLOW] {
        assert_eq!(guest.link(lookup, (DIR, "file"), (4, "mine")), refused);
    }
    assert_eq!(guest.rename((DIR, "file"), (4, "mine")), refused);
    // To a directory with the same rights or fewer, it may.
    assert_eq!(guest.link(0, (DIR, "file"), (DIR, "other")), Ok(()));
    let fd = guest.open_with(
        4,
        "mine",
        Open {
            oflags: CREAT,
            rights: WRITE,
            ..Open::default()
        },
    );
    assert!(fd.is_ok());
    assert_eq!(guest.rename((4, "mine"), (DIR, "yours")), Ok(()));
    assert_eq!(contents(folder.path().join("file")), "file");
}

/// Only a directory can have an old or new name that ends in a slash.
#[test]
fn renaming_with_slashes() {
    let (folder, mut guest) = guest();
    guest.symlink("sub", "link").unwrap();
    guest.symlink("nowhere", "dangling").unwrap();
    for (from, to) in [
        ("file/", "new"),
        ("file", "new/"),
        ("file/", "new/"),
        ("file", "sub/"),
        ("link/", "new"),
        ("link", "new/"),
        ("link/", "link/"),
        ("dangling/", "new"),
        ("file", "dangling/"),
        ("file", "link/"),
    ] {
        let renamed = guest.rename((DIR, from), (DIR, to));
        assert_eq!(renamed, Err(Errno::NOTDIR), "{from} {to}");
    }
    for (from, to) in [("sub/", "link/"), ("sub/", "dangling/"), ("sub", "file/")] {
        assert_eq!(guest.rename((DIR, from), (DIR, to)), Err(Errno::NOTDIR));
    }
    assert_eq!(guest.rename((DIR, "sub//"), (DIR, "new//")), Ok(()));
    assert!(folder.path().join("new").is_dir());
    assert_eq!(contents(folder.path().join("file")), "file");
}
