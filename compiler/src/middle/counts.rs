//! How often code ran, according to a profile.
//!
//! Nothing here is more than a hint, because a profile may say anything. A function that never ran
//! is compiled as if there were no profile, apart from what is inlined into it.

use cranelift_entity::PrimaryMap;
use precast_artifact::Profile;
use precast_artifact::profile::Target;

use crate::Error;
use crate::module::Module;
use crate::regions::{self, CountedCode, Region};
use crate::symbol::DefinedFuncIndex;
use crate::workers::Workers;

/// Code is hot that runs as often as the code that makes up this share of all that ran, in
/// hundredths.
const HOT: u128 = 99;

/// How often code ran.
#[derive(Debug)]
pub(crate) struct Counts {
    functions: PrimaryMap<DefinedFuncIndex, Function>,
    /// Code that ran this often is hot.
    hot: u64,
    profile: Profile,
}

#[derive(Debug)]
struct Function {
    /// Ascending by their starts.
    regions: Vec<Region>,
    /// The greatest count of all regions.
    max_count: u64,
}

/// How often a function, or the loops in it, ran. What is hotter comes first in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Heat {
    Hot,
    Warm,
    Cold,
}

impl Counts {
    pub(super) fn new(
        module: &Module<'_>,
        profile: &Profile,
        workers: Workers,
    ) -> Result<Self, Error> {
        let found = regions::find_all(module, workers, &|place| profile.count(place))?;
        let hot = threshold(found.iter().flat_map(|places| &places.regions));
        let functions = found.into_iter().map(|CountedCode { regions, .. }| {
            let max_count = regions.iter().map(|region| region.count).max();
            Function {
                regions,
                max_count: max_count.unwrap_or(0),
            }
        });
        Ok(Self {
            hot,
            functions: functions.collect(),
            profile: profile.clone(),
        })
    }

    /// Whether a function ran at all.
    pub(crate) fn ran(&self, function: DefinedFuncIndex) -> bool {
        self.functions[function].max_count > 0
    }

    /// How often the operator at this offset in the module, which is in this function, ran.
    pub(crate) fn at(&self, function: DefinedFuncIndex, offset: u32) -> u64 {
        let regions = &self.functions[function].regions;
        let next = regions.partition_point(|region| region.start < offset);
        next.checked_sub(1).map_or(0, |i| regions[i].count)
    }

    /// Whether the code behind the operator at this offset ran seldom.
    pub(crate) fn is_cold_behind(&self, function: DefinedFuncIndex, offset: u32) -> bool {
        let regions = &self.functions[function].regions;
        let next = regions.partition_point(|region| region.start <= offset);
        next.checked_sub(1).is_some_and(|i| regions[i].is_cold)
    }

    /// Whether code that ran this often is hot.
    pub(crate) fn is_hot(&self, count: u64) -> bool {
        count >= self.hot
    }

    pub(crate) fn heat(&self, function: DefinedFuncIndex) -> Heat {
        match self.functions[function].max_count {
            0 => Heat::Cold,
            max_count if self.is_hot(max_count) => Heat::Hot,
            _ => Heat::Warm,
        }
    }

    /// The function that the indirect call at this offset called most often.
    pub(crate) fn target(&self, offset: u32) -> Option<Target> {
        self.profile.target(offset)
    }
}

/// The count of the coldest hot code.
fn threshold<'a>(regions: impl Iterator<Item = &'a Region>) -> u64 {
    let mut counts: Vec<u64> = regions.map(|region| region.count).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let all: u128 = counts.iter().map(|count| u128::from(*count)).sum();
    let mut sum = 0;
    for count in counts {
        sum += u128::from(count);
        if sum * 100 >= all * HOT {
            return count.max(1);
        }
    }
    1
}
