// Nested exceptions and destructors. Every line it prints says what happened, in order, so the output
// shows which destructors ran, and when. There is no iostream: printf suffices.
#include <stdint.h>
#include <stdio.h>

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

static int alive;

struct Guard {
  std::string name;
  explicit Guard(std::string n) : name(std::move(n)) { alive++; }
  Guard(const Guard &other) : name(other.name + "'") { alive++; }
  ~Guard() {
    alive--;
    printf("  ~%s%s\n", name.c_str(), std::uncaught_exceptions() ? " while unwinding" : "");
  }
};

struct Failure : std::runtime_error {
  Guard guard;
  int code;
  Failure(const char *what, int c) : std::runtime_error(what), guard(std::string("failure ") + what), code(c) {}
};
struct Base { virtual ~Base() = default; virtual int number() const { return 1; } };
struct Left : virtual Base { int number() const override { return 2; } };
struct Right : virtual Base {};
struct Both : Left, Right { int number() const override { return 4; } };

__attribute__((noinline)) static int deep(int depth, int kind) {
  Guard guard("deep " + std::to_string(depth));
  if (depth > 0) return deep(depth - 1, kind) + 1;
  switch (kind) {
    case 0: return 0;
    case 1: throw 42;
    case 2: throw Failure("deep", 7);
    case 3: throw Both();
    case 4: throw "text";
    case 5: throw std::string("a string that does not fit into a small buffer");
    default: throw std::out_of_range(std::to_string(kind));
  }
}

static void caught(int kind) {
  printf("kind %d\n", kind);
  try {
    Guard outer("outer");
    try {
      Guard inner("inner");
      printf("  returned %d\n", deep(2, kind));
    } catch (const Failure &f) {
      printf("  inner caught %s, code %d\n", f.what(), f.code);
      Guard handler("handler");
      if (f.code == 7) throw;
    } catch (int n) {
      printf("  inner caught int %d\n", n);
      throw std::logic_error("from an int");
    } catch (const char *text) {
      printf("  inner caught text %s\n", text);
    }
    printf("  after inner\n");
  } catch (const Base &b) {
    printf("  outer caught a base, %d\n", b.number());
  } catch (const std::exception &e) {
    printf("  outer caught %s\n", e.what());
  } catch (...) {
    printf("  outer caught something\n");
  }
  printf("  alive %d\n", alive);
}

// An exception inside of a destructor that runs while another one unwinds.
struct Throws {
  ~Throws() noexcept(false) {
    try {
      throw std::runtime_error("inside of a destructor");
    } catch (const std::exception &e) {
      printf("  destructor caught %s, %d uncaught\n", e.what(), std::uncaught_exceptions());
    }
  }
};

struct Part {
  Guard guard;
  explicit Part(int n) : guard("part " + std::to_string(n)) {
    if (n == 3) throw std::bad_alloc();
  }
};
struct Whole {
  Part a{1}, b{2}, c{3}, d{4};
};

static void print(const std::exception &e, int depth) {
  printf("  %*s%s\n", depth, "", e.what());
  try {
    std::rethrow_if_nested(e);
  } catch (const std::exception &inner) {
    print(inner, depth + 1);
  }
}
static void nest(int depth) {
  try {
    if (depth == 0) throw std::invalid_argument("the innermost");
    nest(depth - 1);
  } catch (...) {
    std::throw_with_nested(std::runtime_error("level " + std::to_string(depth)));
  }
}

int main() {
  for (int kind = 0; kind < 7; kind++) caught(kind);

  printf("destructors that throw inside\n");
  try {
    Throws t;
    throw 1;
  } catch (int n) {
    printf("  caught %d\n", n);
  }
  printf("constructors\n");
  try {
    Whole whole;
  } catch (const std::bad_alloc &) {
    printf("  no whole, alive %d\n", alive);
  }
  try {
    std::unique_ptr<Part[]> parts(new Part[4]{Part(0), Part(1), Part(3), Part(5)});
  } catch (const std::exception &) {
    printf("  no array, alive %d\n", alive);
  }
  printf("nested\n");
  try {
    nest(3);
  } catch (const std::exception &e) {
    print(e, 0);
  }
  printf("kept\n");
  std::exception_ptr kept;
  try {
    deep(1, 2);
  } catch (...) {
    kept = std::current_exception();
  }
  printf("  alive %d\n", alive);
  for (int i = 0; i < 2; i++) {
    try {
      std::rethrow_exception(kept);
    } catch (const Failure &f) {
      printf("  again %s\n", f.what());
    }
  }
  kept = nullptr;
  printf("  alive %d\n", alive);
  printf("many\n");
  uint64_t sum = 0;
  for (int i = 0; i < 20000; i++) {
    try {
      std::vector<int> values(i % 17, i);
      if (i % 3 == 0) throw i;
      sum += values.size();
    } catch (int n) {
      sum += static_cast<uint64_t>(n) * 3;
    }
  }
  printf("  %llu\n", static_cast<unsigned long long>(sum));
  return alive;
}
