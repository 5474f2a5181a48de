//! Each historic bug is found from seed 1 within its budget, by a check of its row, and the seed that
//! finds it passes with the bug off.

use std::sync::atomic::AtomicBool;

use libtest_mimic::{Arguments, Failed, Trial};
use sim::case::RUN;
use sim::engine::EngineKind;
use sim::hunt::{BUDGET, HUNTS, Hunt, STARTS};
use sim::sweep::Limits;

fn main() {
    let args = Arguments::from_args();
    let trials = HUNTS.map(|hunt| Trial::test(format!("bug::{}", hunt.bug.id()), move || go(hunt)));
    libtest_mimic::run(&args, trials.into()).exit();
}

fn go(hunt: Hunt) -> Result<(), Failed> {
    let never = AtomicBool::new(false);
    let limits = Limits {
        jobs: 1,
        keep_going: true,
        until: None,
        interrupted: &never,
    };
    let bag = hunt.go(STARTS[0], BUDGET, EngineKind::Event, limits, RUN)?;
    if bag.found && bag.clean_pass {
        return Ok(());
    }
    Err(format!("{bag:#?}").into())
}
