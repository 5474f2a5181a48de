//! Small stories for the tests of checks: facts in, verdict out.

mod batch;
mod ending;
pub(in crate::check) mod groups;
mod member;

use std::collections::BTreeMap;

use broker_model::note::{BrokerState, Note, PartitionState};
use broker_model::types::{
    BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, ProducerEpoch, ProducerId, Sequence,
    TopicIdPartition, Uuid,
};

pub(super) use batch::TestBatch;
pub(super) use ending::Ending;
pub(super) use member::coordinates;

use super::world::lineage::HistoryCut;
use super::{Boxed, Class, Judge, Judgement, Violation};
use crate::history::{
    Actor, Body, Cfg, Er, Ev, Line, Nem, Op, P, Part, PollPart, Res, Role, Sent, V,
};
use crate::observe::{Fact, NodeEnd, Observed, ReplicaEnd, Setup, Stop, WorldEvent};
use crate::plan::{NodePlan, Plan, RunPlan, TopicPlan};
use crate::seed::Seed;

/// A run of three combined nodes and one topic with one partition of three replicas, judged by
/// one check.
pub(super) struct Case {
    judge: Judge,
    n: u64,
    step_us: u64,
    t_us: u64,
    /// Where the log begins for a final consumer.
    log_start: i64,
    ends: BTreeMap<NodeId, NodeEnd>,
}

/// What the check found.
pub(super) struct Found(Judgement);

impl Case {
    pub(super) fn of(make: fn() -> Boxed) -> Self {
        Self::planned(make, |_| {})
    }

    /// The same with another plan.
    pub(super) fn planned(make: fn() -> Boxed, change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = plan();
        change(&mut plan);
        let case = Self {
            judge: Judge::of_one(&Setup { plan: &plan }, make),
            n: 0,
            step_us: 1_000,
            t_us: 0,
            log_start: 0,
            ends: BTreeMap::new(),
        };
        (1..=3).fold(case, |case, node| {
            let started = WorldEvent::Started {
                node: NodeId(node),
                incarnation: 0,
            };
            let unfenced = Note::BrokerFenced {
                epoch: BrokerEpoch(0),
                fenced: false,
            };
            case.happens(started).note(node, unfenced)
        })
    }

    fn fact(mut self, fact: Fact<'_>) -> Self {
        self.n += 1;
        self.t_us += self.step_us;
        self.judge.observe(&Observed {
            n: self.n,
            t_us: self.t_us,
            fact,
        });
        self
    }

    /// Time passes.
    pub(super) fn wait_ms(mut self, ms: u64) -> Self {
        self.t_us += ms * 1_000;
        self
    }

    /// The clock goes back.
    pub(super) fn back_ms(mut self, ms: u64) -> Self {
        self.t_us -= ms * 1_000;
        self
    }

    /// A node says something.
    pub(super) fn note(self, node: i32, note: Note) -> Self {
        self.fact(Fact::Note {
            node: NodeId(node),
            incarnation: 0,
            note: &note,
        })
    }

    /// Several nodes say the same.
    pub(super) fn all(self, nodes: &[i32], note: &Note) -> Self {
        nodes
            .iter()
            .fold(self, |case, &node| case.note(node, note.clone()))
    }

    /// Something is done to the cluster.
    pub(super) fn happens(self, event: WorldEvent) -> Self {
        self.fact(Fact::World(&event))
    }

    /// A process ends.
    pub(super) fn stops(self, node: i32, how: Stop) -> Self {
        self.happens(WorldEvent::Stopped {
            node: NodeId(node),
            incarnation: 0,
            how,
        })
    }

    /// A line of the history.
    pub(super) fn line(self, b: Body) -> Self {
        let line = Line {
            n: self.n + 1,
            t: self.t_us + self.step_us,
            b,
        };
        self.fact(Fact::History(&line))
    }

    /// An actor with these properties; 1 and 2 are used as producers, from 10 on as consumers.
    pub(super) fn actor(self, a: u32, role: Role, cfg: &[(&str, &str)]) -> Self {
        let cfg = cfg_of(cfg);
        self.line(Body::Actor(Actor { a, role, cfg }))
    }

    /// Declares the partition.
    pub(super) fn part(self) -> Self {
        self.part_with(&[])
    }

    /// The same with these properties of its topic.
    pub(super) fn part_with(self, cfg: &[(&str, &str)]) -> Self {
        self.line(Body::Part(Part::new(0, "orders", partition(), cfg_of(cfg))))
    }

    /// A send begins; its operation has the value's number.
    pub(super) fn sends(self, a: u32, v: V) -> Self {
        self.sends_to(a, v, 0)
    }

    /// The same to some partition.
    pub(super) fn sends_to(self, a: u32, v: V, p: P) -> Self {
        self.sends_from(a, v, p, None)
    }

    /// The same, made from that record.
    pub(super) fn sends_from(self, a: u32, v: V, p: P, src: Option<(P, i64)>) -> Self {
        let op = Op::Send {
            p: Some(p),
            v,
            key: None,
            x: None,
            src,
            tomb: false,
        };
        self.line(Body::I { a, o: v, op })
    }

    /// A send is acknowledged after one attempt.
    pub(super) fn acked(self, a: u32, v: V, off: i64) -> Self {
        self.acked_after(a, v, off, 1)
    }

    /// The same after some attempts.
    pub(super) fn acked_after(self, a: u32, v: V, off: i64, att: u32) -> Self {
        let r = Res::Sent(Sent {
            off,
            att,
            ..Sent::default()
        });
        self.line(Body::Ok { a, o: v, r })
    }

    /// A send is acknowledged, as said.
    pub(super) fn acked_with(self, a: u32, v: V, ending: Ending) -> Self {
        let r = Res::Sent(ending.0);
        self.line(Body::Ok { a, o: v, r })
    }

    /// A send times out, as said.
    pub(super) fn times_out_with(self, a: u32, v: V, ending: Ending) -> Self {
        let e = Er {
            c: 7,
            att: ending.0.att,
        };
        let r = Res::Sent(ending.0);
        self.line(Body::Info { a, o: v, e, r })
    }

    /// A send is known to have failed.
    pub(super) fn fails(self, a: u32, v: V) -> Self {
        let e = Er { c: 19, att: 1 };
        self.line(Body::Fail { a, o: v, e })
    }

    /// A send timed out.
    pub(super) fn times_out(self, a: u32, v: V) -> Self {
        let e = Er { c: 7, att: 1 };
        let r = Res::Unit;
        self.line(Body::Info { a, o: v, e, r })
    }

    /// A whole poll of partition 0 that returns these records and goes on behind the last.
    pub(super) fn polls(self, a: u32, from: i64, records: &[(i64, V)]) -> Self {
        let to = records.last().map_or(from, |&(offset, _)| offset + 1);
        self.polls_to(a, from, to, records)
    }

    /// The same with another position afterwards.
    pub(super) fn polls_to(self, a: u32, from: i64, to: i64, records: &[(i64, V)]) -> Self {
        self.polls_part(
            a,
            PollPart {
                p: 0,
                from,
                to,
                rs: records.to_vec(),
                ..PollPart::default()
            },
        )
    }

    /// A whole poll.
    pub(super) fn polls_part(self, a: u32, part: PollPart) -> Self {
        let o = 1_000_000 + self.n;
        let case = self.line(Body::I { a, o, op: Op::Poll });
        case.line(Body::Ok {
            a,
            o,
            r: Res::Polled(vec![part]),
        })
    }

    /// Ten committed offsets from that one on are lost with nobody to blame.
    pub(super) fn destroys(mut self, from: i64) -> Self {
        self.n += 1;
        let (to, n) = (from + 10, self.n);
        self.judge.destroy(0, HistoryCut { from, to, n });
        self
    }

    /// The final consumer finds the log to begin there.
    pub(super) fn starting_at(self, log_start: i64) -> Self {
        Self { log_start, ..self }
    }

    /// A leader that was overruled commits a value.
    pub(super) fn commits_in_vain(mut self, off: i64, v: V) -> Self {
        self.n += 1;
        self.judge.commit_in_vain(0, (off, v));
        self
    }

    /// A consumer's position is set.
    pub(super) fn resets(self, a: u32, from: i64, to: i64, why: &str) -> Self {
        let why = why.to_owned();
        let ev = Ev::Reset {
            p: 0,
            from,
            to,
            why,
        };
        self.line(Body::Ev { a, ev })
    }

    /// A final consumer reads these records and reaches the end.
    pub(super) fn final_scan(self, end: i64, records: &[(i64, V)]) -> Self {
        let start = self.log_start;
        let op = Op::ListOffsets {
            ps: vec![0],
            spec: -1,
            rc: false,
        };
        let r = Res::Offs(vec![(0, end)]);
        self.actor(99, Role::Final, &[])
            .line(Body::I { a: 99, o: 1, op })
            .line(Body::Ok { a: 99, o: 1, r })
            .resets(99, -1, start, "start")
            .polls_to(99, start, end, records)
    }

    /// A node as it is at the end.
    pub(super) fn ends_as(mut self, node: i32, end: NodeEnd) -> Self {
        self.ends.insert(NodeId(node), end);
        self
    }

    /// A phase begins.
    pub(super) fn phase(self, name: &str) -> Self {
        let name = name.to_owned();
        self.line(Body::Nem(Nem::Phase { name }))
    }

    /// A fault of that kind strikes.
    pub(super) fn strikes(self, kind: &'static str, target: &str) -> Self {
        let target = target.to_owned();
        let id = 1;
        self.happens(WorldEvent::FaultBegan { id, kind, target })
    }

    /// The run is over.
    pub(super) fn end(self) -> Found {
        Found(self.judge.finish(&self.ends))
    }
}

impl Found {
    /// There is no violation, and the check had something to judge.
    #[track_caller]
    pub(super) fn passes(&self) {
        assert_eq!(self.0.violations, []);
        let exercised: u64 = self.0.exercised.values().sum();
        assert!(exercised > 0, "the check judged nothing");
    }

    /// The check judged nothing at all.
    #[track_caller]
    pub(super) fn is_silent(&self) {
        assert_eq!(self.0.violations, []);
        assert!(self.0.excused.is_empty(), "{:?}", self.0.excused);
        let exercised: u64 = self.0.exercised.values().sum();
        assert_eq!(exercised, 0, "the check judged something");
    }

    /// There is no violation, but something that would be one was excused.
    #[track_caller]
    pub(super) fn is_excused(&self, reason: &str) {
        assert_eq!(self.0.violations, []);
        let reasons: Vec<_> = self.0.excused.keys().map(|&(_, reason)| reason).collect();
        assert_eq!(reasons, [reason]);
    }

    /// There is one violation, and its page says this.
    #[track_caller]
    pub(super) fn fails(&self, text: &str) {
        let violation = self.only();
        assert_eq!(violation.class, Class::Violation);
        assert!(violation.detail.contains(text), "{}", violation.detail);
    }

    /// There is one thing that never happened, and its page says this.
    #[track_caller]
    pub(super) fn is_stuck(&self, text: &str) {
        let violation = self.only();
        assert_eq!(violation.class, Class::Stuck);
        assert!(violation.detail.contains(text), "{}", violation.detail);
    }

    #[track_caller]
    fn only(&self) -> &Violation {
        assert_eq!(self.0.violations.len(), 1, "{:#?}", self.0.violations);
        &self.0.violations[0]
    }
}

fn cfg_of(pairs: &[(&str, &str)]) -> Cfg {
    let pairs = pairs.iter();
    pairs
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn plan() -> Plan {
    let node = |id| NodePlan {
        id,
        config: BTreeMap::new(),
        metadata_lag_max_ms: 100,
    };
    Plan {
        scenario: "a test".to_owned(),
        seed: Seed(1),
        bug: None,
        probes: Vec::new(),
        expect: Vec::new(),
        nodes: vec![node(1), node(2), node(3)],
        topics: vec![TopicPlan {
            name: "orders".to_owned(),
            partitions: 1,
            replication_factor: 3,
            config: BTreeMap::new(),
        }],
        clients: Vec::new(),
        faults: Vec::new(),
        run: RunPlan {
            duration_ms: 20_000,
            heal_ms: 15_000,
            latency_us: (100, 1_000),
            flush_us: (100, 1_000),
            writeback_ms: (1_000, 30_000),
            tick_ms: 1,
        },
    }
}

/// `orders-0`.
pub(super) fn partition() -> TopicIdPartition {
    TopicIdPartition {
        topic: Uuid::from_u128(7),
        partition: 0,
    }
}

/// A broker begins to lead in that epoch with that log end and high watermark.
pub(super) fn leads(epoch: i32, log_end: i64, high_watermark: i64) -> Note {
    Note::BecameLeader {
        partition: partition(),
        leader_epoch: LeaderEpoch(epoch),
        log_end: Offset(log_end),
        high_watermark: Offset(high_watermark),
    }
}

/// A broker begins to follow.
pub(super) fn follows(epoch: i32, leader: i32, log_end: i64, high_watermark: i64) -> Note {
    Note::BecameFollower {
        partition: partition(),
        leader_epoch: LeaderEpoch(epoch),
        leader: NodeId(leader),
        log_end: Offset(log_end),
        high_watermark: Offset(high_watermark),
    }
}

/// A leader's high watermark moved.
pub(super) fn leader_hw(epoch: i32, high_watermark: i64, log_end: i64) -> Note {
    moved(true, epoch, high_watermark, log_end)
}

/// A follower's high watermark moved.
pub(super) fn follower_hw(epoch: i32, high_watermark: i64, log_end: i64) -> Note {
    moved(false, epoch, high_watermark, log_end)
}

fn moved(as_leader: bool, epoch: i32, high_watermark: i64, log_end: i64) -> Note {
    Note::HighWatermark {
        partition: partition(),
        as_leader,
        leader_epoch: LeaderEpoch(epoch),
        log_start: Offset(0),
        last_stable: Offset(high_watermark),
        high_watermark: Offset(high_watermark),
        log_end: Offset(log_end),
    }
}

/// A follower proved its log end.
pub(super) fn fetched(epoch: i32, replica: i32, log_end: i64) -> Note {
    Note::FollowerFetched {
        partition: partition(),
        leader_epoch: LeaderEpoch(epoch),
        replica: NodeId(replica),
        log_end: Offset(log_end),
    }
}

/// A leader's ISR, and the same with what is proposed; at least two replicas are required.
pub(super) fn leader_isr(epoch: i32, isr: &[i32], maximal: &[i32]) -> Note {
    Note::LeaderIsr {
        partition: partition(),
        leader_epoch: LeaderEpoch(epoch),
        partition_epoch: PartitionEpoch(0),
        isr: nodes(isr),
        maximal: nodes(maximal),
        min_isr: 2,
    }
}

/// A cut of a log.
pub(super) fn truncates(to: i64, log_end: i64) -> Note {
    Note::Truncate {
        partition: partition(),
        to: Offset(to),
        log_end: Offset(log_end),
        high_watermark: Offset(0),
    }
}

/// A log after recovery.
pub(super) fn recovers(log_end: i64, epochs: &[(i32, i64)]) -> Note {
    Note::LogRecovered {
        partition: partition(),
        log_start: Offset(0),
        log_end: Offset(log_end),
        epochs: cache(epochs),
        cut_bytes: 0,
        clean: false,
    }
}

/// Entries of a leader-epoch cache.
pub(super) fn cache(epochs: &[(i32, i64)]) -> Vec<(LeaderEpoch, Offset)> {
    epochs
        .iter()
        .map(|&(epoch, start)| (LeaderEpoch(epoch), Offset(start)))
        .collect()
}

/// A committed partition record; replicas are 1, 2 and 3.
pub(super) fn committed(offset: i64, leader: i32, epochs: (i32, i32), isr: &[i32]) -> Note {
    Note::PartitionCommitted {
        offset: Offset(offset),
        partition: partition(),
        state: Box::new(state(leader, epochs, isr)),
    }
}

/// A partition's state: leader, (leader epoch, partition epoch), ISR.
pub(super) fn state(leader: i32, epochs: (i32, i32), isr: &[i32]) -> PartitionState {
    PartitionState {
        replicas: nodes(&[1, 2, 3]),
        isr: nodes(isr),
        leader: NodeId(leader),
        leader_epoch: LeaderEpoch(epochs.0),
        partition_epoch: PartitionEpoch(epochs.1),
        recovering: false,
    }
}

/// A produce with acks=all for one batch is answered without an error.
pub(super) fn answered(epoch: i32, base: i64, last: i64) -> Note {
    Note::ProduceAnswered {
        partition: partition(),
        leader_epoch: LeaderEpoch(epoch),
        acks: -1,
        base: Offset(base),
        last: Offset(last),
        error: None,
        isr: 2,
        min_isr: 2,
    }
}

/// A node at the end of a run; with `leads` it leads the quorum and the partition.
pub(super) fn node_end(leads: bool) -> NodeEnd {
    let replica = ReplicaEnd {
        leader: leads,
        leader_epoch: LeaderEpoch(4),
        isr: nodes(&[1, 2, 3]),
        log_start: Offset(0),
        high_watermark: Offset(2),
        log_end: Offset(2),
    };
    NodeEnd {
        raft_leader: leads,
        active_controller: leads,
        unfenced: true,
        replicas: BTreeMap::from([(partition(), replica)]),
        ..NodeEnd::default()
    }
}

/// A broker registered, and is fenced still.
pub(super) fn registered(offset: i64, broker: i32) -> Note {
    Note::BrokerCommitted {
        offset: Offset(offset),
        broker: NodeId(broker),
        state: BrokerState {
            epoch: BrokerEpoch(offset),
            incarnation: Uuid::from_u128(1),
            fenced: true,
            shutting_down: false,
        },
    }
}

/// Ids of nodes.
pub(super) fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().map(|&id| NodeId(id)).collect()
}

/// A producer, its epoch and a sequence.
pub(super) fn identity(
    producer: i64,
    epoch: i16,
    first: i32,
) -> (ProducerId, ProducerEpoch, Sequence) {
    (ProducerId(producer), ProducerEpoch(epoch), Sequence(first))
}
