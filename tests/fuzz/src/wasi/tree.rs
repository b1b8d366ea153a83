//! Fills directories, makes random paths, and compares what directories hold.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use crate::Case;

/// The content of the files outside of the guest's directories.
pub const SECRET: &str = "SECRET that no guest may read";

/// Names that paths are made of.
const PARTS: [&str; 24] = [
    "a", "b", "c", "f", "g", "h", "l", "la", "up", "out", "abs", "dang", "loop", "dout", "p", "..",
    "..", ".", "", "secret", "sub", "new", "up2", "x",
];

/// A random path of few parts.
pub fn path(case: &mut Case) -> String {
    let mut path = String::new();
    if case.once_in(40) {
        path.push('/');
    }
    for i in 0..*case.one_of(&[1, 1, 1, 2, 2, 3, 4]) {
        if i > 0 {
            path.push('/');
        }
        path += *case.one_of(&PARTS);
    }
    match case.rng.u32(..10) {
        0 => path.push('/'),
        1 if case.once_in(3) => path += "/.",
        1 if case.once_in(3) => path += "//",
        _ => {}
    }
    path
}

/// A random target for a symbolic link.
pub fn target(case: &mut Case) -> String {
    let targets = [
        "f",
        "a",
        "..",
        "../outside",
        "../../outside/secret",
        "/etc",
        "x",
        ".",
        "a/../..",
        "new/",
    ];
    match case.once_in(2) {
        true => (*case.one_of(&targets)).to_owned(),
        false => path(case),
    }
}

/// Fills an empty directory. Absolute symbolic links in it lead to `outside`.
///
/// # Errors
/// Those of the system.
pub fn fill(root: &Path, outside: &Path) -> io::Result<()> {
    let at = |name: &str| root.join(name);
    fs::create_dir_all(at("a/b"))?;
    fs::create_dir(at("c"))?;
    fs::write(at("f"), "content of f")?;
    fs::write(at("a/g"), "content of g")?;
    fs::hard_link(at("f"), at("h"))?;
    let links = [
        ("l", "f"),
        ("la", "a"),
        ("up", ".."),
        ("out", "../outside"),
        ("dang", "nothing"),
        ("loop", "loop"),
        ("dout", "../outside/new"),
        ("a/up2", "../.."),
        ("a/l", "../l"),
        ("a/secret", "../../outside/secret"),
        ("c/out", "../out/"),
        ("c/x", "../x/"),
    ];
    for (name, target) in links {
        symlink(target, at(name))?;
    }
    symlink(outside, at("abs"))?;
    let fifo = CString::new(at("p").as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: the path is a C string.
    match unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Fills the directory that no guest may reach.
///
/// # Errors
/// Those of the system.
pub fn fill_outside(root: &Path) -> io::Result<()> {
    fs::create_dir_all(root.join("sub"))?;
    fs::write(root.join("secret"), SECRET)?;
    fs::write(root.join("sub/canary"), SECRET)
}

/// Describes everything in a directory, by path: its type, and its content or target. With
/// `exactly` also its inode and times, which show changes that were undone.
///
/// # Errors
/// Those of the system.
pub fn snapshot(root: &Path, exactly: bool) -> io::Result<BTreeMap<PathBuf, String>> {
    let mut entries = BTreeMap::new();
    walk(root, Path::new(""), exactly, &mut entries)?;
    Ok(entries)
}

fn walk(
    root: &Path,
    under: &Path,
    exactly: bool,
    entries: &mut BTreeMap<PathBuf, String>,
) -> io::Result<()> {
    let directory = root.join(under);
    for entry in fs::read_dir(&directory)? {
        let name = under.join(entry?.file_name());
        let path = root.join(&name);
        let found = fs::symlink_metadata(&path)?;
        let kind = found.file_type();
        let mut text = if kind.is_symlink() {
            format!("link to {}", fs::read_link(&path)?.display())
        } else if kind.is_dir() {
            walk(root, &name, exactly, entries)?;
            "directory".to_owned()
        } else if kind.is_file() {
            let bytes = fs::read(&path)?;
            let hash = bytes
                .iter()
                .fold(7u64, |h, b| h.wrapping_mul(31).wrapping_add((*b).into()));
            format!(
                "file of {} bytes, {hash:x}, {} names",
                bytes.len(),
                found.nlink()
            )
        } else {
            format!("something else, {} names", found.nlink())
        };
        if exactly {
            let times = (
                found.mtime(),
                found.mtime_nsec(),
                found.ctime(),
                found.ctime_nsec(),
            );
            text += &format!(
                " {} {:o} {times:?} {}",
                found.ino(),
                found.mode(),
                found.uid()
            );
        }
        entries.insert(name, text);
    }
    Ok(())
}

/// The first difference between two snapshots.
pub fn difference(
    expected: &BTreeMap<PathBuf, String>,
    found: &BTreeMap<PathBuf, String>,
) -> Option<String> {
    for (path, text) in expected {
        if found.get(path) != Some(text) {
            let found = found.get(path).map_or("nothing", String::as_str);
            return Some(format!(
                "{}: expected {text}, found {found}",
                path.display()
            ));
        }
    }
    let (path, text) = found
        .iter()
        .find(|(path, _)| !expected.contains_key(*path))?;
    Some(format!(
        "{}: expected nothing, found {text}",
        path.display()
    ))
}
