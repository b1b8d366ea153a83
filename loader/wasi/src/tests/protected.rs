//! Protected files and directories do not change, whatever name a guest uses.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use super::*;

/// A folder that the guest may write to, with an artifact and a cache in it, both protected:
///
/// ```text
/// app/code   app/data
/// cache/entries/key
/// link → app        code → app/code        entries → cache/entries
/// hard (app/code)   other (cache/entries/key)
/// ```
fn guest() -> (TempDir, Guest) {
    let folder = folder();
    let at = |path: &str| folder.path().join(path);
    fs::create_dir_all(at("app")).unwrap();
    fs::create_dir_all(at("cache/entries")).unwrap();
    for file in ["app/code", "app/data", "cache/entries/key"] {
        fs::write(at(file), file).unwrap();
    }
    symlink("app", at("link")).unwrap();
    symlink("app/code", at("code")).unwrap();
    symlink("cache/entries", at("entries")).unwrap();
    fs::hard_link(at("app/code"), at("hard")).unwrap();
    fs::hard_link(at("cache/entries/key"), at("other")).unwrap();
    let builder = WasiCtxBuilder::new()
        .preopened_dir(folder.path(), "/", DirAccess::ReadWrite)
        .and_then(|b| b.protect(at("link/code")))
        .and_then(|b| b.protect(at("cache")))
        .and_then(|b| b.protect(at("later/cache")))
        .unwrap();
    let guest = Guest::new(builder.build());
    (folder, guest)
}

/// Every name of the two files.
const FILES: [&str; 8] = [
    "app/code",
    "link/code",
    "code",
    "app/../link/./code",
    "hard",
    "cache/entries/key",
    "entries/key",
    "other",
];

fn state(folder: &TempDir) -> Vec<(PathBuf, u64, i64, i64, u64, Option<String>)> {
    let mut found = Vec::new();
    for path in [
        "app",
        "app/code",
        "cache",
        "cache/entries",
        "cache/entries/key",
        "link",
        "hard",
        "other",
    ] {
        let path = folder.path().join(path);
        let data = fs::symlink_metadata(&path).unwrap();
        let content = fs::read_to_string(&path).ok();
        // The guest may change the times of its own directory.
        let (mtime, nanoseconds) = match path.ends_with("app") {
            true => (0, 0),
            false => (data.mtime(), data.mtime_nsec()),
        };
        found.push((path, data.ino(), mtime, nanoseconds, data.nlink(), content));
    }
    found
}

#[test]
fn files_are_not_written_to() {
    let (folder, mut guest) = guest();
    let before = state(&folder);
    for name in FILES {
        for (oflags, rights) in [
            (0, WRITE),
            (0, READ | WRITE),
            (TRUNC, READ),
            (TRUNC, WRITE),
            (CREAT, WRITE),
            (CREAT | TRUNC, READ),
        ] {
            let opened = guest.open(name, oflags, rights);
            assert_eq!(opened, Err(Errno::ROFS), "{name} {oflags} {rights}");
        }
        for lookup in [0, FOLLOW] {
            // The guest may change a symbolic link in its own directory.
            if name != "code" || lookup == FOLLOW {
                assert_eq!(guest.set_times(name, lookup, (1, 1, 5)), Err(Errno::ROFS));
                assert_eq!(
                    guest.link(lookup, (DIR, name), (DIR, "app/new")),
                    Err(Errno::ROFS),
                    "{name}"
                );
            }
        }
        // Reading is allowed, and a file that is open for reading cannot be changed either.
        let fd = guest.open(name, CREAT, READ).unwrap();
        assert!(!guest.read(fd, 100).unwrap().is_empty());
        assert_eq!(guest.write(fd, b"x"), Err(Errno::BADF));
        let times = guest.call(|c, m| fdstat::fd_filestat_set_times(c, m, fd, 1, 1, 5));
        assert_eq!(times, Err(Errno::ROFS), "{name}");
        let size = guest.call(|c, m| fdstat::fd_filestat_set_size(c, m, fd, 0));
        assert_eq!(size, Err(Errno::BADF));
        guest.close(fd).unwrap();
        assert_eq!(guest.stat(name, FOLLOW).unwrap().0, 4);
    }
    assert_eq!(state(&folder), before);
}

#[test]
fn no_name_is_taken_away_or_given_to_another() {
    let (folder, mut guest) = guest();
    let before = state(&folder);
    let refused = Err(Errno::ROFS);
    // These are the names of the files, of the directories above them, and of the link on the way.
    for name in [
        "app/code",
        "link/code",
        "hard",
        "other",
        "entries/key",
        "app",
        "app/",
        "link",
        "cache",
        "cache/entries",
    ] {
        assert_eq!(guest.rename((DIR, name), (DIR, "moved")), refused, "{name}");
        assert_eq!(guest.rename((DIR, "app/data"), (DIR, name)), {
            match name.ends_with('/') {
                true => Err(Errno::NOTDIR),
                false => refused,
            }
        });
        assert_eq!(guest.at(UNLINK, name), refused, "{name}");
        assert_eq!(guest.at(RMDIR, name), refused, "{name}");
    }
    // Nothing can be created in a protected directory, whatever name of the directory is used.
    for name in ["cache/new", "cache/entries/new", "entries/new"] {
        assert_eq!(guest.open(name, CREAT, WRITE), Err(Errno::ROFS), "{name}");
        assert_eq!(
            guest.open(name, CREAT | EXCL, READ),
            Err(Errno::ROFS),
            "{name}"
        );
        assert_eq!(guest.at(MKDIR, name), refused, "{name}");
        assert_eq!(guest.symlink("file", name), refused, "{name}");
        assert_eq!(guest.link(0, (DIR, "app/data"), (DIR, name)), refused);
        assert_eq!(guest.rename((DIR, "app/data"), (DIR, name)), refused);
    }
    assert_eq!(state(&folder), before);
    assert_eq!(contents(folder.path().join("app/data")), "app/data");
}

#[test]
fn names_that_do_not_exist_yet_are_not_made() {
    let (folder, mut guest) = guest();
    let refused = Err(Errno::ROFS);
    for name in ["later", "later/", "LATER", "link/../later"] {
        assert_eq!(guest.at(MKDIR, name), refused, "{name}");
    }
    assert_eq!(guest.open("later", CREAT, WRITE), Err(Errno::ROFS));
    assert_eq!(guest.open("later", CREAT | EXCL, READ), Err(Errno::ROFS));
    assert_eq!(guest.symlink("app", "later"), refused);
    assert_eq!(guest.link(0, (DIR, "app/data"), (DIR, "later")), refused);
    assert_eq!(guest.rename((DIR, "app/data"), (DIR, "later")), refused);
    // Nor can it be created through a symbolic link.
    assert_eq!(guest.symlink("later", "mine"), Ok(()));
    assert_eq!(guest.open("mine", CREAT, WRITE), Err(Errno::ROFS));
    assert!(!folder.path().join("later").exists());
    // A file that the host creates there is not changed either.
    fs::write(folder.path().join("later"), "host").unwrap();
    for name in ["later", "LATER", "link/../later", "mine"] {
        for (oflags, rights) in [(0, WRITE), (TRUNC, READ), (CREAT, READ | WRITE)] {
            let opened = guest.open(name, oflags, rights);
            assert_eq!(opened, Err(Errno::ROFS), "{name} {oflags}");
        }
    }
    assert_eq!(guest.at(UNLINK, "later"), refused);
    assert_eq!(guest.link(0, (DIR, "later"), (DIR, "new")), refused);
    assert_eq!(guest.set_times("later", 0, (1, 1, 5)), refused);
    let fd = guest.open("later", 0, READ).unwrap();
    assert_eq!(guest.read(fd, 100).unwrap(), b"host");
    assert_eq!(contents(folder.path().join("later")), "host");
}

#[test]
fn opened_directories_are_kept_too() {
    let (folder, mut guest) = guest();
    let before = state(&folder);
    let with = Open {
        oflags: DIRECTORY,
        ..Open::default()
    };
    let write = Open {
        oflags: CREAT | TRUNC,
        rights: WRITE,
        ..Open::default()
    };
    for (dir, name) in [
        ("cache", "entries/key"),
        ("cache/entries", "key"),
        ("entries", "key"),
        ("entries/", "key"),
        ("app", "code"),
        ("link", "code"),
    ] {
        let fd = guest.open_with(DIR, dir, with).unwrap();
        assert_eq!(guest.open_with(fd, name, write), Err(Errno::ROFS), "{dir}");
        assert_eq!(guest.rename((fd, name), (DIR, "x")), Err(Errno::ROFS));
        assert_eq!(guest.rename((DIR, "app/data"), (fd, name)), {
            Err(Errno::ROFS)
        });
        guest.close(fd).unwrap();
    }
    let cache = guest.open_with(DIR, "cache", with).unwrap();
    let times = guest.call(|c, m| fdstat::fd_filestat_set_times(c, m, cache, 1, 1, 5));
    assert_eq!(times, Err(Errno::ROFS));
    assert_eq!(state(&folder), before);
}

#[test]
fn preopened_directories_inside_are_read_only() {
    let (folder, _) = guest();
    let at = |path: &str| folder.path().join(path);
    let builder = WasiCtxBuilder::new()
        .preopened_dir(at("cache/entries"), "/", DirAccess::ReadWrite)
        .and_then(|b| b.protect(at("cache")))
        .unwrap();
    let mut guest = Guest::new(builder.build());
    assert_eq!(guest.open("key", 0, WRITE), Err(Errno::ROFS));
    assert_eq!(guest.open("new", CREAT, WRITE), Err(Errno::ROFS));
    assert_eq!(guest.at(UNLINK, "key"), Err(Errno::ROFS));
}

#[test]
fn the_rest_is_as_it_would_be() {
    let (folder, mut guest) = guest();
    let fd = guest.open("app/data", 0, READ | WRITE).unwrap();
    assert_eq!(guest.write(fd, b"DATA"), Ok(4));
    let fd = guest.open("link/new", CREAT | EXCL, READ | WRITE).unwrap();
    assert_eq!(guest.write(fd, b"new"), Ok(3));
    assert_eq!(contents(folder.path().join("app/new")), "new");
    assert_eq!(guest.open("code", CREAT | EXCL, WRITE), Err(Errno::EXIST));
    assert_eq!(guest.rename((DIR, "app/new"), (DIR, "link/newer")), Ok(()));
    assert_eq!(guest.at(MKDIR, "app/sub/"), Ok(()));
    assert_eq!(guest.set_times("app/sub/", 0, (0, 7, 4)), Ok(()));
    assert_eq!(guest.set_times(".", 0, (0, 7, 4)), Ok(()));
    assert_eq!(guest.link(0, (DIR, "app/data"), (DIR, "data")), Ok(()));
    // Opening a dangling link creates its target.
    assert_eq!(guest.symlink("sub/made", "app/dangling"), Ok(()));
    assert!(guest.open("link/dangling", CREAT, WRITE).is_ok());
    assert_eq!(guest.stat("app/sub/made", 0), Ok((4, 0)));
    assert_eq!(guest.at(UNLINK, "code"), Ok(()), "the guest's own link");
    assert_eq!(guest.at(UNLINK, "app/data"), Ok(()));
    assert_eq!(guest.at(UNLINK, "app/sub"), Err(Errno::ISDIR));
    assert_eq!(guest.at(UNLINK, "app/newer/"), Err(Errno::NOTDIR));
    assert_eq!(guest.at(RMDIR, "app/sub"), Err(Errno::NOTEMPTY));
    for (name, errno) in [
        ("../x", Errno::PERM),
        ("/x", Errno::PERM),
        ("app/../../x", Errno::PERM),
        ("missing/x", Errno::NOENT),
        ("app/newer/x", Errno::NOTDIR),
    ] {
        assert_eq!(guest.open(name, CREAT, WRITE), Err(errno), "{name}");
        assert_eq!(guest.at(MKDIR, name), Err(errno), "{name}");
        assert_eq!(guest.at(UNLINK, name), Err(errno), "{name}");
        assert_eq!(guest.rename((DIR, "hard"), (DIR, name)), {
            Err(Errno::ROFS)
        });
    }
}

#[test]
fn an_inode_alone_is_enough() {
    let folder = folder();
    let at = |path: &str| folder.path().join(path);
    fs::write(at("code"), "code").unwrap();
    let found = fs::metadata(at("code")).unwrap();
    let builder = WasiCtxBuilder::new()
        .preopened_dir(folder.path(), "/", DirAccess::ReadWrite)
        .unwrap()
        .protect_inode(found.dev(), found.ino());
    let mut guest = Guest::new(builder.build());
    assert_eq!(guest.open("code", 0, WRITE), Err(Errno::ROFS));
    assert_eq!(guest.rename((DIR, "code"), (DIR, "x")), Err(Errno::ROFS));
    assert_eq!(guest.link(0, (DIR, "code"), (DIR, "x")), Err(Errno::ROFS));
    assert_eq!(contents(at("code")), "code");
}

#[test]
fn what_writable_directories_reach() {
    let (folder, _) = guest();
    let elsewhere = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    let with = |dir: PathBuf, access| {
        let builder = WasiCtxBuilder::new().preopened_dir(dir, "/", access);
        builder.unwrap()
    };
    let reaches = |dir: &str, path: &str| {
        assert!(!with(at(dir), DirAccess::ReadOnly).reaches(at(path)));
        with(at(dir), DirAccess::ReadWrite).reaches(at(path))
    };
    for (dir, path) in [
        ("", "app/code"),
        ("", "app"),
        ("", ""),
        ("app", "app/code"),
        ("link", "app/code"),
        ("app", "link/code"),
        ("app", "code"),
        // The writable directory is inside of the path.
        ("cache/entries", "cache"),
        ("app", ""),
        // The path does not exist yet.
        ("", "later/cache"),
        // The file has another name, which could be anywhere on this file system.
        ("cache", "app/code"),
    ] {
        assert!(reaches(dir, path), "{dir} {path}");
    }
    for (dir, path) in [
        ("app", "cache"),
        ("app", "later"),
        ("cache", "app/data"),
        ("cache/entries", "app"),
    ] {
        assert!(!reaches(dir, path), "{dir} {path}");
    }
    assert!(!WasiCtxBuilder::new().reaches(at("app/code")));
    // The guest can change the link, but not the directory that it leads to.
    symlink(at("cache"), elsewhere.path().join("cache")).unwrap();
    let builder = with(elsewhere.path().into(), DirAccess::ReadWrite);
    assert!(builder.reaches(elsewhere.path().join("cache")));
    assert!(!builder.reaches(at("cache")));
}

#[test]
fn links_that_a_guest_could_have_made() {
    let (folder, _) = guest();
    let at = |path: &str| folder.path().join(path);
    let root = folder.path().canonicalize().unwrap();
    symlink("../cache", at("app/up")).unwrap();
    symlink("app/up", at("nested")).unwrap();
    let link = |dir: &str, access, path: &str| {
        let builder = WasiCtxBuilder::new().preopened_dir(at(dir), "/", access);
        builder.unwrap().writable_link(at(path)).unwrap()
    };
    for (dir, path, expected) in [
        ("", "link/code", Some("link")),
        ("", "app/../link/new", Some("link")),
        ("", "app/code", None),
        ("", "missing/new", None),
        // The guest has what the link leads to, not the link.
        ("app", "link/code", None),
        ("cache/entries", "app/up/entries/key", None),
        // The link is where another link leads.
        ("app", "nested/new", Some("app/up")),
        ("app", "link/up/new", Some("app/up")),
    ] {
        let found = link(dir, DirAccess::ReadWrite, path);
        assert_eq!(found, expected.map(|name| root.join(name)), "{dir} {path}");
        assert_eq!(link(dir, DirAccess::ReadOnly, path), None);
    }
    assert_eq!(
        WasiCtxBuilder::new().writable_link(at("link")).unwrap(),
        None
    );
}

/// A second mount of a directory. Dropping it unmounts the directory there.
struct Bound(PathBuf);

impl Bound {
    fn new(dir: &Path, at: &Path) -> Option<Self> {
        let mount = std::process::Command::new("mount");
        let mounted = { mount }.arg("--bind").arg(dir).arg(at).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("skipped: only root may mount a directory a second time");
        }
        mounted.then(|| Self(at.to_path_buf()))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[test]
fn other_mounts_are_other_names() {
    let (folder, _) = guest();
    let at = |path: &str| folder.path().join(path);
    for dir in ["share/app", "share/entries", "share/all"] {
        fs::create_dir_all(at(dir)).unwrap();
    }
    let mounts = [("app", "share/app"), ("cache/entries", "share/entries")];
    let mounts = mounts.map(|(dir, to)| Bound::new(&at(dir), &at(to)));
    if mounts.iter().any(Option::is_none) {
        return;
    }
    let before = state(&folder);
    let builder = WasiCtxBuilder::new()
        .preopened_dir(at("share"), "/", DirAccess::ReadWrite)
        .unwrap();
    for path in ["app/code", "share/app/code", "cache", "cache/entries"] {
        assert!(builder.reaches(at(path)), "{path}");
    }
    let builder = builder.protect(at("app/code")).unwrap();
    let mut guest = Guest::new(builder.protect(at("cache")).unwrap().build());
    for name in ["app/code", "entries/key"] {
        assert_eq!(guest.open(name, TRUNC, WRITE), Err(Errno::ROFS), "{name}");
        assert_eq!(guest.at(UNLINK, name), Err(Errno::ROFS), "{name}");
        let replaced = guest
            .symlink("x", "mine")
            .and_then(|()| guest.rename((DIR, "mine"), (DIR, "app/code")));
        assert!(replaced.is_err());
        guest.at(UNLINK, "mine").unwrap();
    }
    assert_eq!(guest.open("entries/new", CREAT, WRITE), Err(Errno::ROFS));
    assert!(guest.open("app/new", CREAT, WRITE).is_ok());
    assert_eq!(state(&folder), before);
    // The other way round: the guest has the directory, and the host uses the second mount.
    let builder = WasiCtxBuilder::new().preopened_dir(at("app"), "/", DirAccess::ReadWrite);
    assert!(builder.unwrap().reaches(at("share/app/code")));
}
