//! No path leads out of a preopened directory.

use std::os::unix::fs::symlink;

use super::*;

/// A folder with a secret beside the guest's directory `box`, which has links to the secret.
fn prison() -> (TempDir, Guest) {
    let folder = folder();
    let inside = folder.path().join("box");
    std::fs::create_dir_all(inside.join("sub")).unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    std::fs::write(inside.join("file"), "file").unwrap();
    symlink("../secret", inside.join("up")).unwrap();
    symlink(folder.path().join("secret"), inside.join("absolute")).unwrap();
    symlink("..", inside.join("parent")).unwrap();
    symlink("/", inside.join("root")).unwrap();
    symlink("sub/../../secret", inside.join("winding")).unwrap();
    symlink("../new", inside.join("dangling")).unwrap();
    let builder = WasiCtxBuilder::new().preopened_dir(&inside, "/", DirAccess::ReadWrite);
    let guest = Guest::new(builder.unwrap().build());
    (folder, guest)
}

const ESCAPES: [&str; 12] = [
    "../secret",
    "..",
    "../",
    "/",
    "/etc/passwd",
    "sub/../../secret",
    "./../secret",
    "up",
    "absolute",
    "winding",
    "parent/secret",
    "root/etc/passwd",
];

#[test]
fn nothing_outside_can_be_opened() {
    let (folder, mut guest) = prison();
    for name in ESCAPES {
        for (oflags, rights) in [
            (0, READ),
            (0, READ | WRITE),
            (CREAT, WRITE),
            (CREAT, READ),
            (TRUNC, WRITE),
            (CREAT | TRUNC, READ),
            (DIRECTORY, READ),
        ] {
            let result = guest.open(name, oflags, rights);
            let refused = [Errno::PERM, Errno::NOTDIR, Errno::ISDIR];
            assert!(
                result.is_err_and(|e| refused.contains(&e)),
                "{name} {oflags} {result:?}"
            );
        }
        assert_eq!(guest.open(name, 0, READ), Err(Errno::PERM), "{name}");
    }
    assert_eq!(contents(folder.path().join("secret")), "secret");
}

#[test]
fn nothing_outside_can_be_created() {
    let (folder, mut guest) = prison();
    let before = std::fs::read_dir(folder.path()).unwrap().count();
    for name in ["../new", "parent/new", "sub/../../new"] {
        assert_eq!(guest.open(name, CREAT, WRITE), Err(Errno::PERM), "{name}");
        assert_eq!(guest.open(name, CREAT | EXCL, WRITE), Err(Errno::PERM));
        assert_eq!(guest.at(MKDIR, name), Err(Errno::PERM), "{name}");
        assert_eq!(guest.symlink("file", name), Err(Errno::PERM), "{name}");
        assert_eq!(guest.rename((DIR, "file"), (DIR, name)), Err(Errno::PERM));
        assert_eq!(guest.link(0, (DIR, "file"), (DIR, name)), Err(Errno::PERM));
    }
    assert_eq!(guest.open("dangling", CREAT, WRITE), Err(Errno::PERM));
    assert_eq!(guest.open("dangling", CREAT, READ), Err(Errno::PERM));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), before);
}

#[test]
fn nothing_outside_can_be_changed_or_looked_at() {
    let (folder, mut guest) = prison();
    let modified = || {
        let metadata = std::fs::metadata(folder.path().join("secret")).unwrap();
        metadata.modified().unwrap()
    };
    let before = modified();
    for name in ["../secret", "parent/secret", "sub/../../secret"] {
        assert_eq!(guest.stat(name, FOLLOW), Err(Errno::PERM), "{name}");
        assert_eq!(guest.stat(name, 0), Err(Errno::PERM), "{name}");
        assert_eq!(guest.at(UNLINK, name), Err(Errno::PERM), "{name}");
        assert_eq!(guest.at(RMDIR, name), Err(Errno::PERM), "{name}");
        assert_eq!(guest.readlink(name, 100), Err(Errno::PERM), "{name}");
        assert_eq!(guest.set_times(name, 0, (1, 1, 5)), Err(Errno::PERM));
        assert_eq!(guest.set_times(name, FOLLOW, (1, 1, 5)), Err(Errno::PERM));
        assert_eq!(guest.rename((DIR, name), (DIR, "x")), Err(Errno::PERM));
        assert_eq!(guest.link(0, (DIR, name), (DIR, "x")), Err(Errno::PERM));
        assert_eq!(
            guest.link(FOLLOW, (DIR, name), (DIR, "x")),
            Err(Errno::PERM)
        );
    }
    for name in ["up", "absolute", "winding"] {
        assert_eq!(guest.stat(name, FOLLOW), Err(Errno::PERM), "{name}");
        assert_eq!(guest.set_times(name, FOLLOW, (1, 1, 5)), Err(Errno::PERM));
        assert_eq!(
            guest.link(FOLLOW, (DIR, name), (DIR, "x")),
            Err(Errno::PERM)
        );
        // The guest may look at the link itself.
        assert_eq!(guest.stat(name, 0).unwrap().0, 7, "{name}");
    }
    assert_eq!(modified(), before);
    assert_eq!(contents(folder.path().join("secret")), "secret");
}

#[test]
fn links_that_lead_out_cannot_be_made_useful() {
    let (_folder, mut guest) = prison();
    // Relative links that lead out can be created, but not followed.
    assert_eq!(guest.symlink("../secret", "mine"), Ok(()));
    assert_eq!(guest.open("mine", 0, READ), Err(Errno::PERM));
    assert_eq!(guest.symlink("/etc/passwd", "theirs"), Err(Errno::PERM));
    // The target of an absolute link, which tells about the host, cannot be read.
    assert_eq!(guest.readlink("absolute", 100), Err(Errno::PERM));
    assert_eq!(guest.readlink("up", 100).unwrap(), "../secret");
    // The target of a link that is moved is relative to its new directory.
    assert_eq!(guest.rename((DIR, "mine"), (DIR, "sub/mine")), Ok(()));
    assert_eq!(
        guest.open("sub/mine", 0, READ),
        Err(Errno::NOENT),
        "box/secret"
    );
}

#[test]
fn a_directory_that_is_moved_out_of_reach_stays_closed() {
    let (folder, mut guest) = prison();
    let with = Open {
        oflags: DIRECTORY,
        ..Open::default()
    };
    let sub = guest.open_with(DIR, "sub", with).unwrap();
    // `..` leads out of an opened directory, so it is refused.
    assert_eq!(
        guest.open_with(sub, "../file", Open::default()),
        Err(Errno::PERM)
    );
    std::fs::rename(folder.path().join("box/sub"), folder.path().join("out")).unwrap();
    assert_eq!(
        guest.open_with(sub, "../secret", Open::default()),
        Err(Errno::PERM)
    );
}

#[test]
fn links_inside_are_followed_where_asked() {
    let (_folder, mut guest) = prison();
    guest.symlink("file", "link").unwrap();
    let fd = guest.open("link", 0, READ).unwrap();
    assert_eq!(guest.read(fd, 10).unwrap(), b"file");
    let with = Open {
        lookup: 0,
        ..Open::default()
    };
    assert_eq!(guest.open_with(DIR, "link", with), Err(Errno::LOOP));
    guest.symlink("loop", "loop").unwrap();
    assert_eq!(guest.open("loop", 0, READ), Err(Errno::LOOP));
    guest.symlink("sub", "to-sub").unwrap();
    for name in ["to-sub", "to-sub/", "to-sub/."] {
        assert!(guest.open(name, DIRECTORY, READ).is_ok(), "{name}");
    }
    guest.symlink("sub/../file", "around").unwrap();
    let fd = guest.open("around", 0, READ).unwrap();
    assert_eq!(guest.read(fd, 10).unwrap(), b"file");
}

#[test]
fn slashes_at_the_end_are_for_directories() {
    let (_folder, mut guest) = prison();
    guest.symlink("file", "to-file").unwrap();
    guest.symlink("sub", "to-sub").unwrap();
    for name in ["file/", "to-file/", "file/.", "file//"] {
        assert_eq!(guest.open(name, 0, READ), Err(Errno::NOTDIR), "{name}");
        assert_eq!(guest.stat(name, 0), Err(Errno::NOTDIR), "{name}");
        assert_eq!(guest.at(UNLINK, name), Err(Errno::NOTDIR), "{name}");
        assert_eq!(guest.at(RMDIR, name), Err(Errno::NOTDIR), "{name}");
        assert_eq!(
            guest.rename((DIR, name), (DIR, "x")),
            Err(Errno::NOTDIR),
            "{name}"
        );
        assert_eq!(
            guest.link(0, (DIR, name), (DIR, "x")),
            Err(Errno::NOTDIR),
            "{name}"
        );
    }
    assert_eq!(
        guest.rename((DIR, "file"), (DIR, "new/")),
        Err(Errno::NOTDIR)
    );
    assert!(guest.open("new/", CREAT, WRITE).is_err());
    assert!(guest.link(0, (DIR, "file"), (DIR, "new/")).is_err());
    assert!(guest.symlink("file", "new/").is_err());
    assert_eq!(guest.stat("new", 0), Err(Errno::NOENT));
    assert_eq!(guest.at(RMDIR, "to-sub/"), Err(Errno::NOTDIR));
    assert_eq!(guest.at(MKDIR, "made/"), Ok(()));
    assert_eq!(guest.rename((DIR, "made/"), (DIR, "moved/")), Ok(()));
    assert_eq!(guest.at(UNLINK, "moved/"), Err(Errno::ISDIR));
    assert_eq!(guest.at(RMDIR, "moved/"), Ok(()));
    assert_eq!(guest.stat("to-sub/", 0).unwrap().0, 3);
}

/// The advisory GHSA-vqjp-4c8c-hfgg: a link with a slash after it is not the last component of the
/// path, so the system follows the link even if it was told not to.
#[test]
fn no_slash_makes_a_link_lead_out() {
    let (folder, mut guest) = prison();
    let (inside, outside) = (folder.path().join("box"), folder.path().join("outside"));
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "outside").unwrap();
    for (target, name) in [
        ("..", "to-parent"),
        ("../", "to-parent/ with slash"),
        ("../outside", "to-outside"),
        ("../outside/", "to-outside/ with slash"),
        ("../outside/.", "to-outside/."),
        ("to-outside", "hop"),
        ("to-outside/", "hop/"),
        ("./to-outside//", "hop//"),
        ("sub/../to-outside/", "winding/"),
        ("../outside/new", "to-new"),
        ("../outside/new/", "to-new/"),
        ("../outside/file", "to-file"),
        ("../outside/file/", "to-file/"),
    ] {
        symlink(target, inside.join(name.replace('/', "\u{2215}"))).unwrap();
    }
    let before = snapshot(folder.path());
    let names: Vec<String> = std::fs::read_dir(&inside)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "file" && name != "sub")
        .collect();
    assert!(names.len() > 15);
    for (name, slash) in names
        .iter()
        .flat_map(|name| ["/", "//", "/.", "/./", "/.//."].map(|slash| (name, slash)))
    {
        let name = &format!("{name}{slash}");
        for lookup in [0, FOLLOW] {
            for oflags in [0, DIRECTORY, CREAT, CREAT | EXCL, TRUNC, CREAT | TRUNC] {
                for rights in [0, READ, WRITE, READ | WRITE] {
                    let with = Open {
                        lookup,
                        oflags,
                        rights,
                        fdflags: 0,
                    };
                    let opened = guest.open_with(DIR, name, with);
                    assert!(opened.is_err(), "{name} {lookup} {oflags} {rights}");
                }
            }
            assert!(guest.stat(name, lookup).is_err(), "{name} {lookup}");
            assert!(guest.set_times(name, lookup, (1, 1, 5)).is_err(), "{name}");
            let linked = guest.link(lookup, (DIR, name), (DIR, "sub/linked"));
            assert!(linked.is_err(), "{name} {lookup}");
        }
        assert!(guest.readlink(name, 100).is_err(), "{name}");
        assert!(guest.at(MKDIR, name).is_err(), "{name}");
        assert!(guest.at(RMDIR, name).is_err(), "{name}");
        assert!(guest.at(UNLINK, name).is_err(), "{name}");
        assert!(guest.symlink("file", name).is_err(), "{name}");
        assert!(guest.link(0, (DIR, "file"), (DIR, name)).is_err(), "{name}");
        for other in ["file", "sub"] {
            assert!(guest.rename((DIR, other), (DIR, name)).is_err(), "{name}");
        }
        assert!(
            guest.rename((DIR, name), (DIR, "sub/moved")).is_err(),
            "{name}"
        );
        assert_eq!(snapshot(folder.path()), before, "{name}");
    }
}

/// The path, size, number of links and modification time of everything below a directory.
fn snapshot(folder: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    let mut dirs = vec![folder.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let data = std::fs::symlink_metadata(&path).unwrap();
            if data.is_dir() {
                dirs.push(path.clone());
            }
            let (size, links) = (data.len(), data.nlink());
            let (mtime, nanoseconds) = (data.mtime(), data.mtime_nsec());
            found.push(format!("{path:?} {size} {links} {mtime} {nanoseconds}"));
        }
    }
    found.sort();
    found
}
