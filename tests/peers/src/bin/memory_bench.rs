//! Benchmark of the memory of a hundred instances of CRuby in one process: `memory-bench
//! [SUBJECT]`.
//!
//! precast runs ten [`Runtime`]s with ten instances each of one module. Wasmtime runs a hundred
//! instances of one module in stores of their own, with its pool and without. Each runs in a
//! process of its own, which reads `/proc/self/smaps` four times: before there is a module, with a
//! hundred instances, after each instance has read every page of its memory, and after each has
//! written to sixteen pages. *Private* pages belong only to the process and to one mapping.
//! *Shared* pages are mapped several times, or belong to files that another process has mapped too.
//! `artifact` counts the pages of the artifact's file that are mapped directly: *Rss* counts a page
//! once for each mapping, and *Pss* counts it once.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use precast_loader::runtime::{HostModule, InstanceConfig, Runtime};
use precast_loader::{Engine, ExternType, Module};
use precast_peers::Result;
use precast_peers::peers::{Peer, Precast, Setting, Wasmtime, settings};
use precast_peers::subjects::{self, Subject};

const CHILD: &str = "memory-of";
const RUNTIMES: usize = 10;
const INSTANCES: usize = 10;
const PAGES: usize = 16;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let find = |name: &str| {
        let found = subjects::programs()
            .into_iter()
            .find(|subject| subject.name == name);
        found.ok_or_else(|| format!("there is no subject {name}"))
    };
    match args.as_slice() {
        [CHILD, "precast", name] => precast(&find(name)?),
        [CHILD, setting, name] => {
            let setting = settings().into_iter().find(|known| known.name == *setting);
            wasmtime(setting.ok_or("no such setting")?, &find(name)?)
        }
        [] => bench("CRuby"),
        [name] => bench(name),
        _ => Err("usage: memory-bench [SUBJECT]".into()),
    }
}

fn bench(name: &str) -> Result<()> {
    println!("{} instances of {name}, KiB", RUNTIMES * INSTANCES);
    println!(
        "{:<44} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "private", "shared", "Rss", "Pss", "file Rss", "file Pss"
    );
    let mut sides = vec!["precast"];
    sides.extend(settings().iter().take(2).map(|setting| setting.name));
    for side in sides {
        let status = Command::new(std::env::current_exe()?)
            .args([CHILD, side, name])
            .status()?;
        if !status.success() {
            return Err(format!("{side} ended with {status}").into());
        }
    }
    Ok(())
}

fn precast(subject: &Subject) -> Result<()> {
    let artifact = subject.artifact(Precast::EXTENSION)?;
    let engine = Engine::default();
    let before = Memory::now(&artifact)?;
    // SAFETY: precast made the artifact for this benchmark.
    let module = unsafe { Module::open(&engine, &artifact)? };
    let mut runtimes = Vec::new();
    let mut instances = Vec::new();
    for _ in 0..RUNTIMES {
        let runtime = Runtime::<()>::new(&engine);
        stub_imports(&runtime, &module)?;
        for _ in 0..INSTANCES {
            let config = InstanceConfig::new().with_start_functions([]);
            instances.push(runtime.instantiate(&module, config)?);
        }
        runtimes.push(runtime);
    }
    let made = Memory::now(&artifact)?;
    for instance in &instances {
        instance.with(|mut store, instance| {
            if let Some(memory) = instance.get_memory(&mut store, "memory") {
                read(memory.data(&store));
            }
            Ok(())
        })?;
    }
    let seen = Memory::now(&artifact)?;
    for instance in &instances {
        instance.with(|mut store, instance| {
            if let Some(memory) = instance.get_memory(&mut store, "memory") {
                for page in 0..PAGES {
                    memory.write(&mut store, 1 << 20 | page << 12, &[1])?;
                }
            }
            Ok(())
        })?;
    }
    let used = Memory::now(&artifact)?;
    print("precast", &before, [&made, &seen, &used]);
    Ok(())
}

fn stub_imports(runtime: &Runtime<()>, module: &Module) -> Result<()> {
    let mut names: Vec<&str> = module.imports().map(|i| i.module()).collect();
    names.sort_unstable();
    names.dedup();
    for host in names {
        let mut builder = HostModule::builder(host);
        for import in module.imports().filter(|i| i.module() == host) {
            if let ExternType::Func(ty) = import.ty() {
                builder = builder.func_new(import.name(), ty, |_, _, _| Ok(()));
            }
        }
        builder.instantiate(runtime)?;
    }
    Ok(())
}

fn wasmtime(setting: Setting, subject: &Subject) -> Result<()> {
    let artifact = subject.artifact(Wasmtime::EXTENSION)?;
    let peer = Wasmtime::new(setting)?;
    let before = Memory::now(&artifact)?;
    let module = peer.open(&artifact)?;
    let linked = peer.link(&peer.linker(&module)?, &module)?;
    let mut instances = Vec::new();
    for _ in 0..RUNTIMES * INSTANCES {
        instances.push(peer.instantiate(&linked)?);
    }
    let made = Memory::now(&artifact)?;
    for (store, instance) in &mut instances {
        if let Some(memory) = instance.get_memory(&mut *store, "memory") {
            read(memory.data(&*store));
        }
    }
    let seen = Memory::now(&artifact)?;
    for (store, instance) in &mut instances {
        if let Some(memory) = instance.get_memory(&mut *store, "memory") {
            for page in 0..PAGES {
                memory.write(&mut *store, 1 << 20 | page << 12, &[1])?;
            }
        }
    }
    let used = Memory::now(&artifact)?;
    print(
        &format!("wasmtime, {}", setting.name),
        &before,
        [&made, &seen, &used],
    );
    Ok(())
}

/// Reads a byte of every page.
fn read(memory: &[u8]) {
    for page in memory.chunks(4096) {
        black_box(page[0]);
    }
}

fn print(name: &str, before: &Memory, after: [&Memory; 3]) {
    let when = ["made", "every page read", "16 pages written"];
    for (when, memory) in when.into_iter().zip(after) {
        let above = |of: fn(&Memory) -> u64| of(memory).saturating_sub(of(before));
        println!(
            "{:<44} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}   {} mappings, {} of the file",
            format!("{name}: {when}"),
            above(|m| m.private),
            above(|m| m.shared),
            above(|m| m.rss),
            above(|m| m.pss),
            above(|m| m.file_rss),
            above(|m| m.file_pss),
            above(|m| m.mappings),
            memory.file_mappings,
        );
    }
}

/// Sums over the mappings of this process in KiB.
#[derive(Default)]
struct Memory {
    private: u64,
    shared: u64,
    rss: u64,
    pss: u64,
    file_rss: u64,
    file_pss: u64,
    mappings: u64,
    file_mappings: u64,
}

impl Memory {
    fn now(artifact: &Path) -> Result<Self> {
        let smaps = std::fs::read_to_string("/proc/self/smaps")?;
        let mut memory = Self::default();
        let mut of_file = false;
        let artifact = artifact.canonicalize()?;
        for line in smaps.lines() {
            let Some((field, rest)) = line.split_once(':') else {
                continue;
            };
            // This is the first line of a mapping. Its first colon is in the device number, after
            // the addresses and the mode.
            if field.contains(' ') {
                of_file = rest.ends_with(&artifact.display().to_string());
                memory.mappings += 1;
                memory.file_mappings += u64::from(of_file);
                continue;
            }
            let Some(kib) = rest.trim().strip_suffix(" kB") else {
                continue;
            };
            let kib: u64 = kib.parse()?;
            match field {
                "Private_Clean" | "Private_Dirty" => memory.private += kib,
                "Shared_Clean" | "Shared_Dirty" => memory.shared += kib,
                "Rss" => {
                    memory.rss += kib;
                    memory.file_rss += if of_file { kib } else { 0 };
                }
                "Pss" => {
                    memory.pss += kib;
                    memory.file_pss += if of_file { kib } else { 0 };
                }
                _ => {}
            }
        }
        Ok(memory)
    }
}
