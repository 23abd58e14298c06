-- DISTINCT functions of one argument remember their values together, whatever their filters.
CREATE TABLE bids (channel STRING, bidder INT, auction INT, price INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'kafka', 'topic' = 'bids', 'key.format' = 'raw', 'key.fields' = 'channel', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE channels (channel STRING, bidders BIGINT, low_bidders BIGINT, high_bidders BIGINT, spent BIGINT, auctions BIGINT, high_auctions BIGINT, PRIMARY KEY (channel) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'channels', 'key.format' = 'raw', 'value.format' = 'json');
CREATE TABLE hops (channel STRING, window_end TIMESTAMP(3), high_bidders BIGINT, bidders BIGINT, low_bidders BIGINT, auctions BIGINT)
WITH ('connector' = 'kafka', 'topic' = 'hops', 'format' = 'json');
INSERT INTO channels SELECT channel, COUNT(DISTINCT bidder), COUNT(DISTINCT bidder) FILTER (WHERE price < 10), COUNT(DISTINCT bidder) FILTER (WHERE price >= 10), SUM(DISTINCT price),
  COUNT(DISTINCT auction), COUNT(DISTINCT auction) FILTER (WHERE price >= 10) FROM bids GROUP BY channel;
INSERT INTO hops SELECT channel, window_end, COUNT(DISTINCT bidder) FILTER (WHERE price >= 10), COUNT(DISTINCT bidder), COUNT(DISTINCT bidder) FILTER (WHERE price < 10), COUNT(DISTINCT auction)
FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '2' MINUTE)) GROUP BY channel, window_start, window_end;
