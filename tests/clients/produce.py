"""Writes so many records, each to a partition that its key chooses.

usage: produce.py BOOTSTRAP TOPIC RECORDS
"""

import sys

from confluent_kafka import Producer

KEYS = 50


def main():
    bootstrap, topic, records = sys.argv[1:]
    failed = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
            "on_delivery": lambda error, _message: error and failed.append(str(error)),
        }
    )
    for number in range(int(records)):
        producer.produce(topic, key=str(number % KEYS), value=str(number))
        producer.poll(0)
    left = producer.flush(30)
    assert left == 0 and not failed, f"{left} records were not acknowledged, {failed[:3]} failed"


if __name__ == "__main__":
    main()
