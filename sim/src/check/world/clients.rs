//! What clients did and saw: values, where they were seen, and every consumer's position.

use std::collections::{BTreeMap, BTreeSet};

use super::gates::ClientGates;
use super::lineage::HistoryCut;
use super::sparse::Sparse;
use super::walk::{Gap, Scan, Step, Walk};
use crate::history::{
    A, Actor, Body, Cfg, Er, Ev, Hdr, Line, Nem, Op, P, Part, PollPart, Res, Role, Sent, V,
};

/// Names a value that was sent, or seen.
pub(crate) type ValueId = usize;

/// What clients did and saw.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    /// How far the recorder's clocks may disagree, in microseconds.
    pub(crate) eps: u64,
    /// Whether the history is of a real cluster.
    pub(crate) real: bool,
    /// The brokers' properties.
    pub(crate) cfg: Cfg,
    pub(crate) actors: BTreeMap<A, ActorFacts>,
    pub(crate) parts: Vec<PartFacts>,
    pub(crate) values: Vec<ValueFacts>,
    /// Value ids by value, plus one.
    ids: Sparse<u32>,
    /// The time of the last line.
    pub(crate) now_us: u64,
    /// Whether a fault happened that may lose what was not flushed.
    pub(crate) lossy_faults: u64,
    pub(crate) phase: Option<Box<str>>,
    /// When everything was healed.
    pub(crate) healed_us: Option<u64>,
}

/// An actor.
#[derive(Debug)]
pub(crate) struct ActorFacts {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) gates: ClientGates,
    /// `app.group`: the group whose dead letters it sends.
    pub(crate) letters_of: Option<String>,
    /// When it was killed.
    pub(crate) died_us: Option<u64>,
    /// Operations without a completion.
    pub(crate) open: BTreeMap<u64, OpenOp>,
    /// Its values in the order in which it sent them.
    pub(crate) sent: Vec<ValueId>,
    /// Its positions as a consumer.
    pub(crate) walks: BTreeMap<P, Walk>,
    /// When its last poll completed.
    pub(crate) last_poll_us: u64,
    pub(crate) closed: bool,
}

/// An operation without a completion.
#[derive(Clone, Debug)]
pub(crate) struct OpenOp {
    pub(crate) what: OpKind,
    pub(crate) t_us: u64,
}

/// What kind of operation it is, as far as checks care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OpKind {
    Send(ValueId),
    Poll,
    /// LATEST offsets.
    Ends,
    Close,
    /// Where the next poll goes on.
    Position,
    /// Assign, seek, subscribe: the client does not answer these.
    Silent,
    Other,
}

/// A partition in the history.
#[derive(Debug, Default)]
pub(crate) struct PartFacts {
    pub(crate) name: String,
    pub(crate) cfg: Cfg,
    /// What was first read at each offset: value and leader epoch.
    pub(crate) seen: Sparse<Seen>,
    /// The end of what anybody read.
    pub(crate) top: i64,
    /// What acks=all sends were told they lie at.
    pub(crate) acked: Sparse<V>,
    /// Committed offsets that were lost with nobody to blame.
    pub(crate) cuts: Vec<HistoryCut>,
    /// Values at the offsets at which a leader committed them in vain: it was overruled before.
    pub(crate) in_vain: BTreeSet<(i64, V)>,
    /// The last fact by which a broker's leadership began or was over.
    pub(crate) leader_changed_n: u64,
    /// Ranges that a consumer's position passed without a record.
    pub(crate) gaps: Vec<Gap>,
    /// What final consumers read.
    pub(crate) scans: BTreeMap<A, Scan>,
    /// Whether anything may remove records on purpose: retention, compaction, DeleteRecords.
    pub(crate) loses_records: bool,
}

/// What was read at an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    /// 0 where nothing was read.
    pub(crate) v: V,
    pub(crate) epoch: Option<i32>,
    pub(crate) n: u64,
    pub(crate) t_us: u64,
}

/// How a send ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum SendState {
    /// It was seen, but never sent.
    #[default]
    Unsent,
    Open,
    Ok,
    Fail,
    Info,
}

/// A value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ValueFacts {
    pub(crate) v: V,
    pub(crate) actor: A,
    pub(crate) state: SendState,
    /// Where it was to go, or went.
    pub(crate) p: Option<P>,
    /// What the acknowledgement said, -1 if it said nothing.
    pub(crate) off: i64,
    /// The wire attempts, 0 if unknown.
    pub(crate) att: u32,
    /// Whether its sequence was given anew after an epoch bump.
    pub(crate) renumbered: bool,
    /// The producer epoch of its last attempt, if its producer is idempotent.
    pub(crate) epoch: Option<i16>,
    pub(crate) error: i16,
    pub(crate) invoked_n: u64,
    pub(crate) invoked_us: u64,
    /// When the send completed, however it did.
    pub(crate) completed_n: u64,
    pub(crate) completed_us: u64,
    /// Where it was read first.
    pub(crate) place: Option<(P, i64)>,
    pub(crate) seen_n: u64,
    pub(crate) seen_us: u64,
    /// Whether a final consumer read it.
    pub(crate) in_final: bool,
    /// The record that it was made from.
    pub(crate) src: Option<(P, i64)>,
}

/// What a history line brought.
#[derive(Debug, Default)]
pub(crate) struct ClientMoment {
    /// The value of a send that began or ended.
    pub(crate) value: Option<ValueId>,
    /// The operation that ended.
    pub(crate) ended: Option<OpenOp>,
    /// How an operation ended that was never begun, or had ended before.
    pub(crate) broken: Option<&'static str>,
    /// The records of a poll.
    pub(crate) sights: Vec<Sight>,
    /// The steps of a poll, one a partition.
    pub(crate) steps: Vec<Step>,
    /// The value that another acks=all send was told lies at the same offset.
    pub(crate) acked_before: V,
    /// What a consumer said of its positions, and what they have to be, if that is known.
    pub(crate) positions: Vec<(P, i64, Option<i64>)>,
}

/// A record of a poll.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    pub(crate) p: P,
    pub(crate) off: i64,
    pub(crate) epoch: Option<i32>,
    pub(crate) value: ValueId,
    /// Where the value was read first, before this poll.
    pub(crate) place_before: Option<(P, i64)>,
    /// What was read at that offset before; `v` is 0 if nothing was.
    pub(crate) there_before: Seen,
}

impl Clients {
    pub(super) fn header(&mut self, header: &Hdr) {
        self.eps = header.eps;
        self.real = header.mode == "real";
        self.cfg = header.cfg.clone();
    }

    /// The value.
    pub(crate) fn value(&self, id: ValueId) -> &ValueFacts {
        &self.values[id]
    }

    /// The value with that id.
    pub(crate) fn find(&self, v: V) -> Option<&ValueFacts> {
        let id = self.ids.at(v.cast_signed()).checked_sub(1)?;
        self.values.get(id as usize)
    }

    /// The partition.
    pub(crate) fn part(&self, p: P) -> Option<&PartFacts> {
        self.parts.get(p as usize)
    }

    /// The actor.
    pub(crate) fn actor(&self, a: A) -> Option<&ActorFacts> {
        self.actors.get(&a)
    }

    /// What the sender of a value was promised.
    pub(crate) fn gates_of(&self, value: &ValueFacts) -> Option<&ClientGates> {
        self.actors.get(&value.actor).map(|actor| &actor.gates)
    }

    /// `orders-0`.
    pub(crate) fn name(&self, p: P) -> &str {
        self.part(p).map_or("?", |part| &part.name)
    }

    /// The name of an actor.
    pub(crate) fn who(&self, a: A) -> &str {
        self.actor(a).map_or("?", |actor| &actor.name)
    }

    /// Takes a line in.
    pub(super) fn observe(&mut self, line: &Line, moment: &mut ClientMoment) {
        moment.clear();
        self.now_us = line.t;
        match &line.b {
            Body::Hdr(header) => self.header(header),
            Body::Actor(actor) => self.declare_actor(actor),
            Body::Part(part) => self.declare_part(part),
            Body::I { a, o, op } => self.invoked(line, *a, *o, op, moment),
            Body::Ok { a, o, r } => {
                if self.ended(line, *a, *o, SendState::Ok, None, moment) {
                    self.result(line, *a, r, moment);
                }
            }
            Body::Fail { a, o, e } => {
                self.ended(line, *a, *o, SendState::Fail, Some(*e), moment);
            }
            Body::Info { a, o, e, r } => {
                if self.ended(line, *a, *o, SendState::Info, Some(*e), moment) {
                    self.result(line, *a, r, moment);
                }
            }
            Body::Ev { a, ev } => self.event(line, *a, ev),
            Body::Nem(nem) => self.nemesis(nem),
            Body::Log { .. } | Body::Wb { .. } => {}
        }
    }

    fn declare_actor(&mut self, actor: &Actor) {
        let name = match actor.cfg.get("name") {
            Some(name) => name.clone(),
            None => format!("{:?} {}", actor.role, actor.a).to_lowercase(),
        };
        self.actors.insert(
            actor.a,
            ActorFacts {
                role: actor.role,
                name,
                gates: ClientGates::of(&actor.cfg),
                letters_of: actor.cfg.get("app.group").cloned(),
                died_us: None,
                open: BTreeMap::new(),
                sent: Vec::new(),
                walks: BTreeMap::new(),
                last_poll_us: 0,
                closed: false,
            },
        );
    }

    fn declare_part(&mut self, part: &Part) {
        let facts = self.part_mut(part.p);
        facts.name = format!("{}-{}", part.topic, part.idx);
        facts.cfg = part.cfg.clone();
        facts.loses_records = part
            .cfg
            .get("cleanup.policy")
            .is_some_and(|policy| policy.contains("compact"))
            || ["retention.ms", "retention.bytes"]
                .iter()
                .any(|name| part.cfg.get(*name).is_some_and(|value| value != "-1"));
    }

    pub(super) fn part_mut(&mut self, p: P) -> &mut PartFacts {
        let index = p as usize;
        if self.parts.len() <= index {
            self.parts.resize_with(index + 1, PartFacts::default);
        }
        &mut self.parts[index]
    }

    fn invoked(&mut self, line: &Line, a: A, o: u64, op: &Op, moment: &mut ClientMoment) {
        let what = match op {
            Op::Send { p, v, src, .. } => {
                let id = self.intern(*v);
                let value = &mut self.values[id];
                if value.state != SendState::Unsent {
                    moment.broken = Some("sends a value that was sent before");
                }
                value.state = SendState::Open;
                value.actor = a;
                value.p = *p;
                value.src = *src;
                value.invoked_n = line.n;
                value.invoked_us = line.t;
                moment.value = Some(id);
                OpKind::Send(id)
            }
            Op::Poll => OpKind::Poll,
            Op::ListOffsets { spec: -1, .. } => OpKind::Ends,
            Op::Close => OpKind::Close,
            Op::Position { .. } => OpKind::Position,
            Op::Assign { .. }
            | Op::Seek { .. }
            | Op::Subscribe { .. }
            | Op::Pause { .. }
            | Op::Resume { .. } => OpKind::Silent,
            _ => OpKind::Other,
        };
        if let Op::DeleteRecords { p, .. } = op {
            self.part_mut(*p).loses_records = true;
        }
        let Some(actor) = self.actors.get_mut(&a) else {
            moment.broken = Some("acts before it is declared");
            return;
        };
        match op {
            Op::Assign { ps } => {
                actor.walks = ps.iter().map(|&p| (p, Walk::default())).collect();
            }
            Op::Seek { to } => {
                for &(p, offset) in to {
                    actor.walks.entry(p).or_default().seek(offset);
                }
            }
            _ => {}
        }
        if let OpKind::Send(id) = what {
            actor.sent.push(id);
        }
        let open = OpenOp { what, t_us: line.t };
        if actor.died_us.is_some() {
            moment.broken = Some("acts after its death");
        } else if actor.open.insert(o, open).is_some() {
            moment.broken = Some("begins an operation twice");
        }
    }

    /// Takes the operation's end in; whether it had begun.
    fn ended(
        &mut self,
        line: &Line,
        a: A,
        o: u64,
        state: SendState,
        error: Option<Er>,
        moment: &mut ClientMoment,
    ) -> bool {
        let Some(actor) = self.actors.get_mut(&a) else {
            moment.broken = Some("acts before it is declared");
            return false;
        };
        let Some(open) = actor.open.remove(&o) else {
            moment.broken = Some("ends an operation that it had not begun, or had ended");
            return false;
        };
        if actor.died_us.is_some() && state == SendState::Ok {
            moment.broken = Some("acts after its death");
        }
        match open.what {
            OpKind::Poll => actor.last_poll_us = line.t,
            OpKind::Close => actor.closed = true,
            OpKind::Send(id) => {
                let value = &mut self.values[id];
                value.state = state;
                value.completed_n = line.n;
                value.completed_us = line.t;
                if let Some(error) = error {
                    value.error = error.c;
                    value.att = error.att;
                }
                moment.value = Some(id);
            }
            OpKind::Ends | OpKind::Position | OpKind::Silent | OpKind::Other => {}
        }
        moment.ended = Some(open);
        true
    }

    fn result(&mut self, line: &Line, a: A, result: &Res, moment: &mut ClientMoment) {
        match result {
            Res::Sent(sent) => self.sent(sent, moment),
            Res::Polled(parts) => {
                for part in parts {
                    self.polled(line, a, part, moment);
                }
            }
            Res::Offs(offsets)
                if moment.ended.as_ref().map(|op| op.what) == Some(OpKind::Position) =>
            {
                let walks = self.actors.get(&a).map(|actor| &actor.walks);
                let known = |p| walks?.get(&p)?.position;
                let told = offsets.iter().map(|&(p, offset)| (p, offset, known(p)));
                moment.positions.extend(told);
            }
            Res::Offs(ends) => {
                let is_final = self.actor(a).is_some_and(|actor| actor.role == Role::Final);
                let of_ends = moment.ended.as_ref().map(|op| op.what) == Some(OpKind::Ends);
                if is_final && of_ends {
                    for &(p, end) in ends {
                        let scan = self.part_mut(p).scans.entry(a).or_default();
                        scan.must_reach = Some(end);
                    }
                }
            }
            _ => {}
        }
    }

    fn sent(&mut self, sent: &Sent, moment: &mut ClientMoment) {
        let Some(id) = moment.value else {
            return;
        };
        let value = &mut self.values[id];
        value.att = sent.att;
        value.renumbered = sent.ren;
        value.epoch = sent.id.map(|(_, epoch, _)| epoch);
        value.off = sent.off;
        value.p = value.p.or(sent.p);
        let value = *value;
        let acks_all = self.gates_of(&value).is_some_and(|gates| gates.acks == -1);
        let Some(p) = value.p else {
            return;
        };
        let stays = !self.in_vain(p, value.off, value.v);
        if value.state == SendState::Ok && acks_all && value.off >= 0 && stays {
            let cell = self.part_mut(p).acked.cell(value.off);
            if *cell == 0 {
                *cell = value.v;
            } else if *cell != value.v {
                moment.acked_before = *cell;
            }
        }
    }

    fn polled(&mut self, line: &Line, a: A, poll: &PollPart, moment: &mut ClientMoment) {
        let Some(actor) = self.actors.get_mut(&a) else {
            return;
        };
        let is_final = actor.role == Role::Final;
        let walk = actor.walks.entry(poll.p).or_default();
        let step = walk.step(poll, moment.sights.len());
        let epochs = poll
            .le
            .iter()
            .flat_map(|&(records, epoch)| (0..records).map(move |_| epoch));
        let mut epochs = epochs.map(Some).chain(std::iter::repeat(None));
        for &(off, v) in &poll.rs {
            let epoch = epochs.next().flatten();
            if v == 0 {
                continue;
            }
            let value = self.intern(v);
            let there_before = self.part_mut(poll.p).seen.at(off);
            let sight = Seen {
                v,
                epoch,
                n: line.n,
                t_us: line.t,
            };
            if self.outlives(poll.p, off, &sight, &there_before) {
                *self.part_mut(poll.p).seen.cell(off) = sight;
            }
            let facts = &mut self.values[value];
            facts.in_final |= is_final;
            moment.sights.push(Sight {
                p: poll.p,
                off,
                epoch,
                value,
                place_before: facts.place,
                there_before,
            });
            if facts.place.is_none() {
                facts.place = Some((poll.p, off));
                facts.seen_n = line.n;
                facts.seen_us = line.t;
            }
        }
        let part = self.part_mut(poll.p);
        let last = poll.rs.last().map_or(0, |&(off, _)| off + 1);
        part.top = part.top.max(last);
        step.gaps(poll, |from, to| {
            part.gaps.push(Gap {
                from,
                to,
                actor: a,
                n: line.n,
                t_us: line.t,
            });
        });
        if is_final {
            part.scans.entry(a).or_default().step(&step);
        }
        moment.steps.push(step);
    }

    fn event(&mut self, line: &Line, a: A, event: &Ev) {
        let Some(actor) = self.actors.get_mut(&a) else {
            return;
        };
        match event {
            Ev::Reset { p, to, .. } => actor.walks.entry(*p).or_default().reset(*to),
            Ev::Assigned { ps, .. } => {
                for &(p, offset) in ps {
                    actor.walks.entry(p).or_default().seek(offset);
                }
            }
            Ev::Revoked { ps, .. } | Ev::Lost { ps, .. } => {
                for p in ps {
                    actor.walks.remove(p);
                }
            }
            Ev::Died => actor.died_us = Some(line.t),
            Ev::Fenced { .. } | Ev::Effect { .. } => {}
        }
    }

    fn nemesis(&mut self, nem: &Nem) {
        match nem {
            Nem::Fault { lossy, .. } => self.lossy_faults += u64::from(*lossy),
            Nem::Phase { name } => {
                if name == "heal" {
                    self.healed_us = Some(self.now_us);
                }
                self.phase = Some(name.as_str().into());
            }
            Nem::Heal { .. } | Nem::LeaderChange { .. } | Nem::Destroyed { .. } => {}
        }
    }

    fn intern(&mut self, v: V) -> ValueId {
        let id = self.ids.cell(v.cast_signed());
        if *id == 0 {
            self.values.push(ValueFacts {
                v,
                off: -1,
                ..ValueFacts::default()
            });
            *id = u32::try_from(self.values.len()).expect("a run has fewer than 2^32 values");
        }
        *id as usize - 1
    }
}

impl ClientMoment {
    fn clear(&mut self) {
        self.value = None;
        self.ended = None;
        self.positions.clear();
        self.broken = None;
        self.sights.clear();
        self.steps.clear();
        self.acked_before = 0;
    }
}
