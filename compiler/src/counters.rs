//! The counters of code that makes profiles: where they are in the VM context.
//!
//! Inlined code has the counters of the callee, so profiles do not depend on inlining.

use precast_artifact::counters;

use crate::Error;
use crate::module::Module;
use crate::plan::Plan;
use crate::regions;
use crate::workers::Workers;

/// All counters of a module.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Offset in the VM context of the first counter.
    vm_offset: u32,
    /// Offsets of the places in the module, ascending.
    places: Vec<u32>,
    /// Offsets of the indirect calls in the module, ascending.
    sites: Vec<u32>,
}

impl Counters {
    /// Finds the places to count, and makes room for them in the VM context.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if there is no room.
    pub(crate) fn new(
        module: &Module<'_>,
        plan: &mut Plan,
        workers: Workers,
    ) -> Result<Self, Error> {
        let found = regions::find_all(module, workers, &|_| 0)?;
        let regions = found.iter().flat_map(|body| &body.regions);
        let places: Vec<_> = regions
            .filter(|region| region.is_counted)
            .map(|region| region.start)
            .collect();
        let sites: Vec<_> = found.iter().flat_map(|body| &body.sites).copied().collect();
        let words = counters::words(places.len() as u32, sites.len() as u32);
        Ok(Self {
            vm_offset: plan.place_counters(words)?,
            places,
            sites,
        })
    }

    /// Offset in the VM context of the counter for the code behind this place, if it has one.
    pub(crate) fn of_place(&self, place: u32) -> Option<usize> {
        let i = self.places.binary_search(&place).ok()?;
        Some(self.vm_offset as usize + 8 * i)
    }

    /// Offset in the VM context of index and votes of this indirect call.
    pub(crate) fn of_site(&self, site: u32) -> Option<usize> {
        let i = self.sites.binary_search(&site).ok()?;
        Some(self.vm_offset as usize + 8 * self.places.len() + 16 * i)
    }

    /// The section of the artifact.
    pub(crate) fn section(&self, module: [u8; 32]) -> Vec<u8> {
        counters::encode(module, self.vm_offset, &self.places, &self.sites)
    }
}
