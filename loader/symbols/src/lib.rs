//! Source files and lines of wasm backtraces, from the DWARF of the module that an artifact was
//! made of.
//!
//! The loader reads no DWARF, and artifacts do not carry the module's by default. A frame of a
//! backtrace has an offset in the module, and [`Symbols`] finds the source line of this offset.
//! Symbols are made of the module itself, of its debugging information alone, which [`debug_part`]
//! takes out of the module, or of an artifact that keeps the module's custom sections, in a file or
//! loaded. Nothing is parsed before the first lookup.
//!
//! Modules need not be trusted. A lookup takes time and memory in proportion to the sections, and
//! less than 256 KiB of stack. Where the DWARF would take more, [`Symbols::at`] returns
//! [`DebugInfoError::Excessive`], and [`describe`] shows these frames without lines, like those of
//! a module whose DWARF is damaged. Names and files are cut to 4 KiB, and [`describe`] shows
//! at most 256 KiB of them. Then they are escaped ([`Symbol`]), which can make them longer.
//!
//! ```no_run
//! use precast_loader::Error;
//! use precast_symbols::Symbols;
//!
//! fn report(error: &Error, wasm: &[u8]) -> Result<String, precast_symbols::DebugInfoError> {
//!     let symbols = Symbols::of_module(wasm)?;
//!     let trace = error.backtrace().map(|trace| symbols.describe(trace).to_string());
//!     Ok(format!("{error}\n{}", trace.unwrap_or_default()))
//! }
//! ```

mod reader;
mod sections;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use addr2line::Context;
use gimli::{Dwarf, SectionId};
use precast_artifact::shown;
use precast_loader::{FrameInfo, Module, WasmBacktrace};

use reader::{EXCESSIVE, Meter, Reader, check_abbreviations};
use sections::Sections;
pub use sections::debug_part;

/// Bytes that have no debugging information, or that are no module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DebugInfoError {
    /// The bytes are not a WebAssembly module.
    #[error("found {what} at offset {offset:#x}, expected a WebAssembly module")]
    NotAModule {
        /// What was found.
        what: &'static str,
        /// The offset of what was found.
        offset: usize,
    },
    /// The module has no DWARF.
    #[error(
        "the module has no section `.debug_info`: compile it with debugging information (`-g`), \
         and do not strip it"
    )]
    None,
    /// The artifact keeps no DWARF of its module.
    #[error(
        "the artifact keeps no section `.debug_info`: compile a module that has it with \
         --keep-custom-sections all, and read the artifact before it is stripped"
    )]
    NotKept,
    /// The bytes are not an artifact.
    #[error("the artifact cannot be read")]
    Artifact(#[from] precast_artifact::Error),
    /// The DWARF is damaged.
    #[error("the debugging information is damaged")]
    Dwarf(#[source] gimli::Error),
    /// The DWARF takes far more time, memory or stack than its size explains: it was made to do
    /// that.
    #[error(
        "the debugging information takes too much to read: its parts refer to each other more often, \
         or are in each other more deeply, than in any real module"
    )]
    Excessive,
}

impl From<gimli::Error> for DebugInfoError {
    fn from(error: gimli::Error) -> Self {
        match error {
            EXCESSIVE => Self::Excessive,
            damaged => Self::Dwarf(damaged),
        }
    }
}

/// A function and the place in its source that an instruction belongs to. Its fields are as the
/// module has them. When a symbol is shown, characters that a terminal obeys, and line breaks, are
/// escaped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Symbol {
    /// The name of the function, without mangling.
    pub name: Option<String>,
    /// The source file.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", shown(self.name.as_deref().unwrap_or("?")))?;
        let Some(file) = &self.file else {
            return Ok(());
        };
        write!(f, "\n             at {}", shown(file))?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        Ok(())
    }
}

/// Maximum number of bytes of a name or a file, as of the names that the loader shows.
const MAX_NAME: usize = 4096;

/// Bytes of names and files that one lookup may find, and that a whole backtrace is shown with:
/// many functions may have one long name.
const ROOM: usize = 64 * MAX_NAME;

/// The debugging information of a module.
pub struct Symbols {
    sections: Sections,
    meter: Arc<Meter>,
    context: OnceLock<Result<Mutex<Context<Reader>>, gimli::Error>>,
}

impl Symbols {
    /// The debugging information of a module, or of what [`debug_part`] took out of the module.
    ///
    /// # Errors
    /// [`DebugInfoError::NotAModule`] and [`DebugInfoError::None`].
    pub fn of_module(wasm: &[u8]) -> Result<Self, DebugInfoError> {
        let sections = Sections::of_module(wasm)?;
        match sections.has_dwarf() {
            true => Ok(Self::of(sections)),
            false => Err(DebugInfoError::None),
        }
    }

    /// The debugging information that an artifact keeps of its module, if it was compiled to keep
    /// custom sections (`precast compile --keep-custom-sections all`). A stripped artifact has
    /// none: its debug file, which `--split-debug` wrote, is the artifact that has.
    ///
    /// # Errors
    /// [`DebugInfoError::Artifact`] and [`DebugInfoError::NotKept`].
    pub fn of_artifact(bytes: &[u8]) -> Result<Self, DebugInfoError> {
        let sections = Sections::of_artifact(bytes)?;
        match sections.has_dwarf() {
            true => Ok(Self::of(sections)),
            false => Err(DebugInfoError::NotKept),
        }
    }

    /// The debugging information of a loaded module whose artifact keeps it, as for
    /// [`of_artifact`](Self::of_artifact). No file is read, so nobody can have replaced it.
    ///
    /// # Errors
    /// [`DebugInfoError::NotKept`].
    pub fn of_loaded(module: &Module) -> Result<Self, DebugInfoError> {
        let sections = Sections::of_loaded(module);
        match sections.has_dwarf() {
            true => Ok(Self::of(sections)),
            false => Err(DebugInfoError::NotKept),
        }
    }

    fn of(sections: Sections) -> Self {
        let size = sections.debug.iter().map(|(_, bytes)| bytes.len()).sum();
        Self {
            sections,
            meter: Arc::new(Meter::new(size)),
            context: OnceLock::new(),
        }
    }

    /// The function at an offset in the module and the functions that it was inlined into,
    /// innermost first. The list is empty if there is no function at the offset.
    ///
    /// # Errors
    /// [`DebugInfoError::Dwarf`] and [`DebugInfoError::Excessive`].
    pub fn at(&self, module_offset: usize) -> Result<Vec<Symbol>, DebugInfoError> {
        // Addresses count from the start of the code section's content.
        let Some(address) = module_offset.checked_sub(self.sections.code) else {
            return Ok(Vec::new());
        };
        let context = match self.context.get_or_init(|| self.parse()) {
            Ok(context) => context.lock().unwrap_or_else(PoisonError::into_inner),
            Err(error) => return Err((*error).into()),
        };
        self.meter.start();
        let mut frames = context.find_frames(address as u64).skip_all_loads()?;
        let mut symbols = Vec::new();
        let mut room = ROOM;
        while let Some(frame) = frames.next()? {
            let name = frame.function.as_ref();
            let name = name.map(|f| f.name.text(MAX_NAME + 3));
            let location = frame.location;
            let file = location.as_ref().and_then(|l| l.file).map(cut);
            let name = name.map(|name| demangled(&name));
            let taken = name.as_deref().map_or(0, str::len) + file.map_or(0, str::len);
            room = room.checked_sub(taken).ok_or(DebugInfoError::Excessive)?;
            symbols.push(Symbol {
                name,
                file: file.map(str::to_owned),
                line: location.as_ref().and_then(|l| l.line),
                column: location.and_then(|l| l.column).filter(|column| *column > 0),
            });
        }
        Ok(symbols)
    }

    fn parse(&self) -> Result<Mutex<Context<Reader>>, gimli::Error> {
        self.meter.start();
        let load = |id: SectionId| {
            let mut sections = self.sections.debug.iter();
            let found = sections.find(|(name, _)| name == id.name());
            let bytes = found.map_or_else(|| Arc::from([]), |(_, bytes)| Arc::clone(bytes));
            Ok::<_, gimli::Error>(Reader::new(bytes, &self.meter))
        };
        let dwarf = Dwarf::load(load)?;
        check_abbreviations(&dwarf)?;
        Context::from_dwarf(dwarf).map(Mutex::new)
    }

    /// A backtrace with source files and lines, for people to read. All frames should be of this
    /// module. For a backtrace through several modules, use the function [`describe`].
    pub fn describe<'a>(&'a self, trace: &'a WasmBacktrace) -> impl fmt::Display {
        describe(trace, move |_| Some(self))
    }
}

impl fmt::Debug for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Symbols")
            .field("sections", &self.sections.debug.len())
            .finish_non_exhaustive()
    }
}

/// A backtrace with source files and lines, for people to read; otherwise as a [`WasmBacktrace`] is
/// displayed. `symbols` is asked for the debugging information of the module of each frame. Names
/// of Rust functions are shown without mangling, with or without debugging information. Frames
/// whose names and files would make the text too long are shown without lines.
pub fn describe<'a>(
    trace: &'a WasmBacktrace,
    symbols: impl Fn(&FrameInfo) -> Option<&'a Symbols> + 'a,
) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        f.write_str("wasm backtrace, innermost first:")?;
        let frames = trace.frames();
        let mut room = ROOM;
        for (i, frame) in frames.iter().enumerate() {
            write!(f, "\n{i:>4}: ")?;
            match frame.module_offset() {
                Some(offset) => write!(f, "{offset:#8x} ")?,
                None => f.write_str("       ? ")?,
            }
            if let Some(module) = frame.module_name() {
                write!(f, "{}!", shown(module))?;
            }
            let found = symbols_of(frame, symbols(frame), &mut room);
            for (n, symbol) in found.iter().enumerate() {
                if n > 0 {
                    f.write_str("\n               ")?;
                }
                write!(f, "{symbol}")?;
            }
            if frame.is_called_by_host() && i + 1 < frames.len() {
                f.write_str("\n      (host)")?;
            }
        }
        if trace.is_truncated() {
            f.write_str("\n      ...")?;
        }
        Ok(())
    })
}

/// The function of a frame, after the functions that were inlined into it, if there is room.
fn symbols_of(frame: &FrameInfo, symbols: Option<&Symbols>, room: &mut usize) -> Vec<Symbol> {
    let name = frame.func_name().map(demangled);
    let found = frame.module_offset().zip(symbols);
    // If the debugging information is damaged, the backtrace is shown without lines.
    let mut found = found
        .and_then(|(offset, symbols)| symbols.at(offset).ok())
        .unwrap_or_default();
    let texts = found.iter().flat_map(|symbol| [&symbol.name, &symbol.file]);
    match room.checked_sub(texts.flatten().map(String::len).sum()) {
        Some(left) => *room = left,
        None => found.clear(),
    }
    match found.last_mut() {
        None => found.push(Symbol {
            name,
            ..Symbol::default()
        }),
        // A name of C++, which linkers write into the module without mangling.
        Some(own) if own.name.as_ref().is_none_or(|name| name.starts_with("_Z")) => {
            own.name = name.or(own.name.take());
        }
        Some(_) => {}
    }
    found
}

/// The beginning of a name or a file: a module may have one of megabytes, for all of its functions.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_NAME)]
}

/// The beginning of a name, that of a Rust function without mangling. A short name can stand for a
/// megabyte, most of which is never made.
///
/// Names of C++ stay as they are: `cpp_demangle` takes time that doubles with each few letters of
/// some names, without any output that could be limited (13 seconds for 300 bytes).
fn demangled(name: &str) -> String {
    struct Beginning(String);
    impl fmt::Write for Beginning {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.push_str(cut(text));
            match self.0.len() <= MAX_NAME {
                true => Ok(()),
                false => Err(fmt::Error),
            }
        }
    }
    let mut beginning = Beginning(String::new());
    match rustc_demangle::try_demangle(name) {
        // The error says only that the name is longer.
        Ok(name) => drop(fmt::write(&mut beginning, format_args!("{name:#}"))),
        Err(_) => beginning.0.push_str(cut(name)),
    }
    beginning.0.truncate(cut(&beginning.0).len());
    beginning.0
}
