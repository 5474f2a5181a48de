//! Faults on one kind of RPC: messages of a connection are held back or lost on their way out.
//!
//! A connection stays first-in, first-out: behind a held message everything of that connection
//! waits, its end included, while a new connection is free. A connection that lost a message is
//! silent from then on, as a TCP stream with a hole in it would be.

use std::collections::{BTreeMap, BTreeSet};

use broker_model::types::ConnectionId;
use kafka_protocol::messages::ApiKey;

use super::{Body, Message, Out};
use crate::fault::Side;

/// What happens to messages of one kind.
#[derive(Clone, Debug)]
pub struct OutboxRule {
    /// The fault that it belongs to.
    pub fault: u32,
    /// Which API.
    pub api_key: ApiKey,
    /// Requests or responses.
    pub side: Side,
    /// What happens to them.
    pub mode: RuleMode,
    /// How many are hit; later ones pass.
    pub count: u32,
}

/// What happens to a message that a rule hits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleMode {
    /// It waits until the rule ends.
    Hold,
    /// It is lost.
    Drop,
}

#[derive(Default)]
pub(super) struct Outbox {
    rules: Vec<Active>,
    /// Connections behind a held message, with what waits there.
    held: BTreeMap<ConnectionId, Held>,
    silent: BTreeSet<ConnectionId>,
}

struct Active {
    rule: OutboxRule,
    hits: u64,
}

struct Held {
    fault: u32,
    waiting: Vec<Out>,
}

impl Outbox {
    pub(super) fn add(&mut self, rule: OutboxRule) {
        self.rules.push(Active { rule, hits: 0 });
    }

    pub(super) fn hits(&self, fault: u32) -> u64 {
        self.rules
            .iter()
            .filter(|active| active.rule.fault == fault)
            .map(|a| a.hits)
            .sum()
    }

    /// Ends a rule and lets go of what it held, connection by connection.
    pub(super) fn end(&mut self, fault: u32, out: &mut Vec<Out>) -> u64 {
        let hits = self.hits(fault);
        self.rules.retain(|active| active.rule.fault != fault);
        let ended: Vec<ConnectionId> = self
            .held
            .iter()
            .filter(|(_, held)| held.fault == fault)
            .map(|(&c, _)| c)
            .collect();
        for conn in ended {
            let held = self.held.remove(&conn).expect("just listed");
            out.extend(held.waiting);
        }
        hits
    }

    pub(super) fn send(&mut self, conn: ConnectionId, message: Box<Message>, out: &mut Vec<Out>) {
        if self.rules.is_empty() && self.held.is_empty() && self.silent.is_empty() {
            out.push(Out::Send { conn, message });
            return;
        }
        if self.silent.contains(&conn) {
            return;
        }
        if let Some(held) = self.held.get_mut(&conn) {
            held.waiting.push(Out::Send { conn, message });
            return;
        }
        match self.hit(&message) {
            None => out.push(Out::Send { conn, message }),
            Some((_, RuleMode::Drop)) => {
                self.silent.insert(conn);
            }
            Some((fault, RuleMode::Hold)) => {
                let waiting = vec![Out::Send { conn, message }];
                self.held.insert(conn, Held { fault, waiting });
            }
        }
    }

    pub(super) fn close(&mut self, conn: ConnectionId, out: &mut Vec<Out>) {
        self.silent.remove(&conn);
        match self.held.get_mut(&conn) {
            Some(held) => held.waiting.push(Out::Close { conn }),
            None => out.push(Out::Close { conn }),
        }
    }

    /// The process ended: what had not left never will. Rules stay, they are the world's.
    pub(super) fn forget_messages(&mut self) {
        self.held.clear();
        self.silent.clear();
    }

    fn hit(&mut self, message: &Message) -> Option<(u32, RuleMode)> {
        let side = match message.body {
            Body::Request(_) => Side::Request,
            Body::Response(_) => Side::Response,
        };
        let active = self.rules.iter_mut().find(|active| {
            active.rule.side == side
                && active.rule.api_key == message.api_key
                && active.hits < u64::from(active.rule.count)
        })?;
        active.hits += 1;
        Some((active.rule.fault, active.rule.mode))
    }
}
