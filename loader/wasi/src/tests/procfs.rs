//! Guests that are given the root directory get nothing of procfs.

use super::*;
use crate::ctx::ConfigError;
use crate::fs::{FileSystem, HostFs, OpenOptions};

const FILES: [&str; 4] = [
    "proc/self/mem",
    "proc/self/environ",
    "proc/self/../self/maps",
    "proc/version",
];

const DIRECTORIES: [&str; 4] = ["proc", "proc/", "proc/self", "proc/self/task/.."];

#[test]
fn nothing_of_procfs_can_be_opened() {
    for access in [DirAccess::ReadOnly, DirAccess::ReadWrite] {
        let folder = folder();
        std::fs::write(folder.path().join("file"), "file").unwrap();
        let inside = folder.path().join("file");
        let inside = inside.strip_prefix("/").unwrap().to_str().unwrap();
        let builder = WasiCtxBuilder::new().preopened_dir("/", "/", access);
        let mut guest = Guest::new(builder.unwrap().build());
        // Before and after the guest has opened another file.
        for _ in 0..2 {
            for name in FILES {
                assert_eq!(guest.open(name, 0, READ), Err(Errno::PERM), "{name}");
            }
            for name in DIRECTORIES {
                assert_eq!(
                    guest.open(name, DIRECTORY, READ),
                    Err(Errno::PERM),
                    "{name}"
                );
                assert_eq!(guest.open(name, 0, READ), Err(Errno::PERM), "{name}");
            }
            let fd = guest.open(inside, 0, READ).unwrap();
            assert_eq!(guest.read(fd, 9).unwrap(), b"file");
            guest.close(fd).unwrap();
        }
        let write = guest.open("proc/self/mem", 0, READ | WRITE);
        let refused = match access {
            DirAccess::ReadOnly => Errno::ROFS,
            DirAccess::ReadWrite => Errno::PERM,
        };
        assert_eq!(write, Err(refused));
    }
}

#[test]
fn attributes_and_links_of_procfs_are_not_shown() {
    let links = ["proc/self", "proc/mounts", "proc/self/fd/0"];
    for access in [DirAccess::ReadOnly, DirAccess::ReadWrite] {
        let builder = WasiCtxBuilder::new().preopened_dir("/", "/", access);
        let mut guest = Guest::new(builder.unwrap().build());
        for name in FILES.iter().chain(&DIRECTORIES).chain(&links) {
            let is_magic = name.contains("fd");
            if !is_magic {
                assert_eq!(guest.stat(name, FOLLOW), Err(Errno::PERM), "{name}");
            }
            assert_eq!(guest.stat(name, 0), Err(Errno::PERM), "{name}");
            assert_eq!(guest.readlink(name, 99), Err(Errno::PERM), "{name}");
            let refused = match access {
                DirAccess::ReadOnly => Errno::ROFS,
                DirAccess::ReadWrite => Errno::PERM,
            };
            let of_now = (0, 0, 10);
            assert_eq!(guest.set_times(name, 0, of_now), Err(refused), "{name}");
            if !is_magic {
                assert_eq!(guest.set_times(name, FOLLOW, of_now), Err(refused));
            }
        }
        // Whatever a link leads to, a file, a directory or nothing, the answer is the same.
        for link in links {
            let opened = guest.open(link, DIRECTORY, READ);
            assert_eq!(opened, Err(Errno::PERM), "{link}");
        }
        // What a path leads to counts, not what it leads through.
        assert!(guest.stat("proc/self/../../etc", 0).is_ok());
        assert_eq!(guest.stat("proc/no-such-name", 0), Err(Errno::NOENT));
    }
}

#[test]
fn no_directory_of_procfs_can_be_given() {
    for dir in ["/proc", "/proc/self/task", "/proc/self/fd/.."] {
        let given = WasiCtxBuilder::new().preopened_dir(dir, "/", DirAccess::ReadOnly);
        let Err(ConfigError::Preopen { source, .. }) = given else {
            panic!("{dir} was given");
        };
        assert!(source.to_string().contains("procfs"), "{source}");
        let error = HostFs::new(dir).unwrap_err();
        assert!(error.to_string().contains("procfs"), "{error}");
    }
}

#[test]
fn a_directory_that_is_mounted_hides_procfs_too() {
    let fs = HostFs::new("/").unwrap();
    for name in FILES.iter().filter(|name| !name.contains("..")) {
        let opened = fs.open(name, OpenOptions::default());
        assert_eq!(opened.err(), Some(Errno::PERM), "{name}");
        assert_eq!(fs.stat(name).err(), Some(Errno::PERM), "{name}");
    }
    assert_eq!(fs.stat("proc").err(), Some(Errno::PERM));
    assert_eq!(fs.read_link("proc/self").err(), Some(Errno::PERM));
    assert_eq!(fs.read_dir("proc").err(), Some(Errno::PERM));
    assert!(fs.read_dir("").is_ok());
}
