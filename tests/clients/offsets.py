"""Where each partition ends, and what the group has committed of it: [[end, committed], ...].

usage: offsets.py BOOTSTRAP GROUP TOPIC
"""

import json
import sys
import time

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient


def listed(admin, group, places):
    """The committed offsets; librdkafka leaves it to its caller to wait for a new coordinator."""
    request = ConsumerGroupTopicPartitions(group, places)
    for _ in range(300):
        future = admin.list_consumer_group_offsets([request], require_stable=True)[group]
        try:
            return future.result(30).topic_partitions
        except KafkaException as error:
            if not error.args[0].retriable() and error.args[0].name() not in COMING:
                raise
            time.sleep(0.1)
    raise AssertionError("no coordinator of the group in 30 s")


# What a coordinator says that has only just become one.
COMING = ("COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR")


def main():
    bootstrap, group, topic = sys.argv[1:]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    partitions = sorted(admin.list_topics(topic, 30).topics[topic].partitions)
    places = [TopicPartition(topic, partition) for partition in partitions]
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "nobody"})
    ends = [consumer.get_watermark_offsets(place, 30)[1] for place in places]
    consumer.close()
    committed = {each.partition: max(each.offset, -1) for each in listed(admin, group, places)}
    print(json.dumps([[end, committed[at]] for at, end in zip(partitions, ends)]))


if __name__ == "__main__":
    main()
