// An operator looks after a group with kafkajs's admin client.
//
// usage: node kafkajs.js BOOTSTRAP

const assert = require("node:assert/strict");
const { Kafka, AssignerProtocol, CompressionTypes, logLevel } = require("kafkajs");

const TOPIC = "admin-kafkajs";
const GROUP = "admin-kafkajs";
const RECORDS = 10;

const kafka = new Kafka({
  clientId: "client-one",
  brokers: process.argv[2].split(","),
  logLevel: logLevel.NOTHING,
});
const admin = kafka.admin();

async function write() {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  for (const compression of [CompressionTypes.None, CompressionTypes.GZIP]) {
    const messages = [];
    for (let number = 0; number < RECORDS / 2; number += 1) {
      for (const partition of [0, 1]) {
        messages.push({ partition, key: "key", value: `${number}`, headers: { by: "kafkajs" } });
      }
    }
    await producer.send({ topic: TOPIC, acks: -1, compression, messages });
  }
  await producer.disconnect();
}

// Reads so many records; answers with the consumer and how many came of each partition.
async function read(count) {
  const config = { groupId: GROUP, sessionTimeout: 6000, heartbeatInterval: 1000 };
  const consumer = kafka.consumer({ ...config, maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topic: TOPIC, fromBeginning: true });
  const counts = {};
  let left = count;
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`${left} of ${count} did not come`)), 30000).unref();
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    consumer.run({
      eachMessage: async ({ partition, message }) => {
        assert.equal(message.headers.by.toString(), "kafkajs");
        counts[partition] = (counts[partition] || 0) + 1;
        left -= 1;
        if (left === 0) {
          resolve();
        }
      },
    });
  });
  return { consumer, counts };
}

async function committed() {
  const [{ partitions }] = await admin.fetchOffsets({ groupId: GROUP, topics: [TOPIC] });
  return Object.fromEntries(partitions.map((each) => [each.partition, Number(each.offset)]));
}

async function untilCommitted(expected) {
  for (let tries = 0; tries < 100; tries += 1) {
    const found = await committed();
    if (Object.entries(expected).every(([at, offset]) => found[at] === offset)) {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.deepEqual(await committed(), expected);
}

async function state() {
  const { groups } = await admin.describeGroups([GROUP]);
  return groups[0].state;
}

async function listed() {
  const { groups } = await admin.listGroups();
  return groups.filter((each) => each.groupId === GROUP).length;
}

async function aGroupWithAMember() {
  const { groups } = await admin.describeGroups([GROUP]);
  assert.equal(groups[0].state, "Stable");
  assert.equal(groups[0].protocolType, "consumer");
  assert.equal(groups[0].protocol, "RoundRobinAssigner");
  assert.equal(groups[0].members.length, 1);
  const [member] = groups[0].members;
  assert.equal(member.clientId, "client-one");
  const { assignment } = AssignerProtocol.MemberAssignment.decode(member.memberAssignment);
  assert.deepEqual(assignment[TOPIC].sort(), [0, 1]);
  assert.equal(await listed(), 1);
  // kafkajs looks for itself whether there are members, and for the rest believes the broker.
  const offsets = { groupId: GROUP, topic: TOPIC, partitions: [{ partition: 0, offset: "3" }] };
  await assert.rejects(admin.setOffsets(offsets));
  await assert.rejects(admin.deleteGroups([GROUP]), ({ groups: [group] }) => {
    assert.equal(group.error.type, "NON_EMPTY_GROUP");
    return true;
  });
}

async function anEmptyGroup() {
  assert.equal(await state(), "Empty");
  const partitions = [
    { partition: 0, offset: "7" },
    { partition: 1, offset: "4" },
  ];
  await admin.setOffsets({ groupId: GROUP, topic: TOPIC, partitions });
  assert.deepEqual(await committed(), { 0: 7, 1: 4 });
  await admin.resetOffsets({ groupId: GROUP, topic: TOPIC, earliest: false });
  assert.deepEqual(await committed(), { 0: -1, 1: -1 });
  await admin.setOffsets({ groupId: GROUP, topic: TOPIC, partitions });
  const { consumer, counts } = await read(3 + 6);
  assert.deepEqual(counts, { 0: 3, 1: 6 });
  await untilCommitted({ 0: RECORDS, 1: RECORDS });
  await consumer.disconnect();
  // No lag.
  const ends = await admin.fetchTopicOffsets(TOPIC);
  const lag = ends.map((each) => Number(each.offset) - RECORDS);
  assert.deepEqual(lag, [0, 0]);
}

async function aGroupThatIsGone() {
  await admin.deleteGroups([GROUP]);
  assert.equal(await listed(), 0);
  assert.equal(await state(), "Dead");
  assert.deepEqual(await committed(), { 0: -1, 1: -1 });
}

async function main() {
  await admin.connect();
  const topics = [{ topic: TOPIC, numPartitions: 2, replicationFactor: 3 }];
  await admin.createTopics({ topics, waitForLeaders: true });
  await write();
  const { consumer, counts } = await read(2 * RECORDS);
  assert.deepEqual(counts, { 0: RECORDS, 1: RECORDS });
  await untilCommitted({ 0: RECORDS, 1: RECORDS });
  await aGroupWithAMember();
  await consumer.disconnect();
  await anEmptyGroup();
  await aGroupThatIsGone();
  await admin.disconnect();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
