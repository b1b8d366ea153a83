//! One sequence of calls, made by the guest and in the model.

use super::agree::{BADF, same};
use super::guest::{Arg, Guest, OUT};
use super::model::Open;
use super::pair::Pair;
use crate::Case;

pub struct Run {
    pub(super) guest: Guest,
    /// The open files and directories. The first two are the preopened directories: the read-write
    /// one and the read-only one.
    pub(super) open: Vec<Pair>,
}

impl Run {
    pub fn new(guest: Guest, model: Open, read_only: Open) -> Self {
        Self {
            guest,
            open: vec![
                Pair::directory(3, model, false),
                Pair::directory(4, read_only, true),
            ],
        }
    }

    /// Makes one call on each side.
    pub fn step(&mut self, case: &mut Case) -> Result<(), String> {
        match case.rng.u32(..24) {
            0..=3 => self.open(case),
            4 => self.mkdir(case),
            5 | 6 => self.unlink(case),
            7 => self.symlink(case),
            8 | 9 => self.rename(case),
            10 => self.link(case),
            11 => self.readlink(case),
            12 | 13 => self.stat(case),
            14 => self.set_times(case),
            15 => self.list(case),
            16 => self.close(case),
            _ => self.use_file(case),
        }
    }

    /// Chooses a directory, most often the read-write one.
    pub(super) fn dir(&self, case: &mut Case) -> usize {
        match case.rng.u32(..8) {
            0 => 1,
            1 | 2 => {
                let dirs = self.open.iter().enumerate().filter(|(_, p)| p.is_dir);
                let dirs: Vec<_> = dirs.map(|(i, _)| i).collect();
                *case.one_of(&dirs)
            }
            // Sometimes this is a file, so that the call must fail.
            3 if case.once_in(4) => case.rng.usize(..self.open.len()),
            _ => 0,
        }
    }

    pub(super) fn close(&mut self, case: &mut Case) -> Result<(), String> {
        if self.open.len() == 2 {
            return Ok(());
        }
        let i = case.rng.usize(2..self.open.len());
        let pair = self.open.swap_remove(i);
        case.show(|| format!("close {i}"));
        let errno = self.guest.call("fd_close", &[Arg::I32(pair.guest)])?;
        if errno != 0 {
            return Err(format!("close {i}: error {errno}"));
        }
        let again = self
            .guest
            .call("fd_tell", &[Arg::I32(pair.guest), Arg::I32(OUT)])?;
        same("a closed descriptor", again, BADF)
    }
}
