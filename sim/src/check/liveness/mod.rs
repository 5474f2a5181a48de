//! Liveness (LIV): what must happen in time, and how much time that is.

pub(super) mod availability;
pub(super) mod catch_up;
pub(super) mod every_op;
pub(super) mod groups_settle;
pub(super) mod leader;
pub(super) mod replication_heals;
pub(super) mod stuck_fencing;

use super::World;
use super::world::gates::number;
use crate::observe::Phase;
use crate::plan::{NodePlan, Plan};

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
    slowest(plan, |property| {
        let election = property(FETCH_TIMEOUT)
            + property(ELECTION_TIMEOUT)
            + property(ELECTION_BACKOFF)
            + property(QUORUM_REQUEST_TIMEOUT);
        SLACK * election
            + 2 * property(SESSION_TIMEOUT)
            + 2 * property(LAG_TIME)
            + property(SOCKET_TIMEOUT)
            + CONTROLLER_SOCKET_TIMEOUT_MS
    })
}

/// How long it may take until a partition is served again, in milliseconds, if a majority of controllers and
/// enough of its in-sync replicas run undisturbed: who led the quorum is missed, another one is elected, who
/// is gone is fenced; fetches that hang end meanwhile. Nobody has to come back, and no ISR has to grow. A
/// second round of elections fits into the time that a patient send has.
pub(super) fn service_bound_ms(plan: &Plan) -> u64 {
    slowest(plan, |property| {
        // The timeout of an election is drawn from one to two times its property.
        let election =
            property(FETCH_TIMEOUT) + 2 * property(ELECTION_TIMEOUT) + property(ELECTION_BACKOFF);
        (election + property(SESSION_TIMEOUT)).max(property(SOCKET_TIMEOUT))
    })
}

/// A property of a node that is a time, and its default in milliseconds.
type Property = (&'static str, u64);

const FETCH_TIMEOUT: Property = ("controller.quorum.fetch.timeout.ms", 2_000);
const ELECTION_TIMEOUT: Property = ("controller.quorum.election.timeout.ms", 1_000);
const ELECTION_BACKOFF: Property = ("controller.quorum.election.backoff.max.ms", 1_000);
const QUORUM_REQUEST_TIMEOUT: Property = ("controller.quorum.request.timeout.ms", 2_000);
const SESSION_TIMEOUT: Property = ("broker.session.timeout.ms", 9_000);
const LAG_TIME: Property = ("replica.lag.time.max.ms", 30_000);
const SOCKET_TIMEOUT: Property = ("replica.socket.timeout.ms", 30_000);
/// `controller.socket.timeout.ms`: what a broker asked a controller that is gone may hang that long.
const CONTROLLER_SOCKET_TIMEOUT_MS: u64 = 30_000;

/// The largest sum that a node's properties make, with how late it may hear of metadata.
fn slowest(plan: &Plan, sum: impl Fn(&dyn Fn(Property) -> u64) -> u64) -> u64 {
    let of_node = |node: &NodePlan| {
        let roles = node.config.get("process.roles");
        let is_broker = roles.is_none_or(|roles| roles.contains("broker"));
        let property = |(name, default): Property| match name {
            // A controller alone has no replicas.
            _ if !is_broker && name.starts_with("replica.") => 0,
            _ => number(&node.config, name, default),
        };
        sum(&property) + 2 * node.metadata_lag_max_ms
    };
    plan.nodes.iter().map(of_node).max().unwrap_or(0)
}
