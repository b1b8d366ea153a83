// Ends by a trap in functions of which some are inlined. run.sh compares the backtrace, whose lines
// are in the module's DWARF, with Wasmtime's.
struct node {
  struct node *next;
  int value;
};

// The division of these two traps.
static int quotient(int a, int b) { return a / b; }

__attribute__((noinline)) static int walk(const struct node *node, int *sum) {
  while (node != 0) {
    *sum += quotient(1000, node->value);
    node = node->next;
  }
  return *sum;
}

static int twice(const struct node *node) {
  int sum = 0;
  int first = walk(node, &sum);
  return first + walk(node, &sum);
}

__attribute__((noinline)) static int recurse(int depth, const struct node *node) {
  if (depth == 0)
    return twice(node);
  return recurse(depth - 1, node) * 3 + 1;
}

int main(int argc, char **argv) {
  (void)argv;
  struct node last = {0, argc - 1}, first = {&last, 8};
  return recurse(argc + 2, &first);
}
