"""Makes a topic with three replicas.

usage: create_topic.py BOOTSTRAP TOPIC PARTITIONS
"""

import sys

from confluent_kafka.admin import AdminClient, NewTopic


def main():
    bootstrap, topic, partitions = sys.argv[1:]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, int(partitions), 3)])[topic].result(30)


if __name__ == "__main__":
    main()
