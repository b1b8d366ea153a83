// A walk through what C programs use: arguments, environment, standard input, files and directories of a preopened `/data`,
// printf of every kind of number, qsort, function pointers, variable arguments, allocation, recursion, the exit code.
// Prints nothing that differs between runs. Usage: tour EXIT_CODE [ARGS…]

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t state = 0x9e3779b97f4a7c15u;
static uint64_t next_random(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static void numbers(void) {
  const double values[] = {0.0, -0.0, 1.0 / 3, 2.5, 1e300 * 10, 5e-324, 123456789.125, -INFINITY, 0.1 + 0.2};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++)
    printf("%g %.17g %e %10.3f %a %.0f\n", values[i], values[i], values[i], values[i], values[i], values[i]);
  printf("%d %u %x %#o %+d %05d %-6d| %ld %" PRId64 " %" PRIu64 " %c %s %.3s %%\n", INT32_MIN, UINT32_MAX, 0xbeefu, 8u, 7, 42, 9, -3L,
         INT64_MIN, UINT64_MAX, 'z', "text", "truncated");
  printf("%.12f %.12f %.12f %.12f %.12f\n", sin(1), cos(1e6), exp(1), log(10), pow(2, 0.5));
  printf("%g %g %g %g %g %g\n", floor(-2.5), ceil(-2.5), trunc(-2.5), rint(2.5), fmod(10, 3), copysign(3, -0.0));
  printf("%g %ld %lld %g\n", strtod("-12.75e2x", NULL), strtol("0x7f", NULL, 0), strtoll("-9223372036854775808", NULL, 10), strtod("nan", NULL));
  volatile uint32_t shift = 37;
  volatile int64_t divisor = -7;
  printf("%" PRIu32 " %" PRId64 " %" PRId64 " %d %d %d\n", 1u << (shift & 31), INT64_C(100) / divisor, INT64_C(100) % divisor,
         __builtin_clzll(state), __builtin_ctz(40), __builtin_popcountll(state));
}

static int by_length_then_text(const void *a, const void *b) {
  const char *x = *(char *const *)a, *y = *(char *const *)b;
  size_t m = strlen(x), n = strlen(y);
  return m != n ? (m > n) - (m < n) : strcmp(x, y);
}
static int by_value(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static void sorting(void) {
  const char *words[] = {"memory", "table", "global", "func", "data", "elem", "start", "export", "import", "type", "code", "custom"};
  size_t n = sizeof words / sizeof *words;
  qsort(words, n, sizeof *words, by_length_then_text);
  for (size_t i = 0; i < n; i++) printf("%s%c", words[i], i + 1 == n ? '\n' : ' ');
  enum { COUNT = 200000 };
  uint64_t *many = malloc(COUNT * sizeof *many), sum = 0;
  for (size_t i = 0; i < COUNT; i++) many[i] = next_random();
  qsort(many, COUNT, sizeof *many, by_value);
  for (size_t i = 0; i < COUNT; i++) {
    if (i && many[i - 1] > many[i]) printf("not sorted at %zu\n", i);
    sum = sum * 31 + many[i];
  }
  printf("sorted %d, %016" PRIx64 "\n", COUNT, sum);
  free(many);
}

static int64_t total(int n, ...) {
  va_list list;
  int64_t sum = 0;
  va_start(list, n);
  for (int i = 0; i < n; i++) sum += i % 2 ? (int64_t)va_arg(list, double) : va_arg(list, int64_t);
  va_end(list);
  return sum;
}
static double add(double a, double b) { return a + b; }
static double multiply(double a, double b) { return a * b; }
static double power(double a, double b) { return pow(a, b); }
static unsigned ackermann(unsigned m, unsigned n) { return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1)); }

static void calls(void) {
  static double (*const operators[])(double, double) = {add, multiply, power};
  double value = 1.5;
  for (int i = 0; i < 9; i++) value = operators[i % 3](value, 1.25);
  printf("%.10g %" PRId64 " %u\n", value, total(4, INT64_C(1) << 40, 2.75, INT64_C(-3), 1e6), ackermann(2, 300));
}

static void allocation(void) {
  enum { SLOTS = 512 };
  char *slots[SLOTS] = {0};
  size_t sizes[SLOTS] = {0}, bad = 0, moved = 0;
  for (int i = 0; i < 60000; i++) {
    size_t slot = next_random() % SLOTS, size = next_random() % 9000 + 1;
    for (size_t at = 0; at < sizes[slot]; at += 997) bad += slots[slot][at] != (char)slot;
    char *grown = realloc(slots[slot], size);
    if (!grown) { puts("out of memory"); exit(70); }
    moved += grown != slots[slot];
    memset(grown, (int)slot, size);
    slots[slot] = grown, sizes[slot] = size;
  }
  for (int i = 0; i < SLOTS; i++) free(slots[i]);
  printf("allocations: %zu damaged, %s moved\n", bad, moved > 1000 ? "many" : "few");
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static void files(void) {
  if (mkdir("/data/box", 0777) != 0) printf("mkdir: %s\n", strerror(errno));
  FILE *file = fopen("/data/box/log.txt", "w+");
  if (!file) { printf("fopen: %s\n", strerror(errno)); exit(71); }
  for (int i = 0; i < 1000; i++) fprintf(file, "line %04d %08x\n", i, (unsigned)next_random());
  fseek(file, 19 * 500, SEEK_SET);
  char line[64];
  if (!fgets(line, sizeof line, file)) puts("fgets failed");
  printf("%s", line);
  fseek(file, 0, SEEK_END);
  printf("size %ld\n", ftell(file));
  fclose(file);
  file = fopen("/data/box/log.txt", "a");
  fputs("appended\n", file);
  fclose(file);
  struct stat status;
  printf("stat %d, size %lld, directory %d\n", stat("/data/box/log.txt", &status), (long long)status.st_size, S_ISDIR(status.st_mode));
  printf("rename %d\n", rename("/data/box/log.txt", "/data/box/old.txt"));
  for (char name[] = "/data/box/a.tmp"; name[10] < 'f'; name[10]++) fclose(fopen(name, "w"));
  struct dirent **entries;
  int n = scandir("/data/box", &entries, NULL, by_name);
  for (int i = 0; i < n; i++) printf("%s ", entries[i]->d_name);
  printf("(%d)\n", n);
  printf("truncate %d", truncate("/data/box/old.txt", 5));
  file = fopen("/data/box/old.txt", "r");
  printf(" '%s'", fgets(line, sizeof line, file) ? line : "");
  printf(" end %d\n", feof(file) || fgetc(file) == EOF);
  fclose(file);
  printf("rmdir of a full directory: %s\n", rmdir("/data/box") ? strerror(errno) : "done");
  printf("missing: %s\n", fopen("/data/none", "r") ? "opened" : strerror(errno));
  printf("outside: %s\n", fopen("/data/../../etc/passwd", "r") ? "opened" : "refused");
  for (char name[] = "/data/box/a.tmp"; name[10] < 'f'; name[10]++) if (unlink(name)) printf("unlink %s: %s\n", name, strerror(errno));
  printf("unlink %d, rmdir %d\n", unlink("/data/box/old.txt"), rmdir("/data/box"));
}

int main(int argc, char **argv) {
  printf("%d arguments:", argc);
  for (int i = 1; i < argc; i++) printf(" [%s]", argv[i]);
  const char *color = getenv("COLOR"), *missing = getenv("MISSING");
  printf("\nCOLOR=%s MISSING=%s\n", color ? color : "(none)", missing ? missing : "(none)");
  size_t letters = 0, lines = 0, longest = 0, width = 0;
  for (int c; (c = getchar()) != EOF;) {
    letters += isalpha(c) != 0;
    if (c == '\n') lines++, width = 0;
    else if (++width > longest) longest = width;
  }
  printf("stdin: %zu letters, %zu lines, longest %zu\n", letters, lines, longest);
  numbers();
  sorting();
  calls();
  allocation();
  files();
  fflush(stdout);
  fprintf(stderr, "to standard error\n");
  return argc > 1 ? atoi(argv[1]) : 0;
}
