//! A hand that sends requests as it likes, for what no client of the model does yet.

use std::collections::VecDeque;

use broker_model::effect::Effect;
use broker_model::input::Input;
use broker_model::types::ConnectionId;
use kafka_protocol::messages::{RequestKind, ResponseKind};

use super::{Actor, Machine, Process, World, endpoint};

/// What came back, oldest first.
#[derive(Default)]
pub(super) struct Hand {
    answers: VecDeque<ResponseKind>,
    opened: u64,
    requests: i32,
}

impl Hand {
    pub(super) fn on(&mut self, input: Input) {
        if let Input::Response { body, .. } = input {
            self.answers.push_back(*body);
        }
    }
}

impl World {
    /// A hand; its actor is the return value.
    pub(crate) fn start_hand(&mut self) -> Actor {
        let id = 100 + i32::try_from(self.processes.len()).expect("few");
        let mut process = Process::new();
        process.incarnation = 1;
        process.machine = Some(Machine::Hand(Hand::default()));
        self.processes.insert(id, process);
        id
    }

    /// Sends a request to a node on a connection of its own, and waits for the answer; `None` if
    /// there is none within that time.
    pub(crate) fn ask(
        &mut self,
        hand: Actor,
        (node, within_ms): (Actor, u64),
        version: i16,
        request: RequestKind,
    ) -> Option<ResponseKind> {
        let conn = self.post(hand, node, version, request);
        let answer = self.answer(hand, within_ms);
        self.carry_out(hand, Effect::Close { conn });
        answer
    }

    /// Sends a request to a node on a connection of its own, and forgets what came back before.
    pub(crate) fn post(
        &mut self,
        hand: Actor,
        node: Actor,
        version: i16,
        request: RequestKind,
    ) -> ConnectionId {
        let own = self.hand(hand);
        own.answers.clear();
        own.opened += 1;
        own.requests += 1;
        let (conn, correlation_id) = (ConnectionId::outbound(own.opened), own.requests);
        self.open(hand, conn, &endpoint(node, 9_092));
        self.carry_out(
            hand,
            Effect::Send {
                conn,
                version,
                correlation_id,
                body: Box::new(request),
            },
        );
        conn
    }

    /// The answer to what was posted last; `None` if there is none within that time.
    pub(crate) fn answer(&mut self, hand: Actor, within_ms: u64) -> Option<ResponseKind> {
        let until_ms = self.now_ms + within_ms;
        while self.now_ms < until_ms && self.hand(hand).answers.is_empty() {
            self.advance();
        }
        self.hand(hand).answers.pop_front()
    }

    fn hand(&mut self, hand: Actor) -> &mut Hand {
        match &mut self.process(hand).machine {
            Some(Machine::Hand(it)) => it,
            _ => panic!("{hand} is no hand"),
        }
    }
}
