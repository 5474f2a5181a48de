"""A member of a group, of librdkafka's, until its input ends.

usage: librdkafka.py BOOTSTRAP GROUP TOPIC CONFIG

What happens to it goes to stdout, one JSON object a line: {"assigned": [0, 1]}, {"revoked": [0]},
{"lost": [0]}, {"read": [partition, offset]}, {"said": "what went wrong"}, {"closed": true}.
"""

import json
import sys
import threading

from confluent_kafka import Consumer, KafkaException

COMMIT_EVERY = 100


def tell(**what):
    print(json.dumps(what), flush=True)


def numbers(partitions):
    return sorted(each.partition for each in partitions)


def main():
    bootstrap, group, topic, config = sys.argv[1:]
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
            **json.loads(config),
        }
    )
    not_committed = 0

    def commit(asynchronous):
        nonlocal not_committed
        if not_committed == 0:
            return
        try:
            consumer.commit(asynchronous=asynchronous)
            not_committed = 0
        except KafkaException as error:
            tell(said=f"commit: {error}")

    def on_assign(_consumer, partitions):
        tell(assigned=numbers(partitions))

    def on_revoke(_consumer, partitions):
        commit(asynchronous=False)
        tell(revoked=numbers(partitions))

    def on_lost(_consumer, partitions):
        tell(lost=numbers(partitions))

    left = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), left.set()), daemon=True).start()
    consumer.subscribe([topic], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)
    while not left.is_set():
        message = consumer.poll(0.1)
        if message is None:
            commit(asynchronous=True)
        elif message.error():
            tell(said=str(message.error()))
        else:
            tell(read=[message.partition(), message.offset()])
            not_committed += 1
            if not_committed == COMMIT_EVERY:
                commit(asynchronous=True)
    commit(asynchronous=False)
    consumer.close()
    tell(closed=True)


if __name__ == "__main__":
    main()
