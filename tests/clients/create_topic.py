"""Makes a topic with three replicas.

usage: create_topic.py BOOTSTRAP TOPIC PARTITIONS
"""

import sys

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic


def main():
    bootstrap, topic, partitions = sys.argv[1:]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    try:
        admin.create_topics([NewTopic(topic, int(partitions), 3)])[topic].result(30)
    except KafkaException as error:
        # The library asks again when an answer does not come in time.
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


if __name__ == "__main__":
    main()
