//! The table of promises ([`precast_artifact::promises`]): each row is broken here from every side
//! that can, in both strategies, and must hold.
//!
//! Sides: the code itself, a callee, another instance, a host function, a host function that calls
//! back, the host between calls; in straight code and in loops; by closing and by reuse.

mod closing;
