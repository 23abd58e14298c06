"""aiokafka. Argument: the bootstrap address."""

import asyncio
import os
import ssl
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.errors import KafkaError

from checks import PARTITIONS, VALUES, Unsupported, expect, run

AT = {"bootstrap_servers": sys.argv[1]}
if "CLIENT_USER" in os.environ:
    AT |= {"security_protocol": "SASL_SSL", "ssl_context": ssl.create_default_context(cafile=os.environ["CLIENT_CA"]), "sasl_mechanism": "SCRAM-SHA-512",
           "sasl_plain_username": os.environ["CLIENT_USER"], "sasl_plain_password": os.environ["CLIENT_PASSWORD"]}


async def topic(name, partitions=PARTITIONS, configs=None):
    name = "aiokafka-" + name
    admin = AIOKafkaAdminClient(**AT)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs or {})])
    await admin.close()
    return name


async def producer(**more):
    p = AIOKafkaProducer(**AT, **more)
    await p.start()
    return p


async def consumer(group=None, *topics, **more):
    c = AIOKafkaConsumer(*topics, **AT, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, fetch_max_wait_ms=50, **more)
    await c.start()
    return c


async def send(p, name, values=VALUES):
    sent = [await p.send(name, key=str(i).encode(), value=value, partition=i % PARTITIONS) for i, value in enumerate(values)]
    await asyncio.wait_for(asyncio.gather(*sent), 20)


async def poll(c, n, seconds=20):
    got, end = [], time.time() + seconds
    while len(got) < n:
        if time.time() > end:
            raise AssertionError(f"{len(got)} of {n} records after {seconds} s")
        for records in (await c.getmany(timeout_ms=200)).values():
            got.extend(records)
    return got


async def committed(name, n):
    c = await consumer(isolation_level="read_committed")
    c.assign([TopicPartition(name, p) for p in range(PARTITIONS)])
    got = await poll(c, n)
    expect(await c.getmany(timeout_ms=1000), {}, "more records")
    await c.stop()
    return sorted(r.value for r in got)


async def written(name, values=VALUES, **config):
    p = await producer(**config)
    await send(p, name, values)
    await p.stop()


async def produce():
    name = await topic("produce")
    p = await producer()
    await p.send_and_wait(name, key=b"k", value=b"v", headers=[("h", b"x")], timestamp_ms=1234567890123, partition=0)
    await p.send_and_wait(name, key=b"k", value=None, partition=0)
    await p.stop()
    c = await consumer()
    c.assign([TopicPartition(name, 0)])
    first, second = await poll(c, 2)
    expect((first.key, first.value, list(first.headers), first.timestamp), (b"k", b"v", [("h", b"x")], 1234567890123), "record")
    expect(second.value, None, "value of a tombstone")
    await c.stop()


async def idempotent():
    name = await topic("idempotent")
    await written(name, enable_idempotence=True)
    expect(await committed(name, len(VALUES)), sorted(VALUES), "values")


async def compression():
    name = await topic("compression")
    await written(name, [b"gzip" * 50] * 30, compression_type="gzip")
    expect(len(await committed(name, 30)), 30, "records")


async def group():
    name = await topic("group")
    await written(name)
    a, b = await consumer("g-" + name, name), await consumer("g-" + name, name)
    got, end = set(), time.time() + 40
    while len(got) < len(VALUES) or min(len(a.assignment()), len(b.assignment())) == 0:
        if time.time() > end:
            raise AssertionError("two members with all records: not after 40 s")
        for c in (a, b):
            for records in (await c.getmany(timeout_ms=100)).values():
                got.update(r.value for r in records)
    expect(len(a.assignment()) + len(b.assignment()), PARTITIONS, "assigned partitions")
    await b.stop()
    while len(a.assignment()) < PARTITIONS:
        await a.getmany(timeout_ms=100)
    await a.commit({TopicPartition(name, p): 15 for p in range(PARTITIONS)})
    await a.stop()
    c = await consumer("g-" + name, name)
    expect(sorted({r.offset for r in await poll(c, 15)}), list(range(15, 20)), "offsets after a restart")
    await c.stop()


async def unsupported():
    raise Unsupported


async def transactions():
    name = await topic("transactions")
    p = await producer(transactional_id="aiokafka-tx")
    for end in (p.commit_transaction, p.abort_transaction, p.commit_transaction):
        await p.begin_transaction()
        await send(p, name)
        await end()
    await p.stop()
    expect(await committed(name, 2 * len(VALUES)), sorted(2 * VALUES), "committed values")


async def transform():
    source, sink = await topic("source"), await topic("sink")
    await written(source)
    c = await consumer("g-aiokafka-transform", source)
    p = await producer(transactional_id="aiokafka-transform")
    for commit in (False, True):
        await p.begin_transaction()
        got = await poll(c, len(VALUES))
        await send(p, sink, [r.value for r in got])
        await p.send_offsets_to_transaction({t: await c.position(t) for t in c.assignment()}, "g-aiokafka-transform")
        if commit:
            await p.commit_transaction()
        else:
            await p.abort_transaction()
            await c.seek_to_beginning()
    await p.stop()
    expect(await committed(sink, len(VALUES)), sorted(VALUES), "values")
    expect([await c.committed(TopicPartition(source, n)) for n in range(PARTITIONS)], [20] * PARTITIONS, "offsets")
    await c.stop()


async def fencing():
    name = await topic("fencing")
    old = await producer(transactional_id="aiokafka-fenced")
    await old.begin_transaction()
    await send(old, name, [b"old"])
    new = await producer(transactional_id="aiokafka-fenced")
    try:
        await old.commit_transaction()
    except KafkaError:
        pass
    else:
        raise AssertionError("the fenced producer committed")
    await new.begin_transaction()
    await send(new, name, [b"new"])
    await new.commit_transaction()
    expect(await committed(name, 1), [b"new"], "values")
    await new.stop()


async def administration():
    name = await topic("admin", 2, {"retention.ms": "1000000000000"})
    admin = AIOKafkaAdminClient(**AT)
    await admin.start()
    await admin.create_partitions({name: NewPartitions(PARTITIONS)})
    expect(len((await admin.describe_topics([name]))[0]["partitions"]), PARTITIONS, "more partitions")
    await written(name)
    zero = TopicPartition(name, 0)
    await admin.delete_records({zero: RecordsToDelete(before_offset=5)})
    c = await consumer("g-aiokafka-admin", name)
    expect((await c.beginning_offsets([zero]))[zero], 5, "start offset")
    expect((await c.end_offsets([zero]))[zero], 20, "end offset")
    await poll(c, 1)
    await c.commit()
    described = await admin.describe_consumer_groups(["g-aiokafka-admin"])
    expect("Stable" in str(described), True, f"state of {described}")
    await c.stop()
    expect("g-aiokafka-admin" in str(await admin.list_consumer_groups()), True, "group is listed")
    expect(len(await admin.list_consumer_group_offsets("g-aiokafka-admin")) > 0, True, "the group's offsets")
    await admin.delete_topics([name])
    expect(name in await admin.list_topics(), False, "the topic is still there")
    await admin.close()


run([(name, lambda check=check: asyncio.run(asyncio.wait_for(check(), 60))) for name, check in [
    ("produce", produce),
    ("idempotent", idempotent),
    ("compression", compression),
    ("classic group", group),
    ("KIP-848 group", unsupported),
    ("transactions", transactions),
    ("transform", transform),
    ("fencing", fencing),
    ("administration", administration),
]])
