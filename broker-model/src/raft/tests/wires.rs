//! The cluster's wires: connections that open, close, lose messages and hand over one request at a
//! time.

use std::collections::{BTreeMap, VecDeque};

use kafka_protocol::messages::{ApiVersionsRequest, RequestKind, ResponseKind};

use super::cluster::{Cluster, Event, Inbound, Link, LinkId, Side};
use crate::effect::Effect;
use crate::input::RequestHeader;
use crate::timer::Timer;
use crate::types::{ConnectionId, Listener, NodeId};
use crate::wire::versions::{self, FinalizedFeatures};

impl Cluster {
    pub(super) fn deliver(&mut self, event: Event) {
        match event {
            Event::Timer(id, incarnation, timer, n) => {
                let Some(process) = self.process(id, incarnation) else {
                    return;
                };
                if process.timers.get(&timer) != Some(&n) {
                    return;
                }
                process.timers.remove(&timer);
                if let Timer::Network(channel) = timer {
                    self.network(id, |network, now, effects| {
                        network.on_timer(now, channel, effects)
                    });
                } else {
                    self.step(id, |raft, cx| raft.on_timer(cx, timer));
                }
            }
            Event::Flushed(id, incarnation, file, writes, flush) => {
                if self.process(id, incarnation).is_some() {
                    let host = self.hosts.get_mut(&id).expect("a node of the cluster");
                    host.disk.flush_to(file, writes);
                    self.step(id, |raft, cx| raft.on_flushed(cx, flush, Ok(())));
                }
            }
            Event::Opened(link, to) => self.deliver_open(link, to),
            Event::Request(link, header, body) => self.deliver_request(link, header, *body),
            Event::Response(link, correlation_id, body) => {
                let (id, incarnation, conn) = link;
                if self.passes(link, Side::Opener) && self.process(id, incarnation).is_some() {
                    self.network(id, |network, now, effects| {
                        let event = network.on_response(now, conn, correlation_id, body, effects);
                        event.into_iter().collect()
                    });
                }
            }
            Event::Closed(link, side) => self.deliver_close(link, side),
        }
    }

    fn deliver_open(&mut self, link: LinkId, to: NodeId) {
        let (id, incarnation, conn) = link;
        if self.cuts.contains(&(id, to)) || self.cuts.contains(&(to, id)) {
            return;
        }
        if self.process(id, incarnation).is_none() {
            return;
        }
        self.ordered += 1;
        let accepted = ConnectionId(self.ordered);
        let Some(process) = self
            .hosts
            .get_mut(&to)
            .and_then(|host| host.process.as_mut())
        else {
            return self.network(id, |network, now, effects| {
                network.on_closed(now, conn, effects)
            });
        };
        let inbound = Inbound {
            link,
            busy: false,
            waiting: VecDeque::new(),
        };
        process.inbound.insert(accepted, inbound);
        let state = Link {
            to,
            accepted,
            dead: false,
            next_ms: [0; 2],
        };
        self.links.insert(link, state);
        self.network(id, |network, now, effects| {
            network.on_opened(now, conn, Listener::Controller, effects);
            Vec::new()
        });
    }

    fn deliver_request(&mut self, link: LinkId, header: RequestHeader, body: RequestKind) {
        if !self.passes(link, Side::Acceptor) {
            return;
        }
        let (to, accepted) = (self.links[&link].to, self.links[&link].accepted);
        let process = self
            .hosts
            .get_mut(&to)
            .and_then(|host| host.process.as_mut());
        let Some(inbound) = process.and_then(|process| process.inbound.get_mut(&accepted)) else {
            return;
        };
        inbound.waiting.push_back((header, body));
        self.next_request(to, accepted);
    }

    /// Hands over the next request of a connection that is not busy.
    pub(super) fn next_request(&mut self, id: NodeId, conn: ConnectionId) {
        let process = self
            .hosts
            .get_mut(&id)
            .and_then(|host| host.process.as_mut());
        let Some(inbound) = process.and_then(|process| process.inbound.get_mut(&conn)) else {
            return;
        };
        if inbound.busy {
            return;
        }
        let Some((header, body)) = inbound.waiting.pop_front() else {
            return;
        };
        inbound.busy = true;
        if matches!(body, RequestKind::ApiVersions(_)) {
            let features = FinalizedFeatures {
                levels: BTreeMap::new(),
                epoch: -1,
            };
            let request = ApiVersionsRequest::default();
            let listener = Listener::Controller;
            let answer = versions::api_versions_response(listener, 2, &request, &[], &features);
            let body = Box::new(ResponseKind::ApiVersions(answer));
            let effect = Effect::Reply {
                conn,
                correlation_id: header.correlation_id,
                body,
            };
            self.carry_out(id, effect);
        } else {
            self.step(id, |raft, cx| raft.on_request(cx, conn, &header, body));
        }
    }

    fn deliver_close(&mut self, link: LinkId, side: Side) {
        let (id, incarnation, conn) = link;
        let Some(state) = self.links.remove(&link) else {
            return;
        };
        match side {
            Side::Opener if self.process(id, incarnation).is_some() => {
                self.network(id, |network, now, effects| {
                    network.on_closed(now, conn, effects)
                });
            }
            Side::Opener => {}
            Side::Acceptor => {
                let process = self
                    .hosts
                    .get_mut(&state.to)
                    .and_then(|host| host.process.as_mut());
                let Some(process) = process else { return };
                if process.inbound.remove(&state.accepted).is_some() {
                    process.raft.on_closed(state.accepted);
                }
            }
        }
    }

    /// Whether a message on that connection arrives; if not, none will any more.
    fn passes(&mut self, link: LinkId, side: Side) -> bool {
        let Some(state) = self.links.get_mut(&link) else {
            return false;
        };
        let way = match side {
            Side::Acceptor => (link.0, state.to),
            Side::Opener => (state.to, link.0),
        };
        state.dead |= self.cuts.contains(&way);
        !state.dead
    }

    pub(super) fn tell_closed(&mut self, link: LinkId, side: Side) {
        if self.passes(link, side) {
            let ms = self.rng.range(0, self.latency_max_ms);
            self.schedule(ms, Event::Closed(link, side));
        }
    }

    /// A node closes a connection of either direction.
    pub(super) fn close(&mut self, id: NodeId, conn: ConnectionId) {
        let host = self.hosts.get_mut(&id).expect("a node of the cluster");
        if conn.is_outbound() {
            let link = (id, host.incarnation, conn);
            self.tell_closed(link, Side::Acceptor);
        } else {
            let process = host.process.as_mut().expect("it just stepped");
            if let Some(inbound) = process.inbound.remove(&conn) {
                self.tell_closed(inbound.link, Side::Opener);
            }
        }
    }

    /// How long the next message of a connection takes, so that it overtakes none.
    pub(super) fn in_order(&mut self, link: LinkId, way: usize) -> u64 {
        self.messages += 1;
        let ms = self.rng.range(0, self.latency_max_ms);
        let Some(state) = self.links.get_mut(&link) else {
            return ms;
        };
        let at_ms = (self.now_ms + ms).max(state.next_ms[way]);
        state.next_ms[way] = at_ms;
        at_ms - self.now_ms
    }
}
