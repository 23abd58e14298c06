"""confluent-kafka for Python, which is librdkafka. Argument: the bootstrap address."""

import os
import sys

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import ConsumerGroupState, OFFSET_BEGINNING
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec

from checks import PARTITIONS, VALUES, expect, run, until

AT = {"bootstrap.servers": sys.argv[1]}
if "CLIENT_USER" in os.environ:
    AT |= {"security.protocol": "SASL_SSL", "ssl.ca.location": os.environ["CLIENT_CA"], "sasl.mechanism": "SCRAM-SHA-512",
           "sasl.username": os.environ["CLIENT_USER"], "sasl.password": os.environ["CLIENT_PASSWORD"]}
admin = AdminClient(AT)


def topic(name, partitions=PARTITIONS, **config):
    name = "confluent-" + name
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result()
    return name


def send(producer, name, values=VALUES):
    failed = []
    for i, value in enumerate(values):
        producer.produce(name, key=str(i), value=value, partition=i % PARTITIONS, on_delivery=lambda e, _: e and failed.append(e))
    producer.flush(20)
    expect(failed, [], "failed deliveries")


def consumer(group, **more):
    return Consumer({**AT, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False, "fetch.wait.max.ms": 50, **more})


def poll(c, n, seconds=20):
    got = []

    def step():
        m = c.poll(0.2)
        if m is not None:
            if m.error():
                raise KafkaException(m.error())
            got.append(m)
        return len(got) >= n

    until(step, f"{n} records", seconds)
    return got


def committed(name, n):
    """All records that readers of committed records see."""
    c = consumer("confluent-reader-" + name)
    c.assign([TopicPartition(name, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    got = poll(c, n)
    expect(c.poll(1.0), None, "one more record")
    c.close()
    return sorted(m.value() for m in got)


def produce():
    name = topic("produce")
    p = Producer({**AT, "enable.idempotence": False})
    p.produce(name, key="k", value="v", headers=[("h", b"x")], timestamp=1234567890123, partition=0)
    p.produce(name, key="k", value=None, partition=0)
    p.flush(20)
    c = consumer("confluent-produce")
    c.assign([TopicPartition(name, 0, OFFSET_BEGINNING)])
    first, second = poll(c, 2)
    expect((first.key(), first.value(), first.headers(), first.timestamp()[1]), (b"k", b"v", [("h", b"x")], 1234567890123), "record")
    expect(second.value(), None, "value of a tombstone")
    c.close()


def idempotent():
    name = topic("idempotent")
    send(Producer({**AT, "enable.idempotence": True}), name)
    expect(committed(name, len(VALUES)), sorted(VALUES), "values")


def compression():
    name = topic("compression")
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        send(Producer({**AT, "compression.type": codec, "linger.ms": 20}), name, [codec.encode() * 50] * 30)
    expect(len(committed(name, 120)), 120, "records")


def group(protocol):
    name = topic("group-" + protocol)
    send(Producer(AT), name)
    config = {"group.protocol": protocol}
    a, b = consumer("g-" + name, **config), consumer("g-" + name, **config)
    got = []
    for c in (a, b):
        c.subscribe([name])

    def shared():
        for c in (a, b):
            m = c.poll(0.1)
            if m is not None and not m.error():
                got.append(m)
        return len({m.value() for m in got}) == len(VALUES) and min(len(a.assignment()), len(b.assignment())) > 0

    until(shared, "two members with all records")
    expect(len(a.assignment()) + len(b.assignment()), PARTITIONS, "assigned partitions")
    b.close()
    until(lambda: a.poll(0.1) is None and len(a.assignment()) == PARTITIONS, "one member with all partitions")
    a.commit(offsets=[TopicPartition(name, p, 15) for p in range(PARTITIONS)], asynchronous=False)
    a.close()
    c = consumer("g-" + name, **config)
    c.subscribe([name])
    got = poll(c, 15)
    expect(sorted({m.offset() for m in got}), list(range(15, 20)), "offsets after a restart")
    c.close()


def transactions():
    name = topic("transactions")
    p = Producer({**AT, "transactional.id": "confluent-tx"})
    p.init_transactions(20)
    for end in (p.commit_transaction, p.abort_transaction, p.commit_transaction):
        p.begin_transaction()
        send(p, name)
        end(20)
    expect(committed(name, 2 * len(VALUES)), sorted(2 * VALUES), "committed values")


def transform():
    source, sink = topic("source"), topic("sink")
    send(Producer(AT), source)
    c = consumer("g-transform")
    c.subscribe([source])
    p = Producer({**AT, "transactional.id": "confluent-transform"})
    p.init_transactions(20)
    for commit in (False, True):
        p.begin_transaction()
        got = poll(c, len(VALUES))
        send(p, sink, [m.value() for m in got])
        p.send_offsets_to_transaction(c.position(c.assignment()), c.consumer_group_metadata(), 20)
        if commit:
            p.commit_transaction(20)
        else:
            p.abort_transaction(20)
            for t in c.assignment():
                c.seek(TopicPartition(t.topic, t.partition, 0))
    expect(committed(sink, len(VALUES)), sorted(VALUES), "values")
    expect(sorted(t.offset for t in c.committed([TopicPartition(source, p) for p in range(PARTITIONS)], 20)), [20] * PARTITIONS, "offsets")
    c.close()


def fencing():
    name = topic("fencing")
    old, new = (Producer({**AT, "transactional.id": "confluent-fenced"}) for _ in range(2))
    old.init_transactions(20)
    old.begin_transaction()
    send(old, name, [b"old"])
    new.init_transactions(20)
    try:
        old.commit_transaction(20)
    except KafkaException as e:
        expect(e.args[0].code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED), True, f"fencing error {e}")
    else:
        raise AssertionError("the fenced producer committed")
    new.begin_transaction()
    send(new, name, [b"new"])
    new.commit_transaction(20)
    expect(committed(name, 1), [b"new"], "values")


def administration():
    name = topic("admin", 2, **{"retention.ms": "1000000000000"})
    expect(len(admin.list_topics(name, timeout=20).topics[name].partitions), 2, "partitions")
    admin.create_partitions([NewPartitions(name, PARTITIONS)])[name].result()
    until(lambda: len(admin.list_topics(name, timeout=20).topics[name].partitions) == PARTITIONS, "more partitions")
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[
        ConfigEntry("max.message.bytes", "12345", incremental_operation=AlterConfigOpType.SET)])
    admin.incremental_alter_configs([resource])[resource].result()
    configs = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name)])
    entries = next(iter(configs.values())).result()
    expect((entries["retention.ms"].value, entries["max.message.bytes"].value), ("1000000000000", "12345"), "configs")
    send(Producer(AT), name)
    zero = TopicPartition(name, 0)
    expect(admin.list_offsets({zero: OffsetSpec.latest()})[zero].result().offset, 20, "end offset")
    admin.delete_records([TopicPartition(name, 0, 5)])[TopicPartition(name, 0, 5)].result()
    expect(admin.list_offsets({zero: OffsetSpec.earliest()})[zero].result().offset, 5, "start offset")
    c = consumer("g-admin")
    c.subscribe([name])
    poll(c, 1)
    described = admin.describe_consumer_groups(["g-admin"])["g-admin"].result()
    expect((described.state, len(described.members)), (ConsumerGroupState.STABLE, 1), "group")
    c.close()
    expect("g-admin" in [g.group_id for g in admin.list_consumer_groups().result().valid], True, "group is listed")
    offsets = ConsumerGroupTopicPartitions("g-admin", [TopicPartition(name, 0, 7)])
    admin.alter_consumer_group_offsets([offsets])["g-admin"].result()
    listed = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions("g-admin")])["g-admin"].result()
    expect([t.offset for t in listed.topic_partitions if t.partition == 0], [7], "altered offset")
    admin.delete_consumer_groups(["g-admin"])["g-admin"].result()
    admin.delete_topics([name])[name].result()
    until(lambda: name not in admin.list_topics(timeout=20).topics, "the topic is gone")


run([
    ("produce", produce),
    ("idempotent", idempotent),
    ("compression", compression),
    ("classic group", lambda: group("classic")),
    ("KIP-848 group", lambda: group("consumer")),
    ("transactions", transactions),
    ("transform", transform),
    ("fencing", fencing),
    ("administration", administration),
])
