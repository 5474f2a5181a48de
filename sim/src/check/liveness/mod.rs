//! Liveness (LIV): what must happen in time, and how much time that is.

pub(super) mod availability;
pub(super) mod catch_up;
pub(super) mod every_op;
pub(super) mod leader;
pub(super) mod replication_heals;

use std::collections::BTreeMap;

use super::World;
use super::world::gates::number;
use crate::observe::Phase;
use crate::plan::Plan;

/// Elections may take this many times what one round takes.
const SLACK: u64 = 5;

/// An excuse: what is missing may still come.
const IN_TIME: &str = "the bound since the heal is not over";

/// Whether the cluster was healed for as long as recovery may take.
fn is_overdue(world: &World) -> bool {
    let (Some(_), Some(&healed_us)) = (&world.plan, world.phases.get(&Phase::Heal)) else {
        return false;
    };
    world.t_us >= healed_us + world.recovery_bound_ms * 1_000
}

/// How long a cluster may take to serve again once a majority of controllers and enough replicas are
/// connected and undisturbed, in milliseconds: dead connections time out, a controller is elected,
/// who is gone is fenced or leaves the ISR, who is back registers and catches up.
pub(super) fn recovery_bound_ms(plan: &Plan) -> u64 {
    let of_node = |config: &BTreeMap<String, String>| {
        let property = |name, default| number(config, name, default);
        let election = property("controller.quorum.fetch.timeout.ms", 2_000)
            + property("controller.quorum.election.timeout.ms", 1_000)
            + property("controller.quorum.election.backoff.max.ms", 1_000)
            + property("controller.quorum.request.timeout.ms", 2_000);
        SLACK * election
            + 2 * property("broker.session.timeout.ms", 9_000)
            + 2 * property("replica.lag.time.max.ms", 30_000)
            + property("replica.socket.timeout.ms", 30_000)
            + property("request.timeout.ms", 30_000)
    };
    let nodes = plan.nodes.iter();
    nodes
        .map(|node| of_node(&node.config) + 2 * node.metadata_lag_max_ms)
        .max()
        .unwrap_or(0)
}
