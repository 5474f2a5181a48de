"""Processes orders and commits by hand every 100 records. What is no order goes to a dead letter queue.

usage: consumer.py BOOTSTRAP TOPIC DEAD_LETTERS GROUP OUTPUT
"""

import json
import signal
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

MIN_COMMIT_COUNT = 100

bootstrap, topic, dead_letters, group, output = sys.argv[1:]

consumer = Consumer(
    {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
)
producer = Producer(
    {
        "bootstrap.servers": bootstrap,
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": "zstd",
    }
)
running = True


def shutdown(_signal, _frame):
    global running
    running = False


def process(message):
    order = json.loads(message.value())
    place = f"{message.partition()} {message.offset()}"
    file.write(f"{message.key().decode()} {order['number']} {place}\n")
    file.flush()


def send_to_dead_letters(message, error):
    producer.produce(
        dead_letters,
        key=message.key(),
        value=message.value(),
        headers={
            "dlq.topic": message.topic(),
            "dlq.partition": str(message.partition()),
            "dlq.offset": str(message.offset()),
            "dlq.error": f"{type(error).__name__}: {error}",
        },
    )


signal.signal(signal.SIGTERM, shutdown)
signal.signal(signal.SIGINT, shutdown)

with open(output, "a", encoding="utf-8") as file:
    try:
        consumer.subscribe([topic])
        count = 0
        while running:
            message = consumer.poll(timeout=1.0)
            if message is None:
                continue
            if message.error():
                if message.error().code() == KafkaError._PARTITION_EOF:
                    continue
                raise KafkaException(message.error())
            try:
                process(message)
            except ValueError as error:
                send_to_dead_letters(message, error)
            count += 1
            if count % MIN_COMMIT_COUNT == 0:
                # First the dead letters, then the offsets: nothing gets lost in between.
                producer.flush()
                consumer.commit(asynchronous=False)
        producer.flush()
        if count % MIN_COMMIT_COUNT != 0:
            consumer.commit(asynchronous=False)
    finally:
        consumer.close()
