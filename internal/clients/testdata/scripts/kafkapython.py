"""kafka-python. Argument: the bootstrap address."""

import os
import sys
import threading

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from checks import PARTITIONS, VALUES, Unsupported, expect, run, until

AT = {"bootstrap_servers": sys.argv[1]}
if "CLIENT_USER" in os.environ:
    AT |= {"security_protocol": "SASL_SSL", "ssl_cafile": os.environ["CLIENT_CA"], "sasl_mechanism": "SCRAM-SHA-256",
           "sasl_plain_username": os.environ["CLIENT_USER"], "sasl_plain_password": os.environ["CLIENT_PASSWORD"]}
admin = KafkaAdminClient(**AT)


def topic(name, partitions=PARTITIONS, configs=None):
    name = "kafkapython-" + name
    admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs or {})])
    return name


def send(producer, name, values=VALUES):
    sent = [producer.send(name, key=str(i).encode(), value=value, partition=i % PARTITIONS) for i, value in enumerate(values)]
    producer.flush(20)
    for f in sent:
        f.get(20)


def consumer(group=None, **more):
    return KafkaConsumer(**AT, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, fetch_max_wait_ms=50, **more)


def poll(c, n, seconds=20):
    got = []

    def step():
        for records in c.poll(200).values():
            got.extend(records)
        return len(got) >= n

    until(step, f"{n} records", seconds)
    return got


def committed(name, n):
    c = consumer(isolation_level="read_committed")
    c.assign([TopicPartition(name, p) for p in range(PARTITIONS)])
    got = poll(c, n)
    expect(c.poll(1000), {}, "more records")
    c.close()
    return sorted(r.value for r in got)


def produce():
    name = topic("produce")
    p = KafkaProducer(**AT, enable_idempotence=False)
    p.send(name, key=b"k", value=b"v", headers=[("h", b"x")], timestamp_ms=1234567890123, partition=0)
    p.send(name, key=b"k", value=None, partition=0)
    p.flush(20)
    c = consumer()
    c.assign([TopicPartition(name, 0)])
    first, second = poll(c, 2)
    expect((first.key, first.value, list(first.headers), first.timestamp), (b"k", b"v", [("h", b"x")], 1234567890123), "record")
    expect(second.value, None, "value of a tombstone")
    c.close()


def idempotent():
    name = topic("idempotent")
    send(KafkaProducer(**AT, enable_idempotence=True), name)
    expect(committed(name, len(VALUES)), sorted(VALUES), "values")


def compression():
    name = topic("compression")
    send(KafkaProducer(**AT, compression_type="gzip", linger_ms=20), name, [b"gzip" * 50] * 30)
    expect(len(committed(name, 30)), 30, "records")


class Member(threading.Thread):
    """A consumer of a group, which polls in its own thread: a member that waits for another one blocks."""

    def __init__(self, group, name, got):
        super().__init__(daemon=True)
        self.consumer, self.got, self.assigned, self.stopping, self.last = consumer(group), got, 0, False, None
        self.consumer.subscribe([name])
        self.start()

    def run(self):
        while not self.stopping:
            for records in self.consumer.poll(100).values():
                self.got.extend(r.value for r in records)
            self.assigned = len(self.consumer.assignment())
        if self.last:
            self.consumer.commit(self.last)
        self.consumer.close()

    def leave(self, offsets=None):
        self.last, self.stopping = offsets, True
        self.join(20)


def group():
    name = topic("group")
    send(KafkaProducer(**AT), name)
    got = []
    a, b = Member("g-" + name, name, got), Member("g-" + name, name, got)
    until(lambda: len(set(got)) == len(VALUES) and a.assigned and b.assigned and a.assigned + b.assigned == PARTITIONS, "two members with all records", 40)
    b.leave()
    until(lambda: a.assigned == PARTITIONS, "one member with all partitions")
    a.leave({TopicPartition(name, p): OffsetAndMetadata(15, "", -1) for p in range(PARTITIONS)})
    c = consumer("g-" + name)
    c.subscribe([name])
    expect(sorted({r.offset for r in poll(c, 15)}), list(range(15, 20)), "offsets after a restart")
    c.close()


def unsupported():
    raise Unsupported


def transactions():
    name = topic("transactions")
    p = KafkaProducer(**AT, transactional_id="kafkapython-tx")
    p.init_transactions()
    for end in (p.commit_transaction, p.abort_transaction, p.commit_transaction):
        p.begin_transaction()
        send(p, name)
        end()
    expect(committed(name, 2 * len(VALUES)), sorted(2 * VALUES), "committed values")


def transform():
    source, sink = topic("source"), topic("sink")
    send(KafkaProducer(**AT), source)
    c = consumer("g-kafkapython-transform")
    c.subscribe([source])
    p = KafkaProducer(**AT, transactional_id="kafkapython-transform")
    p.init_transactions()
    for commit in (False, True):
        p.begin_transaction()
        got = poll(c, len(VALUES))
        send(p, sink, [r.value for r in got])
        offsets = {t: OffsetAndMetadata(c.position(t), "", -1) for t in c.assignment()}
        p.send_offsets_to_transaction(offsets, c.group_metadata() if hasattr(c, "group_metadata") else "g-kafkapython-transform")
        if commit:
            p.commit_transaction()
        else:
            p.abort_transaction()
            for t in c.assignment():
                c.seek(t, 0)
    expect(committed(sink, len(VALUES)), sorted(VALUES), "values")
    expect([c.committed(TopicPartition(source, p)) for p in range(PARTITIONS)], [20] * PARTITIONS, "offsets")
    c.close()


def fencing():
    name = topic("fencing")
    old, new = (KafkaProducer(**AT, transactional_id="kafkapython-fenced") for _ in range(2))
    old.init_transactions()
    old.begin_transaction()
    send(old, name, [b"old"])
    new.init_transactions()
    try:
        old.commit_transaction()
    except KafkaError:
        pass
    else:
        raise AssertionError("the fenced producer committed")
    new.begin_transaction()
    send(new, name, [b"new"])
    new.commit_transaction()
    expect(committed(name, 1), [b"new"], "values")


def administration():
    name = topic("admin", 2, {"retention.ms": "1000000000000"})
    admin.create_partitions({name: PARTITIONS})
    until(lambda: len(admin.describe_topics([name])[0]["partitions"]) == PARTITIONS, "more partitions")
    send(KafkaProducer(**AT), name)
    zero = TopicPartition(name, 0)
    admin.delete_records({zero: 5})
    c = consumer("g-kafkapython-admin")
    c.subscribe([name])
    expect(c.beginning_offsets([zero])[zero], 5, "start offset")
    expect(c.end_offsets([zero])[zero], 20, "end offset")
    poll(c, 1)
    c.commit()
    c.close()
    admin.list_group_offsets("g-kafkapython-admin") if hasattr(admin, "list_group_offsets") else admin.list_consumer_group_offsets("g-kafkapython-admin")
    groups = admin.list_groups() if hasattr(admin, "list_groups") else admin.list_consumer_groups()
    expect("g-kafkapython-admin" in str(groups), True, "group is listed")
    admin.delete_topics([name])
    until(lambda: name not in admin.list_topics(), "the topic is gone")


run([
    ("produce", produce),
    ("idempotent", idempotent),
    ("compression", compression),
    ("classic group", group),
    ("KIP-848 group", unsupported),
    ("transactions", transactions),
    ("transform", transform),
    ("fencing", fencing),
    ("administration", administration),
])
