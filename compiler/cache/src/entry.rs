//! One entry on disk: finding, checking and writing it.
//!
//! An entry is written under a temporary name and renamed when it is complete, and never changes
//! after that; see `directory` for names and trust. A lookup costs one open, and nothing that grows
//! with the artifact: owner, mode, length and [seal](crate::seal) are attributes of the open file,
//! and the loader checks the header and the hot tables when it maps the file. Only an entry without
//! its seal is read and checked in full: its digest, and that its metadata name the requested
//! module, compiler and settings.

use std::fs::{self, File, FileTimes, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytemuck::bytes_of_mut;
use precast_artifact::metadata::Metadata as ArtifactMetadata;
use precast_artifact::{
    Aligned, Artifact, Error as ArtifactError, HEADER_OFFSET, Header, MAGIC, trailer,
};
use precast_loader::{Engine, Module, TrustedKeys};
use rustix::fs::OFlags;

use crate::callback::event;
use crate::directory::{Directory, distrust, is_trusted};
use crate::key::Request;
use crate::{Error, Key, Options, seal};

/// How often the time of an entry's last use is written: as often as on a `relatime` mount.
const USE_IS_NOTED_EVERY: Duration = Duration::from_hours(24);

/// The result of looking for an entry.
#[derive(Debug)]
pub(crate) enum Found {
    /// The entry is there and its artifact is mapped.
    Module {
        module: Module,
        bytes: u64,
        /// Whether the entry was read and checked in full.
        checked: bool,
    },
    /// There is no entry.
    Nothing,
    /// There is a file, but it must not be used.
    Unusable(Unusable),
}

/// Why an entry is not used.
#[derive(Debug, Clone)]
pub(crate) struct Unusable {
    pub(crate) reason: String,
    pub(crate) remedy: Remedy,
}

/// What to do about an entry that is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// precast wrote the file, and something is wrong with it.
    Delete,
    /// The file does not look like one that precast wrote, so it must not be deleted.
    MoveAside,
    /// The file could not be read, because there is no descriptor or memory left or the disk fails.
    /// It may be intact.
    Leave,
}

impl Found {
    /// Whether there is a file that must stay as it is.
    pub(crate) fn is_to_be_left(&self) -> bool {
        matches!(self, Self::Unusable(fault) if fault.remedy == Remedy::Leave)
    }
}

/// Looks for an entry and maps it.
///
/// # Errors
/// If the entry is not damaged but cannot be used: the artifact cannot run here, or the system has
/// no memory.
pub(crate) fn load(
    directory: &Directory,
    engine: &Engine,
    request: &Request,
    options: &Options,
) -> Result<Found, Error> {
    let path = directory.entry(&request.key);
    let unusable = |reason: String, remedy| Ok(Found::Unusable(Unusable { reason, remedy }));
    let mut file = match open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Ok(Found::Unusable(not_opened(&path, &error))),
    };
    let found = file
        .metadata()
        .map_err(Error::file("read the size of", &path))?;
    if let Err(fault) = may_be_ours(&found).and_then(|()| one_name(&found)) {
        return Ok(Found::Unusable(fault));
    }
    if let Some(keys) = &options.trusted {
        return load_signed(&mut file, &found, engine, request, keys, options);
    }
    let sealed = seal::holds(&found, &request.key);
    if !sealed {
        if let Err(fault) = check(&mut file, &found, Some(request)) {
            return Ok(Found::Unusable(fault));
        }
        let unchanged = file.metadata().is_ok_and(|now| {
            (now.modified().ok(), now.len()) == (found.modified().ok(), found.len())
        });
        if !unchanged {
            return unusable("it changed while it was read".to_owned(), Remedy::Delete);
        }
        if directory.is_writable()
            && let Err(error) = seal::set(&file, &request.key, found.len())
        {
            event!(debug, path = %path.display(), %error, "cannot seal the entry");
        }
    } else if directory.is_writable() {
        note_use(&file, &found);
    }
    let module = map(directory, engine, file, &found, &path);
    match module {
        Ok(module) => Ok(Found::Module {
            module,
            bytes: found.len(),
            checked: !sealed,
        }),
        Err(Error::Load(precast_loader::Error::Artifact(error)))
            if !matches!(error, ArtifactError::Mismatch(_)) =>
        {
            // The seal holds, but the header is wrong: the disk damaged the file.
            unusable(error.to_string(), Remedy::Delete)
        }
        Err(error) => Err(error),
    }
}

/// Reads an entry in full, checks that trusted keys have signed it, and maps a sealed copy of
/// exactly the bytes that were checked.
fn load_signed(
    file: &mut File,
    found: &Metadata,
    engine: &Engine,
    request: &Request,
    keys: &TrustedKeys,
    options: &Options,
) -> Result<Found, Error> {
    let bytes = match read_checked(file, found, Some(request)) {
        Ok((_, bytes)) => bytes,
        Err(fault) => return Ok(Found::Unusable(fault)),
    };
    match Module::from_bytes_signed(engine, &bytes, keys) {
        Ok(module) => Ok(Found::Module {
            module,
            bytes: found.len(),
            checked: true,
        }),
        Err(precast_loader::Error::Signature(error)) => {
            Ok(Found::Unusable(not_trusted(&error, options)))
        }
        Err(error) => Err(error.into()),
    }
}

/// The fault of an entry that no trusted key has signed. Only a cache that can sign replaces such
/// an entry.
fn not_trusted(error: &precast_loader::SignatureError, options: &Options) -> Unusable {
    Unusable {
        reason: error.to_string(),
        remedy: match options.secret {
            Some(_) => Remedy::Delete,
            None => Remedy::Leave,
        },
    }
}

/// Maps the artifact in `file`, which was checked and has the metadata `found`. If the system does
/// not allow code to be mapped from the directory, maps a copy in memory instead.
fn map(
    directory: &Directory,
    engine: &Engine,
    file: File,
    found: &Metadata,
    path: &Path,
) -> Result<Module, Error> {
    if directory.has_executable_files() {
        // SAFETY: the file belongs to this user or root, and nobody else may write to it. This
        // module wrote it from a compiler's output, and nobody wrote to it since: its seal or its
        // digest shows that. Nobody writes to it while it is mapped: entries are read-only and
        // replaced by renaming.
        match unsafe { Module::from_file(engine, file, path) } {
            Err(precast_loader::Error::File { source, .. })
                if source.kind() == ErrorKind::PermissionDenied =>
            {
                directory.note_no_executable_files(source);
            }
            result => return Ok(result?),
        }
    } else {
        drop(file);
    }
    let read = || {
        let mut file = open(path)?;
        let now = file.metadata()?;
        let identity = |data: &Metadata| (data.dev(), data.ino(), data.len(), data.modified().ok());
        if identity(&now) != identity(found) {
            return Err(io::Error::other("it was replaced while it was checked"));
        }
        let mut bytes = Vec::new();
        let len = usize::try_from(now.len()).unwrap_or(usize::MAX);
        bytes
            .try_reserve_exact(len)
            .map_err(|_| ErrorKind::OutOfMemory)?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(Error::file("read", path))?;
    // SAFETY: the bytes are those of the file, so they are trusted for the same reasons.
    unsafe { Module::from_bytes(engine, &bytes) }.map_err(|error| match error {
        precast_loader::Error::File { source, .. }
            if source.kind() == ErrorKind::PermissionDenied =>
        {
            Error::NoCode {
                directory: directory.root.clone(),
                source,
            }
        }
        error => error.into(),
    })
}

/// What is wrong with an entry that cannot be opened, and what to do about it.
fn not_opened(path: &Path, error: &io::Error) -> Unusable {
    let fault = fs::symlink_metadata(path)
        .ok()
        .and_then(|found| may_be_ours(&found).err());
    fault.unwrap_or_else(|| Unusable {
        reason: format!("cannot be opened: {error}"),
        remedy: Remedy::Leave,
    })
}

/// Checks that precast can have written the file with this metadata.
pub(crate) fn may_be_ours(found: &Metadata) -> Result<(), Unusable> {
    let reason = if !found.is_file() {
        "it is not a file".to_owned()
    } else if !is_trusted(found) {
        distrust(found)
    } else {
        return Ok(());
    };
    Err(Unusable {
        reason,
        remedy: Remedy::MoveAside,
    })
}

/// Checks that a file has no second name (hard link). Others could change the file through it, for
/// instance a guest that may write to the directory of the second name. The cache never makes hard
/// links to its entries.
pub(crate) fn one_name(found: &Metadata) -> Result<(), Unusable> {
    match found.nlink() {
        0 | 1 => Ok(()),
        names => Err(Unusable {
            reason: format!("it has {names} names (hard links), expected one"),
            remedy: Remedy::Delete,
        }),
    }
}

/// Creates a temporary file, to be renamed when it is complete.
pub(crate) fn create(directory: &Directory, key: &Key) -> io::Result<(PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (path, file) = loop {
        let path = directory.temporary(key, NEXT.fetch_add(1, Ordering::Relaxed));
        let create = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match create {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == ErrorKind::NotFound => directory.restore()?,
            file => break (path, file?),
        }
    };
    // The lock tells a process that removes left-over files that this file is being written. On a
    // file system without locks the age of the file has to do.
    file.try_lock().ok();
    Ok((path, file))
}

/// Writes an entry. It appears whole and synced to the disk, or not at all.
pub(crate) fn store(directory: &Directory, key: &Key, artifact: &[u8]) -> io::Result<()> {
    let (path, mut file) = create(directory, key)?;
    let mut write = || {
        file.write_all(artifact)?;
        file.set_permissions(Permissions::from_mode(directory.entry_mode()?))?;
        seal::set(&file, key, artifact.len() as u64)?;
        file.sync_all()?;
        fs::rename(&path, directory.entry(key))?;
        File::open(&directory.entries)?.sync_all()
    };
    let written = write();
    if written.is_err() {
        fs::remove_file(&path).ok();
    }
    written
}

/// Removes an unusable file from the path of an entry. The caller holds the entry's lock.
///
/// A file that precast wrote is deleted; a foreign file is renamed.
pub(crate) fn discard(directory: &Directory, key: &Key, remedy: Remedy) -> io::Result<()> {
    let path = directory.entry(key);
    match remedy {
        Remedy::Leave => return Ok(()),
        Remedy::Delete => return fs::remove_file(path),
        Remedy::MoveAside => {}
    }
    for number in 0.. {
        let aside = directory.foreign(key, number);
        let renamed = rustix::fs::renameat_with(
            rustix::fs::CWD,
            &path,
            rustix::fs::CWD,
            &aside,
            rustix::fs::RenameFlags::NOREPLACE,
        );
        match renamed {
            Err(rustix::io::Errno::EXIST) => {}
            renamed => return Ok(renamed?),
        }
    }
    Ok(())
}

/// Reads an entry in full and checks that it is a complete artifact, and the requested one.
pub(crate) fn check(
    file: &mut File,
    found: &Metadata,
    request: Option<&Request>,
) -> Result<ArtifactMetadata, Unusable> {
    read_checked(file, found, request).map(|(metadata, _)| metadata)
}

/// Like [`check`], and returns the bytes of the artifact as well.
fn read_checked(
    file: &mut File,
    found: &Metadata,
    request: Option<&Request>,
) -> Result<(ArtifactMetadata, Aligned), Unusable> {
    let fault = |reason: String, remedy| Unusable { reason, remedy };
    let unreadable = |error: io::Error| {
        // The file is shorter than when it was opened: somebody truncated it.
        let remedy = match error.kind() {
            ErrorKind::UnexpectedEof => Remedy::Delete,
            _ => Remedy::Leave,
        };
        fault(format!("cannot be read: {error}"), remedy)
    };
    let start = read_start(file).map_err(unreadable)?;
    if !looks_ours(&start) {
        let found = precast_artifact::FoundFile::sniff(&start);
        return Err(fault(format!("it is {found}"), Remedy::MoveAside));
    }
    // The length is checked before memory for the whole file is allocated. Signatures may follow.
    if let Some(header) = header(&start)
        && found
            .len()
            .checked_sub(header.file_len)
            .is_none_or(|tail| tail > trailer::MAX_LEN)
    {
        let reason = format!("{} bytes, its header says {}", found.len(), header.file_len);
        return Err(fault(reason, Remedy::Delete));
    }
    let len = usize::try_from(found.len()).unwrap_or(usize::MAX);
    let mut bytes = Aligned::zeros(len)
        .map_err(|_| fault("there is no memory to read it".to_owned(), Remedy::Leave))?;
    file.rewind()
        .and_then(|()| file.read_exact(&mut bytes))
        .map_err(unreadable)?;
    let damage = |error: &dyn std::fmt::Display| fault(error.to_string(), Remedy::Delete);
    let artifact = match Artifact::parse(&bytes, None) {
        // A precast of another ABI, which shares this directory, may have written the entry.
        Err(error @ precast_artifact::Error::Mismatch(_)) if request.is_none() => {
            return Err(fault(error.to_string(), Remedy::Leave));
        }
        parsed => parsed.map_err(|e| damage(&e))?,
    };
    artifact.verify_digest(None).map_err(|e| damage(&e))?;
    let metadata = ArtifactMetadata::decode(artifact.section(artifact.header().metadata))
        .map_err(|e| damage(&e))?;
    if let Some(Request {
        source_digest,
        identity,
        ..
    }) = request
    {
        let fits = metadata.source_digest == *source_digest
            && metadata.producer == identity.producer
            && metadata.target == identity.target
            && metadata.settings == identity.settings
            && artifact.header().abi == identity.abi;
        if !fits {
            let reason = "it is of another module, compiler or settings than its name says";
            return Err(fault(reason.to_owned(), Remedy::Delete));
        }
    }
    Ok((metadata, bytes))
}

/// Looks for an entry, reads it and checks it in full, for a caller that needs the bytes and maps
/// nothing. `None` if there is no entry.
pub(crate) fn read(
    directory: &Directory,
    request: &Request,
    options: &Options,
) -> Result<Option<Vec<u8>>, Unusable> {
    let path = directory.entry(&request.key);
    let mut file = match open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(not_opened(&path, &error)),
    };
    let found = file.metadata().map_err(|error| not_opened(&path, &error))?;
    may_be_ours(&found).and_then(|()| one_name(&found))?;
    let (_, bytes) = read_checked(&mut file, &found, Some(request))?;
    let artifact = Artifact::parse(&bytes, None).map_err(|error| Unusable {
        reason: error.to_string(),
        remedy: Remedy::Delete,
    })?;
    if let Some(keys) = &options.trusted {
        let signers = keys.verify(&artifact);
        signers.map_err(|error| not_trusted(&error, options))?;
    }
    if directory.is_writable() {
        note_use(&file, &found);
    }
    Ok(Some(artifact.bytes().to_vec()))
}

/// Reads the metadata of an entry for display. Neither checks the entry nor reads it in full.
pub(crate) fn describe(path: &Path) -> Option<ArtifactMetadata> {
    let mut file = open(path).ok()?;
    let header = *header(&read_start(&mut file).ok()?)?;
    let (start, len) = (header.metadata.start, header.metadata.len);
    // The decoder refuses longer metadata, so there is no need to read them.
    let mut bytes = vec![0; usize::try_from(len).ok().filter(|len| *len <= 1 << 20)?];
    file.seek(io::SeekFrom::Start(
        start.checked_add(HEADER_OFFSET as u64)?,
    ))
    .ok()?;
    file.read_exact(&mut bytes).ok()?;
    ArtifactMetadata::decode(&bytes).ok()
}

pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Opening must not block on a named pipe, and must not follow a symbolic link.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// Writes the time of use of an entry, unless it was written in the last day.
fn note_use(file: &File, found: &Metadata) {
    let (Ok(used), Ok(written)) = (found.accessed(), found.modified()) else {
        return;
    };
    let now = SystemTime::now();
    let long_ago = now
        .duration_since(used)
        .is_ok_and(|age| age >= USE_IS_NOTED_EVERY);
    if (used <= written || long_ago)
        && let Err(error) = file.set_times(FileTimes::new().set_accessed(now))
    {
        event!(debug, ino = found.ino(), %error, "cannot note the use of an entry");
    }
}

/// Reads the bytes up to the end of the header, or all bytes if the file is shorter.
fn read_start(file: &mut File) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    file.take((HEADER_OFFSET + size_of::<Header>()) as u64)
        .read_to_end(&mut start)?;
    Ok(start)
}

fn header(start: &[u8]) -> Option<Box<Header>> {
    let bytes = start.get(HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>())?;
    let mut header: Box<Header> = Box::new(bytemuck::Zeroable::zeroed());
    bytes_of_mut(&mut *header).copy_from_slice(bytes);
    Some(header)
}

/// Whether a file starts like an artifact. A file that is too short must be the start of one.
fn looks_ours(start: &[u8]) -> bool {
    let is_prefix = |bytes: &[u8], of: &[u8]| {
        let len = bytes.len().min(of.len());
        bytes[..len] == of[..len]
    };
    is_prefix(start, b"\x7fELF") && is_prefix(start.get(HEADER_OFFSET..).unwrap_or(&[]), &MAGIC)
}

/// Whether the file at `path` starts like an artifact.
pub(crate) fn is_ours(path: &Path) -> bool {
    open(path)
        .and_then(|mut file| read_start(&mut file))
        .is_ok_and(|start| looks_ours(&start))
}
