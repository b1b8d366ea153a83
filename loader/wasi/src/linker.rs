//! Defines the functions of the snapshot in a linker.

use precast_loader::{AsContextMut, Caller, Error, Extern, Linker};

use crate::access::WasiView;
use crate::errno::status;
use crate::guest::GuestMemory;
use crate::{clock, fd, fdstat, open, path, poll, process, readdir, unstable};

/// The module name that guests import the functions from.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// The module name of the snapshot before preview 1, see [`add_unstable_to_linker`].
pub const UNSTABLE_MODULE: &str = "wasi_unstable";

/// The error for a guest that does not export its memory.
#[derive(Debug, thiserror::Error)]
#[error(
    "{function} of {MODULE} was called by a module without an exported memory: \
     expected a memory that is exported as `memory`"
)]
struct NoMemory {
    function: &'static str,
}

/// Defines functions in a linker, with the modules that they are in and their parameters. Some may
/// wait, or take long, until the guest must end.
macro_rules! functions {
    (@call true $access:ident, $function:path $(, $arg:expr)*) => {
        $function($access, $($arg),*)
    };
    (@call false $access:ident, $function:path $(, $arg:expr)*) => {
        $access.with(|ctx| $function(ctx, $($arg),*))
    };
    (($linker:ident, $from:expr, $get:ident) $waits:tt:
        $($module:ident :: $name:ident ( $($arg:ident : $ty:ty),* );)*
    ) => {
        $($linker.func_wrap(
            $from,
            stringify!($name),
            move |mut caller: Caller<'_, T>, $($arg: $ty),*| -> Result<i32, Error> {
                let interrupt = $waits.then(|| caller.as_context_mut().interrupt_handle());
                let (mut memory, data) = enter(&mut caller, stringify!($name))?;
                let mut access = $get(data).access();
                if $waits {
                    access.set_interrupt(interrupt);
                }
                Ok(status(functions!(@call $waits access, $module::$name, &mut memory $(, $arg)*)))
            },
        )?;)*
    };
}

/// Defines all functions of WASI preview 1 in a linker. `get` returns the guest's
/// [`WasiCtx`](crate::WasiCtx), or the [shared one](crate::SharedWasiCtx) of its program, from the
/// data of the store.
///
/// # Errors
/// [`Error::Duplicate`] if one of the functions is defined already.
pub fn add_to_linker<T: 'static, W: WasiView + 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut W + Copy + Send + Sync + 'static,
) -> Result<(), Error> {
    add_common(linker, MODULE, get)?;
    add_preview1(linker, get)?;
    add_transfers(linker, MODULE, get)?;
    functions! {
        (linker, MODULE, get) true:
        poll::poll_oneoff(subscriptions: u32, events: u32, count: u32, ready: u32);
    }
    Ok(())
}

/// The functions that have another form in the snapshot before preview 1, except those that wait.
pub(crate) fn add_preview1<T: 'static, W: WasiView + 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut W + Copy + Send + Sync + 'static,
) -> Result<(), Error> {
    functions! {
        (linker, MODULE, get) false:
        fdstat::fd_filestat_get(fd: u32, stat: u32);
        fd::fd_seek(fd: u32, offset: i64, whence: u32, position: u32);
        path::path_filestat_get(fd: u32, flags: u32, path: u32, path_len: u32, stat: u32);
        process::sock_accept(fd: u32, flags: u32, new_fd: u32);
    }
    Ok(())
}

/// The functions that are the same in both snapshots, and may wait for a stream.
fn add_transfers<T: 'static, W: WasiView + 'static>(
    linker: &mut Linker<T>,
    from: &str,
    get: impl Fn(&mut T) -> &mut W + Copy + Send + Sync + 'static,
) -> Result<(), Error> {
    functions! {
        (linker, from, get) true:
        fd::fd_read(fd: u32, buffers: u32, count: u32, read: u32);
        fd::fd_write(fd: u32, buffers: u32, count: u32, written: u32);
    }
    Ok(())
}

/// Defines the functions of the snapshot before preview 1, which guests import from
/// [`UNSTABLE_MODULE`]: most are the same, but attributes of files, subscriptions and places to
/// seek from have other forms.
///
/// # Errors
/// [`Error::Duplicate`] if one of the functions is defined already.
pub fn add_unstable_to_linker<T: 'static, W: WasiView + 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut W + Copy + Send + Sync + 'static,
) -> Result<(), Error> {
    add_common(linker, UNSTABLE_MODULE, get)?;
    add_transfers(linker, UNSTABLE_MODULE, get)?;
    functions! {
        (linker, UNSTABLE_MODULE, get) false:
        unstable::fd_filestat_get(fd: u32, stat: u32);
        unstable::fd_seek(fd: u32, offset: i64, whence: u32, position: u32);
        unstable::path_filestat_get(fd: u32, flags: u32, path: u32, path_len: u32, stat: u32);
    }
    functions! {
        (linker, UNSTABLE_MODULE, get) true:
        unstable::poll_oneoff(subscriptions: u32, events: u32, count: u32, ready: u32);
    }
    Ok(())
}

/// The functions that are the same in both snapshots, except those that may wait for
/// streams.
pub(crate) fn add_common<T: 'static, W: WasiView + 'static>(
    linker: &mut Linker<T>,
    from: &str,
    get: impl Fn(&mut T) -> &mut W + Copy + Send + Sync + 'static,
) -> Result<(), Error> {
    functions! {
        (linker, from, get) false:
        process::args_get(argv: u32, argv_buf: u32);
        process::args_sizes_get(count: u32, size: u32);
        process::environ_get(environ: u32, environ_buf: u32);
        process::environ_sizes_get(count: u32, size: u32);
        clock::clock_res_get(id: u32, resolution: u32);
        clock::clock_time_get(id: u32, precision: u64, time: u32);
        fd::fd_advise(fd: u32, offset: u64, len: u64, advice: u32);
        fd::fd_allocate(fd: u32, offset: u64, len: u64);
        fd::fd_close(fd: u32);
        fd::fd_datasync(fd: u32);
        fdstat::fd_fdstat_get(fd: u32, stat: u32);
        fdstat::fd_fdstat_set_flags(fd: u32, flags: u32);
        fdstat::fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64);
        fdstat::fd_filestat_set_size(fd: u32, size: u64);
        fdstat::fd_filestat_set_times(fd: u32, atim: u64, mtim: u64, flags: u32);
        fd::fd_pread(fd: u32, buffers: u32, count: u32, offset: u64, read: u32);
        open::fd_prestat_get(fd: u32, prestat: u32);
        open::fd_prestat_dir_name(fd: u32, path: u32, path_len: u32);
        fd::fd_pwrite(fd: u32, buffers: u32, count: u32, offset: u64, written: u32);
        readdir::fd_readdir(fd: u32, buf: u32, len: u32, cookie: u64, used: u32);
        fd::fd_renumber(from: u32, to: u32);
        fd::fd_sync(fd: u32);
        fd::fd_tell(fd: u32, position: u32);
        path::path_create_directory(fd: u32, path: u32, path_len: u32);
        path::path_filestat_set_times(
            fd: u32, flags: u32, path: u32, path_len: u32, atim: u64, mtim: u64, times_flags: u32
        );
        path::path_link(
            old_fd: u32, old_flags: u32, old_path: u32, old_path_len: u32,
            new_fd: u32, new_path: u32, new_path_len: u32
        );
        path::path_readlink(
            fd: u32, path: u32, path_len: u32, buf: u32, buf_len: u32, used: u32
        );
        path::path_remove_directory(fd: u32, path: u32, path_len: u32);
        path::path_rename(
            old_fd: u32, old_path: u32, old_path_len: u32,
            new_fd: u32, new_path: u32, new_path_len: u32
        );
        path::path_symlink(target: u32, target_len: u32, fd: u32, path: u32, path_len: u32);
        path::path_unlink_file(fd: u32, path: u32, path_len: u32);
        process::sched_yield();
        process::sock_recv(
            fd: u32, buffers: u32, count: u32, flags: u32, received: u32, out_flags: u32
        );
        process::sock_send(fd: u32, buffers: u32, count: u32, flags: u32, sent: u32);
        process::sock_shutdown(fd: u32, how: u32);
    }
    linker.func_wrap(from, "proc_exit", |code: u32| -> Result<(), Error> {
        Err(process::proc_exit(code))
    })?;
    linker.func_wrap(from, "proc_raise", |signal: u32| -> Result<i32, Error> {
        process::proc_raise(signal)
    })?;
    functions! {
        (linker, from, get) true:
        open::path_open(
            fd: u32, lookup: u32, path: u32, path_len: u32, oflags: u32,
            rights: u64, inheriting: u64, fdflags: u32, opened_fd: u32
        );
        process::random_get(buf: u32, len: u32);
    }
    Ok(())
}

/// The caller's memory and the host's data.
pub(crate) fn enter<'a, T: 'static>(
    caller: &'a mut Caller<'_, T>,
    function: &'static str,
) -> Result<(GuestMemory<'a>, &'a mut T), Error> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => {
            let (bytes, data) = memory.data_and_store_mut(caller);
            Ok((GuestMemory::new(bytes), data))
        }
        Some(Extern::SharedMemory(memory)) => Ok((GuestMemory::shared(memory), caller.data_mut())),
        _ => Err(Error::host(NoMemory { function })),
    }
}
