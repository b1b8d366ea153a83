// Ends by a trap below closures, iterators and a trait. run.sh compares the backtrace with
// Wasmtime's.
trait Visit {
    fn visit(&self, depth: u32) -> u32;
}

struct Tree {
    children: Vec<Tree>,
}

impl Visit for Tree {
    #[inline(never)]
    fn visit(&self, depth: u32) -> u32 {
        if self.children.is_empty() {
            return leaf(depth);
        }
        self.children.iter().map(|child| child.visit(depth + 1)).sum()
    }
}

#[inline]
fn leaf(depth: u32) -> u32 {
    if depth == 3 {
        // SAFETY: The address is outside of the memory, so that the read traps.
        return unsafe { std::ptr::read_volatile(0xc000_0000 as *const u32) };
    }
    depth
}

fn tree(depth: usize) -> Tree {
    Tree {
        children: (0..depth).map(|_| tree(depth - 1)).collect(),
    }
}

fn main() {
    let visitor: Box<dyn Visit> = Box::new(tree(3));
    println!("{}", visitor.visit(0));
}
