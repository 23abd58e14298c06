// KafkaJS. Argument: the bootstrap address.

const { Kafka, logLevel } = require('kafkajs');

const PARTITIONS = 3;
const VALUES = Array.from({ length: 60 }, (_, i) => `v${i}`);
process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1';
const { CLIENT_CA, CLIENT_USER, CLIENT_PASSWORD } = process.env;
const secured = CLIENT_USER ? { ssl: { ca: [require('node:fs').readFileSync(CLIENT_CA)] }, sasl: { mechanism: 'scram-sha-512', username: CLIENT_USER, password: CLIENT_PASSWORD } } : {};
const kafka = new Kafka({ ...secured, brokers: [process.argv[2]], clientId: 'kafkajs', logLevel: logLevel.NOTHING, retry: { retries: 3 } });
const admin = kafka.admin();

class Unsupported extends Error {}

const text = (v) => JSON.stringify(v);
function expect(have, want, what) {
  if (text(have) !== text(want)) throw new Error(`${what}: have ${text(have)}, want ${text(want)}`);
}
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
async function until(condition, what, seconds = 20) {
  for (const end = Date.now() + seconds * 1000; !(await condition()); await sleep(50)) {
    if (Date.now() > end) throw new Error(`${what}: not after ${seconds} s`);
  }
}

async function topic(name, numPartitions = PARTITIONS, configEntries = []) {
  name = 'kafkajs-' + name;
  await admin.createTopics({ topics: [{ topic: name, numPartitions, replicationFactor: 1, configEntries }] });
  return name;
}

async function producer(config = {}) {
  const p = kafka.producer(config);
  await p.connect();
  return p;
}

const messages = (values) => values.map((value, i) => ({ key: String(i), value, partition: i % PARTITIONS }));

// consumer starts a member of a group that appends what it reads to got.
async function consumer(groupId, name, got, config = {}) {
  const c = kafka.consumer({ groupId, sessionTimeout: 10000, heartbeatInterval: 500, maxWaitTimeInMs: 50, rebalanceTimeout: 5000, ...config });
  c.assigned = 0;
  c.on(c.events.GROUP_JOIN, (e) => { c.assigned = (e.payload.memberAssignment[name] || []).length; });
  await c.connect();
  await c.subscribe({ topics: [name], fromBeginning: true });
  await c.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => { got.push({ partition, ...message }); },
  });
  return c;
}

async function committed(name, n) {
  const got = [];
  const c = await consumer('kafkajs-reader-' + name, name, got, { readUncommitted: false });
  await until(() => got.length >= n, `${n} records`);
  await sleep(1000);
  await c.disconnect();
  return got.map((m) => String(m.value)).sort();
}

async function written(name, values, config) {
  const p = await producer(config);
  await p.send({ topic: name, messages: messages(values) });
  await p.disconnect();
}

const checks = {
  async produce() {
    const name = await topic('produce');
    const p = await producer();
    await p.send({ topic: name, messages: [
      { key: 'k', value: 'v', headers: { h: 'x' }, timestamp: '1234567890123', partition: 0 }, { key: 'k', value: null, partition: 0 }] });
    await p.disconnect();
    const got = [];
    const c = await consumer('kafkajs-produce', name, got);
    await until(() => got.length === 2, 'two records');
    await c.disconnect();
    expect([String(got[0].key), String(got[0].value), String(got[0].headers.h), got[0].timestamp], ['k', 'v', 'x', '1234567890123'], 'record');
    expect(got[1].value, null, 'value of a tombstone');
  },
  async idempotent() {
    const name = await topic('idempotent');
    await written(name, VALUES, { idempotent: true });
    expect(await committed(name, VALUES.length), [...VALUES].sort(), 'values');
  },
  async compression() {
    const name = await topic('compression');
    const p = await producer();
    await p.send({ topic: name, compression: 1, messages: messages(Array(30).fill('gzip'.repeat(50))) });
    await p.disconnect();
    expect((await committed(name, 30)).length, 30, 'records');
  },
  async 'classic group'() {
    const name = await topic('group');
    await written(name, VALUES);
    const got = [];
    const a = await consumer('g-' + name, name, got);
    const b = await consumer('g-' + name, name, got);
    await until(() => new Set(got.map((m) => String(m.value))).size === VALUES.length && a.assigned > 0 && b.assigned > 0
      && a.assigned + b.assigned === PARTITIONS, 'two members with all records', 40);
    await b.disconnect();
    await until(() => a.assigned === PARTITIONS, 'one member with all partitions');
    await a.commitOffsets([0, 1, 2].map((partition) => ({ topic: name, partition, offset: '15' })));
    await a.disconnect();
    const rest = [];
    const c = await consumer('g-' + name, name, rest);
    await until(() => rest.length >= 15, '15 records');
    await c.disconnect();
    expect([...new Set(rest.map((m) => m.offset))].sort(), ['15', '16', '17', '18', '19'], 'offsets after a restart');
  },
  async 'KIP-848 group'() {
    throw new Unsupported();
  },
  async transactions() {
    const name = await topic('transactions');
    const p = await producer({ transactionalId: 'kafkajs-tx', idempotent: true, maxInFlightRequests: 1 });
    for (const end of ['commit', 'abort', 'commit']) {
      const tx = await p.transaction();
      await tx.send({ topic: name, messages: messages(VALUES) });
      await tx[end]();
    }
    await p.disconnect();
    expect(await committed(name, 2 * VALUES.length), [...VALUES, ...VALUES].sort(), 'committed values');
  },
  async transform() {
    const source = await topic('source');
    const sink = await topic('sink');
    await written(source, VALUES);
    const got = [];
    const c = await consumer('g-kafkajs-transform', source, got);
    await until(() => got.length === VALUES.length, 'all records');
    const p = await producer({ transactionalId: 'kafkajs-transform', idempotent: true, maxInFlightRequests: 1 });
    for (const end of ['abort', 'commit']) {
      const tx = await p.transaction();
      await tx.send({ topic: sink, messages: messages(got.map((m) => m.value)) });
      const partitions = [0, 1, 2].map((partition) => ({ partition, offset: end === 'commit' ? '20' : '10' }));
      await tx.sendOffsets({ consumerGroupId: 'g-kafkajs-transform', topics: [{ topic: source, partitions }] });
      await tx[end]();
    }
    await p.disconnect();
    await c.disconnect();
    expect(await committed(sink, VALUES.length), [...VALUES].sort(), 'values');
    const [offsets] = await admin.fetchOffsets({ groupId: 'g-kafkajs-transform', topics: [source] });
    expect(offsets.partitions.map((o) => o.offset), ['20', '20', '20'], 'offsets');
  },
  async fencing() {
    const name = await topic('fencing');
    const config = { transactionalId: 'kafkajs-fenced', idempotent: true, maxInFlightRequests: 1 };
    const old = await producer(config);
    const held = await old.transaction();
    await held.send({ topic: name, messages: messages(['old']) });
    const now = await producer(config);
    const tx = await now.transaction();
    let fenced = false;
    try {
      await held.commit();
    } catch {
      fenced = true;
    }
    expect(fenced, true, 'the old producer is fenced');
    await tx.send({ topic: name, messages: messages(['new']) });
    await tx.commit();
    await Promise.all([old.disconnect(), now.disconnect()]);
    expect(await committed(name, 1), ['new'], 'values');
  },
  async administration() {
    const name = await topic('admin', 2, [{ name: 'retention.ms', value: '1000000000000' }]);
    await admin.createPartitions({ topicPartitions: [{ topic: name, count: PARTITIONS }] });
    expect((await admin.fetchTopicMetadata({ topics: [name] })).topics[0].partitions.length, PARTITIONS, 'partitions');
    const configs = await admin.describeConfigs({ resources: [{ type: 2, name, configNames: ['retention.ms'] }] });
    expect(configs.resources[0].configEntries[0].configValue, '1000000000000', 'config');
    await admin.alterConfigs({ resources: [{ type: 2, name, configEntries: [{ name: 'max.message.bytes', value: '12345' }] }] });
    await written(name, VALUES.map((v) => v));
    await admin.fetchTopicOffsets(name); // deleteTopicRecords only knows topics that were asked for before
    await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: '5' }] });
    const zero = (await admin.fetchTopicOffsets(name)).find((o) => o.partition === 0);
    expect([zero.low, zero.high], ['5', '20'], 'offsets');
    const got = [];
    const c = await consumer('g-kafkajs-admin', name, got);
    await until(() => got.length > 0, 'a record');
    expect((await admin.describeGroups(['g-kafkajs-admin'])).groups[0].state, 'Stable', 'state');
    await c.disconnect();
    expect((await admin.listGroups()).groups.some((g) => g.groupId === 'g-kafkajs-admin'), true, 'group is listed');
    await admin.setOffsets({ groupId: 'g-kafkajs-admin', topic: name, partitions: [{ partition: 0, offset: '7' }] });
    await admin.deleteGroups(['g-kafkajs-admin']);
    expect((await admin.describeCluster()).brokers.length, 1, 'brokers');
    await admin.deleteTopics({ topics: [name] });
    await until(async () => !(await admin.listTopics()).includes(name), 'the topic is gone');
  },
};

async function main() {
  await admin.connect();
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      console.log(`${name}\tok`);
    } catch (e) {
      console.error(e);
      console.log(e instanceof Unsupported ? `${name}\tunsupported` : `${name}\terror ${e.name}: ${String(e.message).replace(/\n/g, ' ')}`);
    }
  }
  await admin.disconnect();
  process.exit(0);
}

main();
