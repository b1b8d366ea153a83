//! swc's plug-ins on precast beside swc's own backend on Wasmtime: `swc-bench [--rounds N]`.
//!
//! Before anything is measured, both transform the same programs, and the results must be equal, as
//! must be the errors of a plug-in that was built for another version of swc. The rows:
//!
//! | row | what |
//! |---|---|
//! | start | loads the compiled module from a file, and transforms an empty program |
//! | request | transforms the program with a module that is loaded; each request has an instance of its own |
//!
//! At last, how much the memory of a process grows at most in which a plug-in transforms a program
//! once, and a hundred times.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use precast_peers_swc::PrecastRuntime;
use serde_json::{Value, json};
use swc_common::comments::SingleThreadedComments;
use swc_common::plugin::metadata::TransformPluginMetadataContext;
use swc_common::plugin::serialized::{PluginSerializedBytes, VersionedSerializable};
use swc_common::{FileName, GLOBALS, Globals, Mark, SourceMap};
use swc_ecma_ast::{EsVersion, Program};
use swc_ecma_parser::{EsSyntax, Syntax, parse_file_as_program};
use swc_plugin_backend_wasmtime::WasmtimeRuntime;
use swc_plugin_proxy::{COMMENTS, HostCommentsStorage};
use swc_plugin_runner::create_plugin_transform_executor;
use swc_plugin_runner::plugin_module_bytes::{CompiledPluginModuleBytes, PluginModuleBytes};
use swc_plugin_runner::runtime::{ModuleCache, Runtime};

/// The first argument of a process whose memory is measured.
const CHILD: &str = "memory-of";

/// A plug-in, its configuration, and a program for it.
struct Case {
    name: &'static str,
    config: Value,
    source: String,
    /// What is in the result and not in the source, or `None` if the plug-in was built for another
    /// version of swc.
    made: Option<&'static str>,
}

fn cases() -> Vec<Case> {
    let many = |head: &str, each: &str| {
        let each = (0..20).map(|i| each.replace("NUMBER", &i.to_string()));
        format!("{head}\n{}", each.collect::<String>())
    };
    let emotion = many(
        "import styled from '@emotion/styled';\nimport { css, keyframes } from '@emotion/react';\n",
        "const turn_NUMBER = keyframes`from { left: 0 } to { left: NUMBERpx }`;\n\
         export const Button_NUMBER = styled.button`\n  color: ${props => props.color};\n  \
         /* a comment */\n  animation: ${turn_NUMBER} 2s;\n  &:hover { margin: NUMBERpx }\n`;\n\
         export const link_NUMBER = css({ color: 'hotpink', width: NUMBER });\n\
         export function View_NUMBER({ rows }) {\n  return rows.map(row => \
         <Button_NUMBER css={link_NUMBER} key={row.id}>{row.name ?? 'none'}</Button_NUMBER>);\n}\n",
    );
    let styled = many(
        "import styled, { css, createGlobalStyle } from 'styled-components';\n",
        "const mixin_NUMBER = css`\n  padding: NUMBERpx;\n  // a comment\n`;\n\
         export const Title_NUMBER = styled.h1.attrs({ tabIndex: NUMBER })`\n  font-size: 1.5em;\n  \
         ${mixin_NUMBER}\n  color: ${({ color }) => color || 'palevioletred'};\n`;\n\
         export const Wrapper_NUMBER = styled(Title_NUMBER)`background: papayawhip;`;\n\
         export const Global_NUMBER = createGlobalStyle`body { margin: NUMBER }`;\n",
    );
    let jest = many(
        "import { open } from './files';\n",
        "test('number NUMBER', async () => {\n  const found = await open('NUMBER');\n  \
         expect(found).toEqual({ number: NUMBER, list: [1, ...found.rest] });\n});\n\
         jest.mock('./module-NUMBER', () => ({ value: NUMBER }));\n",
    );
    let noop = many("", "export const value_NUMBER = NUMBER;\n");
    vec![
        Case {
            name: "emotion",
            config: json!({ "sourceMap": true, "autoLabel": "always", "labelFormat": "[local]" }),
            source: emotion,
            made: Some("label:"),
        },
        Case {
            name: "styled-components",
            config: json!({ "displayName": true, "ssr": true, "minify": true }),
            source: styled,
            made: Some("componentId"),
        },
        Case {
            name: "jest",
            config: json!({}),
            source: jest,
            made: Some(""),
        },
        Case {
            name: "noop",
            config: json!({}),
            source: noop,
            made: None,
        },
    ]
}

/// The plug-in as a file; `fetch.sh` of `tests/programs` fetches it.
fn wasm(name: &str) -> PathBuf {
    let named = std::env::var_os("PRECAST_PROGRAMS").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let folder = named.unwrap_or_else(|| root.join("target/programs"));
    folder.join(format!("swc-{name}.wasm"))
}

/// A program that has been parsed and encoded for plug-ins.
struct Parsed {
    source_map: Arc<SourceMap>,
    comments: SingleThreadedComments,
    unresolved: Mark,
    metadata: Arc<TransformPluginMetadataContext>,
    encoded: PluginSerializedBytes,
}

fn parse(source: &str) -> Result<Parsed> {
    let source_map = Arc::<SourceMap>::default();
    let name = FileName::Real("/src/program.jsx".into());
    let file = source_map.new_source_file(name.into(), source.to_owned());
    let comments = SingleThreadedComments::default();
    let syntax = Syntax::Es(EsSyntax {
        jsx: true,
        ..EsSyntax::default()
    });
    let mut errors = Vec::new();
    let program = parse_file_as_program(
        &file,
        syntax,
        EsVersion::latest(),
        Some(&comments),
        &mut errors,
    );
    let Ok(program) = program else {
        bail!("the program has an error: {source}");
    };
    let metadata = TransformPluginMetadataContext::new(
        Some("/src/program.jsx".into()),
        "development".into(),
        None,
    );
    Ok(Parsed {
        source_map,
        comments,
        unresolved: Mark::new(),
        metadata: Arc::new(metadata),
        encoded: PluginSerializedBytes::try_serialize(&VersionedSerializable::new(program))?,
    })
}

/// A runtime with a loaded plug-in.
struct Side<'a> {
    runtime: &'a Arc<dyn Runtime>,
    case: &'a Case,
    module: CompiledPluginModuleBytes,
}

impl<'a> Side<'a> {
    fn new(runtime: &'a Arc<dyn Runtime>, case: &'a Case, cache: ModuleCache) -> Self {
        let module = CompiledPluginModuleBytes::new(case.name.into(), cache);
        Self {
            runtime,
            case,
            module,
        }
    }

    fn transform(&self, parsed: &Parsed) -> Result<PluginSerializedBytes> {
        let module: Box<dyn PluginModuleBytes> =
            Box::new(self.module.clone_module(&**self.runtime));
        let mut executor = create_plugin_transform_executor(
            &parsed.source_map,
            &parsed.unresolved,
            &parsed.metadata,
            None,
            module,
            Some(self.case.config.clone()),
            Arc::clone(self.runtime),
        );
        let storage = HostCommentsStorage {
            inner: Some(parsed.comments.clone()),
        };
        COMMENTS.set(&storage, || executor.transform(&parsed.encoded, Some(true)))
    }

    /// The text of the transformed program, or why there is none.
    fn outcome(&self) -> Result<std::result::Result<String, String>> {
        // Plug-ins change the comments.
        let parsed = parse(&self.case.source)?;
        Ok(match self.transform(&parsed) {
            Ok(bytes) => {
                let program: Program = bytes.deserialize()?.into_inner();
                let comments = Some(&parsed.comments as _);
                let map = Arc::clone(&parsed.source_map);
                Ok(swc_ecma_codegen::to_code_default(map, comments, &program))
            }
            // The rest of an error is a backtrace, each runtime's own.
            Err(error) => Err(error.to_string()),
        })
    }
}

fn main() -> Result<()> {
    let mut rounds = 41;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] => {}
        ["--rounds", number] => rounds = number.parse()?,
        [CHILD, side, name, requests] => {
            return GLOBALS.set(&Globals::new(), || memory_of(side, name, requests.parse()?));
        }
        _ => bail!("usage: swc-bench [--rounds N]"),
    }
    GLOBALS.set(&Globals::new(), || bench(rounds))
}

fn runtimes() -> [(&'static str, Arc<dyn Runtime>); 2] {
    [
        ("precast", Arc::new(PrecastRuntime::default())),
        ("wasmtime", Arc::new(WasmtimeRuntime)),
    ]
}

fn artifact(side: &str, name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).unwrap_or(Path::new("."));
    let folder = target.join("artifacts");
    std::fs::create_dir_all(&folder)?;
    Ok(folder.join(format!("swc-{name}.{side}")))
}

/// The name of a second artifact of a plug-in, to measure its start. precast does not open a file a
/// second time while a module that was opened by the same path lives.
fn not_open(name: &str) -> String {
    format!("{name}-start")
}

fn load(side: &str, runtime: &Arc<dyn Runtime>, name: &str) -> Result<ModuleCache> {
    let path = artifact(side, name)?;
    // SAFETY: `bench` made the artifact.
    let cache = unsafe { runtime.load_cache(&path) };
    cache.with_context(|| format!("{side} cannot load {}", path.display()))
}

fn bench(rounds: usize) -> Result<()> {
    let cases = cases();
    if let Some(missing) = cases.iter().find(|case| !wasm(case.name).exists()) {
        let name = missing.name;
        bail!("swc's plug-in {name} is missing; `tests/programs/fetch.sh swc-{name}` fetches it");
    }
    let runtimes = runtimes();
    println!("{rounds} rounds; min / median / max in µs, and ratios of medians (of minima)");
    for case in &cases {
        let bytes = std::fs::read(wasm(case.name))?;
        for (side, runtime) in &runtimes {
            let module = runtime.prepare_module(&bytes)?;
            for name in [case.name.to_owned(), not_open(case.name)] {
                let path = artifact(side, &name)?;
                std::fs::remove_file(&path).ok();
                runtime.store_cache(&path, &module)?;
            }
        }
        check(&runtimes, case)?;
        if case.made.is_none() {
            continue;
        }

        let (parsed, empty) = (parse(&case.source)?, parse("")?);
        let mut start = Row::new("start", case.name);
        let mut request = Row::new("request", case.name);
        let mut sides = Vec::new();
        for (side, runtime) in &runtimes {
            sides.push(Side::new(runtime, case, load(side, runtime, case.name)?));
        }
        for round in 0..=rounds {
            for turn in 0..2 {
                let i = (round + turn) % 2;
                let (side, runtime) = &runtimes[i];
                let (started, _) = time(|| {
                    let fresh =
                        Side::new(runtime, case, load(side, runtime, &not_open(case.name))?);
                    fresh.transform(&empty)
                })?;
                let (requested, result) = time(|| sides[i].transform(&parsed))?;
                black_box(result);
                // The first round fills pools and caches.
                if round > 0 {
                    start.0[i].push(started);
                    request.0[i].push(requested);
                }
            }
        }
        start.print();
        request.print();
    }
    println!("growth of a process at most, KiB: after 1 request and 100");
    for case in cases.iter().filter(|case| case.made.is_some()) {
        print!("{:<28}", case.name);
        for (side, _) in &runtimes {
            print!("  {side}");
            for requests in ["1", "100"] {
                let output = Command::new(std::env::current_exe()?)
                    .args([CHILD, side, case.name, requests])
                    .output()?;
                if !output.status.success() {
                    bail!("{side}: {}", String::from_utf8_lossy(&output.stderr));
                }
                print!(" {}", String::from_utf8_lossy(&output.stdout).trim());
            }
        }
        println!();
    }
    Ok(())
}

/// Compares what both make of the program.
fn check(runtimes: &[(&'static str, Arc<dyn Runtime>); 2], case: &Case) -> Result<()> {
    let mut outcomes = Vec::new();
    for (side, runtime) in runtimes {
        let side = Side::new(runtime, case, load(side, runtime, case.name)?);
        let outcome = side.outcome()?;
        if side.outcome()? != outcome {
            bail!("{}: the second instance differs", case.name);
        }
        outcomes.push(outcome);
    }
    let (ours, theirs) = (&outcomes[0], &outcomes[1]);
    if ours != theirs {
        bail!("{}\nprecast: {ours:?}\nWasmtime: {theirs:?}", case.name);
    }
    match (ours, case.made) {
        (Ok(text), Some(made)) if text.contains(made) && *text != case.source => {
            println!("{}: both transform the program alike", case.name);
        }
        (Err(error), None) => {
            let first = error.lines().next().unwrap_or_default();
            println!("{}: both refuse it alike: {first}", case.name);
        }
        (found, expected) => bail!("{}: found {found:?}, expected {expected:?}", case.name),
    }
    Ok(())
}

fn time<T>(f: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let start = Instant::now();
    let result = f()?;
    Ok((start.elapsed(), result))
}

/// Times of both runtimes.
struct Row([Vec<Duration>; 2], String);

impl Row {
    fn new(what: &str, name: &str) -> Self {
        Self(Default::default(), format!("{what}, {name}"))
    }

    fn print(mut self) {
        print!("{:<28}", self.1);
        for times in &mut self.0 {
            times.sort_unstable();
            let micros = |i: usize| times[i].as_secs_f64() * 1e6;
            let last = times.len() - 1;
            print!(
                "  {:>9.1} / {:>9.1} / {:>9.1}",
                micros(0),
                micros(times.len() / 2),
                micros(last)
            );
        }
        let ratio = |at: fn(&Vec<Duration>) -> Duration| {
            at(&self.0[0]).as_secs_f64() / at(&self.0[1]).as_secs_f64()
        };
        println!(
            "  {:.3} ({:.3})",
            ratio(|times| times[times.len() / 2]),
            ratio(|times| times[0])
        );
    }
}

/// Prints by how much the process has grown at most after some requests, in KiB.
fn memory_of(side: &str, name: &str, requests: u32) -> Result<()> {
    let cases = cases();
    let case = cases
        .iter()
        .find(|case| case.name == name)
        .context("no such plug-in")?;
    let runtimes = runtimes();
    let runtime = runtimes.iter().find(|(known, _)| *known == side);
    let (_, runtime) = runtime.context("no such runtime")?;
    let parsed = parse(&case.source)?;
    let before = peak_kib()?;
    let side = Side::new(runtime, case, load(side, runtime, name)?);
    for _ in 0..requests {
        black_box(side.transform(&parsed)?);
    }
    println!("{}", peak_kib()? - before);
    Ok(())
}

fn peak_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("there is no VmHWM")?.parse()?)
}
