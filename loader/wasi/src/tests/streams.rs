//! Standard streams, arguments, environment variables and the end of the program.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use precast_loader::Error;

use super::*;
use crate::ctx::ConfigError;
use crate::{SharedWasiCtx, WasiView, process};

/// Records each flush of a [`Stream`], with the bytes that were written before it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<(Vec<u8>, Vec<String>)>>);

impl Log {
    fn flushed(&self) -> Vec<String> {
        self.0.lock().unwrap().1.clone()
    }
}

struct Stream(&'static str, Vec<u8>, Log);

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let text = String::from_utf8(std::mem::take(&mut self.1)).unwrap();
        let mut log = self.2.0.lock().unwrap();
        log.1.push(format!("{}: {text}", self.0));
        Ok(())
    }
}

fn guest(input: &'static str) -> (Log, Guest) {
    let log = Log::default();
    let builder = WasiCtxBuilder::new()
        .stdin(input.as_bytes())
        .stdout(Stream("out", Vec::new(), log.clone()))
        .stderr(Stream("err", Vec::new(), log.clone()));
    (log, Guest::new(builder.build()))
}

#[test]
fn each_write_has_reached_the_host_when_it_returns() {
    let (log, mut guest) = guest("answer");
    for (fd, bytes, seen) in [
        (1, &b"a"[..], "out: a"),
        (2, b"oops", "err: oops"),
        (1, b"name? ", "out: name? "),
        (1, b"line\nand more", "out: line\nand more"),
    ] {
        assert_eq!(guest.write(fd, bytes), Ok(bytes.len() as u32));
        assert_eq!(log.flushed().last().unwrap(), seen);
    }
    assert!(matches!(process::proc_exit(3), Error::Exit(3)));
    assert_eq!(log.flushed().len(), 4);
}

/// Streams of the host that say they have done more than they were asked to.
struct Boaster;

impl io::Read for Boaster {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        bytes.fill(b'x');
        Ok(usize::MAX)
    }
}

impl Write for Boaster {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Ok(usize::MAX)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_guest_is_told_of_more_bytes_than_its_buffers_have() {
    let builder = WasiCtxBuilder::new().stdin(Boaster).stdout(Boaster);
    let mut guest = Guest::new(builder.build());
    assert_eq!(guest.write(1, b"abc"), Ok(3));
    assert_eq!(guest.read(0, 4), Ok(b"xxxx".to_vec()));
}

#[test]
fn outputs_can_be_synced_closed_and_renumbered() {
    let (log, mut guest) = guest("");
    guest.write(1, b"one").unwrap();
    guest.call(|c, m| fd::fd_sync(c, m, 1)).unwrap();
    guest.close(1).unwrap();
    assert_eq!(log.flushed(), ["out: one"]);
    assert_eq!(guest.write(1, b"three"), Err(Errno::BADF));
    // Standard error gets the number of standard input; that of standard output is closed.
    guest.call(|c, m| fd::fd_renumber(c, m, 2, 1)).unwrap_err();
    guest.call(|c, m| fd::fd_renumber(c, m, 2, 0)).unwrap();
    guest.write(0, b"three").unwrap();
    assert_eq!(log.flushed().last().unwrap(), "err: three");
}

#[test]
fn descriptors_of_the_host_are_synced_if_the_system_can() {
    let (reader, writer) = io::pipe().unwrap();
    let builder = WasiCtxBuilder::new().stdin_from(reader).stdout_to(writer);
    let builder = builder.stderr_to(tempfile::tempfile().unwrap());
    let mut guest = Guest::new(builder.build());
    for (fd, expected) in [(0, Err(Errno::INVAL)), (1, Err(Errno::INVAL)), (2, Ok(()))] {
        assert_eq!(guest.call(|c, m| fd::fd_sync(c, m, fd)), expected);
        assert_eq!(guest.call(|c, m| fd::fd_datasync(c, m, fd)), expected);
    }
}

/// A wrong argument is no reason to say less about a wrong descriptor.
#[test]
fn the_descriptor_is_looked_at_before_the_other_arguments() {
    let (_log, mut guest) = guest("input");
    for (fd, expected) in [(0, Errno::SPIPE), (1, Errno::SPIPE), (99, Errno::BADF)] {
        for whence in [0, 3] {
            assert_eq!(guest.seek(fd, -1, whence), Err(expected));
        }
        let advise = |offset, advice| {
            move |c: &mut WasiCtx, m: &mut GuestMemory<'_>| {
                fd::fd_advise(c, m, fd, offset, 0, advice)
            }
        };
        assert_eq!(guest.call(advise(u64::MAX, 0)), Err(expected));
        assert_eq!(guest.call(advise(0, 9)), Err(expected));
    }
    // A size is what no stream has.
    let set_size = |fd| {
        move |c: &mut WasiCtx, m: &mut GuestMemory<'_>| fdstat::fd_filestat_set_size(c, m, fd, 7)
    };
    assert_eq!(guest.call(set_size(1)), Err(Errno::INVAL));
    assert_eq!(guest.call(set_size(99)), Err(Errno::BADF));
}

#[test]
fn streams_are_not_seekable_and_say_so() {
    let (_log, mut guest) = guest("input");
    for fd in 0..3 {
        assert_eq!(guest.seek(fd, 0, 1), Err(Errno::SPIPE));
        let (filetype, flags, rights, inheriting) = guest.fdstat(fd).unwrap();
        // The stream is no terminal: not a character device, and not seekable.
        assert_eq!((filetype, flags, inheriting), (0, 0, 0));
        assert_eq!(rights & (1 << 2 | 1 << 5), 0);
        let result = guest.call(|c, m| fdstat::fd_filestat_get(c, m, fd, OUT));
        assert_eq!(result, Ok(()));
        let (list, count) = guest.put_list(&[(0, 0)]);
        let result = guest.call(|c, m| fd::fd_pread(c, m, fd, list, count, 0, OUT));
        assert_eq!(result, Err(Errno::SPIPE));
        let result = guest.call(|c, m| fdstat::fd_fdstat_set_flags(c, m, fd, 4));
        assert_eq!(result, Ok(()));
        assert_eq!(guest.fdstat(fd).unwrap().1, 4);
        let result = guest.call(|c, m| process::sock_accept(c, m, fd, 0, OUT));
        assert_eq!(result, Err(Errno::NOTSOCK));
        let result = guest.call(|c, m| process::sock_recv(c, m, fd, 0, 0, 0, OUT, OUT));
        assert_eq!(result, Err(Errno::NOTSOCK));
        let result = guest.call(|c, m| process::sock_send(c, m, fd, 0, 0, 0, OUT));
        assert_eq!(result, Err(Errno::NOTSOCK));
    }
    assert_eq!(guest.write(0, b"x"), Err(Errno::BADF));
    assert_eq!(guest.read(1, 1), Err(Errno::BADF));
    assert_eq!(guest.read(0, 2).unwrap(), b"in");
    assert_eq!(guest.read(0, 0).unwrap(), b"");
    assert_eq!(guest.read(0, 9).unwrap(), b"put");
}

#[test]
fn by_default_there_is_nothing() {
    let mut guest = Guest::new(WasiCtxBuilder::new().build());
    assert_eq!(guest.read(0, 10).unwrap(), b"");
    assert_eq!(guest.write(1, b"into the void"), Ok(13));
    assert_eq!(guest.write(2, b"into the void"), Ok(13));
    guest
        .call(|c, m| process::args_sizes_get(c, m, OUT, OUT + 4))
        .unwrap();
    assert_eq!((guest.u32(OUT), guest.u32(OUT + 4)), (0, 0));
    guest
        .call(|c, m| process::environ_sizes_get(c, m, OUT, OUT + 4))
        .unwrap();
    assert_eq!((guest.u32(OUT), guest.u32(OUT + 4)), (0, 0));
    assert_eq!(guest.open("x", 0, READ), Err(Errno::BADF));
}

#[test]
fn arguments_and_environment() {
    let builder = WasiCtxBuilder::new()
        .args(["program", "", "b c"])
        .and_then(|b| b.envs([("A", "1"), ("B", ""), ("A", "x=y")]))
        .unwrap();
    let mut guest = Guest::new(builder.build());
    guest
        .call(|c, m| process::args_sizes_get(c, m, OUT, OUT + 4))
        .unwrap();
    assert_eq!((guest.u32(OUT), guest.u32(OUT + 4)), (3, 13));
    guest
        .call(|c, m| process::args_get(c, m, OUT, INPUT))
        .unwrap();
    assert_eq!(guest.u32(OUT), INPUT);
    assert_eq!(
        (guest.u32(OUT + 4), guest.u32(OUT + 8)),
        (INPUT + 8, INPUT + 9)
    );
    assert_eq!(&guest.bytes[INPUT as usize..][..13], b"program\0\0b c\0");
    guest
        .call(|c, m| process::environ_get(c, m, OUT, INPUT))
        .unwrap();
    assert_eq!(&guest.bytes[INPUT as usize..][..9], b"A=x=y\0B=\0");
    assert_eq!(guest.u32(OUT + 4), INPUT + 6);
}

#[test]
fn what_cannot_be_given_is_refused_with_a_reason() {
    let refused = |key: &str, value: &str| {
        let error = WasiCtxBuilder::new().env(key, value).unwrap_err();
        assert!(matches!(error, ConfigError::Env { .. }));
        error.to_string()
    };
    assert!(refused("", "x").contains("the name is empty"));
    assert!(refused("A=B", "x").contains("\"A=B\": the name has a `=`"));
    assert!(refused("A\0", "x").contains("the name has a NUL"));
    assert!(refused("A", "x\0").contains("the value has a NUL"));
    let error = WasiCtxBuilder::new().args(["a", "b\0"]).unwrap_err();
    assert!(error.to_string().starts_with("argument 1 has a NUL byte"));
    let missing = Path::new("/nonexistent/folder");
    let error = WasiCtxBuilder::new()
        .preopened_dir(missing, "/data", DirAccess::ReadOnly)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot open directory /nonexistent/folder for the guest's \"/data\""
    );
    let error = WasiCtxBuilder::new()
        .preopened_dir("/", "", DirAccess::ReadOnly)
        .unwrap_err();
    assert!(matches!(error, ConfigError::GuestPath { .. }));
}

#[test]
fn signals_do_what_they_do_by_default() {
    let raise = process::proc_raise;
    assert!(matches!(raise(0), Ok(0)));
    assert!(matches!(raise(6), Err(Error::Exit(134))));
    assert!(matches!(raise(15), Err(Error::Exit(143))));
    assert!(matches!(raise(16), Ok(0)));
    assert!(matches!(raise(18), Ok(58)));
    assert!(matches!(raise(31), Ok(28)));
    assert!(matches!(raise(u32::MAX), Ok(28)));
}

#[test]
fn random_bytes_fill_what_was_asked_and_no_more() {
    let (_log, mut guest) = guest("");
    guest
        .call(|c, m| process::random_get(c, m, INPUT, 4096))
        .unwrap();
    let filled = &guest.bytes[INPUT as usize..][..4096];
    assert!(filled.iter().filter(|b| **b == 0).count() < 100);
    assert_eq!(guest.bytes[INPUT as usize + 4096..][..16], [0; 16]);
    let builder = WasiCtxBuilder::new().random(|bytes| bytes.fill(7));
    let mut guest = Guest::new(builder.build());
    guest
        .call(|c, m| process::random_get(c, m, OUT, 3))
        .unwrap();
    assert_eq!(guest.bytes[OUT as usize..][..4], [7, 7, 7, 0]);
    assert_eq!(guest.call(|c, m| process::random_get(c, m, OUT, 0)), Ok(()));
}

#[test]
fn a_writer_that_fails_is_reported_by_the_call_that_wrote() {
    struct Broken(io::Result<usize>, io::Result<()>);
    fn again<V: Copy>(result: &io::Result<V>) -> io::Result<V> {
        result.as_ref().map(|v| *v).map_err(|e| e.kind().into())
    }
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            again(&self.0)
        }
        fn flush(&mut self) -> io::Result<()> {
            again(&self.1)
        }
    }
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
    for (writer, expected) in [
        (Broken(Err(pipe()), Ok(())), Err(Errno::PIPE)),
        (Broken(Ok(1), Err(full())), Err(Errno::NOSPC)),
        (Broken(Ok(1), Ok(())), Ok(1)),
    ] {
        let builder = WasiCtxBuilder::new().stdout(writer);
        let mut guest = Guest::new(builder.build());
        assert_eq!(guest.write(1, b"x"), expected);
        // A failure of one stream is not reported by the other.
        assert_eq!(guest.write(2, b"x"), Ok(1));
    }
}

/// Each wait of a thread of a shared program needs one more descriptor, because another thread may
/// close the first.
#[test]
fn what_was_written_before_a_wait_fails_is_reported() {
    const CHILD: &str = "PRECAST_TEST_IN_CHILD";
    if std::env::var_os(CHILD).is_none() {
        // The limit applies to a whole process.
        let name = "tests::streams::what_was_written_before_a_wait_fails_is_reported";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let status = child.args(["--exact", name]).env(CHILD, "1").status();
        assert!(status.unwrap().success());
        return;
    }
    let (_reader, writer) = io::pipe().unwrap();
    let ctx = WasiCtxBuilder::new().stdout_to(writer).build();
    let mut shared = SharedWasiCtx::new(ctx);
    let limit = libc::rlimit {
        rlim_cur: 4,
        rlim_max: 4,
    };
    // SAFETY: the structure is valid.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(done, 0);
    let mut guest = Guest::new(WasiCtxBuilder::new().build());
    let (list, count) = guest.put_list(&[(0, 200_000)]);
    let mut write = || {
        let done = guest.call(|_, m| fd::fd_write(shared.access(), m, 1, list, count, OUT));
        done.map(|()| guest.u32(OUT))
    };
    let written = write().unwrap();
    assert!(0 < written && written < 200_000, "{written}");
    assert_eq!(write(), Err(Errno::MFILE));
}
