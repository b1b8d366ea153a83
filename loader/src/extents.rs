//! Where an artifact is in its file: all of it, or a variant in one or more pieces.

use std::fs::File;
use std::io;

use precast_artifact::variants::{MAX_PIECES, Piece, VariantRecord};

use crate::sys::file_map::FileMap;

/// The pieces of a file that are an artifact, in the artifact's order. They are in whole pages of
/// this system, except the end of the last one.
#[derive(Debug)]
pub(crate) struct Extents {
    pieces: [Piece; MAX_PIECES],
    count: usize,
}

impl Extents {
    /// The first `len` bytes of a file.
    pub(crate) fn whole(len: u64) -> Self {
        let mut pieces = [Piece::default(); MAX_PIECES];
        pieces[0].len = len;
        Self { pieces, count: 1 }
    }

    /// The extents of a variant, which was chosen for this system.
    pub(crate) fn of(record: &VariantRecord) -> Self {
        Self {
            pieces: record.piece,
            count: record.pieces().len(),
        }
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces[..self.count]
    }

    /// File offset of the artifact's first byte.
    pub(crate) fn start(&self) -> u64 {
        self.pieces[0].start
    }

    /// Bytes of the artifact.
    pub(crate) fn len(&self) -> u64 {
        let lens = self.pieces().iter().map(|piece| piece.len);
        lens.fold(0, u64::saturating_add)
    }

    /// File offset of `len` bytes of the artifact, if they are in one piece.
    pub(crate) fn offset_of(&self, start: u64, len: u64) -> Option<u64> {
        let mut piece_start = 0_u64;
        for piece in self.pieces() {
            let inside = start.checked_sub(piece_start);
            if let Some(inside) = inside.filter(|at| *at < piece.len) {
                let fits = len <= piece.len - inside;
                return fits.then(|| piece.start + inside);
            }
            piece_start = piece_start.saturating_add(piece.len);
        }
        None
    }

    /// Maps the artifact. With `code`, the bytes from there on can be executed, if the artifact is
    /// in one piece; the result says whether they can.
    ///
    /// # Safety
    /// As for [`FileMap::new`].
    ///
    /// # Errors
    /// The system's.
    pub(crate) unsafe fn map(
        &self,
        file: &File,
        len: usize,
        code: Option<usize>,
    ) -> io::Result<(FileMap, bool)> {
        let code = code.filter(|_| self.count == 1);
        let offset = |at: u64| usize::try_from(at).map_err(|_| io::ErrorKind::InvalidInput);
        // SAFETY: by this function's contract.
        let map = unsafe { FileMap::new(file, offset(self.start())?, len, code) }?;
        let mut at = offset(self.pieces[0].len)?;
        for piece in &self.pieces()[1..] {
            let len = offset(piece.len)?;
            // SAFETY: by this function's contract, and nobody has used the new mapping.
            unsafe { map.put(file, at, len, offset(piece.start)?) }?;
            at += len;
        }
        Ok((map, code.is_some()))
    }
}
