//! Files and descriptors: reading, writing, positions, attributes.

use std::time::{Duration, SystemTime};

use super::*;

fn guest() -> (TempDir, Guest) {
    let folder = folder();
    let guest = Guest::in_folder(&folder, DirAccess::ReadWrite);
    (folder, guest)
}

#[test]
fn write_seek_read() {
    let (folder, mut guest) = guest();
    let fd = guest.open("file", CREAT | EXCL, READ | WRITE).unwrap();
    assert_eq!(fd, 4);
    assert_eq!(guest.write(fd, b"hello world"), Ok(11));
    assert_eq!(contents(folder.path().join("file")), "hello world");
    assert_eq!(guest.read(fd, 5).unwrap(), b"");
    assert_eq!(guest.seek(fd, 6, 0), Ok(6));
    assert_eq!(guest.read(fd, 50).unwrap(), b"world");
    assert_eq!(guest.seek(fd, -4, 2), Ok(7));
    assert_eq!(guest.seek(fd, -1, 1), Ok(6));
    assert_eq!(
        guest
            .call(|c, m| fd::fd_tell(c, m, fd, OUT))
            .map(|()| guest.u64(OUT)),
        Ok(6)
    );
    assert_eq!(guest.stat("file", 0), Ok((4, 11)));
    assert_eq!(guest.close(fd), Ok(()));
    assert_eq!(guest.read(fd, 1), Err(Errno::BADF));
    assert_eq!(guest.open("file", CREAT | EXCL, WRITE), Err(Errno::EXIST));
}

#[test]
fn several_buffers_are_filled_in_order() {
    let (folder, mut guest) = guest();
    std::fs::write(folder.path().join("file"), "0123456789").unwrap();
    let fd = guest.open("file", 0, READ | WRITE).unwrap();
    // The buffers are not in the order of their addresses, and one is empty.
    let (list, count) = guest.put_list(&[(4000, 3), (100, 0), (3000, 4), (5000, 10)]);
    guest
        .call(|c, m| fd::fd_read(c, m, fd, list, count, OUT))
        .unwrap();
    assert_eq!(guest.u32(OUT), 10);
    assert_eq!(&guest.bytes[4000..4003], b"012");
    assert_eq!(&guest.bytes[3000..3004], b"3456");
    assert_eq!(&guest.bytes[5000..5004], b"789\0");
    let (list, count) = guest.put_list(&[(3000, 4), (4000, 3)]);
    guest
        .call(|c, m| fd::fd_write(c, m, fd, list, count, OUT))
        .unwrap();
    assert_eq!(contents(folder.path().join("file")), "01234567893456012");
    // Reading and writing at an offset does not move the position.
    let (list, count) = guest.put_list(&[(6000, 2), (6002, 2)]);
    guest
        .call(|c, m| fd::fd_pread(c, m, fd, list, count, 15, OUT))
        .unwrap();
    assert_eq!((guest.u32(OUT), &guest.bytes[6000..6002]), (2, &b"12"[..]));
    guest
        .call(|c, m| fd::fd_pwrite(c, m, fd, list, count, 20, OUT))
        .unwrap();
    assert_eq!(guest.u32(OUT), 4);
    assert_eq!(guest.seek(fd, 0, 1), Ok(17));
    assert_eq!(guest.stat("file", 0), Ok((4, 24)));
}

#[test]
fn appending_writes_to_the_end_but_at_offsets_where_they_say() {
    let (folder, mut guest) = guest();
    std::fs::write(folder.path().join("file"), "hello").unwrap();
    let with = Open {
        rights: READ | WRITE,
        fdflags: APPEND,
        ..Open::default()
    };
    let fd = guest.open_with(DIR, "file", with).unwrap();
    assert_eq!(guest.fdstat(fd).unwrap().1, APPEND as u8);
    guest.write(fd, b" world").unwrap();
    assert_eq!(guest.seek(fd, 0, 0), Ok(0));
    guest.write(fd, b"!").unwrap();
    let (at, _) = guest.put(b"J");
    let (list, count) = guest.put_list(&[(at, 1)]);
    guest
        .call(|c, m| fd::fd_pwrite(c, m, fd, list, count, 0, OUT))
        .unwrap();
    assert_eq!(contents(folder.path().join("file")), "Jello world!");
    // Appending can be turned off and on again.
    guest
        .call(|c, m| fdstat::fd_fdstat_set_flags(c, m, fd, 0))
        .unwrap();
    assert_eq!(guest.seek(fd, 0, 0), Ok(0));
    guest.write(fd, b"C").unwrap();
    guest
        .call(|c, m| fdstat::fd_fdstat_set_flags(c, m, fd, APPEND))
        .unwrap();
    guest.write(fd, b"?").unwrap();
    assert_eq!(contents(folder.path().join("file")), "Cello world!?");
    // A file that is opened for appending can be truncated.
    let with = Open {
        oflags: CREAT | TRUNC,
        ..with
    };
    let fd = guest.open_with(DIR, "file", with).unwrap();
    guest.write(fd, b"new").unwrap();
    assert_eq!(contents(folder.path().join("file")), "new");
    // The flags that say what a write waits for are fixed when the file is opened.
    let result = guest.call(|c, m| fdstat::fd_fdstat_set_flags(c, m, fd, 16));
    assert_eq!(result, Err(Errno::INVAL));
    let with = Open {
        fdflags: 2 | 16,
        rights: WRITE,
        ..Open::default()
    };
    let fd = guest.open_with(DIR, "file", with).unwrap();
    assert_eq!(guest.fdstat(fd).unwrap().1, 18);
    assert_eq!(guest.write(fd, b"x"), Ok(1));
}

#[test]
fn files_are_open_for_what_was_asked() {
    let (folder, mut guest) = guest();
    std::fs::write(folder.path().join("file"), "file").unwrap();
    let reader = guest.open("file", 0, READ).unwrap();
    assert_eq!(guest.write(reader, b"x"), Err(Errno::BADF));
    let writer = guest.open("file", 0, WRITE).unwrap();
    assert_eq!(guest.read(writer, 1), Err(Errno::BADF));
    assert_eq!(guest.fdstat(reader).unwrap().2 & (READ | WRITE), READ);
    assert_eq!(guest.fdstat(writer).unwrap().2 & (READ | WRITE), WRITE);
    // Creating or truncating a file does not open it for writing.
    let made = guest.open("made", CREAT, READ).unwrap();
    assert_eq!(guest.write(made, b"x"), Err(Errno::BADF));
    assert_eq!(guest.read(made, 1).unwrap(), b"");
    let made = guest.open("made too", CREAT | EXCL, READ).unwrap();
    assert_eq!(guest.write(made, b"x"), Err(Errno::BADF));
    let cut = guest.open("file", TRUNC, READ).unwrap();
    assert_eq!(guest.write(cut, b"x"), Err(Errno::BADF));
    assert_eq!(contents(folder.path().join("file")), "");
}

/// A running program cannot be opened for writing, not even by root, but it can be opened for
/// reading with `CREAT`.
#[cfg(target_os = "linux")]
#[test]
fn what_exists_is_opened_without_permission_to_write() {
    let (folder, mut guest) = guest();
    let program = folder.path().join("program");
    std::fs::copy("/bin/sleep", &program).unwrap();
    let mut running = std::process::Command::new(&program)
        .arg("60")
        .spawn()
        .unwrap();
    let writing = guest.open("program", CREAT, WRITE);
    let reading = guest.open("program", CREAT, READ);
    let times = guest.set_times("program", FOLLOW, (7, 7, 5));
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!((writing, times), (Err(Errno::TXTBSY), Ok(())));
    assert_eq!(guest.read(reading.unwrap(), 4).unwrap(), b"\x7fELF");
}

#[test]
fn rights_can_be_given_up_for_good() {
    let (_folder, mut guest) = guest();
    let fd = guest.open("file", CREAT, READ | WRITE).unwrap();
    let set = |guest: &mut Guest, fd, base, inheriting| {
        guest.call(|c, m| fdstat::fd_fdstat_set_rights(c, m, fd, base, inheriting))
    };
    let (_, _, all, _) = guest.fdstat(fd).unwrap();
    assert_eq!(set(&mut guest, fd, all & !WRITE, 0), Ok(()));
    assert_eq!(guest.write(fd, b"x"), Err(Errno::BADF));
    assert_eq!(set(&mut guest, fd, all, 0), Err(Errno::NOTCAPABLE));
    assert_eq!(set(&mut guest, fd, READ, 0), Ok(()));
    assert_eq!(guest.seek(fd, 0, 0), Err(Errno::NOTCAPABLE));
    assert_eq!(guest.read(fd, 1).unwrap(), b"");
    // A directory can give up rights, and rights that it passes on.
    let (_, _, base, inheriting) = guest.fdstat(DIR).unwrap();
    assert_eq!(set(&mut guest, DIR, base, inheriting & !WRITE), Ok(()));
    assert_eq!(guest.open("file", 0, WRITE), Err(Errno::BADF));
    assert!(guest.open("file", 0, READ).is_ok());
    let unlink = 1 << 26;
    assert_eq!(
        set(&mut guest, DIR, base & !unlink, inheriting),
        Err(Errno::NOTCAPABLE)
    );
    assert_eq!(set(&mut guest, DIR, base & !unlink, 0), Ok(()));
    assert_eq!(guest.at(UNLINK, "file"), Err(Errno::NOTCAPABLE));
}

#[test]
fn sizes_and_reservations() {
    let (_folder, mut guest) = guest();
    let fd = guest.open("file", CREAT, READ | WRITE).unwrap();
    guest
        .call(|c, m| fdstat::fd_filestat_set_size(c, m, fd, 100))
        .unwrap();
    assert_eq!(guest.stat("file", 0), Ok((4, 100)));
    guest
        .call(|c, m| fd::fd_allocate(c, m, fd, 50, 100))
        .unwrap();
    assert_eq!(guest.stat("file", 0), Ok((4, 150)));
    guest.call(|c, m| fd::fd_allocate(c, m, fd, 0, 10)).unwrap();
    assert_eq!(guest.stat("file", 0), Ok((4, 150)));
    assert_eq!(
        guest.call(|c, m| fd::fd_allocate(c, m, fd, 0, 0)),
        Err(Errno::INVAL)
    );
    for advice in 0..=5 {
        let result = guest.call(|c, m| fd::fd_advise(c, m, fd, 0, 0, advice));
        assert_eq!(result, Ok(()));
    }
    assert_eq!(guest.call(|c, m| fd::fd_sync(c, m, fd)), Ok(()));
    assert_eq!(guest.call(|c, m| fd::fd_datasync(c, m, fd)), Ok(()));
    assert_eq!(guest.call(|c, m| fd::fd_sync(c, m, DIR)), Ok(()));
}

#[test]
fn times_are_set_and_told() {
    let (folder, mut guest) = guest();
    let file = folder.path().join("file");
    std::fs::write(&file, "file").unwrap();
    std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
    let at = |nanoseconds| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
    let modified = |name: &str| {
        let path = folder.path().join(name);
        std::fs::symlink_metadata(path).unwrap().modified().unwrap()
    };
    let accessed = |name: &str| {
        let path = folder.path().join(name);
        std::fs::symlink_metadata(path).unwrap().accessed().unwrap()
    };
    assert_eq!(
        guest.set_times("link", FOLLOW, (7, 1_000_000_009, 5)),
        Ok(())
    );
    assert_eq!(modified("file"), at(1_000_000_009));
    assert_eq!(accessed("file"), at(7));
    assert_eq!(guest.set_times("link", 0, (0, 2_000_000_000, 4)), Ok(()));
    assert_eq!(modified("link"), at(2_000_000_000));
    assert_eq!(modified("file"), at(1_000_000_009));
    let fd = guest.open("file", 0, READ).unwrap();
    let result = guest.call(|c, m| fdstat::fd_filestat_set_times(c, m, fd, 11, 12, 1));
    assert_eq!(result, Ok(()));
    assert_eq!(
        (accessed("file"), modified("file")),
        (at(11), at(1_000_000_009))
    );
    guest
        .call(|c, m| fdstat::fd_filestat_get(c, m, fd, OUT))
        .unwrap();
    assert_eq!(
        (guest.u64(OUT + 40), guest.u64(OUT + 48)),
        (11, 1_000_000_009)
    );
    let result = guest.call(|c, m| fdstat::fd_filestat_set_times(c, m, fd, 0, 0, 8));
    assert_eq!(result, Ok(()));
    assert!(modified("file") > at(1_700_000_000_000_000_000));
    let result = guest.call(|c, m| fdstat::fd_filestat_set_times(c, m, DIR, 0, 77, 4));
    assert_eq!(result, Ok(()));
    assert_eq!(modified(""), at(77));
    assert_eq!(guest.set_times(".", FOLLOW, (0, 78, 4)), Ok(()));
    assert_eq!(modified(""), at(78));
    // These flags ask for both a given time and the current time.
    for flags in [3, 12, 15] {
        assert_eq!(guest.set_times("file", 0, (1, 1, flags)), Err(Errno::INVAL));
    }
    assert_eq!(guest.set_times("file", 0, (u64::MAX, u64::MAX, 0)), Ok(()));
    // The largest time may be beyond the range of the file system, but must not be a panic.
    let result = guest.set_times("file", 0, (u64::MAX, u64::MAX, 5));
    assert!(result.is_ok() || result == Err(Errno::INVAL), "{result:?}");
}

#[test]
fn renumbering_closes_and_moves() {
    let (folder, mut guest) = guest();
    std::fs::write(folder.path().join("a"), "a").unwrap();
    std::fs::write(folder.path().join("b"), "b").unwrap();
    let a = guest.open("a", 0, READ).unwrap();
    let b = guest.open("b", 0, READ).unwrap();
    assert_eq!((a, b), (4, 5));
    let renumber = |guest: &mut Guest, from, to| guest.call(|c, m| fd::fd_renumber(c, m, from, to));
    assert_eq!(renumber(&mut guest, a, a), Ok(()));
    assert_eq!(renumber(&mut guest, b, a), Ok(()));
    assert_eq!(guest.read(a, 9).unwrap(), b"b");
    assert_eq!(guest.read(b, 9), Err(Errno::BADF));
    assert_eq!(renumber(&mut guest, b, a), Err(Errno::BADF));
    assert_eq!(guest.read(a, 9).unwrap(), b"");
    // The number is free again, and a new descriptor gets the lowest free one.
    assert_eq!(guest.open("a", 0, READ), Ok(5));
    assert_eq!(guest.close(0), Ok(()));
    assert_eq!(guest.open("a", 0, READ), Ok(0));
    assert_eq!(guest.read(0, 9).unwrap(), b"a");
    // A preopened directory keeps its name under another number.
    assert_eq!(renumber(&mut guest, DIR, 5), Ok(()));
    let prestat = |guest: &mut Guest, fd| guest.call(|c, m| open::fd_prestat_get(c, m, fd, OUT));
    assert_eq!(prestat(&mut guest, DIR), Err(Errno::BADF));
    assert_eq!(prestat(&mut guest, 5), Ok(()));
}

#[test]
fn directories_are_no_files() {
    let (_folder, mut guest) = guest();
    guest.at(MKDIR, "sub").unwrap();
    let sub = guest.open("sub", 0, READ).unwrap();
    assert_eq!(guest.fdstat(sub).unwrap().0, 3);
    for fd in [DIR, sub] {
        assert_eq!(guest.read(fd, 1), Err(Errno::ISDIR));
        assert_eq!(guest.write(fd, b"x"), Err(Errno::BADF));
        assert_eq!(guest.seek(fd, 0, 0), Err(Errno::BADF));
        let result = guest.call(|c, m| fdstat::fd_filestat_set_size(c, m, fd, 0));
        assert_eq!(result, Err(Errno::BADF));
    }
    assert_eq!(guest.open("sub", 0, WRITE), Err(Errno::ISDIR));
    assert_eq!(
        guest.open("sub", DIRECTORY, READ | WRITE),
        Err(Errno::ISDIR)
    );
    assert_eq!(
        guest.open("sub", DIRECTORY | CREAT, READ),
        Err(Errno::INVAL)
    );
    assert_eq!(
        guest.open("sub", DIRECTORY | TRUNC, READ),
        Err(Errno::INVAL)
    );
    let fd = guest.open("file", CREAT, WRITE).unwrap();
    assert_eq!(guest.open("file", DIRECTORY, READ), Err(Errno::NOTDIR));
    assert_eq!(
        guest.open_with(fd, "x", Open::default()),
        Err(Errno::NOTDIR)
    );
    assert_eq!(guest.open_with(0, "x", Open::default()), Err(Errno::NOTDIR));
}

#[test]
fn links_and_names() {
    let (folder, mut guest) = guest();
    std::fs::write(folder.path().join("file"), "file").unwrap();
    guest.link(0, (DIR, "file"), (DIR, "hard")).unwrap();
    assert_eq!(contents(folder.path().join("hard")), "file");
    assert_eq!(
        guest.link(0, (DIR, "file"), (DIR, "hard")),
        Err(Errno::EXIST)
    );
    guest.symlink("file", "soft").unwrap();
    assert_eq!(guest.symlink("file", "soft"), Err(Errno::EXIST));
    assert_eq!(guest.readlink("soft", 100).unwrap(), "file");
    assert_eq!(guest.readlink("soft", 2).unwrap(), "fi");
    assert_eq!(guest.readlink("soft", 0).unwrap(), "");
    assert_eq!(guest.readlink("file", 100), Err(Errno::INVAL));
    assert_eq!(guest.stat("soft", 0).unwrap().0, 7);
    assert_eq!(guest.stat("soft", FOLLOW), Ok((4, 4)));
    guest.link(0, (DIR, "soft"), (DIR, "hard-soft")).unwrap();
    assert_eq!(guest.stat("hard-soft", 0).unwrap().0, 7);
    guest
        .link(FOLLOW, (DIR, "soft"), (DIR, "hard-file"))
        .unwrap();
    assert_eq!(guest.stat("hard-file", 0), Ok((4, 4)));
    assert_eq!(guest.at(MKDIR, "dir"), Ok(()));
    assert_eq!(guest.at(MKDIR, "dir"), Err(Errno::EXIST));
    assert_eq!(guest.link(0, (DIR, "dir"), (DIR, "x")), Err(Errno::PERM));
    assert_eq!(guest.rename((DIR, "file"), (DIR, "dir/file")), Ok(()));
    assert_eq!(guest.rename((DIR, "file"), (DIR, "x")), Err(Errno::NOENT));
    assert_eq!(guest.at(RMDIR, "dir"), Err(Errno::NOTEMPTY));
    assert_eq!(guest.at(UNLINK, "dir"), Err(Errno::ISDIR));
    assert_eq!(guest.at(UNLINK, "dir/file"), Ok(()));
    assert_eq!(guest.at(RMDIR, "hard"), Err(Errno::NOTDIR));
    assert_eq!(guest.at(RMDIR, "dir"), Ok(()));
    assert_eq!(guest.at(UNLINK, "dir"), Err(Errno::NOENT));
}

/// Opening a named pipe waits for its other end. Without `openat2`, cap-std opens each file that it
/// resolves.
#[test]
fn named_pipes_are_not_waited_for() {
    let (folder, mut guest) = guest();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    std::os::unix::fs::symlink("pipe", folder.path().join("link")).unwrap();
    // If a call waits, this thread opens the other end after a while, so that the test ends.
    let (done, waiting) = std::sync::mpsc::channel::<()>();
    let rescuer = std::thread::spawn(move || {
        let late = waiting.recv_timeout(Duration::from_secs(10)).is_err();
        if late {
            drop(std::fs::File::options().read(true).write(true).open(pipe));
        }
        late
    });
    for name in ["pipe", "link"] {
        for lookup in [0, FOLLOW] {
            assert_eq!(guest.set_times(name, lookup, (7, 7, 5)), Ok(()), "{name}");
            let new = format!("{name}-{lookup}");
            assert_eq!(guest.link(lookup, (DIR, name), (DIR, &new)), Ok(()));
            assert!(guest.stat(name, lookup).is_ok());
        }
    }
    assert_eq!(guest.at(UNLINK, "pipe"), Ok(()));
    done.send(()).unwrap();
    assert!(!rescuer.join().unwrap(), "somebody waited");
}
