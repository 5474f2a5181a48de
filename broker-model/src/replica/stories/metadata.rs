//! The metadata log of a story, and the controller's answers.

use kafka_protocol::messages::alter_partition_response::{
    AlterPartitionResponse, PartitionData as AlteredData, TopicData as AlteredTopic,
};
use kafka_protocol::messages::{BrokerId, RequestKind, ResponseKind};

use super::rig::{Answer, CONTROLLER, T_0, World, endpoint, n};
use crate::metadata::record::{
    BrokerEndpoint, ConfigRecord, PartitionChangeRecord, PartitionRecord, RegisterBrokerRecord,
    RemoveTopicRecord, TopicRecord,
};
use crate::metadata::{MetadataDelta, MetadataRecord};
use crate::types::{
    BrokerEpoch, Endpoint, LeaderEpoch, NodeId, Offset, PartitionEpoch, ResponseError, StrBytes,
    Uuid,
};

/// Brokers 1, 2 and 3, and "t" with those properties on all three, led by 1 in epoch 0.
pub(super) fn first_records(topic: &[(&str, &str)]) -> Vec<MetadataRecord> {
    let mut records: Vec<_> = (1..=3).map(registration).collect();
    records.push(MetadataRecord::Topic(TopicRecord {
        name: StrBytes::from_static_str("t"),
        id: T_0.topic,
    }));
    for (name, value) in topic {
        records.push(MetadataRecord::Config(ConfigRecord {
            resource_type: 2,
            resource_name: StrBytes::from_static_str("t"),
            name: StrBytes::from_string((*name).to_owned()),
            value: Some(StrBytes::from_string((*value).to_owned())),
        }));
    }
    records.push(MetadataRecord::Partition(PartitionRecord {
        partition: T_0,
        replicas: vec![n(1), n(2), n(3)],
        isr: vec![n(1), n(2), n(3)],
        removing: vec![],
        adding: vec![],
        leader: n(1),
        recovering: false,
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        directories: vec![],
    }));
    records
}

/// A registration whose offset in the metadata log, `id - 1`, is its epoch.
fn registration(id: i32) -> MetadataRecord {
    let Endpoint { host, port } = endpoint(NodeId(id));
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker: NodeId(id),
        is_migrating_zk_broker: false,
        incarnation: Uuid::from_u128(1),
        epoch: BrokerEpoch(i64::from(id) - 1),
        endpoints: vec![BrokerEndpoint {
            name: StrBytes::from_static_str("PLAINTEXT"),
            host,
            port,
            security_protocol: 0,
        }],
        features: vec![],
        rack: None,
        fenced: false,
        in_controlled_shutdown: false,
        log_dirs: vec![],
    })
}

impl World {
    /// Writes a change of the partition into the metadata log; 0 keeps the leader and its epoch.
    pub(super) fn change(&mut self, leader: i32, isr: &[i32]) {
        let mut change = PartitionChangeRecord::new(T_0);
        change.leader = (leader != 0).then_some(NodeId(leader));
        change.isr = Some(isr.iter().copied().map(NodeId).collect());
        self.records.push(MetadataRecord::PartitionChange(change));
    }

    /// Writes into the metadata log that "t" is gone.
    pub(super) fn delete_topic(&mut self) {
        let record = RemoveTopicRecord { id: T_0.topic };
        self.records.push(MetadataRecord::RemoveTopic(record));
    }

    /// A broker applies all of the metadata log, as one change.
    pub(super) fn apply(&mut self, id: NodeId) {
        self.apply_up_to(id, self.records.len());
    }

    /// A broker applies so many records of the metadata log, as one change.
    pub(super) fn apply_up_to(&mut self, id: NodeId, count: usize) {
        let records = std::mem::take(&mut self.records);
        let mut delta = MetadataDelta::default();
        let image = &mut self.node(id).image;
        let applied = usize::try_from(image.offset().0 + 1).expect("not negative");
        for (offset, record) in records[..count].iter().enumerate().skip(applied) {
            let offset = Offset(i64::try_from(offset).expect("small"));
            image.replay(offset, record, &mut delta);
        }
        self.records = records;
        self.on(id, |replicas, cx, image| replicas.apply(cx, image, &delta));
    }

    /// The ISR that waits for the controller's answer, if any.
    pub(super) fn proposed(&self) -> Option<Vec<NodeId>> {
        let request = self.requests.iter().find(|it| it.to == CONTROLLER)?;
        let RequestKind::AlterPartition(request) = &*request.body else {
            unreachable!("only proposals go to the controller");
        };
        let members = &request.topics[0].partitions[0].new_isr_with_epochs;
        Some(members.iter().map(|it| NodeId(it.broker_id.0)).collect())
    }

    /// The controller refuses the request with the first proposal.
    pub(super) fn refuse_proposal(&mut self, error: ResponseError) {
        let at = self.requests.iter().position(|it| it.to == CONTROLLER);
        let request = self.requests.remove(at.expect("a proposal"));
        let answer = AlterPartitionResponse::default().with_error_code(error.code());
        self.answered(Answer {
            to: request.from,
            conn: request.conn,
            correlation_id: request.header.correlation_id,
            body: Box::new(ResponseKind::AlterPartition(answer)),
        });
    }

    /// The controller answers the first proposal: with an error, or as accepted with what it wrote
    /// into the metadata log.
    pub(super) fn answer_proposal(&mut self, error: Option<ResponseError>) {
        let at = self.requests.iter().position(|it| it.to == CONTROLLER);
        let request = self.requests.remove(at.expect("a proposal"));
        let RequestKind::AlterPartition(asked) = &*request.body else {
            unreachable!("only proposals go to the controller");
        };
        let asked = &asked.topics[0].partitions[0];
        let isr: Vec<BrokerId> = asked
            .new_isr_with_epochs
            .iter()
            .map(|it| it.broker_id)
            .collect();
        if error.is_none() {
            self.change(0, &isr.iter().map(|it| it.0).collect::<Vec<_>>());
        }
        let data = AlteredData::default()
            .with_partition_index(0)
            .with_error_code(error.map_or(0, |it| it.code()))
            .with_leader_id(BrokerId(request.from.0))
            .with_leader_epoch(asked.leader_epoch)
            .with_partition_epoch(asked.partition_epoch + 1)
            .with_isr(isr);
        let topic = AlteredTopic::default()
            .with_topic_id(T_0.topic)
            .with_partitions(vec![data]);
        let answer = AlterPartitionResponse::default().with_topics(vec![topic]);
        self.answered(Answer {
            to: request.from,
            conn: request.conn,
            correlation_id: request.header.correlation_id,
            body: Box::new(ResponseKind::AlterPartition(answer)),
        });
        self.settle();
    }
}
