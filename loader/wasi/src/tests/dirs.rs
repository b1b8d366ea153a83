//! Preopened directories, and reading directories.

use super::*;

struct Entry {
    next: u64,
    filetype: u8,
    name: String,
}

/// The complete entries in a buffer.
fn entries(mut bytes: &[u8]) -> Vec<Entry> {
    let mut found = Vec::new();
    while bytes.len() >= 24 {
        let len = u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
        let Some(name) = bytes.get(24..24 + len) else {
            break;
        };
        found.push(Entry {
            next: u64::from_le_bytes(bytes[0..8].try_into().unwrap()),
            filetype: bytes[20],
            name: String::from_utf8(name.to_vec()).unwrap(),
        });
        bytes = &bytes[24 + len..];
    }
    found
}

/// Reads a directory as a C library does, with a buffer of `room` bytes.
pub(super) fn list(guest: &mut Guest, fd: u32, room: u32) -> Vec<(String, u8)> {
    let mut found = Vec::new();
    let mut cookie = 0;
    loop {
        let bytes = guest.readdir(fd, room, cookie).unwrap();
        let is_end = bytes.len() < room as usize;
        let entries = entries(&bytes);
        assert!(is_end || !entries.is_empty(), "{room} bytes are too few");
        for entry in entries {
            cookie = entry.next;
            found.push((entry.name, entry.filetype));
        }
        if is_end {
            return found;
        }
    }
}

fn guest(files: usize) -> (TempDir, Guest) {
    let folder = folder();
    for i in 0..files {
        std::fs::write(folder.path().join(format!("file-{i:03}")), "").unwrap();
    }
    let guest = Guest::in_folder(&folder, DirAccess::ReadOnly);
    (folder, guest)
}

#[test]
fn preopened_directories_have_names_from_3_on() {
    let folder = folder();
    let builder = WasiCtxBuilder::new()
        .preopened_dir(folder.path(), "/", DirAccess::ReadOnly)
        .and_then(|b| b.preopened_dir(folder.path(), "data/in", DirAccess::ReadWrite))
        .unwrap();
    let mut guest = Guest::new(builder.build());
    for (fd, name) in [(3, "/"), (4, "data/in")] {
        guest
            .call(|c, m| open::fd_prestat_get(c, m, fd, OUT))
            .unwrap();
        let len = name.len() as u32;
        assert_eq!((guest.u32(OUT), guest.u32(OUT + 4)), (0, len));
        let result = guest.call(|c, m| open::fd_prestat_dir_name(c, m, fd, INPUT, len - 1));
        assert_eq!(result, Err(Errno::NAMETOOLONG));
        let result = guest.call(|c, m| open::fd_prestat_dir_name(c, m, fd, INPUT, len));
        assert_eq!(result, Ok(()));
        assert_eq!(
            &guest.bytes[INPUT as usize..][..name.len()],
            name.as_bytes()
        );
    }
    for fd in [0, 1, 2, 5, u32::MAX] {
        let result = guest.call(|c, m| open::fd_prestat_get(c, m, fd, OUT));
        assert_eq!(result, Err(Errno::BADF));
    }
    // A directory that the guest has opened has no such name.
    let fd = guest.open(".", DIRECTORY, READ).unwrap();
    let result = guest.call(|c, m| open::fd_prestat_get(c, m, fd, OUT));
    assert_eq!(result, Err(Errno::BADF));
}

#[test]
fn every_entry_is_told_once_whatever_the_buffer() {
    let (folder, mut guest) = guest(100);
    std::fs::create_dir(folder.path().join("dir")).unwrap();
    std::os::unix::fs::symlink("dir", folder.path().join("link")).unwrap();
    let mut whole = list(&mut guest, DIR, 16 << 10);
    assert_eq!(whole[0], (".".into(), 3));
    assert_eq!(whole[1], ("..".into(), 3));
    for room in [32, 33, 56, 100, 1000] {
        assert_eq!(list(&mut guest, DIR, room), whole);
    }
    whole.sort();
    assert_eq!(whole.len(), 104);
    assert_eq!(whole[2], ("dir".into(), 3));
    assert_eq!(whole[3], ("file-000".into(), 4));
    assert_eq!(whole[103], ("link".into(), 7));
}

#[test]
fn a_full_buffer_means_that_there_is_more() {
    let (_folder, mut guest) = guest(1);
    // 25 bytes for `.`, then 26 for `..`, then 32 for the file.
    for (room, used) in [
        (0, 0),
        (1, 1),
        (24, 24),
        (25, 25),
        (60, 60),
        (83, 83),
        (84, 83),
    ] {
        assert_eq!(guest.readdir(DIR, room, 0).unwrap().len(), used);
    }
    assert_eq!(entries(&guest.readdir(DIR, 51, 0).unwrap()).len(), 2);
    // Reading starts at a cookie. There are no entries beyond the end.
    assert_eq!(guest.readdir(DIR, 100, 1).unwrap().len(), 58);
    assert_eq!(guest.readdir(DIR, 100, 2).unwrap().len(), 32);
    for cookie in [3, 4, u64::MAX] {
        assert_eq!(guest.readdir(DIR, 100, cookie).unwrap().len(), 0);
    }
}

#[test]
fn cookies_keep_their_meaning_while_files_go() {
    let folder = folder();
    for i in 0..50 {
        std::fs::write(folder.path().join(format!("file-{i:03}")), "").unwrap();
    }
    let mut guest = Guest::in_folder(&folder, DirAccess::ReadWrite);
    let mut cookie = 0;
    let mut deleted = 0;
    loop {
        let bytes = guest.readdir(DIR, 64, cookie).unwrap();
        for entry in entries(&bytes) {
            cookie = entry.next;
            if entry.filetype == 4 {
                guest.at(UNLINK, &entry.name).unwrap();
                deleted += 1;
            }
        }
        if bytes.len() < 64 {
            break;
        }
    }
    assert_eq!(deleted, 50);
    // Reading from the beginning lists the directory anew.
    assert_eq!(list(&mut guest, DIR, 64).len(), 2);
    let fd = guest.open("new", CREAT, WRITE).unwrap();
    assert_eq!(list(&mut guest, DIR, 64).len(), 3);
    // A cookie from another descriptor (`telldir`) works without reading from the beginning first.
    let dir = guest.open(".", DIRECTORY, READ).unwrap();
    assert_eq!(entries(&guest.readdir(dir, 64, 2).unwrap()).len(), 1);
    assert_eq!(guest.readdir(fd, 64, 0), Err(Errno::NOTDIR));
}

#[test]
fn inodes_agree_with_those_of_the_files() {
    let (_folder, mut guest) = guest(1);
    let bytes = guest.readdir(DIR, 1000, 2).unwrap();
    let told = u64::from_le_bytes(bytes[8..16].try_into().unwrap());
    guest.stat("file-000", 0).unwrap();
    assert_eq!(guest.u64(OUT + 8), told);
}

/// Paths of guests are UTF-8, so guests are not told of other names.
#[test]
fn names_that_are_not_utf8_stay_with_the_host() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let name = OsStr::from_bytes(b"a\xff");
    if std::fs::write(folder.path().join(name), "x").is_err() {
        eprintln!("skipped: the file system has no such names");
        return;
    }
    std::fs::write(folder.path().join("b"), "x").unwrap();
    std::os::unix::fs::symlink(name, folder.path().join("link")).unwrap();
    let mut guest = Guest::in_folder(&folder, DirAccess::ReadWrite);
    let listing = guest.readdir(DIR, 4096, 0).unwrap();
    assert!(String::from_utf8(listing.clone()).is_err() || !listing.contains(&0xff));
    assert!(!listing.windows(2).any(|bytes| bytes == b"a\xff"));
    assert!(listing.contains(&b'b'));
    assert_eq!(guest.readlink("link", 100), Err(Errno::ILSEQ));
}

#[test]
fn a_directory_cannot_be_created_by_opening_it() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("dir")).unwrap();
    let mut guest = Guest::in_folder(&folder, DirAccess::ReadWrite);
    for rights in [READ, WRITE, READ | WRITE] {
        assert_eq!(
            guest.open("dir", CREAT, rights),
            Err(Errno::ISDIR),
            "{rights}"
        );
        assert_eq!(
            guest.open("dir", CREAT | EXCL, rights),
            Err(Errno::EXIST),
            "{rights}"
        );
    }
    guest.open("dir", 0, READ).unwrap();
}

fn pipe(path: &std::path::Path) {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

#[test]
fn pipes_are_opened_without_waiting_and_read_when_there_is_something() {
    let folder = folder();
    pipe(&folder.path().join("pipe"));
    let mut guest = Guest::in_folder(&folder, DirAccess::ReadWrite);
    let fd = guest.open("pipe", 0, READ).unwrap();
    let path = folder.path().join("pipe");
    let writer = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(30));
        std::fs::write(path, "hello").unwrap();
    });
    assert_eq!(guest.read(fd, 10).unwrap(), b"hello");
    assert_eq!(guest.read(fd, 10).unwrap(), b"", "the end");
    writer.join().unwrap();
}

#[test]
fn a_host_limits_what_listings_take() {
    let folder = folder();
    std::fs::write(folder.path().join("a"), "").unwrap();
    // `.`, `..` and `a` take 24 bytes each, their names, and 8 bytes each for where they start.
    const SIZE: usize = 3 * (24 + 8) + 4;
    let with = |max| {
        let builder = WasiCtxBuilder::new().max_listings(max);
        let builder = builder.preopened_dir(folder.path(), "/", DirAccess::ReadOnly);
        Guest::new(builder.unwrap().build())
    };
    let mut guest = with(SIZE - 1);
    assert_eq!(guest.readdir(DIR, 100, 0), Err(Errno::NOMEM));
    let mut guest = with(2 * SIZE - 1);
    let fd = guest.open(".", DIRECTORY, READ).unwrap();
    for _ in 0..3 {
        assert_eq!(list(&mut guest, fd, 100).len(), 3);
    }
    assert_eq!(guest.readdir(DIR, 100, 0), Err(Errno::NOMEM));
    guest.close(fd).unwrap();
    assert_eq!(list(&mut guest, DIR, 100).len(), 3);
}

/// Opening a pipe for reading lets a writer go on that waits for a reader.
#[test]
fn pipes_in_read_only_directories_are_refused_without_opening_them() {
    let folder = folder();
    let path = folder.path().join("pipe");
    pipe(&path);
    std::os::unix::fs::symlink("pipe", folder.path().join("link")).unwrap();
    let (opened, is_opened) = std::sync::mpsc::channel();
    let writing = path.clone();
    let writer = std::thread::spawn(move || {
        let file = std::fs::File::options().write(true).open(writing);
        opened.send(()).unwrap();
        file.unwrap()
    });
    let mut guest = Guest::in_folder(&folder, DirAccess::ReadOnly);
    // The writer may need a while to begin.
    for _ in 0..100 {
        for name in ["pipe", "link"] {
            assert_eq!(guest.open(name, 0, READ), Err(Errno::ROFS));
            assert_eq!(guest.open(name, CREAT, READ), Err(Errno::ROFS));
            assert_eq!(guest.open(name, CREAT | EXCL, READ), Err(Errno::EXIST));
            assert_eq!(guest.open(name, DIRECTORY, READ), Err(Errno::NOTDIR));
        }
        let pause = std::time::Duration::from_millis(2);
        let waited = is_opened.recv_timeout(pause);
        assert!(waited.is_err(), "the guest has opened the pipe");
    }
    let reader = std::fs::File::open(path).unwrap();
    drop((writer.join().unwrap(), reader));
}
