//! The one recorder of a run: it numbers every fact, feeds the digest, and hands the fact to the
//! judge at once.

use std::collections::BTreeMap;

use broker_model::effect::Effect;
use broker_model::input::Input;
use broker_model::note::Note;
use broker_model::probe::Probe;
use broker_model::types::{ConnectionId, NodeId, TopicIdPartition, Uuid};

use crate::check::{Judge, Violation};
use crate::history::{Actor, Body, Cfg, Line, Registry, Role};
use crate::observe::{Fact, Observed, WorldEvent};
use crate::shell::{Identity, Message};
use crate::trace::{BodyHash, Digest, TraceSink};

/// Collects what happens in a run, on any engine.
pub struct Recorder {
    /// The digest of everything recorded so far.
    pub digest: Digest,
    /// The client history, in order.
    pub lines: Vec<Line>,
    /// What was counted.
    pub counts: Counts,
    judge: Option<Judge>,
    trace: Option<TraceSink>,
    partitions: Registry,
    n: u64,
    chaos: bool,
    actors: u32,
}

/// What a run did, in numbers.
#[derive(Clone, Default, Debug)]
pub struct Counts {
    /// Steps of nodes and clients during the chaos phase.
    pub events: u64,
    /// Steps in all phases.
    pub events_total: u64,
    /// Requests that were sent during the chaos phase.
    pub requests: u64,
    /// Records that were acknowledged during the chaos phase.
    pub acked: u64,
    /// Messages that were sent, in all phases.
    pub messages: u64,
    /// Bytes of message bodies, in all phases.
    pub message_bytes: u64,
    /// Rare states that were reached.
    pub probes: BTreeMap<Probe, u64>,
    /// Effective faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Recorder {
    /// A recorder that reports to that judge, if to any.
    #[must_use]
    pub fn new(judge: Option<Judge>, trace: Option<TraceSink>) -> Self {
        Recorder {
            digest: Digest::new(),
            lines: Vec::new(),
            counts: Counts::default(),
            judge,
            trace,
            partitions: Registry::default(),
            n: 0,
            chaos: false,
            actors: 0,
        }
    }

    /// The first violation that ends the run, if there was one.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.judge.as_ref().and_then(Judge::first_violation)
    }

    /// Takes the judge, for its verdict.
    pub fn take_judge(&mut self) -> Option<Judge> {
        self.judge.take()
    }

    /// The trace, if one is kept.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceSink> {
        self.trace.as_ref()
    }

    /// Takes the trace, if one was kept.
    pub fn take_trace(&mut self) -> Option<TraceSink> {
        self.trace.take()
    }

    /// A record was acknowledged.
    pub fn acked(&mut self) {
        self.counts.acked += u64::from(self.chaos);
    }

    /// The number of a topic's partition in the history.
    #[must_use]
    pub fn partition_of(&self, topic: Uuid, partition: i32) -> Option<u32> {
        self.partition(TopicIdPartition { topic, partition })
    }

    /// Whether steps count as part of the run proper.
    pub fn set_chaos(&mut self, chaos: bool) {
        self.chaos = chaos;
    }

    /// A process takes an input.
    pub fn step(
        &mut self,
        who: &Identity,
        incarnation: u32,
        now_us: u64,
        input: &Input,
        hash: BodyHash,
    ) {
        self.counts.events_total += 1;
        self.counts.events += u64::from(self.chaos);
        self.digest.step(who.index, incarnation, now_us);
        self.digest.input(input, hash);
        if let Some(trace) = &mut self.trace {
            trace.input(now_us, &who.name, input);
        }
    }

    /// A process asked for something that is no message and no note.
    pub fn effect(&mut self, now_us: u64, who: &Identity, effect: &Effect, drawn: u64) {
        self.digest.effect(effect, drawn);
        if let Some(trace) = &mut self.trace {
            trace.effect(now_us, &who.name, effect);
        }
    }

    /// A process sent a request or a response.
    pub fn sent(&mut self, now_us: u64, who: &Identity, conn: ConnectionId, message: &Message) {
        self.counts.messages += 1;
        self.counts.message_bytes += u64::from(message.bytes);
        self.counts.requests += u64::from(self.chaos && message.is_request());
        self.digest
            .message(conn, message.version, message.correlation_id, message.hash);
        if let Some(trace) = &mut self.trace {
            trace.message(now_us, &who.name, conn, message);
        }
    }

    /// A node was started.
    pub fn started(&mut self, now_us: u64, node: NodeId, incarnation: u32) {
        self.world(now_us, &WorldEvent::Started { node, incarnation });
    }

    /// A node's transition.
    pub fn note(&mut self, now_us: u64, node: NodeId, incarnation: u32, note: &Note) {
        if let Some(trace) = &mut self.trace {
            trace.note(now_us, node, note);
        }
        self.observe(
            now_us,
            Fact::Note {
                node,
                incarnation,
                note,
            },
        );
    }

    /// A rare state was reached.
    pub fn probe(&mut self, now_us: u64, who: &Identity, probe: Probe) {
        self.digest.probe();
        if let Some(trace) = &mut self.trace {
            trace.probe(now_us, &who.name, probe);
        }
        *self.counts.probes.entry(probe).or_default() += 1;
    }

    /// A line of the client history.
    pub fn line(&mut self, now_us: u64, body: Body) {
        let line = Line {
            n: self.n + 1,
            t: now_us,
            b: body,
        };
        let json = serde_json::to_vec(&line).expect("a history line is plain data");
        self.digest.line(&json);
        if let Some(trace) = &mut self.trace {
            trace.line(now_us, &json);
        }
        self.observe(now_us, Fact::History(&line));
        self.lines.push(line);
    }

    /// Something was done to the cluster.
    pub fn world(&mut self, now_us: u64, event: &WorldEvent) {
        if let WorldEvent::FaultEffective { id, kind } = event {
            *self.counts.faults.entry(kind).or_default() += 1;
            self.digest.fault(*id);
        }
        if let Some(trace) = &mut self.trace {
            trace.world(now_us, event);
        }
        self.observe(now_us, Fact::World(event));
    }

    /// Declares a client, or its next incarnation: its number in the history, counted from 0.
    pub fn declare_actor(&mut self, now_us: u64, role: Role, cfg: Cfg) -> u32 {
        let a = self.actors;
        self.actors += 1;
        self.line(now_us, Body::Actor(Actor { a, role, cfg }));
        a
    }

    /// The number of a partition in the history.
    #[must_use]
    pub fn partition(&self, partition: TopicIdPartition) -> Option<u32> {
        self.partitions.number(&partition)
    }

    /// Gives a partition its number in the history.
    pub fn declare_partition(&mut self, partition: TopicIdPartition) -> u32 {
        self.partitions.declare(partition)
    }

    fn observe(&mut self, now_us: u64, fact: Fact<'_>) {
        self.n += 1;
        if let Some(judge) = &mut self.judge {
            judge.observe(&Observed {
                n: self.n,
                t_us: now_us,
                fact,
            });
        }
    }
}
