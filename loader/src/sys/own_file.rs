//! The file that a part of this process's own code or constants was mapped from: the executable, or
//! a shared library.
//!
//! The file is opened by its name, which is `/proc/self/exe` for the executable. That name can lead
//! to another file: `ld.so program` runs under the name of `ld.so`, a library may have been
//! replaced since it was loaded, and an executable can be unpacked by a stub in front of it. So the
//! caller compares what it needs with the bytes in memory.

use std::ffi::{CStr, OsStr, c_void};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// The file from which these bytes were mapped at the start of the program, and the offset of their
/// first byte in it. `None` if the bytes were not mapped from a file or can be written to, if the
/// file is not there, or if the first `compared` bytes at that offset of the file differ from those
/// in memory.
pub(crate) fn own_file(bytes: &'static [u8], compared: usize) -> Option<(File, u64)> {
    let (path, offset) = segment_of(bytes)?;
    let file = File::open(path).ok()?;
    let end = offset.checked_add(bytes.len() as u64)?;
    let data = file.metadata().ok()?;
    if !data.is_file() || data.len() < end {
        return None;
    }
    let mut found = vec![0; compared.min(bytes.len())];
    file.read_exact_at(&mut found, offset).ok()?;
    (found == bytes[..found.len()]).then_some((file, offset))
}

/// What is looked for, and what was found: the path of the file and the offset in it.
struct Search {
    start: u64,
    len: u64,
    found: Option<(PathBuf, u64)>,
}

fn segment_of(bytes: &'static [u8]) -> Option<(PathBuf, u64)> {
    let mut search = Search {
        start: bytes.as_ptr().addr() as u64,
        len: bytes.len() as u64,
        found: None,
    };
    // SAFETY: `visit` is given the search, which lives until the call returns, and `visit` never
    // unwinds.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

/// Looks for the bytes in one object of the process. Returns whether to stop.
///
/// # Safety
/// `info` describes an object, and `search` is a [`Search`].
unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    search: *mut c_void,
) -> libc::c_int {
    // SAFETY: by this function's contract.
    let (info, search) = unsafe { (&*info, &mut *search.cast::<Search>()) };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the object has this many headers there.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let holds = headers.iter().find_map(|header| {
        let readable = header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
        let start = info.dlpi_addr.wrapping_add(header.p_vaddr);
        let inside = search.start.checked_sub(start).filter(|_| readable)?;
        let end = inside.checked_add(search.len)?;
        (end <= header.p_filesz).then(|| header.p_offset.wrapping_add(inside))
    });
    let Some(offset) = holds else {
        return 0;
    };
    let name = match info.dlpi_name.is_null() {
        true => c"",
        // SAFETY: the name of the object, which is a C string.
        false => unsafe { CStr::from_ptr(info.dlpi_name) },
    };
    // The executable has no name.
    let path = match name.to_bytes() {
        b"" => OsStr::new("/proc/self/exe"),
        name => OsStr::from_bytes(name),
    };
    search.found = Some((PathBuf::from(path), offset));
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    static CONSTANT: [u8; 4096] = [0x5a; 4096];

    #[test]
    fn constants_are_found_in_the_executable() {
        let (file, offset) = own_file(&CONSTANT, 100).expect("there is a file");
        let mut found = [0; CONSTANT.len()];
        file.read_exact_at(&mut found, offset).expect("long enough");
        assert_eq!(found, CONSTANT);
    }

    #[test]
    fn other_memory_is_not_found() {
        let heap = Vec::leak(vec![0x5a; 4096]);
        assert!(own_file(heap, 100).is_none());
        static WRITTEN: std::sync::Mutex<[u8; 64]> = std::sync::Mutex::new([1; 64]);
        let bytes = std::ptr::from_ref(&WRITTEN).cast::<u8>();
        // SAFETY: nobody uses the value, and it is this long.
        let bytes = unsafe { std::slice::from_raw_parts(bytes, 64) };
        assert!(own_file(bytes, 1).is_none(), "it can be written to");
    }
}
