//! What a reader of a transcript is told of what happened.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use broker_model::probe::Probe;
use broker_model::types::NodeId;

use crate::check::Violation;
use crate::cluster::Member;
use crate::history::{Body, Ev, Line, Res};
use crate::observe::{NodeEnd, ReplicaEnd};
use crate::trace::TraceLine;

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
        let told = match *verb {
            "become" | "truncate" | "isr" | "propose" | "elect" | "duplicate" | "up" | "down"
            | "lost" | "vote" | "reach" => true,
            "append" | "ack" if !of_raft => true,
            "append" | "commit" | "persist" if of_raft => self.words.contains("raft"),
            "handle" | "answer" => return self.message(line),
            verb => self.words.contains(verb),
        };
        told.then(|| News::line(*at_us, entry(who, verb, what)))
    }

    /// A request or response at its receiver, if its API is watched.
    fn message(&self, line: &TraceLine) -> Option<News> {
        let (_connection, text) = line.what.split_once(' ')?;
        let api = text.split(' ').next()?;
        let told = self.words.contains(api);
        told.then(|| News::line(line.at_us, entry(&line.who, line.verb, text)))
    }
}

/// A history line as a reader sees it, if it belongs into a transcript.
pub(super) fn outcome(line: &Line, clients: &[Member]) -> Option<News> {
    let name = |actor: u32| {
        let known = clients.get(usize::try_from(actor).expect("few actors"));
        known.map_or("?", |client| &client.name).to_owned()
    };
    let text = match &line.b {
        Body::Ok {
            a,
            r: Res::Sent(sent),
            ..
        } => {
            return Some(News {
                at_us: line.t,
                what: Told::Sent(name(*a), (sent.off, sent.off), sent.att),
            });
        }
        Body::Ok {
            a,
            r: Res::Polled(parts),
            ..
        } => {
            let parts = parts.iter().map(|part| {
                let (count, from, to) = (part.rs.len(), part.from, part.to);
                format!("{count} records, position {from} to {to}")
            });
            let parts: Vec<_> = parts.collect();
            let what = if parts.is_empty() {
                "nothing".to_owned()
            } else {
                parts.join("; ")
            };
            entry(&name(*a), "polled", &what)
        }
        Body::Fail { a, e, .. } => entry(&name(*a), "failed", &error(e.c)),
        Body::Info { a, e, .. } => entry(&name(*a), "unknown", &error(e.c)),
        Body::Ev {
            a,
            ev: Ev::Reset { from, to, why, .. },
        } => entry(
            &name(*a),
            "reset",
            &format!("position {from} to {to}: {why}"),
        ),
        _ => return None,
    };
    Some(News::line(line.t, text))
}

fn error(code: i16) -> String {
    broker_model::wire::brief::error_name(code)
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
