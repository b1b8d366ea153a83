//! Modules whose code nobody can change: changes to the file that they were opened from, or to the
//! memory that holds them, do not affect the running code.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use precast_artifact::{Artifact, Strategy};
use precast_loader::{Engine, Error, Linker, Module, Store};
use precast_tests::{ArtifactFile, artifact, strategies};

use crate::child::{case, passes_in_child};
use crate::kernel::{Call, Kernel, emulated, names, quiet_allocator};

/// A module with code and data: `f` returns 7, `load` the first byte of the data.
const WAT: &str = r#"(module
    (memory (export "m") 1)
    (data (i32.const 0) "sealed")
    (func (export "f") (result i32) (i32.const 7))
    (func (export "load") (result i32) (i32.load8_u (i32.const 0))))"#;

/// An artifact, in a file and in memory.
struct Artifacts {
    file: ArtifactFile,
    bytes: Vec<u8>,
    digest: [u8; 32],
}

impl Artifacts {
    fn new(strategy: Strategy) -> Self {
        let bytes = artifact(WAT, strategy);
        let file = ArtifactFile::new(&bytes);
        let digest = Artifact::parse(&bytes, None).unwrap().header().digest;
        Self {
            file,
            bytes,
            digest,
        }
    }

    /// Opens the artifact in every way that makes a copy of it.
    fn open_all(&self, engine: &Engine) -> Vec<(&'static str, Module)> {
        // SAFETY: the artifact is from our own compiler.
        let (sealed, bytes) = unsafe {
            (
                Module::open_sealed(engine, self.file.path()),
                Module::from_bytes(engine, &self.bytes),
            )
        };
        vec![
            ("open_sealed", sealed.unwrap()),
            ("open_verified", self.open_verified(engine).unwrap()),
            ("from_bytes", bytes.unwrap()),
            (
                "from_bytes_verified",
                Module::from_bytes_verified(engine, &self.bytes, &self.digest).unwrap(),
            ),
        ]
    }

    fn open_verified(&self, engine: &Engine) -> Result<Module, Error> {
        Module::open_verified(engine, self.file.path(), &self.digest)
    }

    /// Opens the file for writing.
    fn writer(&self) -> File {
        let writer = File::options().write(true).open(self.file.path());
        writer.unwrap()
    }
}

/// The results of `f` and `load` in a new instance.
fn values(engine: &Engine, module: &Module) -> (i32, i32) {
    let mut store = Store::new(engine, ());
    let linker: Linker<()> = Linker::new(engine);
    let instance = linker.instantiate(&mut store, module).unwrap();
    let mut get = |name| {
        let func = instance.get_typed_func::<(), i32>(&mut store, name);
        func.unwrap().call(&mut store, ()).unwrap()
    };
    (get("f"), get("load"))
}

#[test]
fn a_file_that_changes_later_changes_nothing() {
    let engine = Engine::default();
    let expected = (7, i32::from(b's'));
    for strategy in strategies() {
        let file = Artifacts::new(strategy);
        let modules = file.open_all(&engine);
        let zeros = vec![0xcc; file.bytes.len()];
        file.writer().write_all_at(&zeros, 0).unwrap();
        for (how, module) in &modules {
            assert_eq!(values(&engine, module), expected, "{how}: overwritten");
        }
        let damaged = file.open_verified(&engine);
        assert!(matches!(damaged, Err(Error::Artifact(_))), "{damaged:?}");
        // The first instance on another thread maps the memory image again.
        for len in [600, 0] {
            file.writer().set_len(len).unwrap();
            for (how, module) in &modules {
                let engine = Engine::default();
                let other = std::thread::scope(|scope| {
                    let thread = scope.spawn(|| values(&engine, module));
                    thread.join().unwrap()
                });
                assert_eq!(other, expected, "{how}: truncated to {len}");
            }
        }
    }
}

/// The memory files of the loader that this process has open.
fn memory_files() -> Vec<PathBuf> {
    let all = fs::read_dir("/proc/self/fd").unwrap();
    let is_ours = |path: &PathBuf| {
        fs::read_link(path).is_ok_and(|to| to.to_string_lossy().starts_with("/memfd:precast"))
    };
    all.map(|fd| fd.unwrap().path()).filter(is_ours).collect()
}

#[test]
fn the_memory_that_code_is_in_cannot_be_opened_for_change() {
    const NAME: &str = "sealed::the_memory_that_code_is_in_cannot_be_opened_for_change";
    // The test needs a process of its own, because descriptors belong to the whole process.
    if case().is_none() {
        return passes_in_child(NAME, "alone");
    }
    let engine = Engine::default();
    let file = Artifacts::new(Strategy::Guarded);
    let modules = file.open_all(&engine);
    let paths = memory_files();
    assert_eq!(paths.len(), modules.len(), "each keeps its file: {paths:?}");
    for path in paths {
        // SAFETY: the call takes no pointer.
        let seals = |file: &File| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
        let all = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        let opened = File::options().read(true).write(true).open(&path);
        if let Ok(writer) = opened {
            assert_eq!(seals(&writer) & all, all);
            assert!(writer.write_all_at(b"\xcc", 0).is_err());
            assert!(writer.set_len(0).is_err());
            assert!(writer.set_len(1 << 30).is_err());
        }
    }
    for (how, module) in &modules {
        assert_eq!(values(&engine, module).0, 7, "{how}");
    }
}

#[test]
fn no_mapping_becomes_executable_later() {
    const NAME: &str = "sealed::no_mapping_becomes_executable_later";
    /// `PR_SET_MDWE`, and its flag that refuses to add the right to execute.
    const SET: libc::c_int = 65;
    const REFUSE_GAIN: libc::c_ulong = 1;
    let Some(case) = case() else {
        for strategy in strategies() {
            passes_in_child(NAME, strategy.text());
        }
        return;
    };
    let strategy = strategies().into_iter().find(|s| s.text() == case).unwrap();
    // The module is compiled first, because only the loader is tested.
    let file = Artifacts::new(strategy);
    // SAFETY: the call takes no pointer, and only affects this process.
    if unsafe { libc::prctl(SET, REFUSE_GAIN, 0, 0, 0) } != 0 {
        let error = std::io::Error::last_os_error();
        eprintln!("skipped {NAME}: PR_SET_MDWE, of Linux 6.3: {error}");
        return;
    }
    let engine = Engine::default();
    let mapped = file.file.open(&engine);
    let modules = file.open_all(&engine);
    for (how, module) in modules.iter().chain([&("open", mapped)]) {
        assert_eq!(values(&engine, module), (7, i32::from(b's')), "{how}");
    }
}

/// Answers like a file with fs-verity on ext4.
fn verity(call: &Call) -> Option<i64> {
    match call.number {
        libc::SYS_fstatfs => {
            let to = call.args[1] as *mut libc::statfs;
            // SAFETY: the loader passes a pointer to one structure, and its thread waits.
            unsafe {
                to.write(std::mem::zeroed());
                (*to).f_type = 0xef53;
            }
            Some(0)
        }
        libc::SYS_ioctl if call.args[1] == 0xc004_6686 => Some(0),
        _ => None,
    }
}

/// The same answers, for a file system that a user's program serves.
fn verity_of_fuse(call: &Call) -> Option<i64> {
    let answer = verity(call)?;
    if call.number == libc::SYS_fstatfs {
        // SAFETY: as in `verity`.
        unsafe { (*(call.args[1] as *mut libc::statfs)).f_type = 0x6573_5546 };
    }
    Some(answer)
}

#[test]
fn a_copy_is_made_unless_the_system_keeps_the_file() {
    const NAME: &str = "sealed::a_copy_is_made_unless_the_system_keeps_the_file";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "alone");
        }
        return;
    }
    let file = Artifacts::new(Strategy::Checked);
    let engine = Engine::default();
    let open = || file.open_verified(&engine).unwrap();
    let ino = fs::metadata(file.file.path()).unwrap().ino();
    // Whether the file itself is mapped, not a copy.
    let is_mapped = || {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines()
            .any(|line| line.contains(&format!(" {ino} ")) && line.contains("r-xp"))
    };
    quiet_allocator(8 << 20);
    drop(open());
    Kernel::with(|kernel| {
        let copied = [
            "prlimit64",
            "memfd_create",
            "sendfile",
            "fcntl",
            "mmap",
            "mmap",
            "close",
        ];
        let (module, calls) = kernel.answer(verity_of_fuse, open);
        let start = ["openat", "statx", "pread64", "fstatfs"];
        assert_eq!(names(&calls), [&start[..], &copied[..]].concat());
        assert!(!is_mapped());
        drop(module);
        let (module, calls) = kernel.answer(verity, open);
        assert_eq!(
            names(&calls),
            [
                "openat", "statx", "pread64", "fstatfs", "ioctl", "mmap", "mmap"
            ]
        );
        assert!(is_mapped());
        drop(module);
    });
}

/// The system would end the process by a signal.
#[test]
fn copies_beyond_the_limit_of_files_are_errors() {
    const NAME: &str = "sealed::copies_beyond_the_limit_of_files_are_errors";
    if case().is_none() {
        passes_in_child(NAME, "limited");
        return;
    }
    let engine = Engine::default();
    let artifacts = Artifacts::new(Strategy::Guarded);
    let limit = libc::rlimit {
        rlim_cur: artifacts.bytes.len() as u64 - 1,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the structure lives during the call.
    unsafe { assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0) };
    let path = artifacts.file.path();
    // SAFETY: our own compiler has just written these bytes, and nobody changes the file.
    let (copied, sealed) = unsafe {
        (
            Module::from_bytes(&engine, &artifacts.bytes),
            Module::open_sealed(&engine, path),
        )
    };
    let verified = Module::open_verified(&engine, path, &artifacts.digest);
    for result in [copied, sealed, verified] {
        let error = result.unwrap_err();
        let source = std::error::Error::source(&error).expect("a reason");
        let reason = format!(
            "limited to {} bytes (RLIMIT_FSIZE, `ulimit -f`): raise that limit",
            limit.rlim_cur
        );
        assert!(source.to_string().ends_with(&reason), "{error}: {source}");
    }
}
