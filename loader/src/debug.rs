//! Debug data beside a module: the names and addresses of an artifact that was stripped of them.
//!
//! The debug file of a stripped artifact is the artifact as it was before. Both have the same build
//! id, which is a hash of their code, and the same metadata, which have a hash of the module and
//! the settings: modules that differ in names alone have the same code. So no other file is
//! mistaken for it. Only tables are read from the debug file, and nothing of it ever runs.

use std::io::{self, Read};
use std::path::Path;

use precast_artifact::reader::hex;
use precast_artifact::{Aligned, Artifact};

use crate::error::Error;
use crate::mapping::{open_at_once, regular};
use crate::module::Module;
use crate::vm::module::DebugData;

impl Module {
    /// Identifies the machine code of this module: forty hexadecimal digits, the same for an
    /// artifact with names and for the same artifact without, which `precast inspect` shows. The
    /// hash of the whole code is computed, which takes about half a millisecond for each MB.
    pub fn build_id(&self) -> String {
        hex(&self.code.artifact().build_id())
    }

    /// Reads the names of functions and the map from code to offsets in the WebAssembly module, for
    /// the backtraces of a module whose artifact was stripped of them.
    ///
    /// `path` is the artifact as it was before (`precast compile --split-debug`), or a directory
    /// that has it under the name `BUILD_ID.debug`. Its digest and its signatures are not checked:
    /// it can make backtraces say anything, and do nothing else.
    ///
    /// All that [`Module::open`] gives for the same module, and all clones, use the data from now
    /// on. If the module has some already, nothing changes.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Artifact`], and [`Error::Debug`] if the file is of other code, of
    /// another module that has the same code, or has been stripped too.
    pub fn load_debug(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let (mut path, id) = (path.as_ref().to_path_buf(), self.build_id());
        if path.is_dir() {
            path.push(format!("{id}.debug"));
        }
        let bytes = read(&path).map_err(|source| Error::File {
            action: "read the debug data in",
            path: path.clone(),
            source,
        })?;
        let artifact = Artifact::parse(&bytes, None)?;
        let (found, expected) = (hex(&artifact.build_id()), id);
        if found != expected {
            return Err(Error::Debug {
                path,
                found: format!("its build id is {found}"),
                expected,
            });
        }
        let ours = self.code.artifact();
        if artifact.section(artifact.header().metadata) != ours.section(ours.header().metadata) {
            return Err(Error::Debug {
                path,
                found: "it has the same code, of another module or another compilation".to_owned(),
                expected: "the artifact before it was stripped".to_owned(),
            });
        }
        if artifact.is_stripped() {
            return Err(Error::Debug {
                path,
                found: "it is stripped".to_owned(),
                expected: "the artifact before it was stripped".to_owned(),
            });
        }
        self.code.set_debug(DebugData::of(&artifact));
        Ok(())
    }
}

/// The bytes of a regular file.
fn read(path: &Path) -> io::Result<Aligned> {
    let mut file = open_at_once(path)?;
    let len = usize::try_from(regular(&file)?.len()).unwrap_or(usize::MAX);
    let mut bytes = Aligned::zeros(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
