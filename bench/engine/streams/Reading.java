package weir.bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Instant;
import java.time.LocalDate;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** A sensor reading. Its JSON has ts as RFC 3339 text; here it is milliseconds since 1970. */
record Reading(String deviceId, String sensor, double value, String unit, long ts, long seq, String boot) {

    static final JsonFactory JSON = new JsonFactory();

    /** Reads and writes JSON with Jackson's streaming API: no tree, no reflection. */
    static Serde<Reading> serde() {
        return Serdes.serdeFrom((topic, reading) -> reading.toJson(), (topic, json) -> fromJson(json));
    }

    private static Reading fromJson(byte[] json) {
        String deviceId = null;
        String sensor = null;
        double value = 0;
        String unit = null;
        long ts = 0;
        long seq = 0;
        String boot = null;
        try (JsonParser in = JSON.createParser(json)) {
            if (in.nextToken() != JsonToken.START_OBJECT) {
                throw new SerializationException("a reading is a JSON object");
            }
            for (String name = in.nextFieldName(); name != null; name = in.nextFieldName()) {
                in.nextToken();
                switch (name) {
                    case "device_id" -> deviceId = in.getText();
                    case "sensor" -> sensor = in.getText();
                    case "value" -> value = in.getDoubleValue();
                    case "unit" -> unit = in.getText();
                    case "ts" -> ts = parseTime(in.getText());
                    case "seq" -> seq = in.getLongValue();
                    case "boot" -> boot = in.getText();
                    default -> in.skipChildren();
                }
            }
        } catch (IOException e) {
            throw new SerializationException("parse a reading", e);
        }
        return new Reading(deviceId, sensor, value, unit, ts, seq, boot);
    }

    private byte[] toJson() {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(256);
        try (JsonGenerator out = JSON.createGenerator(bytes)) {
            out.writeStartObject();
            out.writeStringField("device_id", deviceId);
            out.writeStringField("sensor", sensor);
            out.writeNumberField("value", value);
            out.writeStringField("unit", unit);
            out.writeStringField("ts", Instant.ofEpochMilli(ts).toString());
            out.writeNumberField("seq", seq);
            out.writeStringField("boot", boot);
            out.writeEndObject();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return bytes.toByteArray();
    }

    /**
     * Parses 2026-01-01T00:00:00.123Z by hand, since Instant.parse takes most of a microsecond; any other form of RFC 3339
     * goes to Instant.parse.
     */
    static long parseTime(String text) {
        if (text.length() != 24 || text.charAt(10) != 'T' || text.charAt(19) != '.' || text.charAt(23) != 'Z') {
            return Instant.parse(text).toEpochMilli();
        }
        long day = LocalDate.of(digits(text, 0, 4), digits(text, 5, 7), digits(text, 8, 10)).toEpochDay();
        long second = day * 86_400 + digits(text, 11, 13) * 3_600 + digits(text, 14, 16) * 60 + digits(text, 17, 19);
        return second * 1_000 + digits(text, 20, 23);
    }

    private static int digits(String text, int from, int to) {
        int n = 0;
        for (int i = from; i < to; i++) {
            n = n * 10 + text.charAt(i) - '0';
        }
        return n;
    }
}
