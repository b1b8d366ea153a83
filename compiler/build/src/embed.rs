//! The artifact as a part of the host's text: through the assembler of rustc, or as an object in a
//! library for the linker.
//!
//! Both define one symbol at the artifact's first byte, and local symbols for the guest's
//! functions, so that debuggers and profilers know them.

use std::fmt::Write;
use std::path::Path;

use precast_artifact::{Artifact, HEADER_OFFSET};

use crate::Error;
use crate::environment::Environment;

/// Writes the files that `include_artifact!` includes. Returns what to tell cargo.
pub(crate) fn as_assembly(
    artifact: &Artifact<'_>,
    name: &str,
    path: &Path,
    cargo: &Environment,
) -> Result<Vec<String>, Error> {
    let symbol = symbol(artifact, name, cargo);
    let text = assembly(artifact, name, &symbol, path, cargo);
    cargo.write(&format!("{name}.s"), text.as_bytes())?;
    let items = format!(
        "    // The macro must be an item of a module.\n    #[allow(unsafe_code)]\n    \
         mod assembly {{\n        \
         ::core::arch::global_asm!(include_str!({:?}), options(raw));\n    }}\n",
        format!("{name}.s")
    );
    write_expression(name, &symbol, &items, cargo)?;
    Ok(Vec::new())
}

/// Writes a library with the artifact's object, and the file that `include_artifact!` includes.
/// Returns what to tell cargo.
pub(crate) fn as_object(
    artifact: &Artifact<'_>,
    name: &str,
    cargo: &Environment,
) -> Result<Vec<String>, Error> {
    let symbol = symbol(artifact, name, cargo);
    let object = precast_object::object_file(artifact.bytes(), &symbol)?;
    let library = archive(&symbol, &object);
    let path = cargo.write(&format!("lib{symbol}.a"), &library)?;
    write_expression(name, &symbol, "", cargo)?;
    Ok(vec![
        format!("rustc-link-search=native={}", cargo.out_dir.display()),
        // If the package has a library, cargo passes this only to the library, and the library
        // passes it on to everything that uses the library.
        format!("rustc-link-lib=static={symbol}"),
        // Programs, tests and examples of the package may include the artifact without using the
        // library. The linker ignores this file if it has the symbol already.
        format!("rustc-link-arg={}", path.display()),
    ])
}

/// The symbol of an artifact. Artifacts with different bytes have different symbols.
fn symbol(artifact: &Artifact<'_>, name: &str, cargo: &Environment) -> String {
    let names = format!("{}_{name}", cargo.package);
    let names = names.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let digest = artifact.header().digest;
    let digest = digest[..8]
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    format!("precast_{names}_{digest}")
}

fn write_expression(
    name: &str,
    symbol: &str,
    items: &str,
    cargo: &Environment,
) -> Result<(), Error> {
    let expression = format!(
        "{{\n{items}    #[allow(unsafe_code)]\n    unsafe extern \"C\" {{\n        #[link_name = {symbol:?}]\n        \
         static ARTIFACT: ::precast_loader::StaticArtifact;\n    }}\n    \
         // SAFETY: `precast_build` made the artifact and put it into the executable's text.\n    \
         #[allow(unsafe_code)]\n    let artifact = unsafe {{\n        \
         ::precast_loader::EmbeddedArtifact::new(&raw const ARTIFACT)\n    }};\n    \
         artifact\n}}\n"
    );
    cargo.write(&format!("{name}.embedded.rs"), expression.as_bytes())?;
    Ok(())
}

/// The artifact as a section of text.
///
/// The symbol is weak, and the whole section is left out if the symbol exists already: a program
/// can hold several copies of a crate that includes the artifact, for instance a library and its
/// own tests, and link-time optimisation makes one assembly text of them. So the guest's names have
/// the names of the package and of the module in front, and differ from those of the host's
/// functions and of the guests of other packages.
fn assembly(
    artifact: &Artifact<'_>,
    name: &str,
    symbol: &str,
    path: &Path,
    cargo: &Environment,
) -> String {
    let package = cargo.package.replace('-', "_");
    let header = artifact.header();
    let (align, len) = (header.page_size, artifact.bytes().len());
    let file = path.display().to_string();
    let file = file.replace('\\', "\\\\").replace('"', "\\\"");
    let mut text = format!(
        ".ifndef {symbol}\n\
         .pushsection .text.{symbol},\"ax\",@progbits\n\
         .balign {align}\n\
         .weak {symbol}\n\
         .hidden {symbol}\n\
         .type {symbol}, STT_OBJECT\n\
         .size {symbol}, {len}\n\
         {symbol}:\n\
         .incbin \"{file}\"\n"
    );
    let start = HEADER_OFFSET as u64 + header.text.start;
    let mut taken = std::collections::HashSet::new();
    for (i, function) in (0..).zip(artifact.functions()) {
        let Some(found) = artifact.function_name(i) else {
            continue;
        };
        let printable = |byte: &u8| match byte {
            b'"' | b'\\' => '?',
            b' '..=b'~' => char::from(*byte),
            _ => '?',
        };
        let mut full = format!(
            "{package}::{name}::{}",
            found.iter().map(printable).collect::<String>()
        );
        // The longer name may be taken too, by a function that has it as its own.
        while !taken.insert(full.clone()) {
            full += &format!("#{i}");
        }
        let at = start + u64::from(function.text_offset);
        let len = function.text_len;
        // Writing to a string cannot fail.
        write!(
            text,
            ".set \"{full}\", {symbol}+{at}\n.type \"{full}\", STT_FUNC\n.size \"{full}\", {len}\n"
        )
        .unwrap_or(());
    }
    text + ".popsection\n.endif\n"
}

/// A static library with one object, in the format of System V: an index of symbols, then the
/// object.
fn archive(symbol: &str, object: &[u8]) -> Vec<u8> {
    /// A member. The numbers in its header are decimal text, padded with spaces.
    fn member(name: &str, content: &[u8]) -> Vec<u8> {
        let len = content.len();
        let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{len:<10}`\n", 0, 0, 0, 644);
        // Members start at even offsets.
        let end: &[u8] = if len % 2 == 1 { b"\n" } else { b"" };
        [header.as_bytes(), content, end].concat()
    }
    const MAGIC: &[u8] = b"!<arch>\n";
    let index = |at: u32| {
        let content = [
            &1_u32.to_be_bytes(),
            &at.to_be_bytes(),
            symbol.as_bytes(),
            b"\0",
        ]
        .concat();
        member("/", &content)
    };
    let at = u32::try_from(MAGIC.len() + index(0).len()).unwrap_or(u32::MAX);
    [MAGIC, &index(at), &member("guest.o/", object)].concat()
}
