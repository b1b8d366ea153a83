//! Artifacts with wrong values in their records and with right checksums. The loader must open,
//! link and instantiate them without undefined behaviour. Their machine code never runs here.
//!
//! | module | what |
//! |---|---|
//! | `bases` | the artifacts that are changed |
//! | `mutate` | changes of fields and records |
//! | `exercise` | what is done with the changed artifacts |

mod bases;
mod exercise;
mod mutate;

use precast_loader::{Config, Engine};

use crate::{Run, Target};
use mutate::Mutant;

/// Artifacts with changed records.
pub const ARTIFACTS: Target = Target {
    name: "artifacts",
    about: "artifacts with changed records and right checksums: opened, linked, instantiated",
    prepare,
};

fn prepare() -> Run {
    let bases = bases::all();
    let engine = Engine::new(Config::new().pool_per_thread(4)).expect("valid settings");
    for base in &bases {
        let outcome = exercise::everything(&engine, &mut Mutant::new(&base.bytes));
        let done = outcome == Ok(exercise::Outcome::Instantiated);
        assert!(
            done,
            "{} is fine before it is changed: {outcome:?}",
            base.name
        );
    }
    Box::new(move |case| {
        let base = case.one_of(&bases);
        case.show(|| format!("base: {}", base.name));
        let mut mutant = Mutant::new(&base.bytes);
        // A mutant with a single change gets furthest.
        let changes = *case.one_of(&[1, 1, 1, 1, 2, 2, 3, 6]);
        for _ in 0..changes {
            mutant.change(case);
        }
        mutant.seal();
        let outcome = exercise::everything(&engine, &mut mutant)?;
        case.show(|| format!("{outcome:?}"));
        Ok(())
    })
}
