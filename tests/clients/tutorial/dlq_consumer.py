"""Prints each dead letter as a line of JSON until there are no more.

usage: dlq_consumer.py BOOTSTRAP DEAD_LETTERS GROUP
"""

import json
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException

bootstrap, dead_letters, group = sys.argv[1:]

consumer = Consumer(
    {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
    }
)
consumer.subscribe([dead_letters])
ended = set()
try:
    while not ended or len(ended) < len(consumer.assignment()):
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            if message.error().code() != KafkaError._PARTITION_EOF:
                raise KafkaException(message.error())
            ended.add(message.partition())
            continue
        headers = {name: value.decode() for name, value in message.headers()}
        letter = {"key": message.key().decode(), "value": message.value().decode(), **headers}
        print(json.dumps(letter))
finally:
    consumer.close()
