//! What a shard decides for a request.
//!
//! Mirrors the dispatch of `GroupMetadataManager` (`classicGroupJoin`, `getOrMaybeCreate…`) and
//! `OffsetMetadataManager.validateOffsetCommit`. A refusal leaves at once, as an exception does in
//! Kafka; an answer waits for what was written before it.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::offset_commit_response::OffsetCommitResponseTopic;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, DeleteGroupsResponse, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest,
    OffsetDeleteResponse, OffsetFetchResponse, ResponseKind, SyncGroupRequest,
};

use super::{Group, Shard, note_deleted};
use crate::coordinator::classic::ClassicGroup;
use crate::coordinator::consumer::ConsumerGroup;
use crate::coordinator::forms;
use crate::coordinator::offsets;
use crate::coordinator::record::Record;
use crate::coordinator::refusal;
use crate::coordinator::turn::{Caller, Turn};
use crate::note::{Note, OffsetsChange};
use crate::types::{ResponseError, StrBytes, TopicPartition};

impl Shard {
    /// JoinGroup. Joining without a member id makes the group if there is none; an empty consumer
    /// group becomes a classic one.
    pub(crate) fn join(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        client_host: StrBytes,
        request: &JoinGroupRequest,
    ) {
        let id = &request.group_id.0;
        let tombstones = match self.groups.get_mut(id) {
            Some(Group::Classic(group)) => return group.join(turn, caller, client_host, request),
            Some(Group::Consumer(group)) if !group.is_empty() => {
                group.classic_join(turn, caller, client_host, request);
                return self.downgrade(turn, id);
            }
            Some(Group::Consumer(group)) => group.delete_records(),
            None => Vec::new(),
        };
        if !request.member_id.is_empty() {
            let error = ResponseError::UnknownMemberId;
            let answer = refusal::of_join(request.member_id.clone(), error);
            return turn.decision.at_once.push((caller, answer));
        }
        if let Some(before) = self.groups.remove(id) {
            self.undo.push((id.clone(), Some(before)));
            self.removed.insert(id.clone());
        }
        self.create_classic(turn, id)
            .join(turn, caller, client_host, request);
        turn.decision.records.splice(0..0, tombstones);
    }

    /// SyncGroup.
    pub(crate) fn sync(&mut self, turn: &mut Turn<'_>, caller: Caller, request: &SyncGroupRequest) {
        match self.groups.get_mut(&request.group_id.0) {
            Some(Group::Classic(group)) if !group.is_empty() => group.sync(turn, caller, request),
            Some(Group::Consumer(group)) if !group.is_empty() => {
                group.classic_sync(turn, caller, request);
            }
            _ => {
                let answer = refusal::of_sync(ResponseError::UnknownMemberId);
                turn.decision.at_once.push((caller, answer));
            }
        }
    }

    /// Heartbeat.
    pub(crate) fn heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        request: &HeartbeatRequest,
    ) {
        match self.groups.get_mut(&request.group_id.0) {
            Some(Group::Classic(group)) => group.heartbeat(turn, caller, request),
            Some(Group::Consumer(group)) => group.classic_heartbeat(turn, caller, request),
            None => {
                let answer = refusal::of_heartbeat(ResponseError::UnknownMemberId);
                turn.decision.at_once.push((caller, answer));
            }
        }
    }

    /// LeaveGroup, its members named as since version 3.
    pub(crate) fn leave(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        request: &LeaveGroupRequest,
    ) {
        match self.groups.get_mut(&request.group_id.0) {
            Some(Group::Classic(group)) => group.leave(turn, caller, request),
            Some(Group::Consumer(group)) => {
                group.classic_leave(turn, caller, request);
                self.downgrade(turn, &request.group_id.0);
            }
            None => {
                let answer = refusal::of_leave(request, ResponseError::UnknownMemberId);
                turn.decision.at_once.push((caller, answer));
            }
        }
    }

    /// ConsumerGroupHeartbeat. Joining makes the group if there is none; a classic group becomes a
    /// consumer group.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        client_host: StrBytes,
        request: &ConsumerGroupHeartbeatRequest,
    ) {
        let id = &request.group_id.0;
        let joins = request.member_epoch == 0;
        let tombstones = match self.groups.get_mut(id) {
            Some(Group::Consumer(group)) => {
                group.heartbeat(turn, caller, client_host, request);
                return self.downgrade(turn, id);
            }
            Some(Group::Classic(group)) if joins && group.is_empty() => group.delete_records(),
            Some(Group::Classic(group)) if joins => {
                return Shard::upgrade(turn, group, (caller, client_host), request);
            }
            None if joins => Vec::new(),
            Some(Group::Classic(_)) | None => {
                let answer = refusal::of_consumer_heartbeat(ResponseError::GroupIdNotFound);
                return turn.decision.at_once.push((caller, answer));
            }
        };
        // Replay makes the group that stays.
        ConsumerGroup::new(id.clone()).heartbeat(turn, caller, client_host, request);
        if !turn.decision.records.is_empty() {
            turn.decision.records.splice(0..0, tombstones);
        }
    }

    /// OffsetCommit of partitions that exist; `refused` are those that do not.
    pub(crate) fn commit_offsets(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        request: &OffsetCommitRequest,
        refused: Vec<OffsetCommitResponseTopic>,
    ) {
        if let Err(error) = self.validate_commit(turn, caller.version, request) {
            turn.effects.note(Note::Offsets {
                partition: turn.partition,
                group: request.group_id.0.clone(),
                change: OffsetsChange::Refused {
                    member: request.member_id.clone(),
                    generation: request.generation_id_or_member_epoch,
                    error,
                },
            });
            let answer = refusal::of_commit(request, refused, error);
            return turn.decision.at_once.push((caller, answer));
        }
        let metadata_bytes_max = turn.config.offset_metadata_max_bytes;
        let (records, topics) = offsets::commit(request, turn.now, metadata_bytes_max);
        let topics = forms::merge_commit(refused, topics);
        let answer = OffsetCommitResponse::default().with_topics(topics);
        let answer = ResponseKind::OffsetCommit(answer);
        for record in &records {
            note_commit(turn, request, record);
        }
        turn.decision.records = records;
        turn.decision.answers.push((caller, answer));
    }

    /// OffsetFetch of one group that asks for stable offsets.
    pub(crate) fn fetch_stable(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        request: &OffsetFetchRequestGroup,
    ) {
        match self.fetch_written(request) {
            Ok(group) => {
                let answer = OffsetFetchResponse::default().with_groups(vec![group]);
                let answer = (caller, ResponseKind::OffsetFetch(answer));
                turn.decision.answers.push(answer);
            }
            Err(error) => {
                let answer = refusal::of_fetch(request, caller.version, error);
                turn.decision.at_once.push((caller, answer));
            }
        }
    }

    /// OffsetDelete of partitions that exist; `refused` are those that do not.
    pub(crate) fn delete_offsets(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        request: &OffsetDeleteRequest,
        refused: Vec<OffsetDeleteResponseTopic>,
    ) {
        let id = &request.group_id.0;
        let group = self.groups.get(id);
        let valid = match group {
            Some(Group::Classic(it)) => it.validate_offset_delete(),
            Some(Group::Consumer(it)) => it.validate_offset_delete(),
            None => Err(ResponseError::GroupIdNotFound),
        };
        let group = match (valid, group) {
            (Ok(()), Some(group)) => group,
            (Err(error), _) => {
                let answer = refusal::of_offset_delete(error);
                return turn.decision.at_once.push((caller, answer));
            }
            (Ok(()), None) => unreachable!("a group that is not there is not valid"),
        };
        let mut topics = Vec::new();
        for topic in &request.topics {
            let is_read = group.is_subscribed_to(&topic.name.0);
            let partitions = topic.partitions.iter().map(|partition| {
                let partition = partition.partition_index;
                let answer =
                    OffsetDeleteResponsePartition::default().with_partition_index(partition);
                if is_read {
                    return answer.with_error_code(ResponseError::GroupSubscribedToTopic.code());
                }
                if self.offsets.get(id, &topic.name.0, partition).is_some() {
                    let record = offsets::tombstone(id, &topic.name.0, partition);
                    turn.decision.records.push(record);
                }
                answer
            });
            let partitions = partitions.collect();
            topics.push(
                OffsetDeleteResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions),
            );
        }
        note_deleted(turn);
        let topics = forms::merge_delete(refused, topics);
        let answer = OffsetDeleteResponse::default().with_topics(topics);
        let answer = (caller, ResponseKind::OffsetDelete(answer));
        turn.decision.answers.push(answer);
    }

    /// DeleteGroups, as far as the groups live here.
    pub(crate) fn delete_groups(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        groups: &[kafka_protocol::messages::GroupId],
    ) {
        let results = groups.iter().map(|id| {
            let group = self.groups.get(&id.0);
            let valid = match group {
                Some(Group::Classic(it)) => it.validate_delete_group(),
                Some(Group::Consumer(it)) => it.validate_delete_group(),
                None => Err(ResponseError::GroupIdNotFound),
            };
            let answer = DeletableGroupResult::default().with_group_id(id.clone());
            match (valid, group) {
                (Ok(()), Some(group)) => {
                    group.note_deleted(turn, &id.0);
                    let records = &mut turn.decision.records;
                    records.extend(self.offsets.delete_all(&id.0));
                    records.extend(group.delete_records());
                    answer
                }
                (Err(error), _) => answer.with_error_code(error.code()),
                (Ok(()), None) => unreachable!("a group that is not there is not valid"),
            }
        });
        let answer = DeleteGroupsResponse::default().with_results(results.collect());
        note_deleted(turn);
        let answer = (caller, ResponseKind::DeleteGroups(answer));
        turn.decision.answers.push(answer);
    }

    /// Whether the offsets may be committed. Who is in no group needs none: it gets one without
    /// members (`OffsetMetadataManager.validateOffsetCommit`).
    fn validate_commit(
        &mut self,
        turn: &mut Turn<'_>,
        version: i16,
        request: &OffsetCommitRequest,
    ) -> Result<(), ResponseError> {
        let id = &request.group_id.0;
        match self.groups.get_mut(id) {
            Some(Group::Classic(group)) => group.validate_offset_commit(turn, request),
            Some(Group::Consumer(group)) => group.validate_offset_commit(turn, version, request),
            None if request.generation_id_or_member_epoch < 0 => self
                .create_classic(turn, id)
                .validate_offset_commit(turn, request),
            None if GROUP_ID_NOT_FOUND_VERSION_MIN <= version => {
                Err(ResponseError::GroupIdNotFound)
            }
            None => Err(ResponseError::IllegalGeneration),
        }
    }

    fn create_classic(&mut self, turn: &Turn<'_>, id: &StrBytes) -> &mut ClassicGroup {
        if self.undo.iter().all(|(undone, _)| undone != id) {
            self.undo.push((id.clone(), None));
        }
        let group = Group::Classic(ClassicGroup::new(id.clone(), turn.now));
        match self.groups.entry(id.clone()).or_insert(group) {
            Group::Classic(group) => group,
            Group::Consumer(_) => unreachable!("the caller saw that there is none"),
        }
    }
}

fn note_commit(turn: &mut Turn<'_>, request: &OffsetCommitRequest, record: &Record) {
    let Record::OffsetCommit {
        group,
        topic,
        partition,
        value: Some(value),
    } = record
    else {
        unreachable!("a commit writes offsets: {record:?}");
    };
    turn.effects.note(Note::Offsets {
        partition: turn.partition,
        group: group.clone(),
        change: OffsetsChange::Accepted {
            member: request.member_id.clone(),
            generation: request.generation_id_or_member_epoch,
            partition: TopicPartition {
                topic: topic.clone(),
                partition: *partition,
            },
            offset: value.offset,
            commit_timestamp: value.commit_timestamp,
        },
    });
}

/// Since then OffsetCommit says that there is no such group.
const GROUP_ID_NOT_FOUND_VERSION_MIN: i16 = 9;
