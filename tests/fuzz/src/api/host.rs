//! The host function that guests call, and the data of their stores.

use std::panic::resume_unwind;
use std::sync::Arc;

use precast_loader::{Caller, Error, Extern, Trap};

use super::Token;
use super::guest::HostOp;

/// The data of a store.
pub struct Data {
    pub sum: i32,
    #[expect(dead_code, reason = "held for its count")]
    token: Token,
}

impl Data {
    pub fn new(token: &Token) -> Self {
        Self {
            sum: 0,
            token: Arc::clone(token),
        }
    }
}

/// The part of a store's data that the host function needs.
pub trait Sums {
    fn sum(&mut self) -> &mut i32;
}

impl Sums for Data {
    fn sum(&mut self) -> &mut i32 {
        &mut self.sum
    }
}

impl Sums for precast_loader::runtime::State<Data> {
    fn sum(&mut self) -> &mut i32 {
        &mut self.data_mut().sum
    }
}

/// The host function that guests call.
pub fn host<T: Sums>(mut caller: Caller<'_, T>, op: i32, n: i32) -> Result<i32, Error> {
    let missing = || Error::host("the guest lacks an export");
    match HostOp::from_number(op) {
        HostOp::Next => Ok(n.wrapping_add(1)),
        HostOp::Fail => Err(Error::host("as asked")),
        HostOp::Panic => resume_unwind(Box::new("as asked")),
        HostOp::Reenter => {
            let add = caller
                .get_export("add")
                .and_then(Extern::into_func)
                .ok_or_else(missing)?;
            add.typed::<i32, i32>(&caller)?.call(&mut caller, n)
        }
        HostOp::Grow => {
            let memory = caller
                .get_export("mem")
                .and_then(Extern::into_memory)
                .ok_or_else(missing)?;
            match memory.grow(&mut caller, n.cast_unsigned().into()) {
                Ok(before) => Ok(before as i32),
                Err(Error::Limit { .. }) => Ok(-1),
                Err(error) => Err(error),
            }
        }
        HostOp::Nest => {
            let ask = caller
                .get_export("ask")
                .and_then(Extern::into_func)
                .ok_or_else(missing)?;
            ask.typed::<(i32, i32), i32>(&caller)?
                .call(&mut caller, (n % 16, n / 16))
        }
        HostOp::Exit => Err(Error::Exit(n)),
        HostOp::Trap => Err(Trap::NullReference.into()),
        HostOp::Count => {
            let sum = caller.data_mut().sum();
            *sum = sum.wrapping_add(n);
            Ok(*sum)
        }
        HostOp::Write => {
            let memory = caller
                .get_export("mem")
                .and_then(Extern::into_memory)
                .ok_or_else(missing)?;
            match memory.write(&mut caller, n.cast_unsigned() as usize, &[7]) {
                Ok(()) => Ok(1),
                Err(Error::OutOfBounds { .. }) => Ok(0),
                Err(error) => Err(error),
            }
        }
    }
}
