-- Flink 2.2 cannot plan an EXISTS over VALUES.
CREATE TABLE devices (device STRING, site STRING, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE elsewhere (device STRING, site STRING, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'elsewhere', 'key.format' = 'json', 'value.format' = 'json');
CREATE VIEW countries (site, country) AS VALUES ('north', 'NO'), ('south', 'IT'), ('west', 'US');
INSERT INTO elsewhere SELECT device, site FROM devices AS d WHERE NOT EXISTS (SELECT 1 FROM countries AS c WHERE c.site = d.site);
