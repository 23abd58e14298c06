-- An upsert table whose key has two columns, read by a temporal join and by other queries. Its
-- topic may have keys in any partition.
SET 'weir.key-partitioning' = 'any';
CREATE TABLE readings (plant STRING, device INT, x INT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE devices (plant STRING, device INT, site STRING, factor DOUBLE, changed TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', WATERMARK FOR changed AS changed, PRIMARY KEY (device, plant) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'json', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY');
CREATE TABLE joined (x INT, site STRING) WITH ('connector' = 'kafka', 'topic' = 'joined', 'value.format' = 'json');
CREATE TABLE plants (plant STRING, devices BIGINT, mean DOUBLE, PRIMARY KEY (plant) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'plants', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE inverse (plant STRING, device BIGINT, factor DOUBLE, PRIMARY KEY (plant, device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'inverse', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO joined SELECT x, site FROM readings AS r LEFT JOIN devices FOR SYSTEM_TIME AS OF r.ts AS d ON d.plant = r.plant AND d.device = r.device;
INSERT INTO plants SELECT plant, COUNT(DISTINCT site), AVG(factor) FROM devices GROUP BY plant;
INSERT INTO inverse SELECT plant, device, CAST(site AS INT) / factor FROM devices WHERE factor <> 2;
