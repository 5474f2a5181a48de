//! One of our clients on real TCP: a member among real clients, of whatever cluster it is pointed at.
//!
//! The client and its application are those of a run; only time and sockets are real.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use broker_model::client::ClientConfig;
use tokio::task::{JoinSet, LocalSet};

use super::catching::catching;
use super::driver::{Driver, DriverClock};
use super::process::Process;
use super::serve::{entropy, raise};
use super::transport::Tcp;
use crate::disk::SimDisk;
use crate::recorder::Recorder;
use crate::shell::{Blueprint, Identity, Shell, ShellConfig};
use crate::wall::now_ms;
use crate::workload::App;

/// How often it is looked whether the application is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs a client under that name until its application is done. What it was connected to is cut then,
/// as when a process ends.
///
/// # Errors
///
/// One line: what the operating system refused.
///
/// # Panics
///
/// Where the model contradicts itself.
pub fn run_client(name: &str, client: ClientConfig, app: Box<dyn App>) -> Result<(), String> {
    let seed = entropy()?;
    let mut shell = Shell::new(ShellConfig {
        identity: Identity {
            index: 0,
            name: name.to_owned(),
            key: 0,
            node: None,
        },
        blueprint: Blueprint::Client(Box::new(client)),
        disk: Box::new(SimDisk::new(seed, 0, (0, 0))),
        app: Some(app),
        seed,
        flush_us: (0, 0),
        wall_start_ms: now_ms(),
        round_trip: false,
        pinned_timers: false,
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    LocalSet::new().block_on(&runtime, async {
        let clock = DriverClock::at(0);
        if let Some(app) = shell.app_mut() {
            app.begin(clock.now_us(), &BTreeMap::new());
        }
        let process = Process::new(shell);
        let recorder = Rc::new(RefCell::new(Recorder::new(None, None)));
        process.borrow_mut().act(&recorder, |shell, recorder, out| {
            shell.start(clock.now_us(), recorder, out);
        });
        let shared = (Rc::clone(&process), recorder);
        let driver = Driver::new(Tcp, shared, clock, Rc::new(BTreeSet::new()));
        let mut drivers = JoinSet::new();
        drivers.spawn_local(catching(driver.run()));
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                biased;
                Some(ended) = drivers.join_next() => return raise(ended),
                _ = look.tick() => {
                    if process.borrow().shell.app().is_none_or(App::is_done) {
                        return;
                    }
                }
            }
        }
    });
    Ok(())
}
