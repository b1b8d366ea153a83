//! Nothing changes in a directory that is read-only.

use super::*;

/// A guest whose directory 3 is read-only and whose directory 4 is read-write.
fn guest() -> (TempDir, Guest) {
    let folder = folder();
    for dir in ["ro/sub", "rw"] {
        std::fs::create_dir_all(folder.path().join(dir)).unwrap();
    }
    std::fs::write(folder.path().join("ro/file"), "file").unwrap();
    std::fs::write(folder.path().join("rw/mine"), "mine").unwrap();
    std::os::unix::fs::symlink("file", folder.path().join("ro/link")).unwrap();
    let builder = WasiCtxBuilder::new()
        .preopened_dir(folder.path().join("ro"), "/ro", DirAccess::ReadOnly)
        .unwrap()
        .preopened_dir(folder.path().join("rw"), "/rw", DirAccess::ReadWrite)
        .unwrap();
    let guest = Guest::new(builder.build());
    (folder, guest)
}

fn state(folder: &TempDir) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    for name in ["", "file", "sub", "link", "new"] {
        let metadata = std::fs::symlink_metadata(folder.path().join("ro").join(name));
        found.push(metadata.map_or(String::new(), |m| {
            let changed = (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
            format!("{name} {} {} {} {changed:?}", m.mode(), m.len(), m.nlink())
        }));
    }
    found
}

#[test]
fn names_cannot_change() {
    let (folder, mut guest) = guest();
    let before = state(&folder);
    let refused = Err(Errno::ROFS);
    assert_eq!(guest.at(MKDIR, "new"), refused);
    assert_eq!(guest.at(RMDIR, "sub"), refused);
    assert_eq!(guest.at(UNLINK, "file"), refused);
    assert_eq!(guest.symlink("file", "new"), refused);
    assert_eq!(guest.rename((DIR, "file"), (DIR, "new")), refused);
    assert_eq!(guest.rename((DIR, "file"), (4, "new")), refused);
    assert_eq!(guest.rename((4, "mine"), (DIR, "new")), refused);
    assert_eq!(guest.link(0, (DIR, "file"), (DIR, "new")), refused);
    assert_eq!(guest.link(0, (4, "mine"), (DIR, "new")), refused);
    // Through the new name the guest could write to the file.
    assert_eq!(guest.link(0, (DIR, "file"), (4, "new")), refused);
    assert_eq!(guest.link(FOLLOW, (DIR, "link"), (4, "new")), refused);
    for name in ["file", "link", "sub"] {
        assert_eq!(guest.set_times(name, 0, (1, 1, 5)), refused);
        assert_eq!(guest.set_times(name, FOLLOW, (0, 0, 10)), refused);
    }
    assert_eq!(state(&folder), before);
}

#[test]
fn nothing_can_be_opened_for_change() {
    let (folder, mut guest) = guest();
    let before = state(&folder);
    for name in ["file", "link", "new"] {
        for (oflags, rights) in [
            (0, WRITE),
            (0, READ | WRITE),
            (TRUNC, READ),
            (TRUNC, WRITE),
            (TRUNC, 0),
            (CREAT | TRUNC, READ),
            (CREAT, WRITE),
            (CREAT | EXCL, WRITE),
        ] {
            let result = guest.open(name, oflags, rights);
            assert_eq!(result, Err(Errno::ROFS), "{name} {oflags} {rights}");
        }
    }
    assert_eq!(guest.open("new", CREAT, READ), Err(Errno::ROFS));
    assert_eq!(guest.open("new", CREAT | EXCL, READ), Err(Errno::ROFS));
    assert_eq!(guest.open("file", CREAT | EXCL, READ), Err(Errno::EXIST));
    assert_eq!(guest.open("link", CREAT | EXCL, READ), Err(Errno::EXIST));
    assert_eq!(state(&folder), before);
}

#[test]
fn open_files_and_directories_cannot_be_changed() {
    let (folder, mut guest) = guest();
    let before = state(&folder);
    let file = guest.open("file", CREAT, READ).unwrap();
    assert_eq!(guest.read(file, 10).unwrap(), b"file");
    assert_eq!(guest.write(file, b"x"), Err(Errno::BADF));
    let (_, _, rights, _) = guest.fdstat(file).unwrap();
    assert_eq!(rights & WRITE, 0);
    for size in [0, 9] {
        let result = guest.call(|c, m| fdstat::fd_filestat_set_size(c, m, file, size));
        assert_eq!(result, Err(Errno::BADF));
    }
    let result = guest.call(|c, m| fd::fd_allocate(c, m, file, 0, 100));
    assert_eq!(result, Err(Errno::BADF));
    let sub = guest.open("sub", DIRECTORY, READ).unwrap();
    for fd in [file, sub, DIR] {
        let result = guest.call(|c, m| fdstat::fd_filestat_set_times(c, m, fd, 1, 1, 5));
        assert_eq!(result, Err(Errno::ROFS));
    }
    // A directory that is opened in a read-only one is read-only, too.
    let with = Open {
        oflags: CREAT,
        rights: WRITE,
        ..Open::default()
    };
    assert_eq!(guest.open_with(sub, "new", with), Err(Errno::ROFS));
    // Turning on appending does not open a file for writing.
    let result = guest.call(|c, m| fdstat::fd_fdstat_set_flags(c, m, file, APPEND));
    assert_eq!(result, Ok(()));
    assert_eq!(guest.write(file, b"x"), Err(Errno::BADF));
    assert_eq!(state(&folder), before);
}

/// Reading may set access times, and changes nothing else.
#[test]
fn reading_changes_nothing_but_access_times() {
    let (folder, mut guest) = guest();
    let before = state(&folder);
    let file = guest.open("file", 0, READ).unwrap();
    assert_eq!(guest.read(file, 10).unwrap(), b"file");
    assert_eq!(guest.readlink("link", 100).unwrap(), "file");
    assert!(!guest.readdir(DIR, 1000, 0).unwrap().is_empty());
    assert!(guest.stat("sub", FOLLOW).is_ok());
    assert_eq!(state(&folder), before);
    assert_eq!(contents(folder.path().join("ro/file")), "file");
}

#[test]
fn the_other_directory_is_as_writable_as_ever() {
    let (folder, mut guest) = guest();
    assert_eq!(guest.link(0, (4, "mine"), (4, "yours")), Ok(()));
    assert_eq!(guest.rename((4, "yours"), (4, "theirs")), Ok(()));
    assert_eq!(contents(folder.path().join("rw/theirs")), "mine");
}

#[test]
fn renumbering_takes_the_restriction_along() {
    let (_folder, mut guest) = guest();
    // The read-only directory gets the number of the other one.
    let result = guest.call(|c, m| fd::fd_renumber(c, m, DIR, 4));
    assert_eq!(result, Ok(()));
    assert_eq!(guest.rename((4, "file"), (4, "new")), Err(Errno::ROFS));
    assert_eq!(guest.open("file", 0, READ), Err(Errno::BADF));
}

#[test]
fn rights_promise_what_a_c_library_asks_for() {
    // wasi-libc only asks for rights that the directory passes on. Without the right to write it
    // would silently open files for reading only when the program opens them for writing. So the
    // directory passes the right on, and opening fails.
    let (_folder, mut guest) = guest();
    let (filetype, _, _, inheriting) = guest.fdstat(DIR).unwrap();
    assert_eq!(filetype, 3);
    assert_eq!(inheriting & (READ | WRITE), READ | WRITE);
}
