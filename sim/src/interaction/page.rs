//! What a reader of a transcript is told of what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use broker_model::probe::Probe;
use broker_model::types::{NodeId, TopicIdPartition};

use crate::check::Violation;
use crate::history::{Body, Er, Ev, Line, Op, PollPart, Res};
use crate::observe::{NodeEnd, ReplicaEnd};
use crate::trace::TraceLine;
use crate::workload::Standing;

/// Something that a reader is told.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct News {
    /// When it happened, in microseconds.
    pub(super) at_us: u64,
    what: Told,
}

#[derive(Clone, PartialEq, Debug)]
enum Told {
    /// A line, and how often it came.
    Line(String, u32),
    /// A producer's records were acknowledged: who, first and last offset, attempts.
    Sent(String, (i64, i64), u32),
}

/// Which trace lines are told beside those that always are.
#[derive(Default, Debug)]
pub(super) struct Watched {
    /// Verbs of trace lines, names of APIs, or `raft`.
    words: BTreeSet<String>,
}

impl Watched {
    /// Lines with these words are told too.
    pub(super) fn add(&mut self, words: Vec<String>) {
        self.words.extend(words);
    }

    /// A trace line as a reader sees it, if it belongs into a transcript.
    pub(super) fn told(&self, line: &TraceLine) -> Option<News> {
        let TraceLine {
            at_us,
            who,
            verb,
            what,
        } = line;
        let of_raft = what.starts_with("raft ");
        let of_group = what.starts_with("group ");
        let told = match *verb {
            "append" | "ack" if what.starts_with(OFFSETS_TOPIC) => {
                self.words.contains(OFFSETS_TOPIC)
            }
            "commit" | "write" | "arm" | "disarm" if !of_raft => self.words.contains(*verb),
            "decide" | "join" | "replace" | "remove" | "assign" | "expire" | "delete"
            | "refuse" | "resolve" | "load" | "unload" => {
                of_group || what.starts_with("coordinator ")
            }
            "become" | "truncate" | "isr" | "propose" | "elect" | "duplicate" | "up" | "down"
            | "lost" | "vote" | "reach" => true,
            "append" | "ack" if !of_raft => true,
            "append" | "commit" | "persist" if of_raft => self.words.contains("raft"),
            "handle" | "answer" => return self.message(line),
            verb => self.words.contains(verb),
        };
        told.then(|| News::line(*at_us, entry(who, verb, &brief(what))))
    }

    /// A request or response at its receiver, if its API is watched.
    fn message(&self, line: &TraceLine) -> Option<News> {
        let (_connection, text) = line.what.split_once(' ')?;
        let api = text.split(' ').next()?;
        let told = self.words.contains(api);
        told.then(|| News::line(line.at_us, entry(&line.who, line.verb, &brief(text))))
    }
}

/// Where coordinators write.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Member ids end with a uuid, or are one: its first four digits are enough to tell them apart.
fn brief(text: &str) -> String {
    let mut rest = text;
    let mut said = String::new();
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        said.push_str(without_uuid(word));
        let next = after.chars().next().map_or(0, char::len_utf8);
        said.push_str(&after[..next]);
        rest = &after[next..];
    }
    said
}

fn without_uuid(word: &str) -> &str {
    let hyphenated = |text: &str| {
        let groups = text.split('-').map(str::len);
        text.chars().all(|c| c.is_ascii_hexdigit() || c == '-') && groups.eq([8, 4, 4, 4, 12])
    };
    let start = word.len().checked_sub(36);
    if let Some(start) = start
        && word.get(start..).is_some_and(hyphenated)
    {
        return &word[..start + 4];
    }
    let is_uuid = word.len() == 22 && word.chars().any(|c| c.is_ascii_digit());
    if is_uuid { &word[..4] } else { word }
}

/// Tells history lines: what actors, partitions and calls are called was said before.
#[derive(Default, Debug)]
pub(super) struct Story {
    /// Names by actor, and whether each is a member of a group.
    actors: BTreeMap<u32, (String, bool)>,
    partitions: BTreeMap<u32, String>,
    /// What is being committed, by actor and call.
    commits: BTreeMap<(u32, u64), String>,
}

impl Story {
    /// A history line as a reader sees it, if it belongs into a transcript.
    pub(super) fn outcome(&mut self, line: &Line) -> Option<News> {
        match &line.b {
            Body::Actor(actor) => {
                let name = actor.cfg.get("name").cloned().unwrap_or_default();
                let is_member = actor.cfg.contains_key("group.id");
                self.actors.insert(actor.a, (name, is_member));
            }
            Body::Part(part) => {
                let name = format!("{}-{}", part.topic, part.idx);
                self.partitions.insert(part.p, name);
            }
            Body::I {
                a,
                o,
                op: Op::CommitOffsets { offs, .. },
            } => {
                let offsets = offs.iter();
                let offsets = offsets.map(|(p, offset)| format!("{} {offset}", self.partition(*p)));
                let offsets = offsets.collect::<Vec<_>>().join(", ");
                self.commits.insert((*a, *o), offsets);
            }
            _ => return self.told(line),
        }
        None
    }

    fn told(&mut self, line: &Line) -> Option<News> {
        let text = match &line.b {
            Body::Ok {
                a,
                r: Res::Sent(sent),
                ..
            } => {
                return Some(News {
                    at_us: line.t,
                    what: Told::Sent(self.name(*a), (sent.off, sent.off), sent.att),
                });
            }
            Body::Ok {
                a,
                r: Res::Polled(parts),
                ..
            } => self.polled(*a, parts)?,
            Body::Ok { a, o, .. } => {
                let commit = self.commits.remove(&(*a, *o))?;
                entry(&self.name(*a), "committed", &commit)
            }
            Body::Fail { a, o, e } => self.went_wrong(*a, *o, "failed", e.c),
            Body::Info { a, o, e, .. } => self.went_wrong(*a, *o, "unknown", e.c),
            Body::Ev { a, ev } => self.event(*a, ev)?,
            _ => return None,
        };
        Some(News::line(line.t, text))
    }

    /// What a poll returned. A member polls by itself: only records are news.
    fn polled(&self, a: u32, parts: &[PollPart]) -> Option<String> {
        let is_member = self.is_member(a);
        let told = parts.iter().map(|part| {
            let (count, from, to) = (part.rs.len(), part.from, part.to);
            let of = if is_member {
                format!("{}: ", self.partition(part.p))
            } else {
                String::new()
            };
            format!("{of}{count} records, position {from} to {to}")
        });
        let told: Vec<_> = told.collect();
        let what = match told.is_empty() {
            true if is_member => return None,
            true => "nothing".to_owned(),
            false => told.join("; "),
        };
        Some(entry(&self.name(a), "polled", &what))
    }

    fn went_wrong(&mut self, a: u32, o: u64, how: &str, code: i16) -> String {
        let what = match self.commits.remove(&(a, o)) {
            Some(commit) => format!("{} commit of {commit}", error(code)),
            None => error(code),
        };
        entry(&self.name(a), how, &what)
    }

    fn event(&self, a: u32, ev: &Ev) -> Option<String> {
        let name = self.name(a);
        Some(match ev {
            Ev::Reset { p, from, to, why } => {
                let of = if self.is_member(a) {
                    format!("{}: ", self.partition(*p))
                } else {
                    String::new()
                };
                let what = format!("{of}position {from} to {to}: {why}");
                entry(&name, "reset", &what)
            }
            Ev::Assigned { generation, ps, .. } => {
                let ps = ps.iter().map(|(p, _)| p);
                self.moved(&name, "assigned", ps, *generation)
            }
            Ev::Revoked { generation, ps, .. } => self.moved(&name, "revoked", ps, *generation),
            Ev::Lost { generation, ps, .. } => self.moved(&name, "lost", ps, *generation),
            Ev::Fenced { c } => entry(&name, "fenced", &error(*c)),
            Ev::Effect { .. } | Ev::Died => return None,
        })
    }

    fn moved<'a>(
        &self,
        name: &str,
        how: &str,
        partitions: impl IntoIterator<Item = &'a u32>,
        generation: i32,
    ) -> String {
        let partitions = partitions.into_iter().map(|&p| self.partition(p));
        let partitions = partitions.collect::<Vec<_>>().join(", ");
        let what = format!("{{{partitions}}} in generation {generation}");
        entry(name, how, &what)
    }

    fn name(&self, actor: u32) -> String {
        let known = self.actors.get(&actor);
        known.map_or("?", |(name, _)| name).to_owned()
    }

    fn is_member(&self, actor: u32) -> bool {
        self.actors.get(&actor).is_some_and(|(_, is)| *is)
    }

    fn partition(&self, p: u32) -> &str {
        self.partitions.get(&p).map_or("?", String::as_str)
    }
}

/// A member of a group, for `show group`.
pub(super) fn member(
    name: &str,
    is_up: bool,
    standing: &Standing<'_>,
    partition: impl Fn(&TopicIdPartition) -> String,
) -> String {
    let is = match (is_up, standing.lives) {
        (false, _) => "dead",
        (true, false) => "gone",
        (true, true) => "lives",
    };
    let generation = standing.generation;
    let owned = standing.owned.iter().map(|(id, (position, committed))| {
        let name = partition(id);
        match position == committed {
            true => format!("{name} at {position}"),
            false => format!("{name} at {position}, committed {committed}"),
        }
    });
    let owned = owned.collect::<Vec<_>>().join("; ");
    format!("{name}  {is}  generation {generation}  {{{owned}}}")
}

/// A broker's error, or the exception of a client's own.
fn error(code: i16) -> String {
    let exception = match code {
        Er::BUFFER_EXHAUSTED => "BufferExhaustedException",
        Er::WAKEUP => "WakeupException",
        Er::NO_OFFSET => "NoOffsetForPartitionException",
        Er::NOT_MEMBER => "CommitFailedException",
        Er::NOT_ASSIGNED => "IllegalStateException",
        Er::CLOSED => "closed",
        Er::DIED => "died",
        _ => return broker_model::wire::brief::error_name(code),
    };
    exception.to_owned()
}

fn entry(who: &str, verb: &str, what: &str) -> String {
    format!("{who:<5} {verb:<9} {what}")
}

/// A replica, for `show`.
pub(super) fn replica(node: NodeId, replica: &ReplicaEnd) -> String {
    let (epoch, end) = (replica.leader_epoch, replica.log_end);
    let high_watermark = replica.high_watermark;
    let (role, isr) = match replica.leader {
        true => ("leader  ", format!("  isr {:?}", replica.isr)),
        false => ("follower", String::new()),
    };
    format!("n{node}  {role}  epoch {epoch}  log end {end}  hw {high_watermark}{isr}")
}

/// A voter or observer, for `show raft`.
pub(super) fn raft(node: NodeId, end: &NodeEnd) -> String {
    let role = if end.raft_leader { "  leader" } else { "" };
    let (epoch, log_end, high_watermark) =
        (end.raft_epoch, end.raft_log_end, end.raft_high_watermark);
    format!("n{node}  epoch {epoch}  log end {log_end}  hw {high_watermark}{role}")
}

impl News {
    fn line(at_us: u64, text: String) -> News {
        News {
            at_us,
            what: Told::Line(text, 1),
        }
    }
}

impl Told {
    /// Takes the next news in, if they say the same, or the same of the offset that follows.
    fn joins(&mut self, next: &Told) -> bool {
        match (self, next) {
            (Told::Line(text, times), Told::Line(next, _)) if text == next => *times += 1,
            (Told::Sent(who, (_, last), tries), Told::Sent(next, (first, _), again))
                if who == next && tries == again && *last + 1 == *first =>
            {
                *last = *first;
            }
            _ => return false,
        }
        true
    }

    fn text(&self) -> String {
        match self {
            Told::Line(text, 1) => text.clone(),
            Told::Line(text, times) => format!("{text} ({times} times)"),
            Told::Sent(who, (first, last), tries) => {
                let offsets = match first == last {
                    true => format!("offset {first}"),
                    false => format!("offsets {first}..={last}"),
                };
                let tries = match tries {
                    1 => String::new(),
                    tries => format!(", {tries} attempts"),
                };
                entry(who, "sent", &format!("{offsets}{tries}"))
            }
        }
    }
}

/// One line for neighbours that belong together.
pub(super) fn condensed(news: Vec<News>) -> Vec<String> {
    let mut lines: Vec<Told> = Vec::new();
    for News { what, .. } in news {
        if !lines.last_mut().is_some_and(|last| last.joins(&what)) {
            lines.push(what);
        }
    }
    lines.iter().map(Told::text).collect()
}

/// The judge's line and what the schedule reached.
pub(super) fn closing(violation: Option<&Violation>, reached: &BTreeSet<Probe>) -> String {
    let mut page = String::new();
    match violation {
        None => page.push_str("judge: nothing is broken\n"),
        Some(Violation { check, detail, .. }) => {
            let _ = writeln!(page, "judge: {check}: {detail}");
        }
    }
    let reached: Vec<&str> = reached.iter().map(|probe| probe.id()).collect();
    let _ = writeln!(page, "reached: {}", reached.join(", "));
    page
}
