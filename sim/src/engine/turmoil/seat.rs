//! What runs on a simulated host: the process, and after it an idle host.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::pending;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use broker_model::types::{Endpoint, Listener};

use crate::engine::catching::{Panic, catching};
use crate::engine::driver::{Driver, DriverClock};
use crate::engine::process::{SharedProcess, SharedRecorder};
use crate::engine::transport::{Transport, Turmoil};

/// What a host runs, whenever it is started.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) transport: Turmoil,
    pub(super) process: SharedProcess,
    pub(super) recorder: SharedRecorder,
    pub(super) listeners: Vec<(u16, Listener)>,
    pub(super) controllers: Rc<BTreeSet<Endpoint>>,
    pub(super) panicked: Rc<RefCell<Option<Panic>>>,
}

impl Seat {
    /// The process if it runs, and then an idle host.
    pub(super) async fn run(self) {
        if self.process.borrow().shell.is_up() {
            let panicked = Rc::clone(&self.panicked);
            if let Err(panic) = catching(self.drive()).await {
                panicked.borrow_mut().get_or_insert(panic);
            }
        }
        pending::<()>().await;
    }

    async fn drive(self) {
        let elapsed = turmoil::sim_elapsed().expect("a host runs inside of the simulation");
        let now_us = u64::try_from(elapsed.as_micros()).expect("a run is short");
        let shared = (self.process, self.recorder);
        let clock = DriverClock::at(now_us);
        let mut driver = Driver::new(self.transport.clone(), shared, clock, self.controllers);
        for (port, kind) in self.listeners {
            let everywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
            let listener = self.transport.bind(everywhere).await;
            driver.listen(listener.expect("the host has no other process"), kind);
        }
        driver.run().await;
    }
}
