// Calls every function of WASI that takes a path or a descriptor, with paths and descriptors of every kind, and prints
// what each call returns: one line for each call, the same in each run. The directory `box` is made again before a call if
// an earlier call may have changed it. The directory `fixed` has what a guest cannot make: a named pipe, and a link to an
// absolute path.

#include <dirent.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wasi/api.h>

enum { BOX = 3, FIXED = 4, CLOSED = 99 };

static const char *const errors[] = {
    "SUCCESS", "2BIG", "ACCES", "ADDRINUSE", "ADDRNOTAVAIL", "AFNOSUPPORT", "AGAIN", "ALREADY", "BADF", "BADMSG",
    "BUSY", "CANCELED", "CHILD", "CONNABORTED", "CONNREFUSED", "CONNRESET", "DEADLK", "DESTADDRREQ", "DOM", "DQUOT",
    "EXIST", "FAULT", "FBIG", "HOSTUNREACH", "IDRM", "ILSEQ", "INPROGRESS", "INTR", "INVAL", "IO", "ISCONN",
    "ISDIR", "LOOP", "MFILE", "MLINK", "MSGSIZE", "MULTIHOP", "NAMETOOLONG", "NETDOWN", "NETRESET", "NETUNREACH",
    "NFILE", "NOBUFS", "NODEV", "NOENT", "NOEXEC", "NOLCK", "NOLINK", "NOMEM", "NOMSG", "NOPROTOOPT", "NOSPC",
    "NOSYS", "NOTCONN", "NOTDIR", "NOTEMPTY", "NOTRECOVERABLE", "NOTSOCK", "NOTSUP", "NOTTY", "NXIO", "OVERFLOW",
    "OWNERDEAD", "PERM", "PIPE", "PROTO", "PROTONOSUPPORT", "PROTOTYPE", "RANGE", "ROFS", "SPIPE", "SRCH", "STALE",
    "TIMEDOUT", "TXTBSY", "XDEV", "NOTCAPABLE",
};
_Static_assert(sizeof errors / sizeof *errors == __WASI_ERRNO_NOTCAPABLE + 1, "one name for each number");

static const char *const types[] = {"unknown", "block device", "character device", "directory", "file", "datagram", "stream", "link"};

static char longname[301];
static char bytes[256];
static __wasi_iovec_t in = {(uint8_t *)bytes, sizeof bytes};
static __wasi_ciovec_t out = {(const uint8_t *)"hello", 5};
static __wasi_size_t size;
static __wasi_filesize_t position;
static __wasi_filestat_t attributes;
static __wasi_fdstat_t state;
static __wasi_prestat_t prestat;
static __wasi_fd_t other;

// Whether a call has succeeded, and may have changed something, since the directory `box` was made.
static bool changed = true;

// Prints a line: the call, and what it returned.
static void returned(int error, const char *call, ...) {
  changed = changed || !error;
  va_list arguments;
  va_start(arguments, call);
  vprintf(call, arguments);
  va_end(arguments);
  printf(": %s\n", errors[error]);
}

static void returned_type(int error, int type, const char *function, const char *argument) {
  if (error)
    printf("%s(%s): %s\n", function, argument, errors[error]);
  else
    printf("%s(%s): %s\n", function, argument, types[type]);
}

// The path as it is printed. The text is valid until the fourth call after this one.
static const char *shown(const char *path) {
  static char texts[4][32];
  static int next;
  if (path == longname) return "300 letters";
  if (!strcmp(path, "a\xff")) return "not UTF-8";
  char *text = texts[next++ % 4];
  snprintf(text, sizeof *texts, "'%s'", path);
  return text;
}

static void need(int error, const char *what) {
  if (!error) return;
  printf("cannot prepare %s: %s\n", what, errors[error]);
  exit(1);
}

static void clear(const char *path) {
  struct dirent **entries;
  int count = scandir(path, &entries, NULL, alphasort);
  if (count < 0) need(__WASI_ERRNO_IO, path);
  for (int i = 0; i < count; i++) {
    const char *name = entries[i]->d_name;
    char child[512];
    snprintf(child, sizeof child, "%s/%s", path, name);
    if (strcmp(name, ".") && strcmp(name, "..") && unlink(child)) {
      clear(child);
      if (rmdir(child)) need(__WASI_ERRNO_IO, child);
    }
    free(entries[i]);
  }
  free(entries);
}

enum {
  READING = __WASI_RIGHTS_FD_READ | __WASI_RIGHTS_FD_SEEK | __WASI_RIGHTS_FD_TELL | __WASI_RIGHTS_FD_FILESTAT_GET,
  WRITING = __WASI_RIGHTS_FD_WRITE | __WASI_RIGHTS_FD_SEEK | __WASI_RIGHTS_FD_TELL | __WASI_RIGHTS_FD_FILESTAT_GET |
            __WASI_RIGHTS_FD_FILESTAT_SET_SIZE | __WASI_RIGHTS_FD_FILESTAT_SET_TIMES | __WASI_RIGHTS_FD_ALLOCATE |
            __WASI_RIGHTS_FD_ADVISE | __WASI_RIGHTS_FD_SYNC | __WASI_RIGHTS_FD_DATASYNC | __WASI_RIGHTS_FD_FDSTAT_SET_FLAGS |
            __WASI_RIGHTS_POLL_FD_READWRITE,
};

static int open_at(int follow, const char *path, int oflags, __wasi_rights_t rights, int flags, __wasi_fd_t *fd) {
  return __wasi_path_open(BOX, follow, path, oflags, rights, rights, flags, fd);
}

static void make_file(const char *path) {
  __wasi_fd_t fd;
  need(open_at(0, path, __WASI_OFLAGS_CREAT | __WASI_OFLAGS_EXCL, WRITING, 0, &fd), path);
  need(__wasi_fd_write(fd, &out, 1, &size), path);
  need(__wasi_fd_close(fd), path);
}

// Makes the directory `box` what each call finds there.
static void fresh(void) {
  if (!changed) return;
  changed = false;
  clear("box");
  need(__wasi_path_create_directory(BOX, "dir"), "dir");
  need(__wasi_path_create_directory(BOX, "empty"), "empty");
  make_file("file");
  make_file("dir/f");
  need(__wasi_path_symlink("file", BOX, "link"), "link");
  need(__wasi_path_symlink("dir", BOX, "dlink"), "dlink");
  need(__wasi_path_symlink("nowhere", BOX, "broken"), "broken");
  need(__wasi_path_symlink("loop", BOX, "loop"), "loop");
  need(__wasi_path_symlink("../..", BOX, "up"), "up");
}

// --- paths ---

static const char *const paths[] = {
    "", ".", "..", "/", "//", "/etc", "file", "file/", "file/x", "dir", "dir/", "dir/.", "dir/..", "dir/../..",
    "dir//f", "./file", "dir/./f", "none", "none/", "none/x", "link", "link/", "dlink", "dlink/", "dlink/.",
    "dlink/..", "dlink/f", "broken", "broken/", "loop", "loop/", "loop/x", "up", "up/", "a\xff", longname,
};

static const struct way {
  const char *name;
  int oflags;
  __wasi_rights_t rights;
  int flags;
} ways[] = {
    {"read", 0, READING, 0},
    {"read and write", 0, READING | WRITING, 0},
    {"append", 0, WRITING, __WASI_FDFLAGS_APPEND},
    {"directory", __WASI_OFLAGS_DIRECTORY, READING, 0},
    {"write to directory", __WASI_OFLAGS_DIRECTORY, READING | WRITING, 0},
    {"create", __WASI_OFLAGS_CREAT, READING | WRITING, 0},
    {"create new", __WASI_OFLAGS_CREAT | __WASI_OFLAGS_EXCL, READING | WRITING, 0},
    {"create directory", __WASI_OFLAGS_CREAT | __WASI_OFLAGS_DIRECTORY, READING | WRITING, 0},
    {"truncate", __WASI_OFLAGS_TRUNC, READING | WRITING, 0},
    {"truncate and read", __WASI_OFLAGS_TRUNC, READING, 0},
};

#define EACH(i, array) (size_t i = 0; i < sizeof array / sizeof *array; i++)

static void open_path(const struct way *way, int follow, const char *path) {
  fresh();
  __wasi_fd_t fd;
  int error = open_at(follow, path, way->oflags, way->rights, way->flags, &fd);
  returned(error, "path_open(%s, %s%s)", shown(path), way->name, follow ? ", follow" : "");
  if (!error) need(__wasi_fd_close(fd), path);
}

static void use_path(const char *path) {
  for EACH (i, ways) {
    open_path(&ways[i], 0, path);
    open_path(&ways[i], 1, path);
  }
  fresh();
  for (int follow = 0; follow < 2; follow++) {
    int error = __wasi_path_filestat_get(BOX, follow, path, &attributes);
    returned_type(error, error ? 0 : attributes.filetype, follow ? "path_filestat_get, follow" : "path_filestat_get", shown(path));
    error = __wasi_path_filestat_set_times(BOX, follow, path, 1000000000, 2000000000, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM);
    returned(error, "path_filestat_set_times(%s)%s", shown(path), follow ? ", follow" : "");
  }
  returned(__wasi_path_readlink(BOX, path, (uint8_t *)bytes, sizeof bytes, &size), "path_readlink(%s)", shown(path));
  returned(__wasi_path_create_directory(BOX, path), "path_create_directory(%s)", shown(path));
  fresh();
  returned(__wasi_path_unlink_file(BOX, path), "path_unlink_file(%s)", shown(path));
  fresh();
  returned(__wasi_path_remove_directory(BOX, path), "path_remove_directory(%s)", shown(path));
}

// --- two paths ---

static const char *const names[] = {
    "", ".", "..", "/x", "../x", "file", "file/", "dir", "dir/", "dir/.", "dir/..", "dir/f", "dir/new", "dir/f/x",
    "empty", "empty/", "empty/new", "empty/new/", "none", "none/", "none/x", "link", "link/", "dlink", "dlink/",
    "broken", "loop", "up", "a\xff",
};

static void use_two(const char *from, const char *to) {
  fresh();
  returned(__wasi_path_link(BOX, 0, from, BOX, to), "path_link(%s, %s)", shown(from), shown(to));
  fresh();
  returned(__wasi_path_rename(BOX, from, BOX, to), "path_rename(%s, %s)", shown(from), shown(to));
}

static void use_name(const char *name) {
  for EACH (i, names)
    use_two(name, names[i]);
  fresh();
  returned(__wasi_path_link(BOX, 1, name, BOX, "new"), "path_link(%s, 'new', follow)", shown(name));
  const char *const targets[] = {"file", "/etc", ""};
  for EACH (i, targets) {
    fresh();
    returned(__wasi_path_symlink(targets[i], BOX, name), "path_symlink(%s, %s)", shown(targets[i]), shown(name));
  }
}

static void use_fixed(const char *name) {
  for (int follow = 0; follow < 2; follow++) {
    int error = __wasi_path_filestat_get(FIXED, follow, name, &attributes);
    returned_type(error, error ? 0 : attributes.filetype, follow ? "path_filestat_get, follow" : "path_filestat_get", shown(name));
  }
  returned(__wasi_path_readlink(FIXED, name, (uint8_t *)bytes, sizeof bytes, &size), "path_readlink(%s)", shown(name));
  returned(__wasi_path_rename(FIXED, name, BOX, "file/x"), "path_rename(%s, 'file/x')", shown(name));
  fresh();
}

// --- descriptors ---

static const char *const kinds[] = {"stdin", "stdout", "directory", "file", "read-only file", "write-only file", "appended file", "closed"};

static __wasi_fd_t opened(int kind) {
  __wasi_fd_t fd = CLOSED;
  if (kind < 2) return kind;
  if (kind == 7) return CLOSED;
  fresh();
  if (kind == 2)
    need(open_at(0, "dir", __WASI_OFLAGS_DIRECTORY, READING | __WASI_RIGHTS_FD_READDIR, 0, &fd), kinds[kind]);
  else
    need(open_at(0, "file", 0, kind == 4 ? READING : kind == 5 ? WRITING : READING | WRITING, kind == 6 ? __WASI_FDFLAGS_APPEND : 0, &fd),
         kinds[kind]);
  return fd;
}

// Closes a descriptor that a call has left open, under its number or that of CLOSED.
static void release(int kind, __wasi_fd_t fd) {
  if (kind > 1 && kind < 7) (void)!__wasi_fd_close(fd);
  (void)!__wasi_fd_close(CLOSED);
}

// Calls a function with a new descriptor of this kind, which the call names `fd`.
#define WITH(call)                                                        \
  do {                                                                    \
    fflush(stdout);                                                       \
    __wasi_fd_t fd = opened(kind);                                        \
    int error = __wasi_##call;                                            \
    returned(error, "%s: %s", kinds[kind], #call);                        \
    release(kind, fd);                                                    \
  } while (0)

static void use_data(int kind) {
  if (kind != 0) WITH(fd_read(fd, &in, 1, &size));
  if (kind != 1) WITH(fd_write(fd, &out, 1, &size));
  WITH(fd_pread(fd, &in, 1, 0, &size));
  WITH(fd_pread(fd, &in, 1, UINT64_MAX, &size));
  WITH(fd_pwrite(fd, &out, 1, 2, &size));
  WITH(fd_pwrite(fd, &out, 1, UINT64_MAX, &size));
  WITH(fd_seek(fd, 0, __WASI_WHENCE_SET, &position));
  WITH(fd_seek(fd, -1, __WASI_WHENCE_SET, &position));
  WITH(fd_seek(fd, 0, __WASI_WHENCE_CUR, &position));
  WITH(fd_seek(fd, -100, __WASI_WHENCE_END, &position));
  WITH(fd_tell(fd, &position));
  WITH(fd_advise(fd, 0, 10, __WASI_ADVICE_WILLNEED));
  WITH(fd_advise(fd, UINT64_MAX, 10, __WASI_ADVICE_WILLNEED));
  WITH(fd_allocate(fd, 0, 10));
  WITH(fd_allocate(fd, 0, 0));
  WITH(fd_sync(fd));
  WITH(fd_datasync(fd));
}

static void use_attributes(int kind) {
  WITH(fd_fdstat_get(fd, &state));
  WITH(fd_fdstat_set_flags(fd, 0));
  WITH(fd_fdstat_set_flags(fd, __WASI_FDFLAGS_APPEND));
  WITH(fd_fdstat_set_flags(fd, __WASI_FDFLAGS_SYNC));
  WITH(fd_filestat_get(fd, &attributes));
  WITH(fd_filestat_set_size(fd, 7));
  WITH(fd_filestat_set_size(fd, UINT64_MAX));
  WITH(fd_filestat_set_times(fd, 1, 2, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM));
  WITH(fd_filestat_set_times(fd, 1, 2, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_ATIM_NOW));
}

static void use_as_directory(int kind) {
  WITH(fd_readdir(fd, (uint8_t *)bytes, sizeof bytes, 0, &size));
  WITH(fd_prestat_get(fd, &prestat));
  WITH(fd_prestat_dir_name(fd, (uint8_t *)bytes, sizeof bytes));
  WITH(path_open(fd, 0, "f", 0, READING, 0, 0, &other));
  WITH(path_filestat_get(fd, 0, "f", &attributes));
  WITH(path_unlink_file(fd, "f"));
  WITH(path_create_directory(fd, "new"));
  WITH(path_rename(fd, "f", BOX, "new"));
  WITH(path_symlink("f", fd, "new"));
}

static void use_descriptor(int kind) {
  WITH(fd_renumber(fd, CLOSED));
  if (kind > 1) {
    WITH(fd_renumber(CLOSED, fd));
    WITH(fd_renumber(fd, fd));
    WITH(fd_close(fd));
  }
  WITH(sock_shutdown(fd, __WASI_SDFLAGS_WR));
  WITH(sock_accept(fd, 0, &other));
}

static void poll(const char *what, int tag, int number, int count) {
  __wasi_subscription_t asked = {.u = {.tag = tag}};
  if (tag == __WASI_EVENTTYPE_CLOCK)
    asked.u.u.clock.id = number;
  else
    asked.u.u.fd_read.file_descriptor = number;
  __wasi_event_t event = {0};
  int error = __wasi_poll_oneoff(&asked, &event, count, &size);
  if (error)
    returned(error, "poll_oneoff of %s", what);
  else
    printf("poll_oneoff of %s: SUCCESS with the event %s\n", what, errors[event.error]);
}

static void wait_for_all(void) {
  poll("nothing", __WASI_EVENTTYPE_CLOCK, 0, 0);
  poll("the monotonic clock", __WASI_EVENTTYPE_CLOCK, __WASI_CLOCKID_MONOTONIC, 1);
  poll("the clock of the process", __WASI_EVENTTYPE_CLOCK, __WASI_CLOCKID_PROCESS_CPUTIME_ID, 1);
  poll("a closed descriptor", __WASI_EVENTTYPE_FD_READ, CLOSED, 1);
  poll("a directory", __WASI_EVENTTYPE_FD_READ, BOX, 1);
  poll("stdout to read", __WASI_EVENTTYPE_FD_READ, 1, 1);
  poll("stdin to write", __WASI_EVENTTYPE_FD_WRITE, 0, 1);
}

static void use_the_rest(void) {
  __wasi_timestamp_t time;
  for (int clock = 0; clock <= __WASI_CLOCKID_THREAD_CPUTIME_ID; clock++) {
    returned(__wasi_clock_res_get(clock, &time), "clock_res_get(%d)", clock);
    returned(__wasi_clock_time_get(clock, 0, &time), "clock_time_get(%d)", clock);
  }
  returned(__wasi_random_get((uint8_t *)bytes, 16), "random_get");
  returned(__wasi_sched_yield(), "sched_yield");
  returned(__wasi_fd_prestat_dir_name(BOX, (uint8_t *)bytes, 1), "fd_prestat_dir_name without room");
  __wasi_size_t count;
  returned(__wasi_args_sizes_get(&count, &size), "args_sizes_get");
  returned(__wasi_environ_sizes_get(&count, &size), "environ_sizes_get");
}

int main(void) {
  static char buffer[1 << 16];
  setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
  memset(longname, 'x', sizeof longname - 1);
  for EACH (i, paths)
    use_path(paths[i]);
  for EACH (i, names)
    use_name(names[i]);
  // Wasmtime would wait for a writer if it opened the pipe.
  use_fixed("fifo");
  use_fixed("abs");
  returned(__wasi_path_open(FIXED, 0, "abs", 0, READING, 0, 0, &other), "path_open('abs')");
  returned(__wasi_path_open(FIXED, 1, "abs", 0, READING, 0, 0, &other), "path_open('abs', follow)");
  for EACH (kind, kinds) {
    use_data(kind);
    use_attributes(kind);
    use_descriptor(kind);
    // For directories, a file is a file.
    if (kind <= 3 || kind == 7) use_as_directory(kind);
  }
  wait_for_all();
  use_the_rest();
  clear("box");
}
