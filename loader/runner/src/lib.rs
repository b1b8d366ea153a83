//! Runs the program that `precast exe` put into this executable.
//!
//! The system has mapped the artifact together with the runner, as one more segment, and its code
//! runs where it is: see [`precast_artifact::executable`]. A program of WASI preview 1 is given the
//! executable's standard streams and arguments, and what was set when the executable was made:
//! directories, environment variables and further arguments. Its exit code is the executable's;
//! after a trap it is 134, and 1 if the executable is damaged or the program cannot be started.
//!
//! Linked statically, a runner needs nothing of the system that it runs on but its kernel:
//!
//! ```console
//! $ rustup target add x86_64-unknown-linux-musl
//! $ cargo install --locked --path loader/runner --profile runner \
//!     --target x86_64-unknown-linux-musl
//! $ precast exe app.wasm -o app               # finds precast-runner beside precast
//! $ cat Containerfile
//! FROM scratch
//! COPY app /app
//! ENTRYPOINT ["/app"]
//! ```
//!
//! That is 680 KB. With the C library of GNU (`--target x86_64-unknown-linux-gnu`, and
//! `-C target-feature=+crt-static` in `RUSTFLAGS`) a runner is twice as large.
//!
//! This crate is also a library, so that any program with the loader can be a runner: the program
//! calls [`program`] first.

use std::error::Error as StdError;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::mem::offset_of;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::ExitCode;

use precast_artifact::executable::{Options, PAYLOAD_MAGIC, PayloadRecord};
use precast_artifact::shown_lines;
use precast_artifact::target::Arch;
use precast_loader::{
    Config, EmbeddedArtifact, Engine, Error, Linker, Module, StaticArtifact, Store,
};
use precast_wasi::{
    DirAccess, UNSTABLE_MODULE, WasiCtx, WasiCtxBuilder, add_to_linker, add_unstable_to_linker,
};

/// Exit code after a trap: that of a native program that aborts, 128 plus the number of SIGABRT.
const TRAPPED: u8 = 134;

/// Bytes of stack that the guest may use, as with `precast run`.
const MAX_STACK: usize = 16 << 20;

#[cfg(target_arch = "x86_64")]
const ARCH: Arch = Arch::X86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: Arch = Arch::Aarch64;

/// The place of the program, which `precast exe` fills in. The section's name is
/// [`PAYLOAD_SECTION`].
///
/// [`PAYLOAD_SECTION`]: precast_artifact::executable::PAYLOAD_SECTION
#[used]
#[unsafe(link_section = ".precast.payload")]
static PAYLOAD: PayloadRecord = PayloadRecord::empty(ARCH as u32);

/// Runs the program in this executable. Returns its exit code, or `None` if there is no program.
pub fn program() -> Option<ExitCode> {
    // SAFETY: the record is a static of this program. The read is volatile because `precast exe`
    // has changed the value above.
    let payload = unsafe { (&raw const PAYLOAD).read_volatile() };
    if payload.artifact == 0 {
        return None;
    }
    // A write beyond the allowed size of a file (`ulimit -f`) is then an error, for the guest too.
    // SAFETY: the disposition is set before there are other threads.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    Some(match run(&payload) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            if let Some(message) = message {
                report(&message);
            }
            ExitCode::from(code)
        }
    })
}

/// Prints an error, which may quote names of the program. If that fails, there is nowhere to report
/// it.
pub fn report(message: &str) {
    let message = shown_lines(message);
    std::io::stderr()
        .write_all(format!("error: {message}\n").as_bytes())
        .unwrap_or(());
}

/// How the program ended: what to print, and the exit code.
struct Failure {
    message: Option<String>,
    code: u8,
}

impl<E: StdError> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::because(with_causes(error.to_string(), error.source()))
    }
}

impl Failure {
    fn because(message: impl Into<String>) -> Self {
        Self {
            message: Some(message.into()),
            code: 1,
        }
    }
}

/// The text of an error and its causes, as `precast run` prints them. The error itself is not
/// given, because a `dyn Error` has code for `Debug`, which would be a fortieth of the runner.
fn with_causes(mut text: String, mut cause: Option<&dyn StdError>) -> String {
    if cause.is_some() {
        text += "\nCaused by:";
    }
    while let Some(error) = cause {
        for line in error.to_string().lines() {
            text += "\n    ";
            text += line;
        }
        cause = error.source();
    }
    text
}

fn run(payload: &PayloadRecord) -> Result<(), Failure> {
    if payload.magic != PAYLOAD_MAGIC {
        return Err(Failure::because(
            "the executable is damaged: its payload record has other first bytes",
        ));
    }
    check_whole()?;
    let start = (&raw const PAYLOAD).cast::<u8>();
    let place = |distance: u64| start.wrapping_add(distance as usize);
    // SAFETY: `precast exe` filled in the record. The artifact and the options are in a segment of
    // this executable that nobody writes to, and the file is as long as its segments.
    let (artifact, options) = unsafe {
        let artifact = place(payload.artifact).cast::<StaticArtifact>();
        let options = place(payload.options);
        (
            EmbeddedArtifact::new(artifact),
            std::slice::from_raw_parts(options, payload.options_len as usize),
        )
    };
    let Some(options) = Options::decode(options) else {
        return Err(Failure::because(
            "the executable is damaged: its options cannot be read",
        ));
    };
    let (found, expected) = (artifact.file_len()? as u64, payload.artifact_len);
    if found != expected {
        let what = "the executable is damaged: its artifact has";
        return Err(Failure::because(format!(
            "{what} {found} bytes, expected {expected}"
        )));
    }
    start_guest(artifact, &options)
}

/// Checks that the file is not shorter than its segments. The system maps missing parts all the
/// same, and kills a process that touches them. A file that cannot be looked at counts as whole.
fn check_whole() -> Result<(), Failure> {
    let headers = headers();
    let loaded = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_LOAD);
    let ends = loaded.map(|header| header.p_offset.saturating_add(header.p_filesz));
    let expected = ends.max().unwrap_or(0);
    let len = |file: &File| file.metadata().map_or(u64::MAX, |data| data.len());
    let Ok(executable) = File::open("/proc/self/exe") else {
        return Ok(());
    };
    if len(&executable) >= expected {
        return Ok(());
    }
    // It is another file if `ld.so` was told to start this program, or if a stub has unpacked it.
    let own = match has(&executable, headers) {
        true => Some(executable),
        false => mapped_file()
            .and_then(|name| File::open(name).ok())
            .filter(|file| has(file, headers)),
    };
    match own.map(|file| len(&file)) {
        Some(found) if found < expected => {
            let what = "the executable is truncated: it has";
            Err(Failure::because(format!(
                "{what} {found} bytes, its program ends at {expected}"
            )))
        }
        _ => Ok(()),
    }
}

/// The headers of this program's segments. Empty if the system does not tell.
fn headers() -> &'static [libc::Elf64_Phdr] {
    // SAFETY: the system tells every process where the headers of its segments are, and how many.
    unsafe {
        let headers = libc::getauxval(libc::AT_PHDR) as *const libc::Elf64_Phdr;
        if headers.is_null() {
            return &[];
        }
        std::slice::from_raw_parts(headers, libc::getauxval(libc::AT_PHNUM) as usize)
    }
}

/// Whether these are the headers of the segments in an executable.
fn has(file: &File, headers: &[libc::Elf64_Phdr]) -> bool {
    let mut place = [0; 8];
    let mut found = vec![0; size_of_val(headers)];
    let read = file
        .read_exact_at(&mut place, offset_of!(libc::Elf64_Ehdr, e_phoff) as u64)
        .and_then(|()| file.read_exact_at(&mut found, u64::from_le_bytes(place)));
    // SAFETY: the headers are plain numbers without bytes between them.
    let headers = unsafe { std::slice::from_raw_parts(headers.as_ptr().cast(), found.len()) };
    read.is_ok() && found == headers
}

/// The file that this program was mapped from. It is not the process's executable if `ld.so` was
/// told to start the program.
fn mapped_file() -> Option<PathBuf> {
    let at = (&raw const PAYLOAD).addr();
    // START-END, access, offset, device, inode and path.
    let maps = std::fs::read("/proc/self/maps").ok()?;
    let holds = |line: &&[u8]| {
        let number = |digits: &[u8]| {
            let digits = digits
                .iter()
                .filter_map(|digit| char::from(*digit).to_digit(16));
            digits.fold(0, |number, digit| number << 4 | digit as usize)
        };
        let mut numbers = line.split(|byte| !byte.is_ascii_hexdigit()).map(number);
        numbers.next() <= Some(at) && Some(at) < numbers.next()
    };
    let line = maps.split(|byte| *byte == b'\n').find(holds)?;
    let path = line.iter().position(|byte| *byte == b'/')?;
    Some(PathBuf::from(OsStr::from_bytes(&line[path..])))
}

/// The files that this program runs from, or may run from.
///
/// # Errors
/// No file is known.
fn own_files() -> Result<Vec<PathBuf>, Failure> {
    let mut files: Vec<PathBuf> = std::env::current_exe().into_iter().collect();
    files.extend(mapped_file());
    if files.is_empty() {
        // There is no `/proc`. The system also tells by which path the program was started. That is
        // the path of another file if the program is the interpreter of a script.
        files.extend(started_file().filter(|name| {
            let file = File::open(name);
            file.is_ok_and(|file| has(&file, headers()))
        }));
    }
    match files.is_empty() {
        true => Err(Failure::because(
            "the guest may write to directories, and the executable does not find its own file, \
             which the guest must not change: expected `/proc`, or to be started by its path",
        )),
        false => Ok(files),
    }
}

/// The path that this process was started by. It is relative to the directory at that time.
fn started_file() -> Option<PathBuf> {
    // SAFETY: the system gives every process the address of a C string, or no address.
    let name = unsafe {
        let name = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
        if name.is_null() {
            return None;
        }
        CStr::from_ptr(name)
    };
    Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
}

fn start_guest(artifact: EmbeddedArtifact, options: &Options) -> Result<(), Failure> {
    let engine = Engine::new(Config::new().max_wasm_stack(MAX_STACK))?;
    let module = Module::embedded(&engine, artifact)?;
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, |wasi: &mut WasiCtx| wasi)?;
    if module
        .imports()
        .any(|import| import.module() == UNSTABLE_MODULE)
    {
        add_unstable_to_linker(&mut linker, |wasi: &mut WasiCtx| wasi)?;
    }
    let mut store = Store::new(&engine, context(options)?);
    let instance = linker.instantiate(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    match start.call(&mut store, ()) {
        Ok(()) => Ok(()),
        Err(Error::Exit(0)) => Ok(()),
        Err(Error::Exit(code)) => Err(Failure {
            message: None,
            // The system keeps only the lowest eight bits. A failure must not become 0.
            code: if code as u8 == 0 { 1 } else { code as u8 },
        }),
        Err(error @ (Error::Trap { .. } | Error::Exception { .. })) => Err(Failure {
            message: Some(with_causes(error.to_string(), error.source())),
            code: TRAPPED,
        }),
        Err(error) => Err(error.into()),
    }
}

/// The guest's arguments, variables and directories.
fn context(options: &Options) -> Result<WasiCtx, Failure> {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let name = match &options.argv0 {
        Some(name) => name.clone(),
        None => text(name)?,
    };
    let mut wasi = WasiCtxBuilder::new().inherit_stdio().arg(name)?;
    wasi = wasi.args(&options.args)?;
    for arg in args {
        wasi = wasi.arg(text(arg)?)?;
    }
    for variable in &options.env {
        if let Some((name, value)) = variable.split_once('=') {
            wasi = wasi.env(name, value)?;
        } else if let Some(value) = std::env::var_os(variable) {
            wasi = wasi.env(variable, text(value)?)?;
        }
    }
    for dir in &options.dirs {
        let access = match dir.read_only {
            true => DirAccess::ReadOnly,
            false => DirAccess::ReadWrite,
        };
        wasi = wasi.preopened_dir(&dir.host, &dir.guest, access)?;
    }
    // The guest must not overwrite its own executable.
    if options.dirs.iter().any(|dir| !dir.read_only) {
        for own in own_files()? {
            if wasi.reaches(&own) {
                wasi = wasi.protect(own)?;
            }
        }
    }
    Ok(wasi.build())
}

/// WASI's strings are UTF-8.
fn text(found: OsString) -> Result<String, Failure> {
    found.into_string().map_err(|found| {
        Failure::because(format!(
            "{found:?} is not UTF-8, as arguments and variables of a guest must be"
        ))
    })
}
