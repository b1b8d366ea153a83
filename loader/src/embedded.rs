//! Macros that include what a build script with `precast_build` made: artifacts in the executable,
//! and Rust types for their imports and exports.

/// The artifact that the build script of this crate made of a module, as an
/// [`EmbeddedArtifact`](crate::EmbeddedArtifact) in this executable.
///
/// The argument is the name that the build script gave the module with `precast_build`, which is
/// that of the module's file without its extension. The artifact is in the executable's text, at
/// the start of a page, so its code runs where it is. Debuggers and profilers know the guest's
/// functions by their names, behind those of the crate and the module: `my_app::guest::add`.
///
/// A crate may deny `unsafe_code` but not forbid it, because what is included is unsafe code.
///
/// ```ignore
/// // build.rs: precast_build::Module::new("guest.wasm").compile()?;
/// use precast_loader::{Engine, Module, include_artifact};
///
/// let module = Module::embedded(&Engine::default(), include_artifact!("guest"))?;
/// ```
#[macro_export]
macro_rules! include_artifact {
    ($name:literal) => {
        include!(concat!(
            env!(
                "OUT_DIR",
                "this crate has no build script: its build.rs makes the artifact with precast_build"
            ),
            "/",
            $name,
            ".embedded.rs"
        ))
    };
}

/// Rust types for the imports and exports of a module, which the build script of this crate made
/// with `precast_build`. A module of the crate should hold them.
///
/// The types and functions are: `Imports`, a trait with one function for each function that the
/// module imports (but those of WASI); `add_to_linker`, which defines these for a
/// [`Linker`](crate::Linker) whose store's data implement the trait; and `Exports`, a structure
/// with one method for each export. A host whose module has changed a type does not compile.
///
/// ```ignore
/// // build.rs: precast_build::Module::new("guest.wasm").compile()?;
/// mod guest {
///     precast_loader::include_bindings!("guest");
/// }
/// ```
///
/// With a pool of instances, an [`InstancePre`](crate::InstancePre) makes the instance that
/// `guest::Exports::new(&mut store, instance)?` gets.
///
/// `tests/examples/embedded` is a whole host.
#[macro_export]
macro_rules! include_bindings {
    ($name:literal) => {
        include!(concat!(
            env!(
                "OUT_DIR",
                "this crate has no build script: its build.rs makes the types with precast_build"
            ),
            "/",
            $name,
            ".bindings.rs"
        ));
    };
}
