//! A table of comparisons. Each row measures several contenders in alternation.
//!
//! A column may have several contenders, which are settings of one runtime. It shows the one with
//! the lowest median. At first, each contender is measured to find how many repetitions make a
//! sample. A sample is short, about half a millisecond. On a busy machine it is then either
//! disturbed or not, and the median of many samples is one that was not disturbed.

use std::collections::HashMap;
use std::time::Duration;

use crate::Result;
use crate::stats::Samples;

/// Does something as often as its argument says, and returns how long that took.
pub type Measure<'a> = Box<dyn FnMut(u32) -> Result<Duration> + 'a>;

/// A contender in a row.
pub struct Contender<'a> {
    column: usize,
    setting: &'static str,
    measure: Measure<'a>,
}

/// A comparison.
pub struct Row<'a> {
    name: String,
    /// The minimal duration of a sample.
    floor: Duration,
    contenders: Vec<Contender<'a>>,
}

impl<'a> Row<'a> {
    /// Makes a comparison without contenders.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            floor: Duration::from_micros(500),
            contenders: Vec::new(),
        }
    }

    /// Sets the minimal duration of a sample. The default is half a millisecond.
    #[must_use]
    pub fn floor(mut self, floor: Duration) -> Self {
        self.floor = floor;
        self
    }

    /// Adds a contender in `column`.
    #[must_use]
    pub fn with(
        mut self,
        column: usize,
        setting: &'static str,
        measure: impl FnMut(u32) -> Result<Duration> + 'a,
    ) -> Self {
        self.contenders.push(Contender {
            column,
            setting,
            measure: Box::new(measure),
        });
        self
    }
}

impl<'a> Row<'a> {
    /// Like [`Row::with`], if there is a contender.
    #[must_use]
    pub fn maybe(
        self,
        contender: Option<(usize, impl FnMut(u32) -> Result<Duration> + 'a)>,
    ) -> Self {
        match contender {
            Some((column, measure)) => self.with(column, "", measure),
            None => self,
        }
    }
}

/// Prints rows when they have been measured, and keeps their samples.
pub struct Table {
    rounds: usize,
    filter: String,
    columns: Vec<&'static str>,
    /// Whether every setting is printed, not only the best.
    all: bool,
    measured: HashMap<(String, usize), Samples>,
}

impl Table {
    /// Makes a table whose first column is compared with each of the others, as the arguments of
    /// the process say: `[--rounds N] [--settings] [FILTER]`.
    ///
    /// # Errors
    /// An argument that is none of these.
    pub fn of_args(columns: &[&'static str]) -> Result<Self> {
        let mut table = Self {
            rounds: 41,
            filter: String::new(),
            columns: columns.to_vec(),
            all: false,
            measured: HashMap::new(),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--rounds" => {
                    table.rounds = args.next().ok_or("--rounds needs a number")?.parse()?;
                }
                "--settings" => table.all = true,
                _ if arg.starts_with('-') => return Err(format!("unknown option {arg}").into()),
                _ => table.filter = arg,
            }
        }
        Ok(table)
    }

    /// Whether the filter includes rows with this name.
    pub fn wants(&self, name: &str) -> bool {
        name.contains(&self.filter)
    }

    /// Whether the filter may include rows whose names end with `end`: it may be a part of their
    /// beginnings, or of `end`.
    pub fn wants_any_ending(&self, end: &str) -> bool {
        !self.filter.contains(", ") || self.filter.ends_with(end) || end.contains(&self.filter)
    }

    /// Prints the machine, the number of rounds and the headings of the columns.
    pub fn head(&self) {
        let (machine, rounds) = (crate::machine(), self.rounds);
        println!("{machine}, {rounds} rounds; min / median / max");
        print!("{:<40}", "nanoseconds");
        for column in &self.columns {
            print!(" {column:>34}");
        }
        println!("  ratio of medians (of minima)");
    }

    /// Measures a row, unless the filter excludes it.
    ///
    /// # Errors
    /// Those of the contenders.
    pub fn measure(&mut self, mut row: Row<'_>) -> Result<()> {
        if !self.wants(&row.name) {
            return Ok(());
        }
        let floor = if self.rounds > 1 {
            row.floor
        } else {
            Duration::ZERO
        };
        let mut repetitions = Vec::new();
        for contender in &mut row.contenders {
            repetitions.push(calibrate(&mut contender.measure, floor)?);
        }
        let count = row.contenders.len();
        let mut samples = vec![Samples::default(); count];
        for round in 0..self.rounds {
            for turn in 0..count {
                let i = (round + turn) % count;
                let n = repetitions[i];
                let time = (row.contenders[i].measure)(n)?;
                samples[i].push(time.as_nanos() as f64 / f64::from(n));
            }
        }
        self.print(&row, &samples);
        Ok(())
    }

    fn print(&mut self, row: &Row<'_>, samples: &[Samples]) {
        print!("{:<40}", row.name);
        let mut settings = String::new();
        for column in 0..self.columns.len() {
            let of_column = (0..samples.len()).filter(|&i| row.contenders[i].column == column);
            let best =
                of_column.min_by(|&a, &b| samples[a].median().total_cmp(&samples[b].median()));
            let Some(best) = best else {
                print!(" {:>34}", "-");
                continue;
            };
            print!(" {:>34.1}", samples[best]);
            let key = (row.name.clone(), column);
            self.measured.insert(key, samples[best].clone());
            if !row.contenders[best].setting.is_empty() {
                settings += &format!("  [{}]", row.contenders[best].setting);
            }
        }
        for column in 1..self.columns.len() {
            match (self.samples(&row.name, 0), self.samples(&row.name, column)) {
                (Some(ours), Some(theirs)) => {
                    let medians = ours.median() / theirs.median();
                    print!(" {medians:>7.3} ({:.3})", ours.min() / theirs.min());
                }
                _ => print!(" {:>15}", "-"),
            }
        }
        println!("{settings}");
        if self.all {
            for (contender, samples) in row.contenders.iter().zip(samples) {
                println!("    {:<40} {samples:>34.1}", contender.setting);
            }
        }
    }

    /// The samples of a row and column, if they have been measured.
    pub fn samples(&self, row: &str, column: usize) -> Option<&Samples> {
        self.measured.get(&(row.to_owned(), column))
    }
}

fn calibrate(measure: &mut Measure<'_>, floor: Duration) -> Result<u32> {
    let mut n = 1;
    // The first run always differs from later ones.
    measure(n)?;
    // A disturbed run looks long enough, so the shorter of two counts.
    while measure(n)?.min(measure(n)?) < floor && n < 1 << 26 {
        n *= 2;
    }
    Ok(n)
}
