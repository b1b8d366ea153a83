//! Directories and small disks that go when their test is over.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use precast_cache::Key;

/// An empty directory.
pub(crate) struct Scratch {
    path: PathBuf,
    mounted: bool,
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!(
            "precast-test-{name}-{}-{number}",
            std::process::id()
        ));
        std::fs::create_dir_all(&path).unwrap();
        Self {
            path,
            mounted: false,
        }
    }

    /// A disk of its own, of so many KiB; nothing, and a word about it, where that is not allowed.
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
            .arg(&scratch.path)
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
            .arg(&self.path)
            .status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a cache in this directory has its entries.
    pub(crate) fn entries(&self) -> PathBuf {
        self.path.join("artifacts-1")
    }

    pub(crate) fn entry(&self, key: &Key) -> PathBuf {
        self.entries().join(format!("{key}.precast"))
    }

    /// Names of all files of the cache but the tag, sorted.
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
            // Lazily: modules may still be mapped.
            let status = Command::new("umount").arg("-l").arg(&self.path).status();
            assert!(status.is_ok_and(|status| status.success()));
        }
        std::fs::remove_dir_all(&self.path).ok();
    }
}

pub(crate) fn is_root() -> bool {
    // SAFETY: always succeeds, touches nothing.
    unsafe { libc::geteuid() == 0 }
}
