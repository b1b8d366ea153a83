//! What a sequence expects: the state of the guests, and how each call ends.

use std::collections::BTreeMap;

use precast_loader::Trap;

use super::guest::{HostOp, MAX_ELEMENTS, MAX_PAGES};

/// How a call ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    Value(i32),
    Nothing,
    Reference(Option<u32>),
    Trap(Trap),
    HostError,
    Exit(i32),
    Panic,
}

/// The state of a guest, which it owns or imports from another guest.
#[derive(Debug, Clone)]
pub struct State {
    pub count: i32,
    pub pages: u64,
    pub bytes: BTreeMap<u32, u8>,
    pub references: Vec<Option<u32>>,
}

impl State {
    pub fn new() -> Self {
        Self {
            count: 0,
            pages: 1,
            bytes: BTreeMap::new(),
            references: vec![None; 4],
        }
    }

    pub fn add(&mut self, n: i32) -> Ending {
        self.count = self.count.wrapping_add(n);
        Ending::Value(self.count)
    }

    pub fn is_inside(&self, at: u32) -> bool {
        u64::from(at) < self.pages << 16
    }

    pub fn poke(&mut self, at: u32, byte: u8) -> Ending {
        if !self.is_inside(at) {
            return Ending::Trap(Trap::MemoryOutOfBounds);
        }
        self.bytes.insert(at, byte);
        Ending::Nothing
    }

    pub fn peek(&self, at: u32) -> Ending {
        if !self.is_inside(at) {
            return Ending::Trap(Trap::MemoryOutOfBounds);
        }
        Ending::Value(self.bytes.get(&at).copied().unwrap_or(0).into())
    }

    pub fn grow(&mut self, pages: u32) -> Ending {
        let after = self.pages + u64::from(pages);
        if after > MAX_PAGES {
            return Ending::Value(-1);
        }
        let before = std::mem::replace(&mut self.pages, after);
        Ending::Value(before as i32)
    }

    pub fn put(&mut self, at: u32, value: Option<u32>) -> Ending {
        match self.references.get_mut(at as usize) {
            Some(place) => {
                *place = value;
                Ending::Nothing
            }
            None => Ending::Trap(Trap::TableOutOfBounds),
        }
    }

    pub fn get(&self, at: u32) -> Ending {
        match self.references.get(at as usize) {
            Some(value) => Ending::Reference(*value),
            None => Ending::Trap(Trap::TableOutOfBounds),
        }
    }

    /// Grows the table, and returns its length before.
    pub fn grow_table(&mut self, delta: u64, value: Option<u32>) -> Option<u64> {
        let before = self.references.len() as u64;
        let after = before.checked_add(delta).filter(|n| *n <= MAX_ELEMENTS)?;
        self.references.resize(after as usize, value);
        Some(before)
    }

    pub fn indirect(&mut self, i: u32, n: i32) -> Ending {
        match i {
            0 => self.add(n),
            1 => Ending::Trap(Trap::UnreachableCodeReached),
            2..6 => Ending::Trap(Trap::IndirectCallToNull),
            _ => Ending::Trap(Trap::UndefinedElement),
        }
    }

    /// Does what the host function does. `sum` is the sum in the store's data.
    pub fn ask(&mut self, op: i32, n: i32, sum: &mut i32) -> Ending {
        match HostOp::from_number(op) {
            HostOp::Next => Ending::Value(n.wrapping_add(1)),
            HostOp::Fail => Ending::HostError,
            HostOp::Panic => Ending::Panic,
            HostOp::Reenter => self.add(n),
            HostOp::Grow => self.grow(n.cast_unsigned()),
            HostOp::Nest => self.ask(n % 16, n / 16, sum),
            HostOp::Exit => Ending::Exit(n),
            HostOp::Trap => Ending::Trap(Trap::NullReference),
            HostOp::Count => {
                *sum = sum.wrapping_add(n);
                Ending::Value(*sum)
            }
            HostOp::Write => {
                let at = n.cast_unsigned();
                let inside = self.is_inside(at);
                if inside {
                    self.bytes.insert(at, 7);
                }
                Ending::Value(inside.into())
            }
        }
    }
}
