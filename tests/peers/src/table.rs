//! A table of comparisons: each row measures several contenders in alternation.
//!
//! A column may have several contenders (settings of one runtime); it shows the one whose median is lowest. How often something is
//! repeated in one sample is found out first, for each contender. A sample is short, half a millisecond: on a busy machine it is then
//! either disturbed or not, and the median of many is one that was not.

use std::collections::HashMap;
use std::time::Duration;

use crate::Result;
use crate::stats::Samples;

/// Does something so many times and says how long that took.
pub type Measure<'a> = Box<dyn FnMut(u32) -> Result<Duration> + 'a>;

/// One thing to measure in a row.
pub struct Contender<'a> {
    column: usize,
    setting: &'static str,
    measure: Measure<'a>,
}

/// One comparison.
pub struct Row<'a> {
    name: String,
    /// A sample takes at least this.
    floor: Duration,
    contenders: Vec<Contender<'a>>,
}

impl<'a> Row<'a> {
    /// A comparison without contenders.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            floor: Duration::from_micros(500),
            contenders: Vec::new(),
        }
    }

    /// Samples take at least this; half a millisecond if not said.
    #[must_use]
    pub fn floor(mut self, floor: Duration) -> Self {
        self.floor = floor;
        self
    }

    /// Another contender in `column`.
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
    /// [`Row::with`], if there is one.
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

/// Prints rows as they are measured and remembers them.
pub struct Table {
    rounds: usize,
    filter: String,
    columns: Vec<&'static str>,
    /// Every setting is printed, not only the best.
    all: bool,
    measured: HashMap<(String, usize), Samples>,
}

impl Table {
    /// A table whose first column is compared with each of the others.
    pub fn new(columns: &[&'static str], rounds: usize, filter: String, all: bool) -> Self {
        Self {
            rounds,
            filter,
            columns: columns.to_vec(),
            all,
            measured: HashMap::new(),
        }
    }

    /// Whether rows of this name are wanted.
    pub fn wants(&self, name: &str) -> bool {
        name.contains(&self.filter)
    }

    /// Whether rows whose names end like this may be wanted: the filter may name their beginning, or the end itself.
    pub fn wants_any_ending(&self, end: &str) -> bool {
        !self.filter.contains(", ") || self.filter.ends_with(end) || end.contains(&self.filter)
    }

    /// Prints the heads of columns.
    pub fn head(&self) {
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

    /// What was measured, if it was.
    pub fn samples(&self, row: &str, column: usize) -> Option<&Samples> {
        self.measured.get(&(row.to_owned(), column))
    }
}

fn calibrate(measure: &mut Measure<'_>, floor: Duration) -> Result<u32> {
    let mut n = 1;
    // The first time is never like the others.
    measure(n)?;
    // What was disturbed seems long enough: the shorter of two counts.
    while measure(n)?.min(measure(n)?) < floor && n < 1 << 26 {
        n *= 2;
    }
    Ok(n)
}
