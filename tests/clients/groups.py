"""Three members of one group share six partitions, one of them dies, nothing is lost or read twice.

usage: groups.py BOOTSTRAP classic|consumer ASSIGNOR
"""

import multiprocessing
import sys
import time

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

BOOTSTRAP, PROTOCOL, ASSIGNOR = sys.argv[1:]
TOPIC = f"shared-{PROTOCOL}-{ASSIGNOR}"
GROUP = f"group-of-{TOPIC}"
PARTITIONS = 6
RECORDS = 3_000
# The session timeout of the consumer protocol is the broker's, 45 s by default.
PATIENCE_S = 120


def config():
    common = {
        "bootstrap.servers": BOOTSTRAP,
        "group.id": GROUP,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    if PROTOCOL == "consumer":
        return {**common, "group.protocol": "consumer", "group.remote.assignor": ASSIGNOR}
    return {
        **common,
        "partition.assignment.strategy": ASSIGNOR,
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 1000,
    }


class Member:
    """A consumer in a process of its own, so that it can be killed."""

    def __init__(self, told):
        self.owned, self.ends = [], multiprocessing.Event()
        arguments = (len(MEMBERS), told, self.ends)
        self.process = multiprocessing.Process(target=consume, args=arguments)
        MEMBERS.append(self)
        self.process.start()


MEMBERS = []


def consume(number, told, ends):
    consumer = Consumer(config())
    consumer.subscribe([TOPIC])
    while not ends.is_set():
        message = consumer.poll(0.2)
        places = sorted(place.partition for place in consumer.assignment())
        told.put(("owned", number, places))
        if message is not None and not message.error():
            told.put(("read", message.partition(), message.offset()))
            consumer.commit(message, asynchronous=True)
    consumer.close()


def listen(told, read):
    """Takes in what members have told so far."""
    while not told.empty():
        what, one, other = told.get()
        if what == "read":
            read.append((one, other))
        else:
            MEMBERS[one].owned = other


def produce():
    producer = Producer(
        {"bootstrap.servers": BOOTSTRAP, "acks": "all", "enable.idempotence": True}
    )
    for number in range(RECORDS):
        producer.produce(TOPIC, key=str(number % 50), value=str(number))
        producer.poll(0)
    assert producer.flush(30) == 0, "some records were not acknowledged"


def wait(told, read, what, done):
    until = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < until, what()
        time.sleep(0.1)
        listen(told, read)


def shared(members):
    owned = sorted(partition for member in members for partition in member.owned)
    return owned == list(range(PARTITIONS)) and all(member.owned for member in members)


def main():
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 3)])[TOPIC].result(30)
    produce()
    told, read = multiprocessing.Queue(), []
    members = [Member(told) for _ in range(3)]

    def until_shared(members):
        wait(told, read, lambda: f"owned: {[m.owned for m in members]}", lambda: shared(members))

    def until_read(count):
        wait(told, read, lambda: f"{len(set(read))} read", lambda: len(set(read)) == count)

    until_shared(members)
    until_read(RECORDS)
    members[2].process.kill()
    left = members[:2]
    until_shared(left)
    produce()
    until_read(2 * RECORDS)
    for partition in range(PARTITIONS):
        offsets = sorted(offset for at, offset in set(read) if at == partition)
        assert offsets == list(range(len(offsets))), f"a hole in partition {partition}"
    for member in left:
        member.ends.set()
    for member in left:
        while member.process.is_alive():
            listen(told, read)
            member.process.join(0.1)
    described = admin.describe_consumer_groups([GROUP])[GROUP].result(30)
    assert described.state.name == "EMPTY", described.state
    listed = [each.group_id for each in admin.list_consumer_groups().result().valid]
    assert GROUP in listed, listed
    admin.delete_consumer_groups([GROUP])[GROUP].result(30)
    print(f"{PROTOCOL} {ASSIGNOR}: {len(read)} reads of {2 * RECORDS} records")


if __name__ == "__main__":
    main()
