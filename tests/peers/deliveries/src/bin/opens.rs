//! Measures the cost of opening in each delivery: `opens [--rounds N] [--key FILE.pub]
//! ARTIFACT...`.
//!
//! Every round takes each way once, one after the other, as often as about a fifth of a millisecond
//! allows. The table has medians and minima for one opening and dropping, in microseconds.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

// The object is linked with the library of this package.
use host_deliveries as _;
use precast_loader::{Engine, Module, PublicKey, TrustedKeys, include_artifact};

type Open<'a> = Box<dyn Fn() -> Result<Module, precast_loader::Error> + 'a>;

const SAMPLE: Duration = Duration::from_micros(200);

struct Way<'a> {
    name: String,
    open: Open<'a>,
    /// How often it is repeated in a sample.
    count: u32,
    /// Microseconds.
    samples: Vec<f64>,
}

impl<'a> Way<'a> {
    fn new(name: impl Into<String>, open: Open<'a>) -> Result<Self, Box<dyn Error>> {
        let mut way = Self {
            name: name.into(),
            open,
            count: 1,
            samples: Vec::new(),
        };
        way.take()?;
        // A disturbed run looks long enough, so the shorter of two counts.
        while way.take()?.min(way.take()?) < SAMPLE {
            way.count *= 2;
        }
        Ok(way)
    }

    fn take(&self) -> Result<Duration, Box<dyn Error>> {
        let start = Instant::now();
        for _ in 0..self.count {
            drop(black_box((self.open)()?));
        }
        Ok(start.elapsed())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut rounds, mut key, mut files) = (101, None, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => rounds = args.next().ok_or("--rounds needs a number")?.parse()?,
            "--key" => key = Some(args.next().ok_or("--key needs a file")?),
            _ => files.push(arg),
        }
    }
    let keys = match key {
        Some(file) => Some(TrustedKeys::new([PublicKey::from_pem(
            &std::fs::read_to_string(file)?,
        )?])),
        None => None,
    };
    let engine = &Engine::default();
    let mut ways = vec![
        Way::new(
            "in the executable, by the assembler",
            Box::new(|| Module::embedded(engine, include_artifact!("guest"))),
        )?,
        Way::new(
            "in the executable, by the linker",
            Box::new(|| Module::embedded(engine, include_artifact!("object"))),
        )?,
    ];
    for file in &files {
        // SAFETY: the script that runs this made the files with precast, and nobody writes to them.
        let open = move || unsafe { Module::open(engine, file) };
        let digest = *open()?.digest();
        let name = |what| format!("{what} {}", file.rsplit('/').next().unwrap_or(file));
        ways.push(Way::new(name("open"), Box::new(open))?);
        let verified = move || Module::open_verified(engine, file, &digest);
        ways.push(Way::new(name("open_verified"), Box::new(verified))?);
        if let Some(keys) = &keys {
            let signed = move || Module::open_signed(engine, file, keys);
            if signed().is_ok() {
                ways.push(Way::new(name("open_signed"), Box::new(signed))?);
            }
        }
        // Only this way finds the file open already: the others do not keep their modules.
        let kept = open()?;
        let again = move || {
            black_box(&kept);
            open()
        };
        let mut way = Way::new(name("open, open already:"), Box::new(again))?;
        for _ in 0..rounds {
            way.samples
                .push(way.take()?.as_secs_f64() * 1e6 / f64::from(way.count));
        }
        report(&way.name, &mut way.samples);
    }
    for _ in 0..rounds {
        for way in &mut ways {
            let time = way.take()?.as_secs_f64() * 1e6;
            way.samples.push(time / f64::from(way.count));
        }
    }
    for way in &mut ways {
        report(&way.name, &mut way.samples);
    }
    Ok(())
}

fn report(name: &str, samples: &mut [f64]) {
    samples.sort_unstable_by(f64::total_cmp);
    println!(
        "{name:<52} {:>12.3} µs, minimum {:>12.3} µs",
        samples[samples.len() / 2],
        samples[0]
    );
}
