"""A member of a group, of kafka-python's, until its input ends.

usage: kafka_python.py BOOTSTRAP GROUP TOPIC CONFIG

It says what librdkafka.py says.
"""

import json
import logging
import sys
import threading

from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaError

ASSIGNORS = {
    "cooperative-sticky": CooperativeStickyAssignor,
    "range": RangePartitionAssignor,
    "roundrobin": RoundRobinPartitionAssignor,
}
COMMIT_EVERY = 100


def tell(**what):
    print(json.dumps(what), flush=True)


def numbers(partitions):
    return sorted(each.partition for each in partitions)


class Listener(ConsumerRebalanceListener):
    def on_partitions_assigned(self, assigned):
        tell(assigned=numbers(assigned))

    def on_partitions_revoked(self, revoked):
        # No commit: listeners run on the loop that would carry it out. What is open is read again.
        tell(revoked=numbers(revoked))

    def on_partitions_lost(self, lost):
        tell(lost=numbers(lost))


def main():
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.INFO)
    bootstrap, group, topic, config = sys.argv[1:]
    config = json.loads(config)
    assignor = ASSIGNORS[config.pop("partition_assignment_strategy", "range")]
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap.split(","),
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=100,
        partition_assignment_strategy=[assignor],
        **config,
    )
    not_committed = 0

    def commit():
        nonlocal not_committed
        if not_committed == 0:
            return
        try:
            consumer.commit()
            not_committed = 0
        except KafkaError as error:
            tell(said=f"commit: {error!r}")

    left = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), left.set()), daemon=True).start()
    consumer.subscribe([topic], listener=Listener())
    while not left.is_set():
        polled = consumer.poll(timeout_ms=100, max_records=COMMIT_EVERY)
        for records in polled.values():
            for record in records:
                tell(read=[record.partition, record.offset])
                not_committed += 1
        if not polled or not_committed >= COMMIT_EVERY:
            commit()
    commit()
    consumer.close()
    tell(closed=True)


if __name__ == "__main__":
    main()
