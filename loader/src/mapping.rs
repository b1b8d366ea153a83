//! An artifact in memory: mapped, checked, its GOT patched, its text executable.
//!
//! ```text
//!   file:    | ELF, header, tables, image, functions, names, …, rodata | text  | GOT |
//!   memory:  |                             r                           | r x   | r   |
//!   patched: |                                                                 | copy-on-write,
//!                                                                                then read-only
//! ```
//!
//! The whole file is one private mapping, so text pages are shared between processes. Text is never
//! writable, nothing else is executable, and nothing becomes executable after it was mapped. Nearly
//! every file ends with its text and is mapped in two system calls. The pages of the text are
//! mapped a second time, in their place, in three cases: a GOT or signatures follow the text, the
//! tables are too large to be read beforehand, or a digest or a signature is checked first.
//! Signatures that follow an artifact are in pages of their own, which are never executable.
//!
//! Code that was verified must not change afterwards, so it is not mapped from a file that others
//! can write to, but from a [sealed](crate::sys::sealed) file, see [`Trust`]. Bytes that are in
//! memory already (`include_bytes!`) are copied into a sealed file too, so that there is one way to
//! map code and images.
//!
//! An artifact that is a part of the executable runs where it is. Memories map their image from the
//! executable's file, which is opened when the first instance is made. If it cannot be opened, the
//! image alone is copied into a sealed file.

use std::borrow::Cow;
use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use precast_artifact::target::{Os, native_features};
use precast_artifact::variants::{self, Piece};
use precast_artifact::{
    Artifact, Error as ArtifactError, FoundFile, HEADER_OFFSET, Header, Host, Section,
};

#[cfg(feature = "signatures")]
use precast_signature::{KeyId, TrustedKeys};

use crate::error::Error;
use crate::extents::Extents;
use crate::static_artifact::{EmbeddedArtifact, StaticArtifact};
use crate::sys::file_id::FileId;
use crate::sys::file_map::FileMap;
use crate::sys::map::{page_size, read_start};
use crate::sys::own_file::own_file;
use crate::sys::sealed;
use crate::types::{ConcreteFunc, types_of};
use crate::{arch, checked, got};

/// An artifact in memory.
pub(crate) struct Mapping {
    bytes: Bytes,
    /// A copy of the start of the file, which holds the hot tables. It is empty if the file cannot
    /// change and its tables are large.
    ///
    /// Opening and linking a module read this copy and touch no page of the mapping, which would
    /// cost a page fault, and a page table for a large mapping. The copy also ensures that the
    /// loader uses what it has checked, even if somebody writes to the file against the contract.
    hot: Box<[u64]>,
    /// The types of its signatures, if the artifact refers to types.
    types: Box<[ConcreteFunc]>,
    /// Where [imported functions](Artifact::with_function_imports) are among the imports, if many
    /// imports are something else.
    function_imports: Box<[u32]>,
    /// The file that memory images are mapped from, if the artifact has images. It is set when a
    /// file is mapped. For an artifact of the executable, it is set when the artifact is first
    /// instantiated.
    images: OnceLock<ImageFile>,
    /// The trusted keys that have signed the artifact, if it was opened with [`Trust::Signed`].
    #[cfg(feature = "signatures")]
    pub(crate) signers: Box<[KeyId]>,
}

/// The file that memory images are mapped from.
#[derive(Debug)]
pub(crate) struct ImageFile {
    pub(crate) file: File,
    /// Distance from an offset of the image in the artifact to the same byte's offset in the file.
    /// It may be negative, in two's complement.
    pub(crate) shift: u64,
}

/// Names what is large instead of showing all of it.
impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Mapping");
        shown
            .field("address", &self.bytes.as_ptr())
            .field("len", &self.bytes.len())
            .field("images", &self.images);
        #[cfg(feature = "signatures")]
        shown.field("signers", &self.signers);
        shown.finish_non_exhaustive()
    }
}

/// The bytes of an artifact, with code that can run.
#[derive(Debug)]
enum Bytes {
    /// Mapped from a file.
    Mapped(FileMap),
    /// In this executable.
    Static(&'static [u8]),
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Static(bytes) => bytes,
        }
    }
}

/// What the loader must check or ensure before machine code becomes executable.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trust<'a> {
    /// The caller vouches for the bytes, and for the file not to change while it is mapped.
    Unchecked,
    /// The caller vouches for the bytes as they are now. The loader maps a sealed copy.
    Sealed,
    /// The bytes must have this digest. The loader maps a sealed copy and computes the digest of
    /// that copy.
    Digest(&'a [u8; 32]),
    /// Keys that are trusted must have signed the bytes. As for `Digest`, the loader checks a
    /// sealed copy.
    #[cfg(feature = "signatures")]
    Signed(&'a TrustedKeys),
}

impl Mapping {
    /// Maps the artifact at `path`.
    pub(crate) fn open(path: &Path, trust: Trust<'_>) -> Result<Self, Error> {
        Ok(Self::open_with_id(path, trust)?.0)
    }

    /// Maps the artifact at `path`, and says which file that is.
    pub(crate) fn open_with_id(path: &Path, trust: Trust<'_>) -> Result<(Self, FileId), Error> {
        let fail = |action, source| Error::File {
            action,
            path: path.to_path_buf(),
            source,
        };
        let file = open_at_once(path).map_err(|e| fail("open", e))?;
        let data = regular(&file).map_err(|e| fail("map", e))?;
        let mapping = Self::from_regular(file, data.len(), path, trust)?;
        Ok((mapping, FileId::of(&data)))
    }

    /// Maps the artifact in `file`; `path` is for errors.
    pub(crate) fn from_file(file: File, path: &Path, trust: Trust<'_>) -> Result<Self, Error> {
        let data = regular(&file).map_err(|source| Error::File {
            action: "map",
            path: path.to_path_buf(),
            source,
        })?;
        Self::from_regular(file, data.len(), path, trust)
    }

    /// Maps the artifact in a regular file of `len` bytes.
    fn from_regular(file: File, len: u64, path: &Path, trust: Trust<'_>) -> Result<Self, Error> {
        let fail = |action, source| Error::File {
            action,
            path: path.to_path_buf(),
            source,
        };
        if len == 0 {
            return Err(ArtifactError::NotArtifact(FoundFile::Empty).into());
        }
        let first = read_start(&file, 0, FIRST);
        let variants = variants::parse(bytemuck::cast_slice(&first), len)?;
        let extents = match variants {
            None => Extents::whole(len),
            Some(all) => Extents::of(variants::choose(&all, &full_host())?),
        };
        if matches!(trust, Trust::Unchecked) || sealed::has_verity(&file) {
            return Self::map(file, &extents, path, trust, first);
        }
        // The copy holds only the chosen variant, in one piece.
        let pieces = extents
            .pieces()
            .iter()
            .map(|piece| (piece.start, piece.len));
        let copy = sealed::of_pieces(&file, pieces);
        let (copy, len) = copy.map_err(|e| fail("make a sealed copy in memory of", e))?;
        Self::map(copy, &Extents::whole(len), path, trust, Vec::new())
    }

    /// Maps a sealed copy of `bytes`.
    pub(crate) fn from_bytes(bytes: &[u8], trust: Trust<'_>) -> Result<Self, Error> {
        let name = PathBuf::from("artifact in memory");
        let fail = |source| Error::File {
            action: "make a sealed copy of",
            path: name.clone(),
            source,
        };
        let (file, len) = match variants::parse(bytes, bytes.len() as u64)? {
            None => {
                // Bytes that are no artifact are an error before anything is copied.
                Artifact::parse(bytes, None)
                    .map(drop)
                    .or_else(|e| match e {
                        ArtifactError::Misaligned { .. } => Ok(()),
                        e => Err(e),
                    })?;
                (sealed::of_bytes(bytes), bytes.len())
            }
            Some(all) => {
                let chosen = Extents::of(variants::choose(&all, &full_host())?);
                // The pieces are inside of the bytes, which was checked.
                let piece = |p: &Piece| bytes.get(p.start as usize..(p.start + p.len) as usize);
                let pieces: Vec<&[u8]> = chosen.pieces().iter().filter_map(piece).collect();
                let all = pieces.concat();
                (sealed::of_bytes(&all), all.len())
            }
        };
        let extents = Extents::whole(len as u64);
        Self::map(file.map_err(fail)?, &extents, &name, trust, Vec::new())
    }

    /// Uses an artifact of this executable where it is.
    ///
    /// # Safety
    /// As for [`Module::from_static`](crate::Module::from_static).
    pub(crate) unsafe fn from_static(artifact: *const StaticArtifact) -> Result<Self, Error> {
        // SAFETY: by this function's contract.
        let bytes = unsafe { StaticArtifact::bytes(artifact)? };
        let known = Artifact::reopen(bytes, bytes).filter(checked::is_checked);
        let parsed = match known {
            Some(known) => known,
            None => Artifact::parse(bytes, Some(&host(bytes)))?,
        };
        let types = types_of(&parsed)?;
        if parsed.header().got.len > 0 {
            // SAFETY: the artifact is checked, and only the loader writes to it.
            unsafe { got::patch_in_place(&parsed, &types)? };
        }
        if known.is_none() {
            checked::remember(&parsed);
        }
        Ok(Self {
            bytes: Bytes::Static(bytes),
            hot: Box::default(),
            types,
            function_imports: parsed.scattered_function_imports().into(),
            images: OnceLock::new(),
            #[cfg(feature = "signatures")]
            signers: Box::default(),
        })
    }

    /// Uses an artifact of this executable where it is, or a sealed copy if the loader has to write
    /// into the artifact and cannot.
    pub(crate) fn embedded(artifact: EmbeddedArtifact) -> Result<Self, Error> {
        // SAFETY: by the contract of `EmbeddedArtifact::new`.
        let error = match unsafe { Self::from_static(artifact.start()) } {
            Ok(in_place) => return Ok(in_place),
            Err(error) => error,
        };
        // Only an artifact with a GOT is copied here.
        match artifact.bytes()? {
            Cow::Owned(bytes) => Self::from_bytes(&bytes, Trust::Sealed),
            Cow::Borrowed(_) => Err(error),
        }
    }

    /// Maps the artifact in these extents of a file that starts with `first`, which is empty if
    /// nothing was read yet.
    fn map(
        file: File,
        extents: &Extents,
        path: &Path,
        trust: Trust<'_>,
        first: Vec<u64>,
    ) -> Result<Self, Error> {
        let len = usize::try_from(extents.len()).unwrap_or(usize::MAX);
        let fail = |action, source| Error::File {
            action,
            path: path.to_path_buf(),
            source,
        };
        // The digest is that of the mapped bytes themselves, which become executable only after the
        // check.
        let (hot, code) = match trust {
            Trust::Unchecked => hot_tables(&file, extents, first, len),
            Trust::Sealed => hot_tables(&file, extents, first, MAX_COPIED),
            Trust::Digest(_) => (Box::default(), None),
            #[cfg(feature = "signatures")]
            Trust::Signed(_) => (Box::default(), None),
        };
        // SAFETY: nobody can truncate or overwrite a sealed file. For any other file, the contract
        // of the public functions forbids both while it is mapped.
        let bytes = unsafe { extents.map(&file, len, code) };
        let (bytes, has_code) = bytes.map_err(|e| fail("map", e))?;
        let start = start_of(&hot, &bytes);
        #[cfg(feature = "signatures")]
        let mut signers: Box<[KeyId]> = Box::default();
        let artifact = Artifact::parse_parts(start, &bytes, Some(&host(start)))?;
        match trust {
            Trust::Unchecked | Trust::Sealed => {}
            Trust::Digest(expected) => artifact.verify_digest(Some(expected))?,
            #[cfg(feature = "signatures")]
            Trust::Signed(keys) => signers = keys.verify(&artifact)?.into_boxed_slice(),
        }
        let header = artifact.header();
        let types = types_of(&artifact)?;
        let function_imports = artifact.scattered_function_imports().into();
        if header.got.len > 0 {
            // SAFETY: the artifact is checked, and its mapping is private and new.
            unsafe { got::patch(&artifact, &types)? };
        }
        if header.text.len > 0 && !has_code {
            let (start, len) = pages(header.text);
            let offset = in_one_piece(extents, header.text)? as usize;
            let again = bytes.make_executable(&file, start, len, offset);
            again.map_err(|e| fail("map the code of", e))?;
        }
        let images = OnceLock::new();
        if header.image.len > 0 {
            let offset = in_one_piece(extents, header.image)?;
            let shift = offset.wrapping_sub(HEADER_OFFSET as u64 + header.image.start);
            images.get_or_init(|| ImageFile { file, shift });
        }
        Ok(Self {
            bytes: Bytes::Mapped(bytes),
            function_imports,
            hot,
            types,
            images,
            #[cfg(feature = "signatures")]
            signers,
        })
    }

    /// The artifact's tables.
    #[inline]
    pub(crate) fn artifact(&self) -> Artifact<'_> {
        match Artifact::reopen(start_of(&self.hot, &self.bytes), &self.bytes) {
            Some(artifact) => artifact.with_function_imports(&self.function_imports),
            None => unreachable!("parsed when it was mapped"),
        }
    }

    /// The whole artifact.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The types of its signatures, if the artifact [refers](Artifact::refers_to_types) to types,
    /// else nothing.
    pub(crate) fn types(&self) -> &[ConcreteFunc] {
        &self.types
    }

    pub(crate) fn header(&self) -> &Header {
        self.artifact().header()
    }

    /// The file that images are mapped from, if there are any.
    ///
    /// # Errors
    /// [`Error::File`] when the image of an artifact in the executable is not in a file that can be
    /// found, and cannot be copied into one.
    pub(crate) fn image_file(&self) -> Result<Option<&ImageFile>, Error> {
        let image = self.header().image;
        if self.images.get().is_some() || image.len == 0 {
            return Ok(self.images.get());
        }
        let made = match self.own_file() {
            Some(own) => own,
            None => self.sealed_image(image)?,
        };
        Ok(Some(self.images.get_or_init(|| made)))
    }

    /// The executable's file, for an artifact that is a part of it. Header and hot tables are
    /// compared; the header holds the digest of the whole artifact.
    fn own_file(&self) -> Option<ImageFile> {
        let Bytes::Static(bytes) = self.bytes else {
            return None;
        };
        let compared = Artifact::hot_end(bytes).unwrap_or(usize::MAX);
        let (file, shift) = own_file(bytes, compared)?;
        let aligned = shift.is_multiple_of(page_size() as u64);
        aligned.then_some(ImageFile { file, shift })
    }

    /// A sealed file with the image at its offset in the artifact.
    fn sealed_image(&self, image: Section) -> Result<ImageFile, Error> {
        let start = HEADER_OFFSET as u64 + image.start;
        let parts = [(start, self.artifact().section(image).into())];
        let file = sealed::of_parts(start + image.len, parts.into_iter());
        let file = file.map_err(|source| Error::File {
            action: "make a sealed copy in memory of the image of",
            path: PathBuf::from("artifact in the executable"),
            source,
        })?;
        Ok(ImageFile { file, shift: 0 })
    }

    /// Address of the first byte of the text.
    pub(crate) fn text(&self) -> usize {
        self.bytes.as_ptr() as usize + HEADER_OFFSET + self.header().text.start as usize
    }
}

/// Opens a file for reading. Without `O_NONBLOCK`, opening a FIFO would wait for the other end.
pub(crate) fn open_at_once(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// The metadata of a regular file. Other files are an error, because they may have no end, or
/// reading them may wait for a writer.
pub(crate) fn regular(file: &File) -> io::Result<Metadata> {
    let data = file.metadata()?;
    match data.is_file() {
        true => Ok(data),
        false if data.is_dir() => Err(io::Error::other("it is a directory")),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

/// Hot tables of more bytes than this are copied only if the file could change: copying them costs
/// more than the page faults that the copy avoids.
const MAX_COPIED: usize = 16384;

/// Number of words to read first. They are enough for nearly every artifact and for all records of
/// variants, and the buffer takes one page of memory.
const FIRST: usize = 4096 / size_of::<u64>();

/// Returns a copy of the start of an artifact up to the end of the hot tables, and the offset of
/// the text if the artifact ends with it. The copy is empty if there is no artifact or the copy
/// would have more than `max` bytes. `first` are the first words of the file.
fn hot_tables(
    file: &File,
    extents: &Extents,
    first: Vec<u64>,
    max: usize,
) -> (Box<[u64]>, Option<usize>) {
    let len = usize::try_from(extents.len()).unwrap_or(usize::MAX);
    let mut words = first;
    if extents.start() != 0 || words.is_empty() {
        words = read_start(file, extents.start(), FIRST);
    }
    let end = Artifact::hot_end(bytemuck::cast_slice(&words)).unwrap_or(usize::MAX);
    // A damaged header may name an end beyond the file. Parsing reports it.
    let wanted = end.div_ceil(size_of::<u64>());
    if wanted > words.len() && end <= max.min(len) {
        words = read_start(file, extents.start(), wanted);
    }
    let code = code_at_end(bytemuck::cast_slice(&words), len);
    if wanted > words.len() {
        words.clear();
    }
    words.truncate(wanted);
    (words.into_boxed_slice(), code)
}

/// Returns the offset of the text in a file of `len` bytes that starts with `start`, if the file
/// ends with its text. The header is not checked yet, so only a possible offset counts.
fn code_at_end(start: &[u8], len: usize) -> Option<usize> {
    Artifact::hot_end(start)?;
    let header = Artifact::reopen(start, start)?.header();
    let code = usize::try_from(header.text.start).ok()?;
    let code = code.checked_add(HEADER_OFFSET)?;
    let end = (code as u64).checked_add(header.text.len)?;
    let is_last = header.text.len > 0 && header.got.len == 0 && end == len as u64;
    (is_last && code.is_multiple_of(page_size())).then_some(code)
}

/// The start of the file: the copy if there is one.
#[inline]
fn start_of<'a>(hot: &'a [u64], bytes: &'a [u8]) -> &'a [u8] {
    if hot.is_empty() {
        bytes
    } else {
        bytemuck::cast_slice(hot)
    }
}

/// The whole pages that a section touches: the offset of the first one and their total length in
/// bytes.
fn pages(section: Section) -> (usize, usize) {
    let start = HEADER_OFFSET + section.start as usize;
    let end = (start + section.len as usize).next_multiple_of(page_size());
    (start, end - start)
}

/// The offset in the file of a section that must be in one piece there.
fn in_one_piece(extents: &Extents, section: Section) -> Result<u64, ArtifactError> {
    let start = HEADER_OFFSET as u64 + section.start;
    let offset = extents.offset_of(start, section.len);
    offset.ok_or(ArtifactError::Damaged {
        offset: start,
        what: "code or an image that is in several pieces of the file",
    })
}

/// The CPU features of this machine.
fn cpu_features() -> u64 {
    native_features(arch::ARCH).unwrap_or(0)
}

/// Everything that this machine offers.
fn full_host() -> Host {
    Host {
        arch: arch::ARCH,
        os: Os::Linux,
        cpu_features: cpu_features(),
        page_size: page_size() as u32,
    }
}

/// What this machine offers. CPU features are asked for only if the artifact uses any, because
/// asking takes microseconds under a hypervisor.
fn host(start: &[u8]) -> Host {
    let needed = Artifact::reopen(start, start).map_or(0, |a| a.header().cpu_features);
    Host {
        arch: arch::ARCH,
        os: Os::Linux,
        cpu_features: if needed == 0 { 0 } else { cpu_features() },
        page_size: page_size() as u32,
    }
}
