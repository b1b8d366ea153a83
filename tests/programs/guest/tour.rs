//! A walk through what Rust programs use: collections, strings and formatting, trait objects,
//! iterators, integers of every width, `std::fs` on a preopened `/data`, arguments, environment,
//! standard input, a custom exit code. Prints nothing that differs between runs (hash maps are
//! sorted first). Usage: tour EXIT_CODE [ARGS…]; with `panic` for EXIT_CODE it panics at the end.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::fmt::{self, Write as _};
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::rc::Rc;
use std::{env, fs, process};

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    println!("arguments {:?}, COLOR {:?}, MISSING {:?}", args, env::var("COLOR"), env::var("MISSING"));
    if let Err(error) = tour() {
        println!("failed: {}", error);
        process::exit(70);
    }
    eprintln!("to standard error");
    match args.first().map(String::as_str) {
        Some("panic") => panic!("as asked"),
        Some(code) => process::exit(code.parse().expect("an exit code")),
        None => {}
    }
}

fn tour() -> io::Result<()> {
    standard_input()?;
    collections();
    text();
    shapes();
    integers();
    floats();
    shared();
    files()
}

fn standard_input() -> io::Result<()> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for line in io::stdin().lock().lines() {
        for word in line?.split_whitespace() {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    println!("{:?}", counts);
    Ok(())
}

/// xorshift64*
struct Random(u64);
impl Iterator for Random {
    type Item = u64;
    fn next(&mut self) -> Option<u64> {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        Some(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }
}

fn collections() {
    let map: HashMap<u64, u64> = Random(1).take(50_000).map(|x| (x % 10_000, x)).collect();
    let sum = map.iter().fold(0u64, |sum, (k, v)| sum.wrapping_add(k.wrapping_mul(*v)));
    println!("hash map {} {:016x}", map.len(), sum);
    let mut tree = BTreeMap::new();
    for x in Random(2).take(20_000) {
        tree.entry(x % 300).or_insert_with(Vec::new).push(x);
        tree.remove(&(x % 17));
    }
    println!("tree {} {:?}", tree.len(), tree.range(100..104).map(|(k, v)| (*k, v.len())).collect::<Vec<_>>());
    let mut heap: BinaryHeap<u64> = Random(3).take(1000).map(|x| x >> 50).collect();
    println!("heap {:?}", std::iter::from_fn(|| heap.pop()).step_by(150).collect::<Vec<_>>());
    let a: BTreeSet<_> = (0..60).step_by(4).collect();
    let b: BTreeSet<_> = (0..60).step_by(6).collect();
    println!("sets {:?} {:?}", a.intersection(&b).collect::<Vec<_>>(), b.difference(&a).collect::<Vec<_>>());
    let mut queue: VecDeque<_> = (0..10).collect();
    queue.rotate_left(3);
    queue.push_front(99);
    println!("queue {:?}", queue);
    let mut words = vec!["delta", "Alpha", "charlie", "Bravo"];
    words.sort_by_key(|word| word.to_lowercase());
    println!("{}", words.join(" < "));
}

fn text() {
    let text = "Grüße, 世界! ¿Qué tal? 🦀";
    println!("{} bytes, {} chars, {}", text.len(), text.chars().count(), text.to_uppercase());
    println!("{}", text.chars().rev().filter(|c| c.is_alphabetic()).collect::<String>());
    let mut out = String::new();
    write!(out, "{:>8}|{:<8}|{:^8}|{:08.3}|{:+}|{:#x}|{:#010b}|{:e}", "right", "left", "mid", 3.14159, 5, 255, 5, 1234.5).unwrap();
    println!("{}", out);
    println!("{:?} {:?} {:?}", "12x".parse::<i32>().is_err(), "-128".parse::<i8>(), "1e3".parse::<f64>());
    println!("{:?}", std::str::from_utf8(&[0x66, 0x6f, 0xff]));
}

trait Shape {
    fn area(&self) -> f64;
    fn name(&self) -> String {
        "shape".into()
    }
}
struct Circle(f64);
struct Polygon(Vec<(f64, f64)>);
impl Shape for Circle {
    fn area(&self) -> f64 {
        self.0 * self.0 * std::f64::consts::PI
    }
}
impl Shape for Polygon {
    fn area(&self) -> f64 {
        let next = self.0.iter().cycle().skip(1);
        self.0.iter().zip(next).map(|(a, b)| a.0 * b.1 - b.0 * a.1).sum::<f64>() / 2.0
    }
    fn name(&self) -> String {
        format!("{}-gon", self.0.len())
    }
}

fn shapes() {
    let shapes: Vec<Box<dyn Shape>> = vec![
        Box::new(Circle(1.5)),
        Box::new(Polygon(vec![(0.0, 0.0), (4.0, 0.0), (4.0, 3.0)])),
        Box::new(Polygon((0..6).map(|i| f64::from(i) * std::f64::consts::FRAC_PI_3).map(|t| (t.cos(), t.sin())).collect())),
    ];
    for shape in &shapes {
        println!("{} {:.9}", shape.name(), shape.area());
    }
}

fn integers() {
    println!("{:?} {:?} {:?}", 200u8.checked_add(56), i32::MIN.checked_abs(), 7i64.checked_rem(0));
    println!("{} {} {}", 200u8.wrapping_mul(3), i16::MAX.saturating_add(9), (-7i32).rem_euclid(3));
    println!("{} {}", u128::MAX / 1_000_000_007, i128::MIN);
    let factorial = (1..=30u128).product::<u128>();
    println!("{} {} {}", factorial, factorial.trailing_zeros(), (factorial as f64).sqrt());
    println!("{:x} {:x} {}", 0x1234_5678u32.swap_bytes(), 0xf0f0u16.rotate_left(5), u64::MAX.count_ones());
    println!("{} {} {} {}", -1.5f64 as u8, 300.7f32 as u8, f64::NAN as i64, 1e30f32 as i64);
}

fn floats() {
    for x in [0.1 + 0.2, 1e21, 1e-7, f64::MAX, f64::MIN_POSITIVE, f64::NEG_INFINITY, -0.0] {
        print!("{} {:?} {:e}; ", x, x, x);
    }
    println!();
    println!("{:.12} {:.12} {:.12} {}", 1f64.sin(), 2f64.powf(0.3), 10f64.ln(), 1.0f64.mul_add(2.0, 3.0));
    println!("{} {} {}", 16777217i32 as f32, 0.1f32, (2.5f64).round());
}

struct Node {
    value: u32,
    children: Vec<Rc<Node>>,
}
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value)?;
        for (i, child) in self.children.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "(" } else { " " }, child)?;
        }
        if self.children.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

fn shared() {
    let leaf = Rc::new(Node { value: 1, children: vec![] });
    let mut root = leaf.clone();
    for value in 2..7 {
        root = Rc::new(Node { value, children: vec![root, leaf.clone()] });
    }
    println!("{} with {} owners of the leaf", root, Rc::strong_count(&leaf));
}

fn files() -> io::Result<()> {
    fs::create_dir_all("/data/tree/inner")?;
    let mut file = fs::OpenOptions::new().read(true).write(true).create(true).open("/data/tree/inner/bytes.bin")?;
    let bytes: Vec<u8> = Random(4).take(100_000).map(|x| x as u8).collect();
    file.write_all(&bytes)?;
    file.seek(SeekFrom::Start(50_000))?;
    let mut back = Vec::new();
    file.read_to_end(&mut back)?;
    println!("read {} back, equal {}", back.len(), back == bytes[50_000..]);
    file.set_len(10)?;
    drop(file);
    fs::copy("/data/tree/inner/bytes.bin", "/data/tree/copy.bin")?;
    fs::write("/data/tree/note.txt", "one\ntwo\nthree\n")?;
    fs::rename("/data/tree/note.txt", "/data/tree/inner/note.txt")?;
    let mut names = Vec::new();
    for folder in ["/data/tree", "/data/tree/inner"] {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let about = entry.metadata()?;
            names.push(format!("{} {} {}", entry.path().display(), about.is_dir(), if about.is_dir() { 0 } else { about.len() }));
        }
    }
    names.sort();
    println!("{:?}", names);
    println!("{:?}", fs::read_to_string("/data/tree/inner/note.txt")?.lines().rev().collect::<Vec<_>>());
    for path in ["/data/none", "/etc/passwd", "/data/../secret"] {
        println!("{}: {:?}", path, fs::read(path).map_err(|error| error.kind()));
    }
    println!("remove_dir {:?}", fs::remove_dir("/data/tree").is_err());
    fs::remove_dir_all("/data/tree")?;
    println!("left {}", fs::read_dir("/data")?.count());
    io::stdout().flush()
}
