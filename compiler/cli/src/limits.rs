//! The resource limits of `precast run`. They are those of the whole program, with all its threads.

use precast_loader::{StoreLimits, StoreLimitsBuilder};

use crate::quantity;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Limit for the linear memories of the guest and its threads, all together: a number of bytes,
    /// or a number with KiB, MiB or GiB; exceptions may take as much again [default: 16GiB]
    #[arg(long, value_name = "SIZE", value_parser = quantity::size, allow_negative_numbers = true)]
    max_memory: Option<u64>,
    /// Limit for the elements of the guest's tables, all together; tables that nothing can change
    /// do not count [default: 10000000]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_table_elements: Option<u64>,
    /// Limit for the number of instances, where each thread counts as one until shortly after it
    /// ends [default: 10000]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_instances: Option<u64>,
}

impl Args {
    pub(crate) fn limits(&self) -> StoreLimits {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let mut limits = StoreLimitsBuilder::new();
        if let Some(bytes) = self.max_memory {
            limits = limits.total_memory_size(number(bytes));
        }
        if let Some(elements) = self.max_table_elements {
            limits = limits.total_table_elements(number(elements));
        }
        if let Some(instances) = self.max_instances {
            limits = limits.instances(number(instances));
        }
        limits.build()
    }
}
