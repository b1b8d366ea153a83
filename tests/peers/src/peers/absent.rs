//! Stands for Wasmer in builds without the feature `wasmer`. It has no artifacts, so that its
//! columns are empty.

use std::convert::Infallible;
use std::path::Path;

use super::Peer;
use crate::Result;

/// Wasmer, which is not compiled in.
#[derive(Default)]
pub struct Wasmer;

impl Peer for Wasmer {
    const EXTENSION: &'static str = "absent";
    type Module = Infallible;
    type Linker = Infallible;
    type Linked = Infallible;
    type Live = Infallible;
    type Func = Infallible;

    fn open(&self, _: &Path) -> Result<Infallible> {
        Err("built without the feature `wasmer`".into())
    }

    fn linker(&self, module: &Infallible) -> Result<Infallible> {
        match *module {}
    }

    fn link(&self, linker: &Infallible, _: &Infallible) -> Result<Infallible> {
        match *linker {}
    }

    fn instantiate(&self, linked: &Infallible) -> Result<Infallible> {
        match *linked {}
    }

    fn func(&self, live: &mut Infallible, _: &str) -> Result<Infallible> {
        match *live {}
    }

    fn call(&self, live: &mut Infallible, _: &Infallible, _: i32) -> Result<i32> {
        match *live {}
    }
}
