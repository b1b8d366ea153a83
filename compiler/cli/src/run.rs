//! `precast run`: runs an artifact, or a WebAssembly module that is compiled through the cache.
//! Runs it as a WASI program, or calls one of its functions.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use precast_artifact::shown;
use precast_loader::{
    Config, Engine, Error, ExternType, Func, Instance, Interruption, Linker, Module, Redirections,
    Store, Trap, Val, ValType,
};
use precast_wasi::{
    DirAccess, SharedWasiCtx, UNSTABLE_MODULE, WasiCtx, WasiCtxBuilder, WasiThreads, WasiView,
    add_to_linker, add_unstable_to_linker,
};

use crate::ending::{Ending, TIMED_OUT, timed_out};
use crate::exposure::Exposure;
use crate::profile::{Output, Place};
use crate::program::{Program, Wasm};
use crate::{
    Failure, cache, files, limits, redirect, settings, signing, trace, usage_error, value,
};

/// Exit code after a trap: that of a native program that aborts, 128 plus the number of SIGABRT.
const TRAPPED: u8 = 134;

/// Threads that a program may have at the same time besides the main one.
const MAX_THREADS: usize = 512;

/// Bytes of stack that the guest may use. A thread with a smaller stack gives less.
const MAX_STACK: usize = 16 << 20;

#[derive(clap::Args)]
#[command(override_usage = "precast run [OPTIONS] <FILE> [ARGS]...")]
pub(crate) struct Args {
    // This is the first field, so that no heading of options is above it in the help.
    /// The artifact or WebAssembly module (binary or text, `-` for standard input), then the
    /// arguments for the guest
    #[arg(required = true, trailing_var_arg = true, value_name = "FILE")]
    command: Vec<OsString>,
    /// Give the guest a directory, under its own or another name; with `::ro`, the guest can only
    /// read it
    #[arg(long = "dir", value_name = "HOST[::GUEST][::ro|::rw]", value_parser = directory)]
    dirs: Vec<GuestDir>,
    /// Set an environment variable of the guest; without VALUE, pass on the value that precast has
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Call this exported function with ARGS as its parameters, and print its results
    #[arg(long, value_name = "NAME")]
    invoke: Option<String>,
    /// Look up the imports of a module, or one import, under another name; may be repeated: the
    /// last rule for a name counts
    #[arg(long = "redirect", value_name = "MODULE[::NAME]=MODULE[::NAME]")]
    redirections: Vec<String>,
    /// Print where each import comes from and why, instead of running anything
    #[arg(long)]
    explain_imports: bool,
    /// With --explain-imports: print JSON
    #[arg(long, requires = "explain_imports")]
    json: bool,
    /// The name of the program that the guest sees [default: FILE]
    #[arg(long, value_name = "NAME")]
    argv0: Option<String>,
    /// How the host can stop a module that is compiled: `none`, `fuel`, `epoch` or `fuel+epoch`, as
    /// for `compile`; --fuel and --timeout imply it
    #[arg(long, value_name = "HOW", value_parser = settings::interruption,
        conflicts_with_all = ["fuel", "timeout"])]
    interruption: Option<Interruption>,
    /// End the program when it has used this much fuel, about one unit for each WebAssembly
    /// operator. Not for programs that start threads
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    fuel: Option<u64>,
    /// End the program after this time, with exit code 124: a number with ms, s, m or h, such as
    /// 1.5s. The time in which a module is compiled does not count
    #[arg(long, value_name = "TIME", value_parser = duration, allow_negative_numbers = true)]
    timeout: Option<Duration>,
    /// Count what the program does, and add it to this file when the program ends, also by a trap,
    /// a timeout, SIGINT or SIGTERM: a profile for --profile
    #[arg(long, value_name = "FILE", conflicts_with = "explain_imports")]
    profile_out: Option<PathBuf>,
    #[command(flatten)]
    trusted: signing::Trusted,
    /// The debug file of a stripped artifact, for names and lines in backtraces, or a directory
    /// that has it under the name BUILD_ID.debug, with the build id that `precast inspect` prints
    #[arg(long, value_name = "FILE")]
    debug_file: Option<PathBuf>,
    #[command(flatten)]
    limits: limits::Args,
    #[command(flatten, next_help_heading = "Compilation of modules")]
    settings: settings::Args,
    #[command(flatten)]
    cache: cache::Use,
}

/// A directory for the guest.
#[derive(Debug, Clone)]
pub(crate) struct GuestDir {
    pub(crate) host: String,
    pub(crate) guest: String,
    access: DirAccess,
}

impl GuestDir {
    pub(crate) fn is_read_only(&self) -> bool {
        self.access == DirAccess::ReadOnly
    }
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let Some((file, guest_args)) = args.command.split_first() else {
        usage_error("run", "expected the artifact's file".to_owned());
    };
    let file = PathBuf::from(file);
    let guest_args: Vec<&str> = guest_args.iter().map(text).collect::<Result<_>>()?;
    let redirections = redirect::parse(&args.redirections)
        .unwrap_or_else(|error| usage_error("run", error.to_string()));
    let context = || format!("cannot run `{}`", file.display());
    if file.is_dir() {
        return Err(anyhow!("{}: it is a directory; expected an artifact", context()).into());
    }
    let program = Program::open(&file).with_context(context)?;
    if args.explain_imports {
        let module = open(program, &file, &args, &Exposure::default())?;
        let linker = explained(&module)?;
        // Nothing runs in this store.
        let wasi = SharedWasiCtx::new(WasiCtxBuilder::new().build());
        let mut store = Store::new(module.engine(), wasi);
        redirect::explain(&module, &linker, &mut store, &redirections, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut wasi = WasiCtxBuilder::new().inherit_stdio();
    if args.invoke.is_none() {
        let argv0 = match &args.argv0 {
            Some(name) => name,
            None => text(file.as_os_str())?,
        };
        wasi = wasi.arg(argv0)?.args(&guest_args)?;
    }
    let wasi = grant(wasi, &args.dirs, &args.env)?;
    let output = args.profile_out.as_deref();
    let output = output.map(Place::new).transpose().with_context(context)?;
    let exposure = Exposure::new(
        &wasi,
        &program,
        args.cache.directory(),
        &args.trusted,
        output.as_ref(),
    );
    let exposure = exposure.with_context(context)?;
    let source = match &program {
        Program::Module(Wasm::File(path)) => Some(path.clone()),
        _ => None,
    };
    let module = open(program, &file, &args, &exposure)?;
    let mut lines = None;
    if let Some(path) = &args.debug_file {
        module.load_debug(path).with_context(context)?;
        lines = trace::lines_of_debug_file(&module, path);
    }
    for rule in redirections.unmatched(&module) {
        tracing::warn!("the redirection {rule} matches no import");
    }
    let output = output.map(|place| Output::new(place, &module));
    let output = output.transpose().with_context(context)?;
    let wasi = exposure.protect(wasi)?.build();
    let invoke = args.invoke.as_deref();
    let ending = Ending::new(output.clone());
    ending.at_signals().with_context(context)?;
    let called = if invoke.is_none() && WasiThreads::<SharedWasiCtx>::are_used_by(&module) {
        run_threads(&module, &redirections, &args, &ending, wasi)
    } else {
        let store = new_store(&module, &args, &ending, wasi).with_context(context)?;
        call(&module, &redirections, store, invoke, &guest_args)
    };
    ending.has_come();
    if let Some(output) = output {
        output.write()?;
    }
    let trace = |error| anyhow!(trace::text(error, &module, lines, source.as_deref()));
    match called {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match error.downcast_ref::<Error>() {
            Some(Error::Exit(code)) => Ok(ExitCode::from(exit_code(*code))),
            Some(error) if error.trap() == Some(Trap::Interrupt) => Err(Failure {
                error: trace(error).context(timed_out(args.timeout)),
                code: TIMED_OUT,
            }),
            Some(trap @ (Error::Trap { .. } | Error::Exception { .. })) => Err(Failure {
                error: trace(trap),
                code: TRAPPED,
            }),
            // The loader does not know which options ask for this.
            Some(Error::Interruption {
                found, expected, ..
            }) => {
                let options = match (args.fuel.is_some(), args.timeout.is_some()) {
                    (true, true) => "--fuel and --timeout need",
                    (true, false) => "--fuel needs",
                    (false, _) => "--timeout needs",
                };
                let error = anyhow!(
                    "{options} interruption `{expected}`, found an artifact with `{found}`: \
                     compile it again with `--interruption {expected}`"
                );
                Err(error.context(context()).into())
            }
            _ => Err(error.into()),
        },
    }
}

/// Makes a store with what the options give it.
fn new_store<T: 'static>(
    module: &Module,
    args: &Args,
    ending: &Ending,
    data: T,
) -> Result<Store<T>> {
    let mut store = Store::new(module.engine(), data);
    store.set_limits(args.limits.limits());
    store.set_fuel(args.fuel.unwrap_or(u64::MAX))?;
    if let Some(timeout) = args.timeout {
        let handle = store.interrupt_handle();
        ending.after(timeout, move || handle.interrupt())?;
    }
    Ok(store)
}

/// Runs a program that starts threads, which share the limits of the options. Threads that still
/// run when the program ends end with the process.
fn run_threads(
    module: &Module,
    redirections: &Redirections,
    args: &Args,
    ending: &Ending,
    wasi: WasiCtx,
) -> Result<()> {
    if !matches!(module.get_export("_start"), Some(ExternType::Func(_))) {
        return Err(no_function(module, None));
    }
    if args.fuel.is_some() {
        bail!(
            "--fuel limits one thread, and the program can start others: use --timeout, which ends \
             all of them"
        );
    }
    let threads = WasiThreads::with_stack(MAX_THREADS, MAX_STACK + (1 << 20));
    threads.set_limits(args.limits.limits());
    if let Some(timeout) = args.timeout {
        let threads = threads.clone();
        ending.after(timeout, move || threads.stop())?;
    }
    let mut linker = linker::<SharedWasiCtx>(module)?;
    threads.add_to_linker(&mut linker, module)?;
    let program = linker.instantiate_pre_redirected(module, redirections)?;
    let wasi = SharedWasiCtx::new(wasi);
    let (module, limits) = (module.clone(), args.limits.limits());
    let new_store = move || {
        let mut store = Store::new(module.engine(), wasi.clone());
        store.set_limits(limits.clone());
        store.set_fuel(u64::MAX)?;
        Ok(store)
    };
    Ok(threads.run(&program, new_store)?)
}

/// The exit code of the process: the lowest eight bits of the guest's, which is what the system
/// keeps. A failure whose lowest eight bits are zero, such as 256, becomes 1. Other engines refuse
/// such a code and also exit with 1.
fn exit_code(code: i32) -> u8 {
    match code as u8 {
        0 if code != 0 => 1,
        code => code,
    }
}

fn open(program: Program, file: &Path, args: &Args, exposure: &Exposure) -> Result<Module> {
    let context = || format!("cannot run `{}`", file.display());
    let mut config = Config::new();
    config.max_wasm_stack(MAX_STACK);
    let (fuel, epochs) = (args.fuel.is_some(), args.timeout.is_some());
    config.consume_fuel(fuel).epoch_interruption(epochs);
    let interruption = args.interruption.unwrap_or(Interruption::of(fuel, epochs));
    let engine = Engine::new(&config)?;
    let trusted = args.trusted.keys()?;
    if let Program::Module(wasm) = &program {
        if trusted.is_some() {
            bail!(
                "{}: it is a WebAssembly module, which has no signature; expected an artifact",
                context()
            );
        }
        let mut settings = args.settings.settings(interruption)?;
        settings.counters = args.profile_out.is_some();
        let module = args
            .cache
            .module(&engine, wasm, &settings, exposure.cache());
        return module.with_context(context);
    }
    let interruption = args.interruption.map(|_| "--interruption");
    if let Some(option) = interruption.or(args.settings.given()) {
        bail!(
            "{}: it is compiled already; {option} is for modules, and for `precast compile`",
            context()
        );
    }
    if let Some(keys) = &trusted {
        return match &program {
            Program::File(file) => Module::open_signed(&engine, file, keys),
            Program::Bytes(bytes) => Module::from_bytes_signed(&engine, bytes, keys),
            Program::Module(_) => unreachable!("refused above"),
        }
        .with_context(context);
    }
    match program {
        Program::File(file) if exposure.artifact() => {
            // SAFETY: the user who runs this file trusts the code in it, as with any other
            // executable.
            let module = unsafe { Module::open_sealed(&engine, &file) }.with_context(context)?;
            tracing::warn!(
                "the guest may write to a directory that leads to `{}`: its code runs from a sealed \
                 copy in memory",
                file.display()
            );
            Ok(module)
        }
        // SAFETY: the user trusts the code, as above. Nobody truncates the file or writes to it
        // while it is mapped: precast replaces files as a whole, and the guest has no access to
        // this one.
        Program::File(file) => unsafe { Module::open(&engine, file) }.with_context(context),
        Program::Bytes(bytes) => {
            // SAFETY: the user trusts the code, as above. The bytes are copied.
            let module = unsafe { Module::from_bytes(&engine, &bytes) };
            module.with_context(context)
        }
        Program::Module(_) => unreachable!("compiled above"),
    }
}

/// Parses `HOST` or `HOST::GUEST`, with or without `::ro` or `::rw`.
pub(crate) fn directory(text: &str) -> Result<GuestDir, String> {
    let mut parts: Vec<&str> = text.split("::").collect();
    let access = match parts[..] {
        [_, .., "ro"] => Some(DirAccess::ReadOnly),
        [_, .., "rw"] => Some(DirAccess::ReadWrite),
        // As a name, this would give access that the user means to withhold.
        [.., last] if is_like_access(last, parts.len()) => {
            return Err(format!(
                "`{last}` is no access: expected HOST::ro or HOST::GUEST::ro (or rw). A directory \
                 that has this name needs an access behind its name"
            ));
        }
        _ => None,
    };
    if access.is_some() {
        parts.pop();
    }
    let (host, guest) = match parts[..] {
        [host] => (host, host),
        [host, guest] => (host, guest),
        _ => {
            return Err("expected HOST, HOST::GUEST, HOST::ro, HOST::GUEST::ro (or rw)".to_owned());
        }
    };
    if host.is_empty() || guest.is_empty() {
        return Err("a name is empty; the host's current directory is `.`".to_owned());
    }
    Ok(GuestDir {
        host: host.to_owned(),
        guest: guest.to_owned(),
        access: access.unwrap_or(DirAccess::ReadWrite),
    })
}

/// Whether the last of so many parts of a directory looks like an access, but has one colon before
/// it or other letters.
fn is_like_access(last: &str, parts: usize) -> bool {
    let last = last.to_lowercase();
    let last = last.trim_start();
    let last = last.trim_end_matches(|c: char| c.is_whitespace() || "/:,;".contains(c));
    let is = |access: &str| last == access && parts > 1;
    let ends = |access: &str| {
        last.strip_suffix(access)
            .is_some_and(|name| name.ends_with(':'))
    };
    let mut accesses = ["ro", "rw", "readonly", "read-only"].iter();
    accesses.any(|access| is(access) || ends(access))
}

/// Gives the guest the directories and environment variables of the options.
fn grant(mut wasi: WasiCtxBuilder, dirs: &[GuestDir], env: &[String]) -> Result<WasiCtxBuilder> {
    for GuestDir {
        host,
        guest,
        access,
    } in dirs
    {
        wasi = wasi.preopened_dir(host, guest, *access)?;
    }
    for variable in env {
        wasi = match variable.split_once('=') {
            Some((name, value)) => wasi.env(name, value)?,
            None => {
                let value = std::env::var(variable).with_context(|| {
                    format!("cannot pass on the environment variable `{variable}`")
                })?;
                wasi.env(variable, value)?
            }
        };
    }
    Ok(wasi)
}

/// Parses a duration such as `500ms`, `5s` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let found = units
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let is_decimal = |number: &str| number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let seconds = found
        .filter(|(number, _)| is_decimal(number))
        .and_then(|(number, unit)| Some(number.parse::<f64>().ok()? * unit));
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a number with ms, s, m or h, such as 5s or 1.5s".to_owned())
}

/// A linker with everything that guests can import, for explanations.
fn explained(module: &Module) -> Result<Linker<SharedWasiCtx>> {
    let mut linker = linker(module)?;
    if WasiThreads::<SharedWasiCtx>::are_used_by(module) {
        WasiThreads::new(0).add_to_linker(&mut linker, module)?;
    }
    Ok(linker)
}

/// A linker with everything that guests without threads can import.
fn linker<W: WasiView + 'static>(module: &Module) -> Result<Linker<W>> {
    let mut linker = Linker::new(module.engine());
    add_to_linker(&mut linker, |wasi: &mut W| wasi)?;
    if module
        .imports()
        .any(|import| import.module() == UNSTABLE_MODULE)
    {
        add_unstable_to_linker(&mut linker, |wasi: &mut W| wasi)?;
    }
    Ok(linker)
}

fn call(
    module: &Module,
    redirections: &Redirections,
    mut store: Store<WasiCtx>,
    invoke: Option<&str>,
    args: &[&str],
) -> Result<()> {
    // The export is checked before any code of the module runs.
    let name = invoke.unwrap_or("_start");
    if !matches!(module.get_export(name), Some(ExternType::Func(_))) {
        return Err(no_function(module, invoke));
    }
    let linked = linker::<WasiCtx>(module)?.instantiate_pre_redirected(module, redirections)?;
    let instance = linked.instantiate(&mut store)?;
    if invoke.is_some() && module.get_export("_initialize").is_some() && name != "_initialize" {
        function(&instance, &mut store, "_initialize")?.call(&mut store, &[], &mut [])?;
    }
    let func = function(&instance, &mut store, name)?;
    let ty = func.ty(&store);
    let (params, results) = (ty.params().to_vec(), ty.results().to_vec());
    let values = match invoke {
        Some(_) => values(name, &params, args)?,
        None => Vec::new(),
    };
    let mut returned: Vec<Val> = results.iter().map(|ty| Val::default_for(*ty)).collect();
    func.call(&mut store, &values, &mut returned)?;
    let shown = returned.iter().map(|value| value::show(value) + "\n");
    files::print(shown.collect::<String>())
}

fn function(instance: &Instance, store: &mut Store<WasiCtx>, name: &str) -> Result<Func> {
    instance
        .get_func(store, name)
        .with_context(|| format!("`{}` is not a function", shown(name)))
}

/// The error for a function that the module does not export. It names the functions that the module
/// exports.
fn no_function(module: &Module, invoke: Option<&str>) -> anyhow::Error {
    let functions: Vec<String> = module
        .exports()
        .filter(|export| matches!(export.ty(), ExternType::Func(_)))
        .map(|export| format!("`{}`", shown(export.name())))
        .collect();
    let mut message = match invoke {
        Some(name) => format!("there is no exported function `{name}`"),
        None => "this is not a WASI program: it does not export a function `_start`".to_owned(),
    };
    // Writing to a string cannot fail.
    match (functions.len(), invoke) {
        (0, _) => message += "; it exports no function at all",
        (1..=10, None) => {
            write!(
                message,
                "; with --invoke, expected one of {}",
                functions.join(", ")
            )
            .ok();
        }
        (1..=10, Some(_)) => write!(message, "; expected {}", functions.join(", ")).unwrap_or(()),
        (count, _) => {
            write!(
                message,
                "; see `precast inspect` for the {count} that it exports"
            )
            .ok();
        }
    }
    anyhow!(message)
}

/// Parses arguments as values of the parameters' types.
fn values(name: &str, params: &[ValType], args: &[&str]) -> Result<Vec<Val>> {
    if params.len() != args.len() {
        let types: Vec<String> = params.iter().map(ToString::to_string).collect();
        bail!(
            "`{name}` takes {} arguments ({}), found {}",
            params.len(),
            types.join(" "),
            args.len()
        );
    }
    let parse = |(ty, arg): (&ValType, &&str)| {
        value::read(*ty, arg).ok_or_else(|| {
            let expected = value::expected(*ty);
            anyhow!("argument `{arg}` of `{name}`: expected {expected}")
        })
    };
    params.iter().zip(args).map(parse).collect()
}

/// Checks that an argument is UTF-8, as WASI demands.
fn text(arg: &(impl AsRef<std::ffi::OsStr> + ?Sized)) -> Result<&str> {
    let arg = arg.as_ref();
    arg.to_str()
        .with_context(|| format!("argument {arg:?} is not UTF-8"))
}
