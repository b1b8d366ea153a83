//! Parts that threads have of what the process may keep for reuse.
//!
//! A thread takes its part in large units, so that threads seldom write to the same place.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The parts of all threads together.
pub(super) struct Total {
    sum: AtomicUsize,
    /// Parts are multiples of this.
    unit: usize,
}

impl Total {
    pub(super) const fn new(unit: usize) -> Self {
        Self {
            sum: AtomicUsize::new(0),
            unit,
        }
    }
}

/// The part of one thread, which goes back when this is dropped.
pub(super) struct Share {
    of: &'static Total,
    size: usize,
}

impl Share {
    /// An empty part.
    pub(super) const fn new(of: &'static Total) -> Self {
        Self { of, size: 0 }
    }

    /// Changes the part to at least `wanted`, and not to much more. Returns whether all parts
    /// together are at most `max` then; if not, nothing has changed.
    pub(super) fn cover(&mut self, wanted: usize, max: usize) -> bool {
        // Other engines may allow more, so the part may be larger than `max`.
        let fits = wanted <= self.size && wanted <= max;
        if fits && self.size <= wanted.saturating_mul(2).saturating_add(4 * self.of.unit) {
            return true;
        }
        let size = wanted.next_multiple_of(self.of.unit);
        let changed = self.change(size, |sum| fits || sum <= max);
        if changed {
            self.size = size;
        }
        changed
    }

    /// Makes the part as small as `wanted` allows.
    pub(super) fn shrink(&mut self, wanted: usize) {
        let size = wanted.next_multiple_of(self.of.unit);
        if size < self.size && self.change(size, |_| true) {
            self.size = size;
        }
    }

    /// Whether [`Share::cover`] would succeed with `wanted` if this part covered nothing else and
    /// all other parts stayed as they are.
    pub(super) fn could_cover(&self, wanted: usize, max: usize) -> bool {
        let others = self.of.sum.load(Ordering::Relaxed) - self.size;
        let sum = others.saturating_add(wanted.next_multiple_of(self.of.unit));
        wanted <= max && (wanted <= self.size || sum <= max)
    }

    /// Changes the sum in one step, so that threads that do so at once do not exceed a maximum.
    fn change(&self, size: usize, may_be: impl Fn(usize) -> bool) -> bool {
        let change = |sum: usize| {
            let sum = (sum - self.size).saturating_add(size);
            may_be(sum).then_some(sum)
        };
        let order = Ordering::Relaxed;
        self.of.sum.fetch_update(order, order, change).is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.size > 0 {
            self.change(0, |_| true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_units_and_go_back() {
        static TOTAL: Total = Total::new(10);
        let sum = || TOTAL.sum.load(Ordering::Relaxed);
        let (mut a, mut b) = (Share::new(&TOTAL), Share::new(&TOTAL));
        assert!(a.cover(11, 100) && sum() == 20);
        assert!(a.cover(20, 100) && a.cover(1, 100) && sum() == 20);
        assert!(b.cover(80, 100) && sum() == 100);
        assert!(!a.cover(21, 100) && sum() == 100);
        // What could be covered instead of 20 and of 80.
        assert!(a.could_cover(20, 100) && !a.could_cover(21, 100) && !a.could_cover(20, 19));
        assert!(b.could_cover(80, 90) && !b.could_cover(81, 100));
        // A part that is much too large becomes smaller, even beyond the maximum.
        assert!(b.cover(9, 5_000) && sum() == 30);
        assert!(!a.cover(5, 4) && sum() == 30);
        b.shrink(9);
        assert_eq!(sum(), 30);
        b.shrink(0);
        assert_eq!(sum(), 20);
        b.shrink(1);
        assert_eq!(sum(), 20);
        drop(b);
        assert_eq!(sum(), 20);
        drop(a);
        assert_eq!(sum(), 0);
    }

    /// Threads that take parts at once do not take more than there is.
    #[test]
    fn all_parts_together_keep_to_the_maximum() {
        static TOTAL: Total = Total::new(1);
        const MAX: usize = 100;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let mut share = Share::new(&TOTAL);
                        let got = share.cover(60, MAX);
                        assert!(TOTAL.sum.load(Ordering::Relaxed) <= MAX, "{got}");
                    }
                });
            }
        });
        assert_eq!(TOTAL.sum.load(Ordering::Relaxed), 0);
    }
}
