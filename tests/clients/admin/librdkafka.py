"""An operator looks after groups with confluent-kafka's AdminClient.

usage: librdkafka.py BOOTSTRAP
"""

import sys

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    ConsumerGroupType,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

BOOTSTRAP = sys.argv[1]
TOPIC = "admin-librdkafka"
PARTITIONS = 2
# The server's words for the assignors that the groups below use.
GROUPS = {"classic": "range", "consumer": "uniform"}

admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def main():
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 3)])[TOPIC].result(30)
    write(10)
    consumers = {protocol: join(protocol) for protocol in GROUPS}
    for protocol, consumer in consumers.items():
        a_group_with_a_member(protocol, consumer)
    lists_tell_kinds_and_states_apart()
    for protocol, consumer in consumers.items():
        consumer.close()
        an_empty_group(protocol)
    more_partitions()
    for protocol in GROUPS:
        a_group_that_is_gone(protocol)


def name(protocol):
    return f"admin-librdkafka-{protocol}"


def write(records):
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "acks": "all"})
    for number in range(records):
        for partition in range(PARTITIONS):
            producer.produce(TOPIC, value=str(number), partition=partition)
    assert producer.flush(30) == 0, "some records were not acknowledged"


def consumer_of(protocol, **more):
    config = {
        "bootstrap.servers": BOOTSTRAP,
        "client.id": f"client-{protocol}",
        "group.id": name(protocol),
        "group.protocol": protocol,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        **more,
    }
    if protocol == "classic":
        config["partition.assignment.strategy"] = GROUPS[protocol]
    else:
        config["group.remote.assignor"] = GROUPS[protocol]
    return Consumer(config)


def read(consumer, count):
    records = []
    for _ in range(300):
        message = consumer.poll(0.1)
        if message is not None:
            assert not message.error(), message.error()
            records.append((message.partition(), message.offset()))
        if len(records) == count:
            return records
    raise AssertionError(f"{len(records)} of {count} records came: {sorted(records)}")


def join(protocol):
    consumer = consumer_of(protocol)
    consumer.subscribe([TOPIC])
    read(consumer, 10 * PARTITIONS)
    consumer.commit(asynchronous=False)
    return consumer


def refused(future, code):
    """The call that the future stands for fails with that error."""
    try:
        result = future.result(30)
    except KafkaException as error:
        assert error.args[0].code() == code, error
        return
    # Errors of one partition do not fail the call.
    errors = {each.error and each.error.code() for each in result.topic_partitions}
    assert errors == {code}, f"not refused with {code}: {result.topic_partitions}"


def describe(protocol):
    group = name(protocol)
    return admin.describe_consumer_groups([group])[group].result(30)


def committed(protocol):
    group = name(protocol)
    future = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group]
    return {each.partition: each.offset for each in future.result(30).topic_partitions}


def alter(protocol, offsets):
    group = name(protocol)
    places = [TopicPartition(TOPIC, at, offset) for at, offset in offsets.items()]
    request = ConsumerGroupTopicPartitions(group, places)
    return admin.alter_consumer_group_offsets([request])[group]


def delete(protocol):
    return admin.delete_consumer_groups([name(protocol)])[name(protocol)]


def a_group_with_a_member(protocol, consumer):
    group = describe(protocol)
    assert group.state == ConsumerGroupState.STABLE, group.state
    assert group.type == ConsumerGroupType[protocol.upper()], group.type
    assert group.partition_assignor == GROUPS[protocol], group.partition_assignor
    assert not group.is_simple_consumer_group
    assert group.coordinator.id in admin.list_topics().brokers, group.coordinator
    (member,) = group.members
    assert member.client_id == f"client-{protocol}", member.client_id
    assert member.member_id == consumer.memberid(), (member.member_id, consumer.memberid())
    owned = sorted(each.partition for each in member.assignment.topic_partitions)
    assert owned == list(range(PARTITIONS)), owned
    assert committed(protocol) == dict.fromkeys(range(PARTITIONS), 10), committed(protocol)
    # Nobody may take a member's offsets, or its group, from under it.
    refused(alter(protocol, {0: 3}), KafkaError.UNKNOWN_MEMBER_ID)
    refused(delete(protocol), KafkaError.NON_EMPTY_GROUP)
    assert committed(protocol) == dict.fromkeys(range(PARTITIONS), 10), committed(protocol)


def listed(**only):
    result = admin.list_consumer_groups(**only).result(30)
    assert not result.errors, result.errors
    return {each.group_id: each for each in result.valid}


def lists_tell_kinds_and_states_apart():
    every = listed()
    for protocol in GROUPS:
        group = every[name(protocol)]
        assert group.state == ConsumerGroupState.STABLE, (protocol, group.state)
        kind = ConsumerGroupType[protocol.upper()]
        assert group.type == kind, (protocol, group.type)
        same = listed(types={kind})
        assert set(same) & {name(each) for each in GROUPS} == {name(protocol)}, (kind, list(same))
    names = {name(each) for each in GROUPS}
    assert names <= set(listed(states={ConsumerGroupState.STABLE}))
    assert not names & set(listed(states={ConsumerGroupState.EMPTY}))


def an_empty_group(protocol):
    group = describe(protocol)
    assert group.state == ConsumerGroupState.EMPTY and not group.members, group.state
    alter(protocol, {0: 7, 1: 0}).result(30)
    assert committed(protocol) == {0: 7, 1: 0}, committed(protocol)
    # Who comes back starts there.
    consumer = consumer_of(protocol)
    consumer.subscribe([TOPIC])
    expected = [(0, at) for at in range(7, 10)] + [(1, at) for at in range(10)]
    records = sorted(read(consumer, len(expected)))
    assert records == expected, records
    consumer.commit(asynchronous=False)
    ends = {at: consumer.get_watermark_offsets(TopicPartition(TOPIC, at))[1] for at in (0, 1)}
    lag = {at: ends[at] - offset for at, offset in committed(protocol).items()}
    assert lag == {0: 0, 1: 0}, lag
    consumer.close()
    refused(alter(protocol, {99: 1}), KafkaError.UNKNOWN_TOPIC_OR_PART)


def more_partitions():
    admin.create_partitions([NewPartitions(TOPIC, 3)])[TOPIC].result(30)
    for protocol in GROUPS:
        consumer = consumer_of(protocol, **{"topic.metadata.refresh.interval.ms": 500})
        owned = []
        consumer.subscribe([TOPIC], on_assign=lambda _, places: owned.extend(places))
        for _ in range(200):
            consumer.poll(0.1)
            if {each.partition for each in owned} == {0, 1, 2}:
                break
        else:
            raise AssertionError(f"a new partition is not assigned: {owned}")
        consumer.close()


def a_group_that_is_gone(protocol):
    delete(protocol).result(30)
    assert name(protocol) not in listed(), listed()
    assert committed(protocol) == {}, committed(protocol)
    refused(delete(protocol), KafkaError.GROUP_ID_NOT_FOUND)
    try:
        group = describe(protocol)
    except KafkaException as error:
        # DescribeGroups answers so from version 6.
        assert error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND, error
    else:
        assert group.state == ConsumerGroupState.DEAD and not group.members, group.state


if __name__ == "__main__":
    main()
