//! The calls on open files: reading, writing, seeking, sizes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::agree::{Faults, INVAL, agree, same};
use super::guest::{Arg, BUFFER, OUT};
use super::model::{Errno, of};
use super::run::Run;
use super::tree;
use crate::Case;

impl Run {
    /// Uses one of the open files.
    pub(super) fn use_file(&mut self, case: &mut Case) -> Result<(), String> {
        let files: Vec<usize> = (0..self.open.len())
            .filter(|i| {
                let pair = &self.open[*i];
                !pair.is_dir && pair.model.file().metadata().is_ok_and(|m| m.is_file())
            })
            .collect();
        if files.is_empty() {
            return self.open(case);
        }
        let file = *case.one_of(&files);
        match case.rng.u32(..7) {
            0 | 1 => self.read_file(case, file),
            2 | 3 => self.write_file(case, file),
            4 => self.seek(case, file),
            5 => self.set_size(case, file),
            _ => self.file_size(file),
        }
    }

    fn read_file(&mut self, case: &mut Case, i: usize) -> Result<(), String> {
        let (len, at) = (case.rng.u32(..40), offset(case));
        let pair = &self.open[i];
        let (fd, file) = (Arg::I32(pair.guest), pair.model.file());
        let list = Arg::I32(self.guest.list(BUFFER, len));
        let found = match at {
            Some(at) => self.guest.call(
                "fd_pread",
                &[fd, list, Arg::I32(1), Arg::I64(at), Arg::I32(OUT)],
            )?,
            None => self
                .guest
                .call("fd_read", &[fd, list, Arg::I32(1), Arg::I32(OUT)])?,
        };
        let expected = pair.with_right(pair.reads, || read(&file, len, at));
        let what = format!("read {len} bytes at {at:?}");
        let Some(expected) = agree(case, &what, Faults::One, found, expected)? else {
            return Ok(());
        };
        let n = self.guest.u32(OUT);
        let found = self.guest.read(BUFFER, n.min(len));
        if found.windows(6).any(|w| w == &tree::SECRET.as_bytes()[..6]) {
            return Err("a guest has read a file outside of its directories".to_owned());
        }
        same(&what, found, expected)
    }

    fn write_file(&mut self, case: &mut Case, i: usize) -> Result<(), String> {
        let (len, at) = (case.rng.u32(..40), offset(case));
        let bytes: Vec<u8> = (0..len).map(|_| case.rng.u8(b'a'..=b'z')).collect();
        let pair = &self.open[i];
        let (fd, file) = (Arg::I32(pair.guest), pair.model.file());
        self.guest.write(BUFFER, &bytes);
        let list = Arg::I32(self.guest.list(BUFFER, len));
        let found = match at {
            Some(at) => self.guest.call(
                "fd_pwrite",
                &[fd, list, Arg::I32(1), Arg::I64(at), Arg::I32(OUT)],
            )?,
            None => self
                .guest
                .call("fd_write", &[fd, list, Arg::I32(1), Arg::I32(OUT)])?,
        };
        let expected = pair.with_right(pair.writes, || write(&file, &bytes, at));
        let what = format!("write {len} bytes at {at:?}, appends {}", pair.appends);
        let Some(expected) = agree(case, &what, Faults::One, found, expected)? else {
            return Ok(());
        };
        same(&what, self.guest.u32(OUT), expected)
    }

    fn seek(&mut self, case: &mut Case, i: usize) -> Result<(), String> {
        let (whence, by) = (case.rng.u32(..3), case.rng.i64(-30..60));
        let pair = &self.open[i];
        let file = pair.model.file();
        let to = match whence {
            0 => u64::try_from(by).map(SeekFrom::Start).ok(),
            1 => Some(SeekFrom::Current(by)),
            _ => Some(SeekFrom::End(by)),
        };
        let expected = match to {
            Some(to) => (&file).seek(to).map_err(|error| of(&error)),
            None => Err(INVAL),
        };
        let args = [
            Arg::I32(pair.guest),
            Arg::I64(by.cast_unsigned()),
            Arg::I32(whence),
            Arg::I32(OUT),
        ];
        let found = self.guest.call("fd_seek", &args)?;
        let what = format!("seek {by} from {whence}");
        let Some(expected) = agree(case, &what, Faults::One, found, expected)? else {
            return Ok(());
        };
        same(&what, self.guest.u64(OUT), expected)
    }

    fn set_size(&mut self, case: &mut Case, i: usize) -> Result<(), String> {
        let size = case.rng.u64(..60);
        let pair = &self.open[i];
        let found = self.guest.call(
            "fd_filestat_set_size",
            &[Arg::I32(pair.guest), Arg::I64(size)],
        )?;
        let set = || pair.model.file().set_len(size).map_err(|error| of(&error));
        let expected = pair.with_right(pair.writes, set);
        let what = format!("set size {size}");
        agree(case, &what, Faults::One, found, expected).map(drop)
    }

    fn file_size(&mut self, i: usize) -> Result<(), String> {
        let pair = &self.open[i];
        let file = pair.model.file();
        let args = [Arg::I32(pair.guest), Arg::I32(OUT)];
        let found = self.guest.call("fd_filestat_get", &args)?;
        let what = "the size of a file";
        same(what, found, 0)?;
        let size = file.metadata().map_err(|error| error.to_string())?.len();
        same(what, self.guest.u64(OUT + 32), size)
    }
}

/// An offset in a file, or `None` for the current position.
fn offset(case: &mut Case) -> Option<u64> {
    let offset = case.rng.u64(..60);
    case.once_in(2).then_some(offset)
}

fn read(mut file: &File, len: u32, at: Option<u64>) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len as usize];
    let n = match at {
        Some(at) => file.read_at(&mut bytes, at),
        None => file.read(&mut bytes),
    };
    bytes.truncate(n.map_err(|error| of(&error))?);
    Ok(bytes)
}

fn write(mut file: &File, bytes: &[u8], at: Option<u64>) -> Result<u32, Errno> {
    let n = match at {
        // POSIX writes at the offset, but Linux appends if the descriptor is open for appending. So
        // the model writes through another descriptor, which is not open for appending.
        Some(at) => File::options()
            .write(true)
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .and_then(|file| file.write_at(bytes, at)),
        None => file.write(bytes),
    };
    n.map(|n| n as u32).map_err(|error| of(&error))
}
