//! Requests to the group coordinator: which shard, and what is refused before any shard is asked.
//!
//! Mirrors `GroupCoordinatorService` and the group requests of `KafkaApis`. A request that concerns
//! several shards is answered when all of them have.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DeleteGroupsRequest,
    DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    ListGroupsRequest, ListGroupsResponse, OffsetFetchRequest, OffsetFetchResponse, RequestKind,
    ResponseKind,
};

use super::active::Answers;
use super::runtime::Runtime;
use super::shard::Shard;
use super::turn::{Caller, Turn};
use super::{World, forms, refusal, screen};
use crate::context::Context;
use crate::input::RequestHeader;
use crate::metadata::MetadataDelta;
use crate::timer::Timer;
use crate::types::{ConnectionId, ResponseError, StrBytes};

/// The group coordinator of a broker.
#[derive(Default, Debug)]
pub(crate) struct GroupCoordinator {
    runtime: Runtime,
    /// Requests without an answer. A connection has one in processing.
    waiting: BTreeMap<ConnectionId, Waiting>,
}

/// Who waits.
#[derive(Debug)]
struct Waiting {
    correlation_id: i32,
    version: i16,
    /// Answers of shards that are still to come, this one included.
    parts: usize,
    /// What they said so far.
    gathered: Option<ResponseKind>,
}

impl GroupCoordinator {
    /// The metadata changed, and the replicas know it.
    pub(crate) fn on_metadata(
        &mut self,
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        delta: &MetadataDelta,
    ) {
        let mut out = Answers::new();
        self.runtime.on_metadata(cx, world, delta, &mut out);
        self.deliver(cx, out);
    }

    /// `Timer::Coordinator` or `Timer::CoordinatorLoad`.
    pub(crate) fn on_timer(&mut self, cx: &mut Context<'_>, world: &mut World<'_>, timer: Timer) {
        let mut out = Answers::new();
        match timer {
            Timer::Coordinator => self.runtime.on_timer(cx, world, &mut out),
            Timer::CoordinatorLoad => self.runtime.load(cx, world, &mut out),
            other => unreachable!("not a timer of the coordinator: {other:?}"),
        }
        self.deliver(cx, out);
    }

    /// A connection that came in is gone.
    pub(crate) fn on_closed(&mut self, conn: ConnectionId) {
        if self.waiting.remove(&conn).is_some() {
            self.runtime.on_closed(conn);
        }
    }

    /// The end of a step: what is committed is answered.
    pub(crate) fn finish(&mut self, cx: &mut Context<'_>, world: &mut World<'_>) {
        let mut out = Answers::new();
        self.runtime.finish(cx, world, &mut out);
        self.deliver(cx, out);
    }

    /// The broker stops.
    pub(crate) fn shutdown(&mut self, cx: &mut Context<'_>, world: &mut World<'_>) {
        let mut out = Answers::new();
        self.runtime.shutdown(cx, world, &mut out);
        self.deliver(cx, out);
    }

    /// One of the requests about groups and their offsets.
    pub(crate) fn on_request(
        &mut self,
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        (conn, header): (ConnectionId, &RequestHeader),
        request: RequestKind,
    ) {
        let caller = Caller {
            conn,
            correlation_id: header.correlation_id,
            version: header.version,
            client_id: header.client_id.clone(),
        };
        let waiting = Waiting {
            correlation_id: header.correlation_id,
            version: header.version,
            parts: 1,
            gathered: None,
        };
        self.waiting.insert(conn, waiting);
        let mut out = Answers::new();
        match request {
            RequestKind::OffsetFetch(request) => {
                self.fetch_offsets(cx, world, &caller, &request, &mut out);
            }
            RequestKind::DeleteGroups(request) => {
                self.delete_groups(cx, world, &caller, &request, &mut out);
            }
            RequestKind::ListGroups(request) => out.push((caller, self.list(&request))),
            RequestKind::DescribeGroups(request) => {
                let answer = self.describe(world, &caller, &request);
                out.push((caller, answer));
            }
            RequestKind::ConsumerGroupDescribe(request) => {
                let answer = self.describe_consumers(world, &request);
                out.push((caller, answer));
            }
            request => self.on_group_request(cx, world, &caller, request, &mut out),
        }
        self.deliver(cx, out);
    }

    /// A request about one group that its shard decides.
    fn on_group_request(
        &mut self,
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        caller: &Caller,
        request: RequestKind,
        out: &mut Answers,
    ) {
        let request = match screen::screen(world, caller.version, request) {
            Ok(request) => request,
            Err(answer) => return out.push((caller.clone(), *answer)),
        };
        let host = StrBytes::from_static_str(CLIENT_HOST);
        let who = || caller.clone();
        let decide = |shard: &mut Shard, turn: &mut Turn<'_>| match &request {
            screen::Screened::Join(it) => shard.join(turn, who(), host, it),
            screen::Screened::Sync(it) => shard.sync(turn, who(), it),
            screen::Screened::Heartbeat(it) => shard.heartbeat(turn, who(), it),
            screen::Screened::Leave(it) => shard.leave(turn, who(), it),
            screen::Screened::ConsumerHeartbeat(it) => {
                shard.consumer_heartbeat(turn, who(), host, it);
            }
            screen::Screened::Commit(it, refused) => {
                shard.commit_offsets(turn, who(), it, refused.clone());
            }
            screen::Screened::DeleteOffsets(it, refused) => {
                shard.delete_offsets(turn, who(), it, refused.clone());
            }
        };
        let decided = self
            .runtime
            .write(cx, world, (request.group(), out), decide);
        if let Err(error) = decided {
            out.push((caller.clone(), request.refuse(error)));
        }
    }

    /// OffsetFetch: committed offsets at once, or after everything that is written if the client
    /// asks for stable ones.
    fn fetch_offsets(
        &mut self,
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        caller: &Caller,
        request: &OffsetFetchRequest,
        out: &mut Answers,
    ) {
        let version = caller.version;
        let groups = forms::fetched_groups(version, request);
        self.expect(caller.conn, groups.len());
        if groups.is_empty() {
            let nothing = ResponseKind::OffsetFetch(OffsetFetchResponse::default());
            return out.push((caller.clone(), nothing));
        }
        for group in &groups {
            let id = &group.group_id.0;
            if request.require_stable {
                let who = caller.clone();
                let decided = self.runtime.write(cx, world, (id, out), |shard, turn| {
                    shard.fetch_stable(turn, who, group);
                });
                if let Err(error) = decided {
                    let answer = refusal::of_fetch(group, version, error);
                    out.push((caller.clone(), answer));
                }
                continue;
            }
            let shard = self.runtime.read(world, id);
            let fetched = shard.and_then(|it| it.fetch_committed(group));
            let answer =
                fetched.unwrap_or_else(|error| refusal::fetch_group(group, version, error));
            let answer = OffsetFetchResponse::default().with_groups(vec![answer]);
            out.push((caller.clone(), ResponseKind::OffsetFetch(answer)));
        }
    }

    /// DeleteGroups: one decision a shard.
    fn delete_groups(
        &mut self,
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        caller: &Caller,
        request: &DeleteGroupsRequest,
        out: &mut Answers,
    ) {
        let names: BTreeSet<&GroupId> = request.groups_names.iter().collect();
        let mut by_shard: BTreeMap<i32, Vec<GroupId>> = BTreeMap::new();
        let configured = world.config.offsets_topic_num_partitions;
        for name in names {
            let at = super::partition_for(world.image, configured, &name.0);
            by_shard.entry(at).or_default().push(name.clone());
        }
        self.expect(caller.conn, by_shard.len());
        if by_shard.is_empty() {
            let nothing = ResponseKind::DeleteGroups(DeleteGroupsResponse::default());
            return out.push((caller.clone(), nothing));
        }
        for groups in by_shard.into_values() {
            let who = caller.clone();
            let decided = self
                .runtime
                .write(cx, world, (&groups[0].0, out), |shard, turn| {
                    shard.delete_groups(turn, who, &groups);
                });
            if let Err(error) = decided {
                let results = groups.into_iter();
                let results = results.map(|id| refusal::deleted_group(id, error));
                let answer = DeleteGroupsResponse::default().with_results(results.collect());
                out.push((caller.clone(), ResponseKind::DeleteGroups(answer)));
            }
        }
    }

    fn list(&self, request: &ListGroupsRequest) -> ResponseKind {
        let answer = ListGroupsResponse::default();
        ResponseKind::ListGroups(match self.runtime.read_each() {
            Ok(shards) => {
                let listed = shards
                    .into_iter()
                    .flat_map(|it| it.list(&request.states_filter, &request.types_filter));
                answer.with_groups(listed.collect::<Vec<ListedGroup>>())
            }
            Err(error) => answer.with_error_code(error.code()),
        })
    }

    fn describe(
        &self,
        world: &World<'_>,
        caller: &Caller,
        request: &DescribeGroupsRequest,
    ) -> ResponseKind {
        let groups = request.groups.iter().map(|id| {
            let described = match self.runtime.read(world, &id.0) {
                Ok(shard) => shard.describe(&id.0, caller.version),
                Err(error) => refusal::described_group(id.clone(), error),
            };
            let ops = operations(request.include_authorized_operations, described.error_code);
            described.with_authorized_operations(ops)
        });
        let answer = DescribeGroupsResponse::default().with_groups(groups.collect());
        ResponseKind::DescribeGroups(answer)
    }

    fn describe_consumers(
        &self,
        world: &World<'_>,
        request: &ConsumerGroupDescribeRequest,
    ) -> ResponseKind {
        let is_enabled = screen::speaks_consumer_protocol(world);
        let groups = request.group_ids.iter().map(|id| {
            let shard = match is_enabled {
                false => Err(ResponseError::UnsupportedVersion),
                true if id.0.is_empty() => Err(ResponseError::InvalidGroupId),
                true => self.runtime.read(world, &id.0),
            };
            let described = match shard {
                Ok(shard) => shard.describe_consumer(&id.0, world.image, world.config),
                Err(error) => refusal::described_consumer_group(id.clone(), error),
            };
            let ops = operations(request.include_authorized_operations, described.error_code);
            described.with_authorized_operations(ops)
        });
        let answer = ConsumerGroupDescribeResponse::default().with_groups(groups.collect());
        ResponseKind::ConsumerGroupDescribe(answer)
    }

    /// So many answers are to come for the request of that connection.
    fn expect(&mut self, conn: ConnectionId, parts: usize) {
        if let Some(waiting) = self.waiting.get_mut(&conn) {
            waiting.parts = parts.max(1);
        }
    }

    /// Answers leave for those who still wait for them.
    fn deliver(&mut self, cx: &mut Context<'_>, out: Answers) {
        for (caller, answer) in out {
            let Some(waiting) = self.waiting.get_mut(&caller.conn) else {
                continue;
            };
            if waiting.correlation_id != caller.correlation_id {
                continue;
            }
            waiting.gathered = Some(forms::join(waiting.gathered.take(), answer));
            waiting.parts -= 1;
            if waiting.parts == 0 {
                let waiting = self.waiting.remove(&caller.conn).expect("just seen");
                let answer = waiting.gathered.expect("just gathered");
                let answer = forms::in_version(waiting.version, answer);
                cx.effects.reply(caller.conn, caller.correlation_id, answer);
            }
        }
    }
}

/// Every operation on a group, as nobody is refused any, if somebody wants to know.
fn operations(asked: bool, error_code: i16) -> i32 {
    match asked && error_code == 0 {
        true => GROUP_OPERATIONS,
        false => i32::MIN,
    }
}

/// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS by their codes.
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// Where every member is: the model's connections have no addresses.
const CLIENT_HOST: &str = "/127.0.0.1";
