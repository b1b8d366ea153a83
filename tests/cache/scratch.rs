//! Temporary directories and small file systems, which are removed at the end of a test.

use std::path::{Path, PathBuf};
use std::process::Command;

use precast_cache::Key;
use tempfile::TempDir;

/// An empty directory. Dropping it removes it.
pub(crate) struct Scratch {
    dir: TempDir,
    mounted: bool,
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let prefix = format!("precast-test-{name}-");
        Self {
            dir: TempDir::with_prefix(prefix).unwrap(),
            mounted: false,
        }
    }

    /// An empty directory on a tmpfs, whose change times tell of every change. The directory for
    /// temporary files may be on a file system whose times do not.
    pub(crate) fn in_memory(name: &str) -> Self {
        let prefix = format!("precast-test-{name}-");
        Self {
            dir: TempDir::with_prefix_in(prefix, "/dev/shm").unwrap(),
            mounted: false,
        }
    }

    /// A file system of its own with this size in KiB. Where mounting is not allowed, it prints a
    /// message and returns `None`.
    pub(crate) fn disk(name: &str, kib: u32) -> Option<Self> {
        let mut scratch = Self::new(name);
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={kib}k,mode=0700"),
                "tmpfs",
            ])
            .arg(scratch.path())
            .output();
        scratch.mounted = mounted.is_ok_and(|output| output.status.success());
        if !scratch.mounted {
            eprintln!("skipped {name}: only root may mount a small tmpfs");
        }
        scratch.mounted.then_some(scratch)
    }

    pub(crate) fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(self.path())
            .status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The directory in which a cache in this directory keeps its entries.
    pub(crate) fn entries(&self) -> PathBuf {
        self.path().join("artifacts-1")
    }

    pub(crate) fn entry(&self, key: &Key) -> PathBuf {
        self.entries().join(format!("{key}.precast"))
    }

    /// The sorted names of all files of the cache except its `CACHEDIR.TAG`.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.entries())
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "CACHEDIR.TAG")
            .collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.mounted {
            // With `-l`, because modules may still be mapped.
            let status = Command::new("umount").arg("-l").arg(self.path()).status();
            assert!(status.is_ok_and(|status| status.success()));
        }
    }
}

pub(crate) fn is_root() -> bool {
    // SAFETY: the call always succeeds and touches no memory.
    unsafe { libc::geteuid() == 0 }
}
