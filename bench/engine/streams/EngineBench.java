package weir.bench;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.WindowStore;

/**
 * One workload of the engine bench, written with Kafka Streams. Arguments are name=value: id, brokers, source, sink,
 * workload (filter or tumble), window (milliseconds), rows, commit (milliseconds) and state (a folder).
 *
 * <p>With rows above 0 it ends when so many are processed and committed, and prints when things happened, as JSON in
 * milliseconds since 1970. With 0 it runs until it is interrupted.
 */
public final class EngineBench {

    /** As in the SQL: WATERMARK FOR ts AS ts - INTERVAL '2' SECOND. */
    private static final Duration GRACE = Duration.ofSeconds(2);

    private final Map<String, String> args;
    private final LongAdder processed = new LongAdder();
    private final AtomicLong firstRecord = new AtomicLong();
    private final CountDownLatch failed = new CountDownLatch(1);

    private EngineBench(Map<String, String> args) {
        this.args = args;
    }

    /** Runs the workload. */
    public static void main(String[] args) throws Exception {
        Map<String, String> named = new HashMap<>();
        for (String arg : args) {
            String[] parts = arg.split("=", 2);
            named.put(parts[0], parts[1]);
        }
        new EngineBench(named).run();
    }

    private void run() throws Exception {
        KafkaStreams streams = new KafkaStreams(topology().build(), config());
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            failed.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        AtomicLong running = new AtomicLong();
        streams.setStateListener((now, before) -> {
            if (now == KafkaStreams.State.RUNNING) {
                running.compareAndSet(0, System.currentTimeMillis());
            }
        });
        long rows = Long.parseLong(args.get("rows"));
        if (rows == 0) {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(20))));
            streams.start();
            failed.await();
            System.exit(1);
        }
        streams.start();
        awaitCommitted(rows);
        long committed = System.currentTimeMillis();
        streams.close(Duration.ofSeconds(20));
        System.out.printf("{\"running_ms\":%d,\"first_record_ms\":%d,\"committed_ms\":%d,\"rows\":%d}%n",
                running.get(), firstRecord.get(), committed, processed.sum());
    }

    private Properties config() {
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, args.get("id"));
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args.get("brokers"));
        p.put(StreamsConfig.STATE_DIR_CONFIG, args.get("state"));
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, args.get("commit"));
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, args.get("threads"));
        p.put("auto.offset.reset", "earliest");
        // What an operator would tune for throughput: larger polls, batches and cache than the defaults (1000, 16 kB, 10 MB).
        p.put(StreamsConfig.mainConsumerPrefix("max.poll.records"), "5000");
        p.put(StreamsConfig.producerPrefix("linger.ms"), "5");
        p.put(StreamsConfig.producerPrefix("batch.size"), "131072");
        p.put(StreamsConfig.producerPrefix("compression.type"), "lz4");
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "52428800");
        return p;
    }

    private StreamsBuilder topology() {
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, Reading> readings = builder
                .stream(args.get("source"), Consumed.with(Serdes.String(), Reading.serde())
                        .withTimestampExtractor((record, before) -> ((Reading) record.value()).ts()))
                .peek((device, reading) -> count());
        if (args.get("workload").equals("filter")) {
            readings.filter((device, reading) -> reading.value() > 25)
                    .to(args.get("sink"), Produced.with(Serdes.String(), Reading.serde()));
        } else {
            tumble(readings, Duration.ofMillis(Long.parseLong(args.get("window"))));
        }
        return builder;
    }

    private void tumble(KStream<String, Reading> readings, Duration window) {
        readings.groupByKey()
                .windowedBy(TimeWindows.ofSizeAndGrace(window, GRACE))
                .aggregate(() -> WindowStats.NONE, (device, reading, stats) -> stats.with(reading.value()),
                        Materialized.<String, WindowStats, WindowStore<Bytes, byte[]>>as("stats")
                                .withKeySerde(Serdes.String())
                                .withValueSerde(WindowStats.serde())
                                .withRetention(Duration.ofMinutes(1))) // the default, a day, keeps what nobody asks for
                .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))
                .toStream()
                .map((device, stats) -> KeyValue.pair(device.key(),
                        stats.toJson(device.key(), device.window().start(), device.window().end())))
                .to(args.get("sink"), Produced.with(Serdes.String(), Serdes.ByteArray()));
    }

    private void count() {
        processed.increment();
        if (firstRecord.get() == 0) {
            firstRecord.compareAndSet(0, System.currentTimeMillis());
        }
    }

    /** Waits until all rows are processed and the group's committed offsets are at the end of the source. */
    private void awaitCommitted(long rows) throws Exception {
        while (processed.sum() < rows) {
            pause();
        }
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args.get("brokers")))) {
            String source = args.get("source");
            int partitions = admin.describeTopics(List.of(source)).allTopicNames().get().get(source).partitions().size();
            Map<TopicPartition, OffsetSpec> latest = IntStream.range(0, partitions).boxed()
                    .collect(Collectors.toMap(p -> new TopicPartition(source, p), p -> OffsetSpec.latest()));
            var ends = admin.listOffsets(latest).all().get();
            boolean behind = true;
            while (behind) {
                pause();
                Map<TopicPartition, OffsetAndMetadata> committed =
                        admin.listConsumerGroupOffsets(args.get("id")).partitionsToOffsetAndMetadata().get();
                // The last record of a partition is a transaction's marker, which need not be counted as read.
                behind = ends.entrySet().stream().anyMatch(end -> committed.get(end.getKey()) == null
                        || committed.get(end.getKey()).offset() < end.getValue().offset() - 1);
            }
        }
    }

    private void pause() throws InterruptedException {
        if (failed.await(20, TimeUnit.MILLISECONDS)) {
            System.exit(1);
        }
    }
}
