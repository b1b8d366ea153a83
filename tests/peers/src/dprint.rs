//! A host of dprint's formatter plug-ins (schema version 4), on precast and on Wasmtime.
//!
//! The plug-ins are those of npm. Host and plug-in exchange texts through *shared bytes*, a buffer
//! of the plug-in that one of its exports makes (`clear_shared_bytes`) and another one finds
//! (`get_shared_bytes_ptr`): the host writes a text there and calls what takes it
//! (`register_config`, `set_file_path`, `format`), or calls what leaves a text there
//! (`get_formatted_text`, `get_error_text`) and reads it. A plug-in that finds code in another
//! language asks the host to have it formatted (`host_format`).
//!
//! `dprint/host.rs` has the host. It is compiled twice, once with precast-loader as `wasm` and once
//! with Wasmtime, without any difference: this is what moving from one to the other takes. Only
//! the engines and how they open an artifact differ, see `on_precast` and `on_wasmtime`.

mod on_precast;
mod on_wasmtime;

use std::path::Path;
use std::sync::Arc;

use crate::Result;
use crate::subjects::Subject;

/// Formats a text in another language: gets a path and a text, returns the text if it changes.
pub type Formatter =
    Arc<dyn Fn(&str, &str) -> std::result::Result<Option<String>, String> + Send + Sync>;

/// A runtime that can run plug-ins.
pub trait Runtime {
    /// A plug-in that has been opened and linked.
    type Linked: Linked;

    /// Opens and links the artifact of a plug-in. `others` formats texts in other languages.
    ///
    /// # Errors
    /// Those of the runtime.
    fn open_plugin(&self, artifact: &Path, others: Formatter) -> Result<Self::Linked>;

    /// Opens and links the artifact of this runtime of a subject, which stays open.
    ///
    /// # Errors
    /// Those of the runtime, or there is no artifact.
    fn open_subject(&self, subject: &Subject, others: Formatter) -> Result<Self::Linked>;

    /// Does the same for a measurement of what opening costs, see [`Subject::other_name`].
    ///
    /// # Errors
    /// Those of the runtime, or there is no artifact.
    fn open_anew(&self, subject: &Subject, others: Formatter) -> Result<Self::Linked>;
}

/// A plug-in that has been opened and linked.
pub trait Linked: Send + Sync + 'static {
    /// An instance.
    type Plugin: Plugin;

    /// Makes an instance, looks up its exports, and gives it a configuration.
    ///
    /// # Errors
    /// Those of the runtime, or the plug-in is not one of schema version 4.
    fn start(&self) -> Result<Self::Plugin>;
}

/// An instance of a plug-in.
pub trait Plugin {
    /// Formats the text of a file. The result is `None` if it stays the same.
    ///
    /// # Errors
    /// Those of the runtime, and the plug-in's own, such as of a text with an error in its syntax.
    fn format(&mut self, path: &str, text: &str) -> Result<Option<String>>;
}

/// A formatter that leaves texts as they are.
pub fn no_others() -> Formatter {
    Arc::new(|_, _| Ok(None))
}

/// A plug-in, and a document for it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The plug-in.
    pub subject: Subject,
    /// The path of the document as the plug-in sees it.
    pub path: &'static str,
    /// The document.
    pub text: String,
}

/// The plug-ins, each with a document that is not formatted yet.
pub fn cases() -> Vec<Case> {
    let [markdown, json, toml] = crate::subjects::plugins();
    let case = |subject, path, text: String| Case {
        subject,
        path,
        text,
    };
    vec![
        case(markdown, "README.md", document()),
        case(json, "package.json", package()),
        case(toml, "Cargo.toml", manifest()),
    ]
}

/// A page about a command line with headings, lists, tables, quotations and code.
fn document() -> String {
    let mut text = "Commands\n====\n\n\nWhat each command does.\n".to_owned();
    for i in 0..20 {
        text += &format!(
            "\nCommand number {i}\n---\n*   takes *one*   file\n*   writes __another__ one\n\
             \n\n1)  first `open`\n1)  then [read](https://example.org/{i}  \"here\")\n\n\
             | option | what\n|--|:-:\n| `-v{i}` | says   more\n| `--quiet` | says nothing |\n\n\
             > A quotation of\n> two lines.\n\n***\n\n    indented {i}\n\n\
             ```json\n{{\"command\":{i},\"options\":[1,2,  3]}}\n```\n\n\
             ~~~toml\nname=\"command\"\nnumber   = {i}\n~~~\n"
        );
    }
    text
}

fn package() -> String {
    let mut text =
        "{\"name\":\"commands\",\n\n\n\"version\":   \"1.0.0\", // of today\n".to_owned();
    for i in 0..60 {
        text += &format!(
            "  \"command-{i}\":{{\"takes\":[\"file\",{i},  null,true],\n/* more */ \"writes\":\
             {{\"another\":{i}.5e3,\"list\":[[1,2],[3,\n4]]}}}},\n"
        );
    }
    text + "\"end\":{} }"
}

fn manifest() -> String {
    let mut text = "[package]\nname=\"commands\"\nversion   = \"1.0.0\"\n\n\n\n".to_owned();
    for i in 0..60 {
        text += &format!(
            "[[command]]\nnumber={i}\ntakes   = [ \"file\",{i},true ]   # a list\n\
             writes={{another={i},when=2026-01-01T00:00:00Z}}\n\"quoted key\"='literal {i}'\n"
        );
    }
    text
}
