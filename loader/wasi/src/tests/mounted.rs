//! File systems that the host makes. Two of them are compared with a directory of the system, call
//! by call: the guest must get the same answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::fs::{EmbeddedFs, FileSystem, HostFs, MemoryFs, Overlay};
use crate::poll;

const FILES: &[(&str, &[u8])] = &[("a/b/c", b"below"), ("d/e", b"text"), ("f", b"f")];

pub(super) fn guest(fs: impl FileSystem + 'static, access: DirAccess) -> Guest {
    let builder = WasiCtxBuilder::new().mount("/", fs, access).unwrap();
    Guest::new(builder.build())
}

fn write_files(folder: &TempDir) {
    for (path, bytes) in FILES {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn memory() -> MemoryFs {
    let fs = MemoryFs::new(1 << 20);
    for (path, bytes) in FILES {
        fs.write(path, bytes).unwrap();
    }
    fs
}

/// What a call told the guest: an error, or text.
type Answer = std::result::Result<String, Errno>;

/// One of the calls that are compared.
#[derive(Debug, Clone)]
enum Call {
    Open {
        path: String,
        oflags: u32,
        rights: u64,
        lookup: u32,
        write: bool,
    },
    At(usize, String),
    Rename(String, String),
    Link(u32, String, String),
    Symlink(String, String),
    Readlink(String),
    Stat(String, u32),
    List(String),
}

impl Call {
    fn of(&self, guest: &mut Guest) -> Answer {
        const FUNCTIONS: [PathFunction; 3] = [MKDIR, RMDIR, UNLINK];
        let done = |result: Result<()>| result.map(|()| String::new());
        match self {
            Self::Open {
                path,
                oflags,
                rights,
                lookup,
                write,
            } => {
                let with = Open {
                    oflags: *oflags,
                    rights: *rights,
                    lookup: *lookup,
                    fdflags: 0,
                };
                let fd = guest.open_with(DIR, path, with)?;
                let read = guest.read(fd, 16).map(|bytes| format!("{bytes:?}"));
                let mut answer = format!("{read:?} {:?}", guest.fdstat(fd));
                if *write {
                    answer += &format!("{:?}", guest.write(fd, b"written"));
                    answer += &format!("{:?}", guest.seek(fd, -3, 1));
                    answer += &format!("{:?}", guest.write(fd, b"+"));
                    answer += &format!("{:?}", guest.seek(fd, 0, 2));
                }
                guest.close(fd).unwrap();
                Ok(answer)
            }
            Self::At(function, path) => done(guest.at(FUNCTIONS[*function], path)),
            Self::Rename(from, to) => done(guest.rename((DIR, from), (DIR, to))),
            Self::Link(lookup, from, to) => done(guest.link(*lookup, (DIR, from), (DIR, to))),
            Self::Symlink(target, path) => done(guest.symlink(target, path)),
            Self::Readlink(path) => guest.readlink(path, 64),
            Self::Stat(path, lookup) => {
                let (kind, size) = guest.stat(path, *lookup)?;
                // Directories have a size only in the system.
                let size = if kind == 3 { 0 } else { size };
                Ok(format!("{kind} {size}"))
            }
            Self::List(path) => {
                let fd = guest.open(path, DIRECTORY, READ)?;
                let mut names = dirs::list(guest, fd, 4096);
                guest.close(fd).unwrap();
                names.sort();
                Ok(format!("{names:?}"))
            }
        }
    }
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn path(&mut self) -> String {
        const NAMES: &[&str] = &["a", "b", "c", "d", "e", "f", "g", "..", "."];
        let mut path = String::new();
        for i in 0..=self.below(3) {
            if i > 0 {
                path.push('/');
            }
            path += NAMES[self.below(NAMES.len() as u64) as usize];
        }
        if self.below(8) == 0 {
            path.push('/');
        }
        path
    }

    fn call(&mut self) -> Call {
        let lookup = self.below(2) as u32;
        match self.below(12) {
            0..3 => {
                let write = self.below(2) == 0;
                Call::Open {
                    path: self.path(),
                    oflags: [0, CREAT, CREAT | EXCL, CREAT | TRUNC, DIRECTORY]
                        [self.below(5) as usize],
                    rights: if write { READ | WRITE } else { READ },
                    lookup,
                    write,
                }
            }
            3 => Call::At(0, self.path()),
            4 => Call::At(1, self.path()),
            5 => Call::At(2, self.path()),
            6 => Call::Rename(self.path(), self.path()),
            7 => Call::Link(1, self.path(), self.path()),
            8 => Call::Symlink(self.path().trim_end_matches('/').to_owned(), self.path()),
            9 => Call::Readlink(self.path()),
            10 => Call::Stat(self.path(), lookup),
            _ => Call::List(self.path()),
        }
    }
}

/// Runs the same calls in a folder and in a file system, and compares the answers. A call for which
/// `differs` is true, given the answer of the file system, is not made in the folder.
fn compare(seed: u64, fs: impl FileSystem + 'static, differs: fn(&Call, &Answer) -> bool) {
    let folder = folder();
    write_files(&folder);
    let mut system = Guest::in_folder(&folder, DirAccess::ReadWrite);
    let mut mounted = guest(fs, DirAccess::ReadWrite);
    let mut random = Random(seed * 0x9e37_79b9_7f4a_7c15 + 1);
    let (mut seen, mut wrong) = (Vec::new(), Vec::new());
    for _ in 0..400 {
        let call = random.call();
        let found = call.of(&mut mounted);
        if differs(&call, &found) {
            continue;
        }
        let expected = call.of(&mut system);
        seen.push(format!("{call:?}: {expected:?}"));
        // Of two wrong paths, either may be looked at first. Where cap-std resolves paths itself,
        // it finds errors in another order than the kernel.
        let either =
            matches!(call, Call::Rename(..) | Call::Link(..)) || without_openat2::is_asked();
        if found != expected && !(either && found.is_err() && expected.is_err()) {
            wrong.push(format!("{call:?}: {found:?}, expected {expected:?}"));
        }
        assert!(
            found.is_ok() == expected.is_ok() && (found == expected || found.is_err()),
            "seed {seed}: {wrong:?}, after\n{}",
            seen.join("\n")
        );
    }
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
}

#[test]
fn a_file_system_in_memory_tells_what_the_system_tells() {
    for seed in 0..60 {
        compare(seed, memory(), |_, _| false);
    }
}

#[test]
fn an_overlay_tells_what_the_system_tells() {
    let needs_copy = |call: &Call, found: &Answer| {
        matches!(call, Call::Rename(..)) && *found == Err(Errno::XDEV)
    };
    for seed in 0..30 {
        let lower = EmbeddedFs::new(FILES).unwrap();
        compare(
            seed,
            Overlay::new(MemoryFs::new(1 << 20), lower),
            needs_copy,
        );
        let folder = folder();
        write_files(&folder);
        let lower = HostFs::new(folder.path()).unwrap();
        compare(
            seed + 100,
            Overlay::new(MemoryFs::new(1 << 20), lower),
            needs_copy,
        );
        for (path, bytes) in FILES {
            assert_eq!(contents(folder.path().join(path)).as_bytes(), *bytes);
        }
    }
}

#[test]
fn an_overlay_keeps_the_lower_file_system_as_it_is() {
    let upper = MemoryFs::new(1 << 20);
    let lower = memory();
    let mut guest = guest(
        Overlay::new(upper.clone(), lower.clone()),
        DirAccess::ReadWrite,
    );
    let fd = guest.open("a/b/c", 0, READ | WRITE).unwrap();
    guest.write(fd, b"BE").unwrap();
    assert_eq!(guest.at(UNLINK, "d/e"), Ok(()));
    assert_eq!(guest.at(RMDIR, "d"), Ok(()));
    assert_eq!(guest.open("d/e", 0, READ), Err(Errno::NOENT));
    assert_eq!(guest.at(MKDIR, "d"), Ok(()));
    assert_eq!(
        guest.open("d/e", 0, READ),
        Err(Errno::NOENT),
        "hidden for good"
    );
    assert_eq!(guest.rename((DIR, "f"), (DIR, "d/g")), Ok(()));
    assert_eq!(guest.rename((DIR, "a"), (DIR, "z")), Err(Errno::XDEV));
    assert_eq!(upper.read("a/b/c").unwrap(), b"BElow");
    assert_eq!(upper.read("d/g").unwrap(), b"f");
    for (path, bytes) in FILES {
        assert_eq!(lower.read(path).unwrap(), *bytes);
    }
}

#[test]
fn what_cannot_be_copied_up_leaves_nothing_behind() {
    let lower = MemoryFs::new(1 << 20);
    lower.write("large", &[7; 200_000]).unwrap();
    let upper = MemoryFs::new(100_000);
    let mut guest = guest(Overlay::new(upper.clone(), lower), DirAccess::ReadWrite);
    assert_eq!(guest.open("large", 0, READ | WRITE), Err(Errno::NOSPC));
    assert_eq!(upper.used(), 0);
    let fd = guest.open("large", TRUNC, READ | WRITE).unwrap();
    assert_eq!(guest.write(fd, b"small"), Ok(5));
    assert_eq!(upper.read("large").unwrap(), b"small");
}

#[test]
fn nothing_changes_in_a_read_only_mount() {
    let fs = memory();
    fs.symlink("f", "link").unwrap();
    let used = fs.used();
    for mut guest in [
        guest(fs.clone(), DirAccess::ReadOnly),
        guest(EmbeddedFs::new(FILES).unwrap(), DirAccess::ReadWrite),
    ] {
        for (oflags, rights) in [(0, WRITE), (TRUNC, READ), (CREAT | TRUNC, READ)] {
            assert_eq!(guest.open("f", oflags, rights), Err(Errno::ROFS));
        }
        assert_eq!(guest.open("new", CREAT, READ), Err(Errno::ROFS));
        assert_eq!(guest.open("f", CREAT | EXCL, READ), Err(Errno::EXIST));
        assert_eq!(guest.at(MKDIR, "new"), Err(Errno::ROFS));
        assert_eq!(guest.at(UNLINK, "f"), Err(Errno::ROFS));
        assert_eq!(guest.at(RMDIR, "a/b"), Err(Errno::ROFS));
        assert_eq!(guest.rename((DIR, "f"), (DIR, "g")), Err(Errno::ROFS));
        assert_eq!(guest.link(0, (DIR, "f"), (DIR, "g")), Err(Errno::ROFS));
        assert_eq!(guest.symlink("f", "g"), Err(Errno::ROFS));
        assert_eq!(guest.set_times("f", FOLLOW, (1, 1, 5)), Err(Errno::ROFS));
        let fd = guest.open("f", CREAT, READ).unwrap();
        assert_eq!(guest.write(fd, b"x"), Err(Errno::BADF));
        assert_eq!(guest.read(fd, 10), Ok(b"f".to_vec()));
        let times = |fd| {
            move |c: &mut WasiCtx, m: &mut GuestMemory<'_>| {
                fdstat::fd_filestat_set_times(c, m, fd, 1, 1, 5)
            }
        };
        let set = guest.call(times(fd));
        assert!(matches!(set, Err(Errno::ROFS | Errno::BADF)), "{set:?}");
        assert_eq!(guest.call(times(DIR)), Err(Errno::ROFS));
        guest.close(fd).unwrap();
    }
    assert_eq!(fs.used(), used);
}

#[test]
fn no_path_leads_from_one_mount_into_another() {
    let (one, other) = (memory(), memory());
    one.symlink("../other/f", "out").unwrap();
    let folder = folder();
    let builder = WasiCtxBuilder::new()
        .mount("one", one, DirAccess::ReadWrite)
        .and_then(|b| b.mount("other", other.clone(), DirAccess::ReadWrite))
        .and_then(|b| b.mount("again", other, DirAccess::ReadOnly))
        .and_then(|b| b.preopened_dir(folder.path(), "host", DirAccess::ReadWrite))
        .unwrap();
    let mut guest = Guest::new(builder.build());
    for path in ["..", "../f", "a/../../f", "out", "/f", "a/b/../../../f"] {
        assert_eq!(guest.open(path, 0, READ), Err(Errno::PERM), "{path}");
    }
    let other = (4, "g");
    assert_eq!(guest.rename((DIR, "f"), other), Err(Errno::XDEV));
    assert_eq!(guest.link(0, (DIR, "f"), other), Err(Errno::XDEV));
    assert_eq!(guest.rename((DIR, "f"), (6, "g")), Err(Errno::XDEV));
    std::fs::write(folder.path().join("h"), "").unwrap();
    assert_eq!(guest.rename((6, "h"), (DIR, "h")), Err(Errno::XDEV));
    assert_eq!(guest.rename((6, "h"), (9, "h")), Err(Errno::BADF));
    // The same file system, mounted twice, is two devices: one of them cannot be written to.
    assert_eq!(guest.rename((4, "f"), (5, "g")), Err(Errno::XDEV));
    let with = Open {
        oflags: CREAT,
        rights: WRITE,
        ..Open::default()
    };
    assert_eq!(guest.open_with(5, "new", with), Err(Errno::ROFS));
    assert!(guest.open_with(4, "new", with).is_ok());
    assert!(guest.open_with(5, "new", Open::default()).is_ok());
}

#[test]
fn open_directories_follow_their_names() {
    let mut guest = guest(memory(), DirAccess::ReadWrite);
    let dir = guest.open("a/b", DIRECTORY, READ).unwrap();
    let empty = {
        guest.at(MKDIR, "empty").unwrap();
        guest.open("empty", DIRECTORY, READ).unwrap()
    };
    assert_eq!(guest.rename((DIR, "a"), (DIR, "empty")), Ok(()));
    assert!(guest.open_with(dir, "c", Open::default()).is_ok());
    assert_eq!(
        guest.open_with(dir, "..", Open::default()),
        Err(Errno::PERM)
    );
    let gone = guest.open_with(empty, "b", Open::default());
    assert_eq!(gone, Err(Errno::NOENT), "another directory has its name");
    guest.at(UNLINK, "empty/b/c").unwrap();
    guest.at(RMDIR, "empty/b").unwrap();
    guest.at(MKDIR, "empty/b").unwrap();
    assert_eq!(guest.readdir(dir, 100, 0), Err(Errno::NOENT));
    assert_eq!(
        guest.open_with(dir, "x", Open::default()),
        Err(Errno::NOENT)
    );
}

/// Each round puts the directory `x` one directory deeper, by short paths only. The host keeps the
/// path of an open directory below it, but only while paths can be so long.
#[test]
fn an_open_directory_can_be_moved_out_of_reach() {
    let fs = MemoryFs::new(1 << 20);
    let mut guest = guest(fs, DirAccess::ReadWrite);
    guest.at(MKDIR, "x").unwrap();
    guest.at(MKDIR, "x/open").unwrap();
    let dir = guest.open("x/open", DIRECTORY, READ).unwrap();
    let deeper = |guest: &mut Guest| {
        guest.at(MKDIR, "top").unwrap();
        guest.rename((DIR, "x"), (DIR, "top/x")).unwrap();
        guest.rename((DIR, "top"), (DIR, "x")).unwrap();
    };
    // A path may have 256 names; two of them are `x` and `open`.
    for round in 0..=254 {
        let found = guest.open_with(dir, ".", Open::default());
        assert!(found.is_ok(), "{round}: {found:?}");
        guest.close(found.unwrap()).unwrap();
        deeper(&mut guest);
    }
    for _ in 0..2 {
        let gone = guest.open_with(dir, ".", Open::default());
        assert_eq!(gone, Err(Errno::NOENT));
        deeper(&mut guest);
    }
}

#[test]
fn a_guest_cannot_make_the_host_keep_more_than_the_limit() {
    let fs = MemoryFs::new(100_000);
    let mut guest = guest(fs.clone(), DirAccess::ReadWrite);
    let fd = guest.open("f", CREAT, READ | WRITE).unwrap();
    let end = guest.seek(fd, 1 << 40, 0).unwrap();
    assert_eq!(end, 1 << 40);
    assert_eq!(guest.write(fd, b"x"), Err(Errno::NOSPC));
    let set_size = |size| {
        move |c: &mut WasiCtx, m: &mut GuestMemory<'_>| fdstat::fd_filestat_set_size(c, m, fd, size)
    };
    assert_eq!(guest.call(set_size(1 << 62)), Err(Errno::NOSPC));
    assert_eq!(guest.call(set_size(u64::MAX)), Err(Errno::INVAL));
    let allocated = guest.call(|c, m| fd::fd_allocate(c, m, fd, 0, 1 << 50));
    assert_eq!(allocated, Err(Errno::NOSPC));
    guest.seek(fd, 0, 0).unwrap();
    while guest.write(fd, &[1; 1000]).is_ok() {}
    assert!(fs.used() <= 100_000);
    assert_eq!(guest.write(fd, &[1; 1000]), Err(Errno::NOSPC));
    guest.close(fd).unwrap();
    guest.at(UNLINK, "f").unwrap();
    let mut made = 0;
    while guest.at(MKDIR, &format!("{made}")).is_ok() {
        made += 1;
    }
    assert!((200..400).contains(&made), "{made}");
    assert_eq!(guest.symlink("x", "link"), Err(Errno::NOSPC));
    assert_eq!(
        guest.rename((DIR, "1"), (DIR, "0/1")),
        Ok(()),
        "a rename costs nothing"
    );
}

#[test]
fn several_buffers_appends_and_times() {
    let clock = Arc::new(std::sync::atomic::AtomicU64::new(5));
    let now = Arc::clone(&clock);
    let fs = MemoryFs::with_clock(1 << 20, move || {
        Duration::from_secs(now.load(std::sync::atomic::Ordering::Relaxed))
    });
    fs.write("f", b"0123456789").unwrap();
    let builder = WasiCtxBuilder::new()
        .wall_clock(|| Duration::from_secs(77))
        .mount("/", fs.clone(), DirAccess::ReadWrite)
        .unwrap();
    let mut guest = Guest::new(builder.build());
    let fd = guest.open("f", 0, READ | WRITE).unwrap();
    let (at, _) = guest.put(&[0; 16]);
    let (list, count) = guest.put_list(&[(at, 3), (at + 8, 4)]);
    guest
        .call(|c, m| fd::fd_pread(c, m, fd, list, count, 2, OUT))
        .unwrap();
    assert_eq!(guest.u32(OUT), 7);
    let at = at as usize;
    assert_eq!(
        (&guest.bytes[at..at + 3], &guest.bytes[at + 8..at + 12]),
        (&b"234"[..], &b"5678"[..])
    );
    let too_far = guest.call(|c, m| fd::fd_pread(c, m, fd, list, count, 1 << 63, OUT));
    assert_eq!(too_far, Err(Errno::INVAL));
    guest
        .call(|c, m| fd::fd_pwrite(c, m, fd, list, count, 9, OUT))
        .unwrap();
    assert_eq!(fs.read("f").unwrap(), b"0123456782345678");

    let with = Open {
        rights: READ | WRITE,
        fdflags: APPEND,
        ..Open::default()
    };
    let appends = guest.open_with(DIR, "f", with).unwrap();
    guest.seek(appends, 0, 0).unwrap();
    guest.write(appends, b"!").unwrap();
    assert_eq!(guest.seek(appends, 0, 1), Ok(17));

    clock.store(9, std::sync::atomic::Ordering::Relaxed);
    guest
        .set_times("f", FOLLOW, (3_000_000_000, 0, 1 | 8))
        .unwrap();
    let stat = fs.stat("f").unwrap();
    assert_eq!(
        (stat.accessed, stat.modified, stat.changed),
        (
            Duration::from_secs(3),
            Duration::from_secs(77),
            Duration::from_secs(9)
        )
    );
}

#[test]
fn a_mounted_file_is_always_ready() {
    let mut guest = guest(memory(), DirAccess::ReadOnly);
    let fd = guest.open("d/e", 0, READ).unwrap();
    let mut subscription = [0; 48];
    subscription[8] = 1;
    subscription[16..20].copy_from_slice(&fd.to_le_bytes());
    let (list, _) = guest.put(&subscription);
    let (events, _) = guest.put(&[0; 32]);
    guest
        .call(|c, m| poll::poll_oneoff(c, m, list, events, 1, OUT))
        .unwrap();
    assert_eq!((guest.u32(OUT), guest.u64(events + 16)), (1, 4));
}

#[test]
fn errors_have_names() {
    assert_eq!(Errno::NOSPC.to_string(), "NOSPC (error 51 of WASI)");
    let names: BTreeMap<_, _> = [(Errno::NOENT.raw(), Errno::NOENT)].into();
    assert_eq!(names[&44].to_string(), "NOENT (error 44 of WASI)");
}
