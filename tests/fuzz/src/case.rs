//! One case of a target.

use fastrand::Rng;

/// A case. Everything random in it comes from its seed.
pub struct Case {
    /// The number that repeats this case.
    pub seed: u64,
    /// The random numbers.
    pub rng: Rng,
    /// Whether the target should print its input and what it does.
    pub verbose: bool,
}

impl Case {
    /// The case with this seed.
    pub fn new(seed: u64, verbose: bool) -> Self {
        // SplitMix64 spreads the seeds, so that cases with consecutive seeds have nothing in
        // common.
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        Self {
            seed,
            rng: Rng::with_seed(mixed),
            verbose,
        }
    }

    /// Returns true with a probability of 1 in `n`.
    pub fn once_in(&mut self, n: u32) -> bool {
        self.rng.u32(..n) == 0
    }

    /// One of several values.
    pub fn one_of<'a, V>(&mut self, from: &'a [V]) -> &'a V {
        &from[self.rng.usize(..from.len())]
    }

    /// Calls `line` and prints what it returns, if the case is verbose.
    pub fn show(&self, line: impl FnOnce() -> String) {
        if self.verbose {
            println!("{}", line());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_case() {
        let numbers = |seed| {
            let mut case = Case::new(seed, false);
            [case.rng.u64(..), case.rng.u64(..)]
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }
}
