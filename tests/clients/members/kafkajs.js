// A member of a group, of kafkajs's, until its input ends.
//
// usage: node kafkajs.js BOOTSTRAP GROUP TOPIC CONFIG
//
// It says what librdkafka.py says. kafkajs has no static members and one assignor, round robin.

const { Kafka, logLevel } = require("kafkajs");

const [bootstrap, groupId, topic, config] = process.argv.slice(2);

function tell(what) {
  console.log(JSON.stringify(what));
}

async function main() {
  const kafka = new Kafka({
    clientId: "kafkajs",
    brokers: bootstrap.split(","),
    logLevel: logLevel.NOTHING,
  });
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100, ...JSON.parse(config) });
  let owned = [];
  const revoke = () => {
    if (owned.length > 0) {
      tell({ revoked: owned });
    }
    owned = [];
  };
  consumer.on(consumer.events.REBALANCING, revoke);
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    revoke();
    owned = [...(payload.memberAssignment[topic] || [])].sort();
    tell({ assigned: owned });
  });
  consumer.on(consumer.events.CRASH, ({ payload }) => tell({ said: `crash: ${payload.error}` }));
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const left = new Promise((resolve) => process.stdin.on("end", resolve).resume());
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      tell({ read: [partition, Number(message.offset)] });
    },
  });
  await left;
  await consumer.disconnect();
  tell({ closed: true });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
