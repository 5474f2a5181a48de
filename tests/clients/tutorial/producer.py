"""Sends orders to Kafka, keyed by customer.

usage: producer.py BOOTSTRAP TOPIC COUNT
"""

import json
import sys

from confluent_kafka import Producer

bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

producer = Producer(
    {
        "bootstrap.servers": bootstrap,
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": "zstd",
        "linger.ms": 20,
    }
)

delivered, failed = 0, 0


def on_delivery(error, message):
    global delivered, failed
    if error is not None:
        failed += 1
        print(f"delivery failed: {error}", file=sys.stderr)
    else:
        delivered += 1


for number in range(count):
    customer = f"customer-{number % 20}"
    order = {"number": number, "customer": customer, "items": ["apple"] * (number % 7 + 1)}
    # Now and then somebody sends what is no order.
    value = "this is no JSON" if number % 250 == 249 else json.dumps(order)
    producer.produce(topic, key=customer, value=value, on_delivery=on_delivery)
    producer.poll(0)

producer.flush()
print(f"{delivered} delivered, {failed} failed")
sys.exit(1 if failed else 0)
