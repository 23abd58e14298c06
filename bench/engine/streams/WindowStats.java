package weir.bench;

import com.fasterxml.jackson.core.JsonGenerator;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** Statistics of one device's values in one window. In the store and its changelog it takes 32 bytes. */
record WindowStats(long readings, double sum, double lowest, double highest) {

    static final WindowStats NONE = new WindowStats(0, 0, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY);

    WindowStats with(double value) {
        return new WindowStats(readings + 1, sum + value, Math.min(lowest, value), Math.max(highest, value));
    }

    static Serde<WindowStats> serde() {
        return Serdes.serdeFrom(
                (topic, s) -> s == null ? null : ByteBuffer.allocate(32)
                        .putLong(s.readings).putDouble(s.sum).putDouble(s.lowest).putDouble(s.highest).array(),
                (topic, bytes) -> {
                    if (bytes == null) {
                        return null;
                    }
                    ByteBuffer in = ByteBuffer.wrap(bytes);
                    return new WindowStats(in.getLong(), in.getDouble(), in.getDouble(), in.getDouble());
                });
    }

    /** The result as JSON; window bounds are times without a zone, in UTC, as SQL's window_start is. */
    byte[] toJson(String device, long start, long end) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(256);
        try (JsonGenerator out = Reading.JSON.createGenerator(bytes)) {
            out.writeStartObject();
            out.writeStringField("device_id", device);
            out.writeStringField("window_start", local(start));
            out.writeStringField("window_end", local(end));
            out.writeNumberField("readings", readings);
            out.writeNumberField("lowest", lowest);
            out.writeNumberField("highest", highest);
            out.writeNumberField("mean", sum / readings);
            out.writeEndObject();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return bytes.toByteArray();
    }

    private static String local(long millis) {
        return DateTimeFormatter.ISO_LOCAL_DATE_TIME.format(
                LocalDateTime.ofEpochSecond(Math.floorDiv(millis, 1_000L), 0, ZoneOffset.UTC));
    }
}
