//! Functions for arguments, environment variables, the end of the program and random numbers. The
//! functions for sockets are here, too, but there are no sockets.

use precast_loader::Error;

use crate::access::Access;
use crate::ctx::{Strings, WasiCtx};
use crate::errno::{Errno, Result, status};
use crate::guest::GuestMemory;

pub(crate) fn args_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    argv: u32,
    argv_buf: u32,
) -> Result<()> {
    write_strings(&ctx.args, memory, argv, argv_buf)
}

pub(crate) fn args_sizes_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    count: u32,
    size: u32,
) -> Result<()> {
    write_sizes(&ctx.args, memory, count, size)
}

pub(crate) fn environ_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    environ: u32,
    environ_buf: u32,
) -> Result<()> {
    write_strings(&ctx.environ, memory, environ, environ_buf)
}

pub(crate) fn environ_sizes_get(
    ctx: &mut WasiCtx,
    memory: &mut GuestMemory<'_>,
    count: u32,
    size: u32,
) -> Result<()> {
    write_sizes(&ctx.environ, memory, count, size)
}

/// Writes the strings to `buffer` and the address of each to `pointers`.
fn write_strings(
    strings: &Strings,
    memory: &mut GuestMemory<'_>,
    pointers: u32,
    buffer: u32,
) -> Result<()> {
    memory.check(pointers, strings.count() as u64 * 4)?;
    memory.write(buffer, strings.bytes())?;
    let mut to = pointers;
    for start in strings.starts() {
        // The buffer and the list of pointers are within the memory, so no sum that is written or
        // written to wraps.
        memory.write_u32(to, buffer.wrapping_add(*start as u32))?;
        to = to.wrapping_add(4);
    }
    Ok(())
}

fn write_sizes(
    strings: &Strings,
    memory: &mut GuestMemory<'_>,
    count: u32,
    size: u32,
) -> Result<()> {
    let narrow = |n: usize| u32::try_from(n).map_err(|_| Errno::OVERFLOW);
    let (number, bytes) = (narrow(strings.count())?, narrow(strings.bytes().len())?);
    memory.check(size, 4)?;
    memory.write_u32(count, number)?;
    memory.write_u32(size, bytes)
}

/// Ends the program: the host's call returns [`Error::Exit`]. A code above `i32::MAX` becomes
/// negative, as in the guest's `int`.
pub(crate) fn proc_exit(code: u32) -> Error {
    Error::Exit(code as i32)
}

/// Sends the program a signal. A guest cannot have signal handlers, so the default action happens.
/// Most signals end the program, with the exit code that shells report: 128 plus the number of the
/// signal.
pub(crate) fn proc_raise(signal: u32) -> std::result::Result<i32, Error> {
    match signal {
        // No signal, CHLD, CONT, URG and WINCH are ignored.
        0 | 16 | 17 | 22 | 27 => Ok(0),
        // STOP, TSTP, TTIN and TTOU are refused: nobody could make the program continue.
        18..=21 => Ok(status(Err(Errno::NOTSUP))),
        1..=30 => Err(proc_exit(128 + signal)),
        _ => Ok(status(Err(Errno::INVAL))),
    }
}

pub(crate) fn sched_yield(_: &mut WasiCtx, _: &mut GuestMemory<'_>) -> Result<()> {
    std::thread::yield_now();
    Ok(())
}

/// Random numbers for a whole memory take many seconds, so a guest that must end does so between
/// two pieces, and a shared context is not locked for longer than a piece.
pub(crate) fn random_get<'a>(
    ctx: impl Into<Access<'a>>,
    memory: &mut GuestMemory<'_>,
    buf: u32,
    len: u32,
) -> Result<()> {
    let mut access: Access<'_> = ctx.into();
    memory.fill(buf, len, |piece| {
        access.check_interrupt()?;
        access.with(|ctx| match &mut ctx.random {
            Some(fill) => {
                fill(piece);
                Ok(())
            }
            None => getrandom::fill(piece).map_err(|_| Errno::IO),
        })
    })
}

pub(crate) fn sock_accept(
    ctx: &mut WasiCtx,
    _: &mut GuestMemory<'_>,
    fd: u32,
    _flags: u32,
    _new_fd: u32,
) -> Result<()> {
    no_socket(ctx, fd)
}

#[expect(clippy::too_many_arguments, reason = "as many as the snapshot has")]
pub(crate) fn sock_recv(
    ctx: &mut WasiCtx,
    _: &mut GuestMemory<'_>,
    fd: u32,
    _buffers: u32,
    _count: u32,
    _flags: u32,
    _received: u32,
    _out_flags: u32,
) -> Result<()> {
    no_socket(ctx, fd)
}

pub(crate) fn sock_send(
    ctx: &mut WasiCtx,
    _: &mut GuestMemory<'_>,
    fd: u32,
    _buffers: u32,
    _count: u32,
    _flags: u32,
    _sent: u32,
) -> Result<()> {
    no_socket(ctx, fd)
}

pub(crate) fn sock_shutdown(
    ctx: &mut WasiCtx,
    _: &mut GuestMemory<'_>,
    fd: u32,
    _how: u32,
) -> Result<()> {
    no_socket(ctx, fd)
}

/// The result of the functions for sockets: no descriptor is a socket, because the snapshot cannot
/// open one and the host gives none.
fn no_socket(ctx: &WasiCtx, fd: u32) -> Result<()> {
    ctx.descriptors.get(fd)?;
    Err(Errno::NOTSOCK)
}
