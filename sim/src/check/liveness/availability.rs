//! While a majority of controllers runs and enough in-sync replicas of a partition do, undisturbed for as
//! long as recovery may take, acks=all sends to it succeed. "Majority reachable ⇒ progress."
//!
//! Cautious: only down nodes are looked through; while any other fault is active the clock stands at
//! zero. Before the first fault no recovery is needed, and none is waited for.

use broker_model::types::NodeId;

use crate::check::world::clients::{SendState, ValueFacts};
use crate::check::world::gates::number;
use crate::check::world::partition::Partition;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::Er;
use crate::observe::{Fact, Observed, WorldEvent};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Availability {
    /// Since when each partition could be served, in microseconds; by index.
    since_us: Vec<Option<u64>>,
    /// Whether anything was ever done to the cluster.
    disturbed: bool,
}

/// A shorter delivery.timeout.ms or max.block.ms may run out even in a healthy cluster.
const PATIENCE_MS: u64 = 5_000;

impl Check for Availability {
    fn name(&self) -> &'static str {
        "availability/LIV-3"
    }

    fn wants(&self) -> &'static [Kind] {
        &[
            Kind::Started,
            Kind::Stopped,
            Kind::FaultBegan,
            Kind::FaultEnded,
            Kind::PhaseBegan,
            Kind::PartitionCommitted,
            Kind::Succeeded,
            Kind::Unknown,
            Kind::Failed,
        ]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        match event.fact {
            Fact::History(_) => self.completed(event, world, sink),
            Fact::World(
                WorldEvent::FaultBegan { .. }
                | WorldEvent::FaultEnded { .. }
                | WorldEvent::Stopped { .. },
            ) => {
                self.disturbed = true;
                // What a fault did may outlast it.
                self.since_us.clear();
                self.look(event, world);
            }
            _ => self.look(event, world),
        }
    }
}

impl Availability {
    /// Sees which partitions can be served now.
    fn look(&mut self, event: &Observed<'_>, world: &World) {
        self.since_us.resize(world.partitions.len(), None);
        let up = |node: &NodeId| world.processes.is_up(*node);
        let voters = &world.raft.voters;
        let majority = voters.iter().filter(|node| up(node)).count() * 2 > voters.len();
        let through = world
            .processes
            .faults
            .values()
            .all(|fault| matches!(fault.kind, "kill" | "power-loss"));
        for (since, partition) in self.since_us.iter_mut().zip(&world.partitions) {
            let members = partition.isr().iter().filter(|node| up(node)).count();
            let served = majority && through && members >= min_isr(world, partition);
            *since = served.then(|| since.unwrap_or(event.t_us));
        }
    }

    fn completed(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let clients = &world.clients;
        let Some(value) = world.moment.clients.value.map(|id| clients.value(id)) else {
            return;
        };
        if value.completed_n != event.n || !is_patient(world, value) {
            return;
        }
        let part = value.p.and_then(|p| {
            let mut numbered = world.partitions.iter().enumerate();
            numbered.find(|(_, partition)| partition.number == Some(p))
        });
        let Some((index, partition)) = part else {
            return;
        };
        let Some(since_us) = self.since_us.get(index).copied().flatten() else {
            return;
        };
        let request_ms = world
            .clients
            .gates_of(value)
            .map_or(0, |gates| gates.request_timeout_ms);
        let bound_ms = match self.disturbed {
            // What the client asked a node that is gone may hang.
            true => world.service_bound_ms + request_ms,
            false => 0,
        };
        if value.invoked_us < since_us + bound_ms * 1_000 {
            return;
        }
        if value.state == SendState::Ok {
            // That an undisturbed cluster takes a send proves nothing.
            if self.disturbed {
                sink.exercised();
            }
        } else if is_unavailable(value.error) {
            sink.fail(
                Violation::stuck(format!(
                    "a send to {} failed though it could be served",
                    partition.name
                ))
                .fact(
                    "served",
                    since_us,
                    "a majority and enough replicas ran since",
                )
                .fact("sent", value.invoked_us, format!("value {:#x}", value.v))
                .fact("failed", event.t_us, format!("error {}", value.error)),
            );
        }
    }
}

/// Whether the sender gave the cluster a chance.
fn is_patient(world: &World, value: &ValueFacts) -> bool {
    world.clients.gates_of(value).is_some_and(|gates| {
        gates.acks == -1
            && gates.retries > 0
            && gates.delivery_timeout_ms >= PATIENCE_MS
            && gates.max_block_ms >= PATIENCE_MS
    })
}

/// Whether the error says that nobody served the send.
fn is_unavailable(error: i16) -> bool {
    const NOT_LEADER_OR_FOLLOWER: i16 = 6;
    const NOT_ENOUGH_REPLICAS: i16 = 19;
    [
        Er::TIMED_OUT,
        Er::DISCONNECTED,
        NOT_LEADER_OR_FOLLOWER,
        NOT_ENOUGH_REPLICAS,
    ]
    .contains(&error)
}

/// The effective `min.insync.replicas`.
fn min_isr(world: &World, partition: &Partition) -> usize {
    const NAME: &str = "min.insync.replicas";
    let part = partition.number.and_then(|p| world.clients.part(p));
    let of_topic = part.map(|part| &part.cfg);
    let configured = match of_topic.filter(|cfg| cfg.contains_key(NAME)) {
        Some(cfg) => number(cfg, NAME, 1),
        None => number(&world.clients.cfg, NAME, 1),
    };
    let replicas = partition
        .state
        .as_ref()
        .map_or(1, |state| state.replicas.len());
    usize::try_from(configured)
        .unwrap_or(replicas)
        .min(replicas)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, committed};
    use crate::history::Role;
    use crate::observe::Stop;

    fn case() -> Case {
        Case::of(make::<Availability>)
            .part()
            .actor(1, Role::Producer, &[])
            .note(1, committed(9, 1, (4, 4), &[1, 2, 3]))
    }

    fn cut() -> WorldEvent {
        WorldEvent::FaultBegan {
            id: 1,
            kind: "partition",
            target: "n1".to_owned(),
        }
    }

    const HEALED: WorldEvent = WorldEvent::FaultEnded {
        id: 1,
        kind: "partition",
    };

    #[test]
    fn a_send_that_fails_in_a_healthy_cluster_is_found() {
        case()
            .sends(1, 100)
            .times_out(1, 100)
            .end()
            .is_stuck("failed though it could be served");
    }

    #[test]
    fn a_send_that_fails_long_after_a_fault_is_found() {
        case()
            .happens(cut())
            .happens(HEALED)
            .wait_ms(1_000_000)
            .sends(1, 100)
            .times_out(1, 100)
            .end()
            .is_stuck("failed though it could be served");
    }

    #[test]
    fn one_node_of_three_may_be_down() {
        case()
            .stops(3, Stop::Killed)
            .wait_ms(1_000_000)
            .sends(1, 100)
            .acked(1, 100, 0)
            .end()
            .passes();
    }

    #[test]
    fn a_cluster_that_nothing_happened_to_proves_nothing() {
        case().sends(1, 100).acked(1, 100, 0).end().is_silent();
    }

    #[test]
    fn a_cluster_with_short_timeouts_is_judged_soon_after_a_fault() {
        let properties = [
            ("controller.quorum.fetch.timeout.ms", "1000"),
            ("controller.quorum.election.timeout.ms", "500"),
            ("controller.quorum.election.backoff.max.ms", "200"),
            ("controller.quorum.request.timeout.ms", "1000"),
            ("broker.session.timeout.ms", "3000"),
            ("replica.socket.timeout.ms", "2000"),
        ];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let after = |ms| {
            Case::planned(make::<Availability>, |plan| {
                for node in &mut plan.nodes {
                    node.config.extend(properties.clone());
                }
            })
            .part()
            .actor(1, Role::Producer, &[("request.timeout.ms", "1000")])
            .note(1, committed(9, 1, (4, 4), &[1, 2, 3]))
            .happens(cut())
            .happens(HEALED)
            .wait_ms(ms)
            .sends(1, 100)
            .times_out(1, 100)
            .end()
        };
        after(7_000).is_stuck("failed though it could be served");
        after(5_000).is_silent();
    }

    #[test]
    fn soon_after_a_fault_or_during_one_sends_may_fail() {
        let fails = |case: Case| case.sends(1, 100).times_out(1, 100).end();
        fails(case().happens(cut()).wait_ms(1_000_000)).is_silent();
        fails(case().happens(cut()).happens(HEALED)).is_silent();
        fails(
            case()
                .stops(2, Stop::Killed)
                .stops(3, Stop::Killed)
                .wait_ms(1_000_000),
        )
        .is_silent();
    }
}
