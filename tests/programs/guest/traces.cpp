// Ends by a trap in methods and a template. run.sh compares the backtrace with Wasmtime's. What is
// inlined has a name of C, because precast leaves such names of C++ mangled.
namespace shapes {

struct Shape {
  virtual int area(int scale) const = 0;
  virtual ~Shape() = default;
};

template <int Sides> struct Polygon final : Shape {
  int length;
  explicit Polygon(int length) : length(length) {}
  [[gnu::noinline]] int area(int scale) const override { return Sides * (length % scale); }
};

} // namespace shapes

extern "C" inline int area_of(const shapes::Shape &shape, int scale) {
  return shape.area(scale);
}

namespace {

struct Sum {
  const shapes::Shape *const *shapes;
  int scale;
  [[gnu::noinline]] int operator()(int count) const {
    int total = 0;
    for (int i = 0; i < count; i++)
      total += area_of(*shapes[i], scale);
    return total;
  }
};

} // namespace

int main(int argc, char **) {
  shapes::Polygon<3> triangle(argc);
  shapes::Polygon<4> square(argc + 1);
  const shapes::Shape *both[] = {&triangle, &square};
  return Sum{both, argc - 1}(2);
}
