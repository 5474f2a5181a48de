"""Writes so many records, each to a partition that its key chooses.

usage: produce.py BOOTSTRAP TOPIC RECORDS [A_SECOND]
"""

import sys
import time

from confluent_kafka import Producer

KEYS = 50


def main():
    bootstrap, topic, records, *rate = sys.argv[1:]
    gap = 1 / int(rate[0]) if rate else 0
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
    start = time.monotonic()
    for number in range(int(records)):
        time.sleep(max(0, start + number * gap - time.monotonic()))
        producer.produce(topic, key=str(number % KEYS), value=str(number))
        producer.poll(0)
    left = producer.flush(30)
    assert left == 0 and not failed, f"{left} records were not acknowledged, {failed[:3]} failed"


if __name__ == "__main__":
    main()
