//! One entry on disk: finding, checking, writing it.
//!
//! An entry appears by renaming, whole, and never changes after that; see `directory` for names and
//! trust. Finding it costs one open, and nothing that grows with the artifact: its owner, mode,
//! length and [seal](crate::seal) come with the open file, and the loader checks header and hot
//! tables when it maps it. Only without its seal an entry is read and checked in full: the
//! digest, and that its metadata name the very module and settings that are wanted.

use std::fs::{self, File, FileTimes, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytemuck::{bytes_of_mut, cast_slice_mut};
use precast_artifact::metadata::Metadata as ArtifactMetadata;
use precast_artifact::{Artifact, Error as ArtifactError, HEADER_OFFSET, Header, MAGIC};
use precast_loader::{Engine, Module};
use rustix::fs::OFlags;

use crate::directory::{Directory, distrust, is_trusted};
use crate::key::Wanted;
use crate::{Error, Key, seal};

/// How often the time of an entry's last use is written: as often as a `relatime` mount does it.
const USE_IS_NOTED_EVERY: Duration = Duration::from_hours(24);

/// What is in the place of an entry.
#[derive(Debug)]
pub(crate) enum Found {
    /// The artifact, and what it cost.
    Module {
        module: Module,
        bytes: u64,
        /// All of it was read.
        checked: bool,
    },
    /// Nothing.
    Nothing,
    /// Something that must not be used.
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
    /// precast wrote it, and something is wrong with it.
    Delete,
    /// It does not look like anything that precast wrote, so it must not be deleted.
    MoveAside,
    /// It could not be looked at: no descriptor is left, no memory, or the disk fails. It may be as good
    /// as ever.
    Leave,
}

impl Found {
    /// Whether there is something that must stay as it is.
    pub(crate) fn is_to_be_left(&self) -> bool {
        matches!(self, Self::Unusable(fault) if fault.remedy == Remedy::Leave)
    }
}

/// Looks for an entry.
///
/// # Errors
/// For what is nobody's damage: an artifact that is whole and does not run here, no memory.
pub(crate) fn load(
    directory: &Directory,
    engine: &Engine,
    wanted: &Wanted,
) -> Result<Found, Error> {
    let path = directory.entry(&wanted.key);
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
    let sealed = seal::holds(&found, &wanted.key);
    if !sealed {
        if let Err(fault) = check(&mut file, &found, Some(wanted)) {
            return Ok(Found::Unusable(fault));
        }
        let unchanged = file.metadata().is_ok_and(|now| {
            (now.modified().ok(), now.len()) == (found.modified().ok(), found.len())
        });
        if !unchanged {
            return unusable("it changed while it was read".to_owned(), Remedy::Delete);
        }
        if directory.is_writable()
            && let Err(error) = seal::set(&file, &wanted.key, found.len())
        {
            tracing::debug!(path = %path.display(), %error, "cannot seal the entry");
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
            // The seal holds and still the header is wrong: damage below the file system.
            unusable(error.to_string(), Remedy::Delete)
        }
        Err(error) => Err(error),
    }
}

/// Maps the artifact in `file`, which is what `found` says and was checked; or a copy of it in memory,
/// where the system does not let code be mapped from the directory.
fn map(
    directory: &Directory,
    engine: &Engine,
    file: File,
    found: &Metadata,
    path: &Path,
) -> Result<Module, Error> {
    if directory.has_executable_files() {
        // SAFETY: the file is ours or root's and nobody else may write to it. It was written by this
        // module, from a compiler's output, and not written to since: its seal says so, or its digest.
        // Nobody writes to it while it is mapped: entries are replaced by renaming, and read-only.
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
            return Err(io::Error::other("it was replaced while it was looked at"));
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
    // SAFETY: as above.
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

/// What to do about an entry that cannot be opened: what is there, if that can be told.
fn not_opened(path: &Path, error: &io::Error) -> Unusable {
    let fault = fs::symlink_metadata(path)
        .ok()
        .and_then(|found| may_be_ours(&found).err());
    fault.unwrap_or_else(|| Unusable {
        reason: format!("cannot be opened: {error}"),
        remedy: Remedy::Leave,
    })
}

/// Whether what is in the place of an entry can have been written by precast.
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

/// Whether a file has no other name (hard link), by which others could reach and change it: a guest of
/// ours, with a directory that has the other name in it. No entry ever gets one from us.
pub(crate) fn one_name(found: &Metadata) -> Result<(), Unusable> {
    match found.nlink() {
        0 | 1 => Ok(()),
        names => Err(Unusable {
            reason: format!("it has {names} names (hard links), expected one"),
            remedy: Remedy::Delete,
        }),
    }
}

/// Writes an entry: afterwards it is there, whole and on the disk, or it is not.
pub(crate) fn store(directory: &Directory, key: &Key, artifact: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (path, mut file) = loop {
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
    // Whoever sweeps knows from the lock that the file is being written. Without locks its age
    // must do.
    file.try_lock().ok();
    let mut write = || {
        file.write_all(artifact)?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o400))?;
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

/// Makes room in the place of an entry that is not used. The caller holds the entry's lock.
///
/// What precast wrote is deleted, anything else gets another name.
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

/// Reads and checks all of an entry: that it is a whole artifact, and the wanted one.
pub(crate) fn check(
    file: &mut File,
    found: &Metadata,
    wanted: Option<&Wanted>,
) -> Result<ArtifactMetadata, Unusable> {
    let fault = |reason: String, remedy| Unusable { reason, remedy };
    let unreadable = |error: io::Error| {
        // Shorter than when it was opened: truncated.
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
    // Before so much memory is asked for.
    if let Some(header) = header(&start)
        && header.file_len != found.len()
    {
        let reason = format!("{} bytes, its header says {}", found.len(), header.file_len);
        return Err(fault(reason, Remedy::Delete));
    }
    let len = usize::try_from(found.len()).unwrap_or(usize::MAX);
    let mut words: Vec<u64> = Vec::new();
    words
        .try_reserve_exact(len.div_ceil(8))
        .map_err(|_| fault("there is no memory to read it".to_owned(), Remedy::Leave))?;
    words.resize(len.div_ceil(8), 0);
    let bytes = &mut cast_slice_mut(&mut words)[..len];
    file.rewind()
        .and_then(|()| file.read_exact(bytes))
        .map_err(unreadable)?;
    let damage = |error: &dyn std::fmt::Display| fault(error.to_string(), Remedy::Delete);
    let artifact = Artifact::parse(bytes, None).map_err(|e| damage(&e))?;
    artifact.verify_digest(None).map_err(|e| damage(&e))?;
    let metadata = ArtifactMetadata::decode(artifact.section(artifact.header().metadata))
        .map_err(|e| damage(&e))?;
    if let Some(Wanted {
        source_digest,
        identity,
        ..
    }) = wanted
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
    Ok(metadata)
}

/// What an entry says about itself, unchecked and without reading it all: for people.
pub(crate) fn describe(path: &Path) -> Option<ArtifactMetadata> {
    let mut file = open(path).ok()?;
    let header = *header(&read_start(&mut file).ok()?)?;
    let (start, len) = (header.metadata.start, header.metadata.len);
    // As the decoder would refuse more.
    let mut bytes = vec![0; usize::try_from(len).ok().filter(|len| *len <= 1 << 20)?];
    file.seek(io::SeekFrom::Start(
        start.checked_add(HEADER_OFFSET as u64)?,
    ))
    .ok()?;
    file.read_exact(&mut bytes).ok()?;
    ArtifactMetadata::decode(&bytes).ok()
}

pub(crate) fn open(path: &Path) -> io::Result<File> {
    // A pipe must not make us wait, a link must not lead elsewhere.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// Notes that an entry is used, unless that was noted not long ago.
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
        tracing::debug!(ino = found.ino(), %error, "cannot note the use of an entry");
    }
}

/// The bytes up to the end of the header, fewer if there are no more.
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

/// Whether a file starts as an artifact does, as far as it goes.
fn looks_ours(start: &[u8]) -> bool {
    let is_prefix = |bytes: &[u8], of: &[u8]| {
        let len = bytes.len().min(of.len());
        bytes[..len] == of[..len]
    };
    is_prefix(start, b"\x7fELF") && is_prefix(start.get(HEADER_OFFSET..).unwrap_or(&[]), &MAGIC)
}

/// Whether the file at `path` starts as an artifact does.
pub(crate) fn is_ours(path: &Path) -> bool {
    open(path)
        .and_then(|mut file| read_start(&mut file))
        .is_ok_and(|start| looks_ours(&start))
}
