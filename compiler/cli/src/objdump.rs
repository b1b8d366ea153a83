//! `precast objdump`: disassembles an artifact, with information that other tools cannot read: the
//! offsets in the WebAssembly module that code comes from, and the reasons of traps. (`objdump -d`
//! works too, and shows the bytes.)

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use capstone::Capstone;
use capstone::arch::{BuildsCapstone, BuildsCapstoneExtraMode, arm64, riscv, sysz, x86};
use object::{Object, ObjectSymbol};
use precast_artifact::target::Arch;
use precast_artifact::{Artifact, addresses, shown, traps};

use crate::artifact::{Bytes, signature, spelled};
use crate::{Failure, files};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The artifact
    file: PathBuf,
    /// Disassemble only this function: a name, or an index in the function index space
    #[arg(long, value_name = "NAME")]
    func: Option<String>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let bytes = Bytes::read(&args.file)?;
    let artifact = bytes.parse(&args.file)?;
    let disassembly = Disassembly::new(&artifact)?;
    let wanted = match &args.func {
        Some(name) => disassembly.find(name)?,
        None => (0..disassembly.code.len()).collect(),
    };
    for (n, i) in wanted.into_iter().enumerate() {
        let mut text = String::new();
        if n != 0 {
            text.push('\n');
        }
        disassembly.print(&mut text, i)?;
        files::print(text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The range of one symbol in the text section.
struct Code {
    name: String,
    start: u64,
    len: u64,
}

struct Disassembly<'a> {
    artifact: &'a Artifact<'a>,
    text: &'a [u8],
    /// All code in the order of the symbols: the defined functions come first.
    code: Vec<Code>,
    /// Indices in `code` by the offset in the text where the symbol starts.
    names: BTreeMap<u64, usize>,
    traps: BTreeMap<u32, precast_artifact::TrapCode>,
    capstone: Capstone,
}

impl<'a> Disassembly<'a> {
    fn new(artifact: &'a Artifact<'a>) -> Result<Self> {
        let h = artifact.header();
        let file = object::File::parse(artifact.bytes()).context("cannot read its symbols")?;
        let text_start = h.text.start + precast_artifact::HEADER_OFFSET as u64;
        let mut code: Vec<Code> = file
            .symbols()
            .map(|symbol| Code {
                name: String::from_utf8_lossy(symbol.name_bytes().unwrap_or(b"?")).into_owned(),
                start: symbol.address().wrapping_sub(text_start),
                len: symbol.size(),
            })
            .collect();
        if code.is_empty() {
            // The artifact was stripped, but it still has the offsets of its functions.
            let imported = h.vm.func_import_count;
            code.extend(
                (imported..)
                    .zip(artifact.functions())
                    .map(|(i, function)| Code {
                        name: format!("wasm-function[{i}]"),
                        start: function.text_offset.into(),
                        len: function.text_len.into(),
                    }),
            );
        }
        let names = code.iter().enumerate().map(|(i, c)| (c.start, i)).collect();
        Ok(Self {
            artifact,
            text: artifact.section(h.text),
            code,
            names,
            traps: traps::entries(artifact.section(h.traps)).collect(),
            capstone: capstone(h.arch).map_err(|e| anyhow!("cannot disassemble: {e}"))?,
        })
    }

    /// Finds the functions with this name or index, as indices in `code`.
    fn find(&self, name: &str) -> Result<Vec<usize>> {
        let named: Vec<usize> = (0..self.code.len())
            .filter(|i| self.code[*i].name == name)
            .collect();
        if !named.is_empty() {
            return Ok(named);
        }
        let imported = self.artifact.header().vm.func_import_count;
        let functions = self.artifact.functions().len();
        if let Ok(index) = name.parse::<u32>() {
            return match index.checked_sub(imported) {
                Some(defined) if (defined as usize) < functions => Ok(vec![defined as usize]),
                Some(_) => {
                    let all = imported as usize + functions;
                    bail!("there is no function {index}: the module has {all}")
                }
                None => bail!("function {index} is imported: it has no code"),
            };
        }
        let mut similar: Vec<&str> = self
            .code
            .iter()
            .map(|c| &*c.name)
            .filter(|n| n.contains(name))
            .collect();
        similar.truncate(5);
        if similar.is_empty() {
            bail!("there is no function `{name}` among {functions}");
        }
        bail!(
            "there is no function `{name}`; there is `{}`",
            shown(&similar.join("`, `"))
        )
    }

    fn print(&self, out: &mut impl Write, i: usize) -> Result<()> {
        let code = &self.code[i];
        let function = self.artifact.functions().get(i);
        let imported = self.artifact.header().vm.func_import_count as usize;
        write!(out, "<{}> {} bytes", shown(&code.name), code.len)?;
        if let Some(function) = function {
            let signature = spelled(signature(self.artifact, function.signature).as_ref());
            write!(out, ", function {} {signature}", imported + i)?;
        }
        writeln!(out)?;
        let end = code.start.checked_add(code.len);
        let bytes = end
            .and_then(|end| self.text.get(code.start as usize..end as usize))
            .with_context(|| {
                format!("the symbol `{}` is outside of the text", shown(&code.name))
            })?;
        let map = self.artifact.section(self.artifact.header().addresses);
        let index = if function.is_some() {
            i as u32
        } else {
            u32::MAX
        };
        let mut places = addresses::entries(map, index).peekable();
        // The function whose code this is: the one that is printed, or one that is inlined into it.
        let mut within = index;

        let mut instructions = self
            .capstone
            .disasm_iter(bytes, code.start)
            .map_err(|e| anyhow!("cannot disassemble: {e}"))?;
        while let Some(instruction) = instructions.next() {
            let at = instruction.address();
            let mut wasm = String::new();
            let mut position = None;
            while let Some((_, p)) = places.next_if(|p| code.start + u64::from(p.0) <= at) {
                position = Some(p);
            }
            let found = position.map_or_else(Vec::new, |p| addresses::locations(map, index, p));
            if let Some(innermost) = found.first() {
                wasm = format!("{:#x}", innermost.wasm);
                if innermost.function != within {
                    within = innermost.function;
                    let name = self.code.get(within as usize).map_or("?", |c| &*c.name);
                    writeln!(out, "{:>22}; code of <{}>", "", shown(name))?;
                }
            }
            let mnemonic = instruction.mnemonic().unwrap_or("?");
            let operands = instruction.op_str().unwrap_or("");
            write!(out, "{wasm:>10} {at:>8x}:  {mnemonic}")?;
            if !operands.is_empty() {
                let width = 9_usize.saturating_sub(mnemonic.len()).max(1);
                write!(out, "{:width$}{operands}", "")?;
            }
            if let Some(target) = self.target(mnemonic, operands).filter(|t| *t != i) {
                write!(out, "  ; <{}>", shown(&self.code[target].name))?;
            }
            if let Some(trap) = u32::try_from(at).ok().and_then(|at| self.traps.get(&at)) {
                write!(out, "  ; trap: {trap}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    /// The symbol to whose start a call or jump goes, as an index in `code`.
    fn target(&self, mnemonic: &str, operands: &str) -> Option<usize> {
        let branches = ["call", "j", "b"];
        if !branches.iter().any(|start| mnemonic.starts_with(start)) {
            return None;
        }
        let last = operands.rsplit([' ', ',']).next()?.trim_start_matches('#');
        // Capstone prints numbers below ten without `0x`.
        let address = u64::from_str_radix(last.strip_prefix("0x").unwrap_or(last), 16).ok()?;
        self.names.get(&address).copied()
    }
}

fn capstone(arch: u32) -> capstone::CsResult<Capstone> {
    let new = Capstone::new();
    let mut capstone = match Arch::from_number(arch) {
        Some(Arch::X86_64) => new.x86().mode(x86::ArchMode::Mode64).build(),
        Some(Arch::Aarch64) => new.arm64().mode(arm64::ArchMode::Arm).build(),
        Some(Arch::Riscv64) => {
            let compressed = [riscv::ArchExtraMode::RiscVC];
            let riscv = new.riscv().mode(riscv::ArchMode::RiscV64);
            riscv.extra_mode(compressed.into_iter()).build()
        }
        Some(Arch::S390x) => new.sysz().mode(sysz::ArchMode::Default).build(),
        None => Err(capstone::Error::UnsupportedArch),
    }?;
    // Functions are followed by their constants, which are not instructions.
    capstone.set_skipdata(true)?;
    Ok(capstone)
}
