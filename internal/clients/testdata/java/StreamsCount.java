import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;

/**
 * Counts words exactly once: lines of the topic "lines" are split into words, moved to their
 * partitions by a repartition topic, and counted in all (topic "counts") and in windows of ten
 * seconds (topic "windows"). Both counts are kept in stores with changelogs. Arguments: the
 * bootstrap address, the state directory. Ends when standard input does.
 */
public final class StreamsCount {
    private StreamsCount() {}

    public static void main(String[] args) throws Exception {
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, String> words = builder.<String, String>stream("lines")
            .flatMapValues(line -> Arrays.asList(line.split(" ")));
        var grouped = words.groupBy((key, word) -> word, Grouped.as("words"));
        grouped.count(Named.as("total"), Materialized.as("totals"))
            .toStream().to("counts", Produced.with(Serdes.String(), Serdes.Long()));
        grouped.windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(10), Duration.ofDays(1)))
            .count(Named.as("windowed"), Materialized.as("windowed-totals"))
            .toStream((window, count) -> window.key() + "@" + window.window().start())
            .to("windows", Produced.with(Serdes.String(), Serdes.Long()));
        Properties config = new Properties();
        config.putAll(Map.of(
            StreamsConfig.APPLICATION_ID_CONFIG, "word-count",
            StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0],
            StreamsConfig.STATE_DIR_CONFIG, args[1],
            StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2,
            StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100,
            StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2,
            StreamsConfig.REPLICATION_FACTOR_CONFIG, 1,
            StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class,
            StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class));
        config.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        config.put(StreamsConfig.consumerPrefix("session.timeout.ms"), 6000);
        KafkaStreams streams = new KafkaStreams(builder.build(), config);
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        streams.start();
        while (System.in.read() >= 0) { }
        System.exit(streams.close(Duration.ofSeconds(20)) ? 0 : 1);
    }
}
