"""An operator looks after a group with kafka-python's KafkaAdminClient.

usage: kafka_python.py BOOTSTRAP
"""

import sys

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, MemberToRemove, NewTopic, OffsetSpec
from kafka.errors import (
    GroupIdNotFoundError,
    GroupSubscribedToTopicError,
    NoError,
    UnknownMemberIdError,
)
from kafka.structs import OffsetAndMetadata

BOOTSTRAP = sys.argv[1].split(",")
TOPIC = "admin-kafka-python"
GROUP = "admin-kafka-python"
RECORDS = 10
PLACES = [TopicPartition(TOPIC, partition) for partition in range(2)]

admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def main():
    admin.create_topics([NewTopic(TOPIC, num_partitions=2, replication_factor=3)])
    write()
    consumer = consumer_of(instance="one")
    expect("read at first", read(consumer, 2 * RECORDS), {0: RECORDS, 1: RECORDS})
    consumer.commit()
    a_group_with_a_member()
    a_member_is_removed(consumer)
    an_empty_group()
    a_group_that_is_gone()


def expect(what, found, wanted):
    assert found == wanted, f"{what}: {found}, not {wanted}"


def write():
    producer = KafkaProducer(
        bootstrap_servers=BOOTSTRAP, acks="all", enable_idempotence=True, compression_type="gzip"
    )
    for number in range(RECORDS):
        for place in PLACES:
            producer.send(TOPIC, value=str(number).encode(), partition=place.partition)
    producer.flush(30)
    producer.close()


def consumer_of(instance=None):
    return KafkaConsumer(
        TOPIC,
        bootstrap_servers=BOOTSTRAP,
        client_id="client-one",
        group_id=GROUP,
        group_instance_id=instance,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=6000,
        heartbeat_interval_ms=1000,
    )


def read(consumer, count):
    """How many records of each partition came."""
    counts = {}
    for _ in range(300):
        for place, records in consumer.poll(timeout_ms=100).items():
            counts[place.partition] = counts.get(place.partition, 0) + len(records)
        if sum(counts.values()) >= count:
            break
    return counts


def committed():
    offsets = admin.list_group_offsets(GROUP)[GROUP]
    return {place.partition: each.offset for place, each in offsets.items()}


def state():
    return admin.describe_groups([GROUP])[GROUP]["group_state"]


def a_group_with_a_member():
    expect("listed", [each["group_id"] for each in admin.list_groups()].count(GROUP), 1)
    stable = [each["group_id"] for each in admin.list_groups(states_filter=["Stable"])]
    assert GROUP in stable, stable
    group = admin.describe_groups([GROUP])[GROUP]
    expect("state", group["group_state"], "Stable")
    expect("protocol", (group["protocol_type"], group["protocol_data"]), ("consumer", "range"))
    (member,) = group["members"]
    expect("client", member["client_id"], "client-one")
    expect("instance", member["group_instance_id"], "one")
    expect("committed", committed(), {0: RECORDS, 1: RECORDS})
    altered = admin.alter_group_offsets(GROUP, {PLACES[0]: OffsetAndMetadata(3, "", -1)})
    expect("altered under a member", altered, {PLACES[0]: UnknownMemberIdError})
    deleted = admin.delete_group_offsets(GROUP, PLACES)
    expect(
        "offsets deleted under a member",
        deleted,
        dict.fromkeys(PLACES, GroupSubscribedToTopicError),
    )
    expect("group deleted under a member", admin.delete_groups([GROUP]), {GROUP: "NonEmptyGroupError"})
    expect("committed", committed(), {0: RECORDS, 1: RECORDS})


def a_member_is_removed(consumer):
    # A static member does not leave when it closes: an operator says that it will not come back.
    consumer.close()
    expect("state", state(), "Stable")
    removed = admin.remove_group_members(GROUP, [MemberToRemove(group_instance_id="one")])
    expect("removed", list(removed.values()), [NoError])
    expect("state", state(), "Empty")


def an_empty_group():
    offsets = {place: OffsetAndMetadata(7, "by hand", -1) for place in PLACES}
    expect("altered", admin.alter_group_offsets(GROUP, offsets), dict.fromkeys(PLACES, NoError))
    expect("committed", committed(), {0: 7, 1: 7})
    reset = admin.reset_group_offsets(GROUP, {PLACES[1]: OffsetSpec.EARLIEST})
    expect("reset", reset, {PLACES[1]: {"error": NoError, "offset": 0}})
    expect("committed", committed(), {0: 7, 1: 0})
    metadata = admin.list_group_offsets({GROUP: [PLACES[0]]})[GROUP][PLACES[0]].metadata
    expect("metadata", metadata, "by hand")
    consumer = consumer_of()
    expect("read again", read(consumer, 3 + RECORDS), {0: 3, 1: RECORDS})
    consumer.close()
    deleted = admin.delete_group_offsets(GROUP, [PLACES[1]])
    expect("offsets deleted", deleted, {PLACES[1]: NoError})
    expect("committed", committed(), {0: 7})


def a_group_that_is_gone():
    expect("deleted", admin.delete_groups([GROUP]), {GROUP: "OK"})
    expect("listed", [each["group_id"] for each in admin.list_groups()].count(GROUP), 0)
    expect("committed", committed(), {})
    expect("deleted again", admin.delete_groups([GROUP]), {GROUP: GroupIdNotFoundError.__name__})
    expect("state", state(), "Dead")


if __name__ == "__main__":
    main()
