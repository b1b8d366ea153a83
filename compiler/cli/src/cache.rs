//! `precast cache`, and the cache that `precast run` uses.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use precast_artifact::shown;
use precast_cache::{
    CompilationCache, DIRECTORY_VARIABLE, Entry, Options, Removed, default_directory,
};
use precast_compiler::Settings;
use precast_loader::{Engine, Module};
use serde_json::{Value, json};

use crate::program::Wasm;
use crate::progress::Progress;
use crate::{Failure, files, program, quantity};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// Directory of the cache [default: $PRECAST_CACHE_DIR, else `precast` in the user's cache
    /// directory]
    #[arg(long, global = true, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Print the directory of the cache
    Path,
    /// Print how much is in the cache
    Stats,
    /// List the entries, the least recently used first
    List,
    /// Read and check every entry, and remove damaged ones. The exit code is 1 if there were any
    Verify,
    /// Remove entries that were not used lately, or that exceed a size
    #[command(group(clap::ArgGroup::new("budget").required(true).multiple(true)))]
    Prune {
        /// Keep at most this many bytes: a number, or a number with K, M, G or T
        #[arg(long, value_name = "N", group = "budget", value_parser = quantity::size,
            allow_negative_numbers = true)]
        max_bytes: Option<u64>,
        /// Remove entries that were not used for this long: a number with s, m, h, d or w
        #[arg(long, value_name = "AGE", group = "budget", value_parser = age)]
        older_than: Option<Duration>,
    },
    /// Remove everything that precast wrote, and nothing else
    Clear,
    /// Keep entries from being removed by age or size, for all users of the directory
    Pin {
        /// Keys as `list` prints them, beginnings of keys, or modules (all entries of a module)
        #[arg(required = true, value_name = "KEY|FILE")]
        entries: Vec<String>,
    },
    /// Undo `pin`
    Unpin {
        /// Keys, beginnings of keys, or modules, as for `pin`
        #[arg(required = true, value_name = "KEY|FILE")]
        entries: Vec<String>,
    },
}

/// The cache options of commands that compile through the cache.
#[derive(clap::Args)]
#[command(next_help_heading = "Cache of compiled modules")]
pub(crate) struct Use {
    /// Compile modules in memory, without the cache
    #[arg(long, conflicts_with_all = ["cache_dir", "require_cached"])]
    no_cache: bool,
    /// Directory of the cache [default: $PRECAST_CACHE_DIR, else `precast` in the user's cache
    /// directory]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Never compile: fail if the module is not in the cache
    #[arg(long)]
    require_cached: bool,
}

impl Use {
    /// The directory of the cache that these options choose, even if `--no-cache` is among them.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        self.cache_dir.clone().or_else(default_directory)
    }

    /// Compiles a WebAssembly module through the cache; in memory if the cache is `exposed` to the
    /// guest.
    pub(crate) fn module(
        &self,
        engine: &Engine,
        wasm: &Wasm,
        settings: &Settings,
        exposed: bool,
    ) -> Result<Module> {
        let cache = match exposed && !self.no_cache {
            true => self.avoid()?,
            false => self.open()?,
        };
        let progress = Progress::new();
        let report = |done, total| progress.functions(done, total);
        let module = match wasm {
            Wasm::File(path) => {
                cache.get_or_compile_file_with_progress(engine, path, settings, &report)
            }
            Wasm::Bytes(bytes) => {
                cache.get_or_compile_with_progress(engine, bytes, settings, &report)
            }
        };
        progress.finish();
        let stats = cache.stats();
        match (stats.compilations, cache.directory()) {
            (0, _) => tracing::info!("the module was in the cache"),
            (_, None) => tracing::info!("compiled the module in memory"),
            (_, Some(directory)) => {
                tracing::info!("compiled the module, cache `{}`", directory.display());
            }
        }
        Ok(module?)
    }

    /// A cache in memory, for a guest that may write to the directory of the cache.
    fn avoid(&self) -> Result<CompilationCache> {
        let directory = self.directory().unwrap_or_default();
        let directory = directory.display();
        if self.require_cached {
            bail!(
                "the guest may write to a directory that leads to the cache `{directory}`, so \
                 nothing is taken from there; give the guest other directories, or drop \
                 --require-cached"
            );
        }
        tracing::warn!(
            "the guest may write to a directory that leads to the cache `{directory}`: the \
             module is compiled in memory, without the cache"
        );
        Ok(Options::new().in_memory())
    }

    fn open(&self) -> Result<CompilationCache> {
        let options = Options::new().require_hit(self.require_cached);
        if self.no_cache {
            return Ok(options.in_memory());
        }
        let asked_for = self.cache_dir.is_some()
            || self.require_cached
            || std::env::var_os(DIRECTORY_VARIABLE).is_some_and(|value| !value.is_empty());
        match self.directory() {
            None if asked_for => bail!(NOWHERE),
            None => Ok(options.in_memory()),
            Some(directory) => match options.clone().open(&directory) {
                // The user did not choose this directory, and the program runs without a cache.
                Err(error) if !asked_for => {
                    tracing::warn!("no cache: {:#}", anyhow::Error::from(error));
                    Ok(options.in_memory())
                }
                cache => Ok(cache?),
            },
        }
    }
}

const NOWHERE: &str = "no directory is known for the cache: give --cache-dir, or set PRECAST_CACHE_DIR, \
                       XDG_CACHE_HOME or HOME to an absolute path";

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let directory = args.cache_dir.or_else(default_directory).context(NOWHERE)?;
    let reads = matches!(args.command, Command::Path | Command::Stats | Command::List);
    let cache = if matches!(args.command, Command::Path) {
        None
    } else {
        // Commands that only read, and commands that find no directory, must not create one.
        Some(
            Options::new()
                .read_only(reads || !directory.exists())
                .open(&directory)?,
        )
    };
    let mut code = ExitCode::SUCCESS;
    let (text, value) = match (&args.command, &cache) {
        (Command::Path, _) | (_, None) => {
            let path = std::path::absolute(&directory)?;
            // Scripts take the line as a path, so that it is not escaped.
            let shown = path.display().to_string();
            (format!("{shown}\n"), json!({ "path": shown }))
        }
        (Command::Stats, Some(cache)) => stats(cache)?,
        (Command::List, Some(cache)) => list(cache)?,
        (Command::Verify, Some(cache)) => {
            let (text, value, damaged) = verify(cache)?;
            if damaged {
                code = ExitCode::from(1);
            }
            (text, value)
        }
        (
            Command::Prune {
                max_bytes,
                older_than,
            },
            Some(cache),
        ) if directory.exists() => removed(cache.prune(*max_bytes, *older_than)?),
        (Command::Clear, Some(cache)) if directory.exists() => removed(cache.clear()?),
        (Command::Prune { .. } | Command::Clear, Some(_)) => removed(Removed::default()),
        (Command::Pin { entries }, Some(cache)) => pin(cache, entries, true)?,
        (Command::Unpin { entries }, Some(cache)) => pin(cache, entries, false)?,
    };
    let text = if args.json {
        crate::json::text(&value)
    } else {
        text
    };
    files::print(text)?;
    Ok(code)
}

fn stats(cache: &CompilationCache) -> Result<(String, Value)> {
    let usage = cache.usage()?;
    let path = cache.directory();
    let ago = |time: Option<SystemTime>| {
        time.map_or_else(|| "never".to_owned(), |t| shown_age(t) + " ago")
    };
    let text = format!(
        "directory        {}\nentries          {}\nbytes            {}\npinned           {}\n\
         unfinished       {}\nforeign          {}\nleast recent use {}\nmost recent use  {}\n",
        path.map(files::shown_path).unwrap_or_default(),
        usage.entries,
        usage.bytes,
        usage.pinned,
        usage.temporaries,
        usage.foreign,
        ago(usage.oldest_use),
        ago(usage.newest_use),
    );
    let value = json!({
        "directory": path.map(|path| path.display().to_string()),
        "entries": usage.entries,
        "bytes": usage.bytes,
        "pinned": usage.pinned,
        "unfinished": usage.temporaries,
        "foreign": usage.foreign,
        "oldest_use": usage.oldest_use.map(unix),
        "newest_use": usage.newest_use.map(unix),
    });
    Ok((text, value))
}

fn list(cache: &CompilationCache) -> Result<(String, Value)> {
    let mut text = String::new();
    let mut values = Vec::new();
    for entry in cache.entries()? {
        let about = cache.describe(&entry);
        let name = about
            .as_ref()
            .and_then(|about| about.module_name.as_deref());
        text += &format!(
            "{}  {:>12}  {:>5}  {}{}\n",
            entry.key,
            entry.bytes,
            shown_age(entry.used),
            shown(name.unwrap_or("-")),
            if entry.pinned { "  (pinned)" } else { "" }
        );
        values.push(entry_value(&entry, about.as_ref()));
    }
    Ok((text, Value::Array(values)))
}

fn entry_value(entry: &Entry, about: Option<&precast_artifact::metadata::Metadata>) -> Value {
    let settings = about.map(|about| {
        let pairs = about.settings.iter().map(|(n, v)| (n.clone(), json!(v)));
        Value::Object(pairs.collect())
    });
    json!({
        "key": entry.key.to_string(),
        "path": entry.path.display().to_string(),
        "bytes": entry.bytes,
        "used": unix(entry.used),
        "written": unix(entry.written),
        "pinned": entry.pinned,
        "module": about.and_then(|about| about.module_name.clone()),
        "source_bytes": about.map(|about| about.source_len),
        "producer": about.map(|about| about.producer.clone()),
        "target": about.map(|about| about.target.clone()),
        "settings": settings,
    })
}

fn verify(cache: &CompilationCache) -> Result<(String, Value, bool)> {
    let all = cache.verify()?;
    let mut text = String::new();
    for entry in &all {
        if let Some(fault) = &entry.fault {
            let done = if entry.removed {
                "removed"
            } else {
                "still there"
            };
            let path = files::shown_path(&entry.path);
            text += &format!("{path}: {} ({done})\n", shown(&fault.to_string()));
        }
    }
    let damaged = all.iter().filter(|entry| entry.fault.is_some()).count();
    let bytes: u64 = all.iter().map(|entry| entry.bytes).sum();
    text += &format!(
        "{} entries ({bytes} bytes) read, {damaged} damaged\n",
        all.len()
    );
    let faults: Vec<Value> = all
        .iter()
        .filter_map(|entry| {
            Some(json!({
                "key": entry.key.to_string(),
                "path": entry.path.display().to_string(),
                "fault": entry.fault.as_ref()?,
                "removed": entry.removed,
            }))
        })
        .collect();
    let value = json!({ "entries": all.len(), "bytes": bytes, "damaged": faults });
    Ok((text, value, damaged > 0))
}

fn removed(removed: Removed) -> (String, Value) {
    let text = format!(
        "removed {} entries ({} bytes) and {} left-over files\n",
        removed.entries, removed.bytes, removed.leftovers
    );
    let value = json!({
        "entries": removed.entries,
        "bytes": removed.bytes,
        "leftovers": removed.leftovers,
    });
    (text, value)
}

fn pin(cache: &CompilationCache, wanted: &[String], on: bool) -> Result<(String, Value)> {
    let entries = cache.entries()?;
    let mut text = String::new();
    let mut values = Vec::new();
    for wanted in wanted {
        for entry in find(cache, &entries, wanted)? {
            let key = &entry.key;
            if on {
                cache.pin(key)?;
            } else {
                cache.unpin(key)?;
            }
            let done = if on { "pinned" } else { "not pinned" };
            text += &format!("{key}  {done}\n");
            let was = entry.pinned;
            values.push(json!({ "key": key.to_string(), "pinned": on, "was_pinned": was }));
        }
    }
    Ok((text, Value::Array(values)))
}

/// The existing entries that match a key, the beginning of a key, or a module. It is an error if
/// there is no such entry, because a mistyped key would otherwise stay pinned for ever.
fn find<'a>(
    cache: &CompilationCache,
    entries: &'a [Entry],
    wanted: &str,
) -> Result<Vec<&'a Entry>> {
    const SHORTEST: usize = 4;
    let is_key = wanted.len() >= SHORTEST && wanted.bytes().all(|b| b.is_ascii_hexdigit());
    if is_key {
        let digits = wanted.to_lowercase();
        let begins = |entry: &&Entry| entry.key.to_string().starts_with(&digits);
        let found: Vec<_> = entries.iter().filter(begins).collect();
        match found.len() {
            0 if Path::new(wanted).is_file() => {}
            0 => bail!(
                "there is no entry {wanted} in the cache; `precast cache list` prints those there are"
            ),
            1 => return Ok(found),
            many => bail!("{many} keys begin with {wanted}; give more digits of the key"),
        }
    }
    if !Path::new(wanted).is_file() {
        bail!(
            "`{wanted}` is neither a file nor a key of {SHORTEST} to 64 hexadecimal digits, as \
             `precast cache list` prints them"
        );
    }
    let wasm = program::read_module(Path::new(wanted))?;
    let digest = *blake3::hash(&wasm).as_bytes();
    let is_of_it = |entry: &&Entry| {
        let about = cache.describe(entry);
        about.is_some_and(|about| about.source_digest == digest)
    };
    let found: Vec<_> = entries.iter().filter(is_of_it).collect();
    if found.is_empty() {
        bail!("there is no entry of the module `{wanted}` in the cache");
    }
    Ok(found)
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// How long ago a time was, in the largest unit that gives at least 1.
fn shown_age(time: SystemTime) -> String {
    let seconds = time.elapsed().unwrap_or_default().as_secs();
    let units = [(86400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let (length, unit) = units
        .into_iter()
        .find(|(length, _)| seconds >= *length)
        .unwrap_or((1, "s"));
    format!("{}{unit}", seconds / length)
}

/// Parses an age such as `90s`, `12h` or `30d`.
fn age(text: &str) -> Result<Duration, String> {
    let units = [
        ("s", 1),
        ("m", 60),
        ("h", 3600),
        ("d", 86400),
        ("w", 604_800),
    ];
    let found = units
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let seconds = found.and_then(|(number, unit)| number.parse::<u64>().ok()?.checked_mul(unit));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "expected a number with s, m, h, d or w, such as 30d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        assert_eq!(age("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(age("2w"), Ok(Duration::from_secs(14 * 86400)));
        for wrong in ["", "d", "30", "-1d", "99999999999999999999s"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
