//! How a history line changes what is known of groups.

use super::{
    CommitFacts, CommitState, Delivered, Ended, GroupFacts, MemberFacts, MemberGates, MemberMoment,
    Members, Pattern, Protocol, ReadFacts, Stay, ToldGone,
};
use crate::check::world::clients::{Clients, OpKind};
use crate::history::{A, Actor, Body, Er, Ev, Line, Nem, Op, P, PollPart, Res, Role};

/// Errors of a commit after which a classic member is none any more. One of the consumer protocol minds what its
/// heartbeats are told: a deposed coordinator that never heard of it may have refused the commit.
const GONE: [i16; 5] = [
    // ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, FENCED_MEMBER_EPOCH
    22,
    25,
    82,
    110,
    Er::NOT_MEMBER,
];

impl Members {
    /// Takes a line in; whether it left something in the moment.
    pub(super) fn take(
        &mut self,
        line: &Line,
        clients: &Clients,
        (closed, moment): (bool, &mut MemberMoment),
    ) -> bool {
        match &line.b {
            Body::Actor(actor) => {
                self.declare(actor, clients);
                false
            }
            Body::Nem(Nem::Fault { what, on, .. }) => {
                self.fault(line.n, what, on);
                false
            }
            Body::Nem(Nem::Phase { name }) => {
                if name == "final" {
                    self.final_n.get_or_insert(line.n);
                }
                false
            }
            _ if self.groups.is_empty() => false,
            Body::I { a, o, op } => self.invoked(line, *a, *o, op),
            Body::Ok { a, .. } | Body::Fail { a, .. } | Body::Info { a, .. } if closed => {
                self.over(line, *a, Ended::Closed, moment);
                true
            }
            Body::Ok { a, o, r } => self.ended(line, (*a, *o), (CommitState::Ok, None, r), moment),
            Body::Fail { a, o, e } => {
                let how = (CommitState::Fail, Some(*e), &Res::Unit);
                self.ended(line, (*a, *o), how, moment)
            }
            Body::Info { a, o, e, r } => {
                self.ended(line, (*a, *o), (CommitState::Info, Some(*e), r), moment)
            }
            Body::Ev { a, ev } => self.event(line, *a, ev, clients, moment),
            _ => false,
        }
    }

    fn declare(&mut self, actor: &Actor, clients: &Clients) {
        if let Some(name) = actor.cfg.get("name") {
            self.names.insert(name.clone());
        }
        let (Role::Consumer | Role::App, Some(id)) = (actor.role, actor.cfg.get("group.id")) else {
            return;
        };
        let group = self.group_of(id);
        self.groups[group].members.push(actor.a);
        let gates = MemberGates::of(&actor.cfg, &clients.cfg);
        self.members.insert(actor.a, MemberFacts::new(group, gates));
    }

    fn group_of(&mut self, id: &str) -> usize {
        let next = self.groups.len();
        let group = *self.ids.entry(id.to_owned()).or_insert(next);
        if group == next {
            self.groups.push(GroupFacts {
                id: id.to_owned(),
                ..GroupFacts::default()
            });
        }
        group
    }

    fn invoked(&mut self, line: &Line, a: A, o: u64, op: &Op) -> bool {
        if let Op::FetchOffsets { g, .. } = op {
            let group = self.group_of(g);
            self.reads.insert((a, o), (group, line.n));
            return false;
        }
        let Some(member) = self.members.get_mut(&a) else {
            return false;
        };
        match op {
            Op::Subscribe {
                topics, pattern, ..
            } => {
                member.topics = topics.iter().cloned().collect();
                let is_classic = member.is_classic();
                let pattern = pattern.as_ref();
                member.pattern = pattern.map(|pattern| Pattern::new(pattern, is_classic));
                member.subscriptions += 1;
                member.subscribed_n.get_or_insert(line.n);
            }
            Op::Pause { ps } => member.paused.extend(ps),
            Op::Resume { ps } => member.paused.retain(|p| !ps.contains(p)),
            Op::Seek { to } => {
                for (p, _) in to {
                    let stay = member.owned.get(p).copied();
                    let part = self.groups[member.group].parts.get_mut(p);
                    if let (Some(part), Some(stay)) = (part, stay) {
                        part.stays[stay].sought = true;
                    }
                }
            }
            Op::CommitOffsets {
                generation,
                mid,
                w,
                offs,
                ..
            } => {
                let group = &mut self.groups[member.group];
                let commit = group.commits.len();
                for (index, (p, _)) in offs.iter().enumerate() {
                    let part = group.parts.entry(*p).or_default();
                    part.writes.push((commit, index));
                }
                member.open.insert(o, commit);
                group.commits.push(CommitFacts {
                    a,
                    generation: *generation,
                    mid: mid.clone(),
                    known: *generation,
                    w: *w,
                    offs: offs
                        .iter()
                        .map(|&(p, offset)| (p, offset, offset))
                        .collect(),
                    inv_n: line.n,
                    inv_us: line.t,
                    end_n: 0,
                    end_us: 0,
                    state: CommitState::Open,
                    error: 0,
                });
            }
            _ => {}
        }
        false
    }

    fn ended(
        &mut self,
        line: &Line,
        (a, o): (A, u64),
        (state, error, result): (CommitState, Option<Er>, &Res),
        moment: &mut MemberMoment,
    ) -> bool {
        if let Some((group, asked_n)) = self.reads.remove(&(a, o)) {
            if let Res::Committed(found) = result {
                for &(p, offset, w) in found {
                    let read = ReadFacts {
                        a,
                        asked_n,
                        told_n: line.n,
                        told_us: line.t,
                        offset,
                        w: Some(w),
                        resumes: false,
                    };
                    self.read(group, p, read, moment);
                }
                moment.member = Some((a, group));
            }
            return true;
        }
        let Some(member) = self.members.get_mut(&a) else {
            return false;
        };
        let group = member.group;
        if let Some(commit) = member.open.remove(&o) {
            let facts = &mut self.groups[group].commits[commit];
            facts.end(line, state, error, result);
            if state == CommitState::Ok && 0 <= facts.generation {
                member.heard_us = Some(facts.inv_us);
                member.knows(&facts.mid, facts.generation);
            } else if member.gates.protocol == Protocol::Classic && GONE.contains(&facts.error) {
                member.told_gone = Some(ToldGone {
                    asked_n: facts.inv_n,
                    n: line.n,
                    mid: facts.mid.clone(),
                    generation: facts.known,
                });
            }
            moment.member = Some((a, group));
            moment.committed = Some(commit);
            return true;
        }
        match result {
            Res::Polled(parts) => {
                self.settle(a, line.t);
                moment.member = Some((a, group));
                for part in parts.iter().filter(|part| !part.rs.is_empty()) {
                    self.polled(line.n, a, part, moment);
                }
                true
            }
            _ => false,
        }
    }

    fn polled(&mut self, n: u64, a: A, poll: &PollPart, moment: &mut MemberMoment) {
        let member = &self.members[&a];
        moment.polled += 1;
        let commits = &mut self.groups[member.group].commits;
        for &open in member.open.values() {
            commits[open].widen(poll);
        }
        if !member.owned.contains_key(&poll.p) {
            moment.unowned.push((poll.p, "it does not own it"));
        } else if member.paused.contains(&poll.p) {
            moment.unowned.push((poll.p, "it has paused it"));
        }
        let part = self.groups[member.group].parts.entry(poll.p).or_default();
        for &(offset, _) in &poll.rs {
            let delivered = part.delivered.cell(offset);
            let n = if delivered.n == 0 { n } else { delivered.n };
            let times = delivered.times + 1;
            *delivered = Delivered { n, times };
        }
    }

    fn read(&mut self, group: usize, p: P, read: ReadFacts, moment: &mut MemberMoment) {
        let part = self.groups[group].parts.entry(p).or_default();
        moment.reads.push((p, part.reads.len()));
        part.reads.push(read);
    }

    fn event(
        &mut self,
        line: &Line,
        a: A,
        event: &Ev,
        clients: &Clients,
        moment: &mut MemberMoment,
    ) -> bool {
        let Some(member) = self.members.get_mut(&a) else {
            return false;
        };
        let group = member.group;
        moment.member = Some((a, group));
        match event {
            Ev::Assigned {
                generation,
                mid,
                ps,
                ..
            } => self.assigned(line, a, (mid, *generation, ps), clients, moment),
            Ev::Revoked {
                generation,
                mid,
                ps,
                ..
            } => {
                // A commit of the listener may have told it more since the listener was called.
                if member.mid == *mid {
                    moment.generations = Some((member.assigned_in, *generation));
                }
                self.end(line.n, a, ps, Ended::Revoked, moment);
            }
            Ev::Lost { ps, .. } => {
                member.told_gone = Some(ToldGone {
                    asked_n: member.last_assigned_n,
                    n: line.n,
                    mid: std::mem::take(&mut member.mid),
                    generation: member.generation,
                });
                member.generation = 0;
                member.assigned_in = 0;
                member.heard_us = None;
                self.end(line.n, a, ps, Ended::Lost, moment);
            }
            Ev::Reset { p, from, to, why } => {
                self.reset(line, a, (*p, *from, *to), why, moment);
            }
            Ev::Effect { rs } => {
                moment.effects = rs.len();
                for &(p, offset) in rs {
                    let part = self.groups[group].parts.entry(p).or_default();
                    let effects = part.effects.cell(offset);
                    *effects += 1;
                    if *effects == 2 {
                        moment.again.push((p, offset));
                    }
                }
            }
            Ev::Fenced { .. } => {
                member.told_gone = Some(ToldGone {
                    asked_n: member.last_assigned_n,
                    n: line.n,
                    mid: member.mid.clone(),
                    generation: member.generation,
                });
                self.over(line, a, Ended::Fenced, moment);
            }
            Ev::Died => self.over(line, a, Ended::Died, moment),
        }
        true
    }

    fn assigned(
        &mut self,
        line: &Line,
        a: A,
        (mid, generation, ps): (&str, i32, &[(P, i64)]),
        clients: &Clients,
        moment: &mut MemberMoment,
    ) {
        let Some(member) = self.members.get_mut(&a) else {
            return;
        };
        let group = member.group;
        moment.assigned = true;
        // One of the consumer protocol joins again as the same member, perhaps in the same epoch.
        member.told_gone = member.told_gone.take().filter(|told| told.mid != *mid);
        let before = member.knows(mid, generation);
        moment.generations = Some((before, generation));
        member.assigned_in = generation;
        member.first_assigned_n.get_or_insert(line.n);
        member.last_assigned_n = line.n;
        member.assigned_us = line.t;
        let rises = &mut self.groups[group].rises;
        if rises.last().is_none_or(|&(_, known)| known < generation) {
            rises.push((line.n, generation));
        }
        for &(p, _) in ps {
            self.begin(line, a, p, generation, clients, moment);
        }
    }

    fn begin(
        &mut self,
        line: &Line,
        a: A,
        p: P,
        generation: i32,
        clients: &Clients,
        moment: &mut MemberMoment,
    ) {
        self.end(line.n, a, &[p], Ended::Again, moment);
        let Some(member) = self.members.get_mut(&a) else {
            return;
        };
        let part = self.groups[member.group].parts.entry(p).or_default();
        member.owned.insert(p, part.stays.len());
        member.paused.remove(&p);
        moment.began.push((p, part.stays.len()));
        let actor = clients.actor(a).filter(|_| !member.is_classic());
        let away_us = actor.and_then(|actor| {
            let mut open = actor.open.values();
            let poll = open.find(|op| op.what == OpKind::Poll)?;
            (actor.last_poll_us < poll.t_us).then_some(actor.last_poll_us)
        });
        if away_us.is_some() {
            member.unsettled.insert(p);
        }
        part.stays.push(Stay {
            a,
            generation,
            from_n: line.n,
            from_us: line.t,
            end: None,
            sought: false,
            top: clients.part(p).map_or(0, |part| part.top),
            away_us,
            settled_us: None,
        });
    }

    /// A poll returned: its application's listener is through with what there was.
    fn settle(&mut self, a: A, t_us: u64) {
        let Some(member) = self.members.get_mut(&a) else {
            return;
        };
        for p in std::mem::take(&mut member.unsettled) {
            let stays = self.groups[member.group].parts.get_mut(&p);
            let last = stays.and_then(|part| part.stays.iter_mut().rfind(|stay| stay.a == a));
            if let Some(stay) = last {
                stay.settled_us.get_or_insert(t_us);
            }
        }
    }

    fn end(&mut self, n: u64, a: A, ps: &[P], how: Ended, moment: &mut MemberMoment) {
        let Some(member) = self.members.get_mut(&a) else {
            return;
        };
        for p in ps {
            let (Some(index), Some(part)) = (
                member.owned.remove(p),
                self.groups[member.group].parts.get_mut(p),
            ) else {
                continue;
            };
            member.paused.remove(p);
            part.stays[index].end = Some((n, how));
            moment.ended.push((*p, index));
        }
    }

    /// A member is no more.
    fn over(&mut self, line: &Line, a: A, how: Ended, moment: &mut MemberMoment) {
        let Some(member) = self.members.get_mut(&a) else {
            return;
        };
        moment.member = Some((a, member.group));
        member.ended.get_or_insert((line.n, how));
        for &commit in member.open.values() {
            self.groups[member.group].commits[commit].end_us = line.t;
        }
        let ps: Vec<P> = member.owned.keys().copied().collect();
        self.end(line.n, a, &ps, how, moment);
    }

    fn reset(
        &mut self,
        line: &Line,
        a: A,
        (p, from, to): (P, i64, i64),
        why: &str,
        moment: &mut MemberMoment,
    ) {
        let member = &self.members[&a];
        let (group, stay) = (member.group, member.owned.get(&p).copied());
        let part = self.groups[group].parts.entry(p).or_default();
        let stay = stay.map(|stay| &mut part.stays[stay]);
        let sought = stay.as_ref().is_some_and(|stay| stay.sought);
        let asked_n = stay.as_ref().map_or(0, |stay| stay.from_n);
        if let Some(stay) = stay {
            stay.sought |= why != "committed";
        }
        part.moved |= !matches!(why, "committed" | "start");
        if why != "committed" && (from < 0 || from < to) {
            part.start = Some(part.start.map_or(to, |start| start.max(to)));
        }
        let offset = match why {
            "committed" => to,
            "start" if !sought => -1,
            _ => return,
        };
        let read = ReadFacts {
            a,
            asked_n,
            told_n: line.n,
            told_us: line.t,
            offset,
            w: None,
            resumes: true,
        };
        self.read(group, p, read, moment);
    }
}

impl MemberFacts {
    fn new(group: usize, gates: MemberGates) -> Self {
        MemberFacts {
            group,
            gates,
            owned: Default::default(),
            paused: Default::default(),
            unsettled: Default::default(),
            topics: Default::default(),
            pattern: None,
            subscriptions: 0,
            subscribed_n: None,
            mid: String::new(),
            generation: 0,
            assigned_in: 0,
            first_assigned_n: None,
            last_assigned_n: 0,
            assigned_us: 0,
            heard_us: None,
            told_gone: None,
            ended: None,
            open: Default::default(),
        }
    }

    /// It was seen as that member in that generation. Returns the largest that it knew before, as the same.
    fn knows(&mut self, mid: &str, generation: i32) -> i32 {
        if !mid.is_empty() && self.mid != mid {
            if !self.mid.is_empty() {
                self.generation = 0;
                self.heard_us = None;
            }
            mid.clone_into(&mut self.mid);
        }
        let before = self.generation;
        self.generation = before.max(generation);
        before
    }

    /// Whether it speaks the classic protocol.
    pub(crate) fn is_classic(&self) -> bool {
        self.gates.protocol == Protocol::Classic
    }
}

impl CommitFacts {
    fn end(&mut self, line: &Line, state: CommitState, error: Option<Er>, result: &Res) {
        self.state = state;
        self.end_n = line.n;
        self.end_us = line.t;
        self.error = error.map_or(0, |error| error.c);
        // One that was never sent was sent by nobody.
        if let Res::As { generation, mid } = result
            && (*generation >= 0 || state == CommitState::Ok)
        {
            self.generation = *generation;
            self.mid.clone_from(mid);
        }
    }

    /// An automatic commit before a rebalance is repeated with the positions of the moment.
    fn widen(&mut self, poll: &PollPart) {
        if self.w != 0 {
            return;
        }
        for (_, _, upto) in self.offs.iter_mut().filter(|(p, _, _)| *p == poll.p) {
            *upto = poll.to.max(*upto);
        }
    }
}
