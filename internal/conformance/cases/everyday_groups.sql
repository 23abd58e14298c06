-- Reports about a cold chain: totals of totals, shares, first and last of groups, windows ranked, sets compared.
CREATE TABLE trucks (truck STRING, zone STRING, door BOOLEAN, temp DOUBLE, n INT, cost DECIMAL(8, 2), state STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '10' SECOND) WITH ('connector' = 'kafka', 'topic' = 'trucks', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE depots (truck STRING, depot STRING, max_temp DOUBLE, PRIMARY KEY (truck) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'depots', 'key.format' = 'json', 'value.format' = 'json');
CREATE VIEW newest AS SELECT truck, zone, temp, state FROM trucks QUALIFY ROW_NUMBER() OVER (PARTITION BY truck, zone ORDER BY ts DESC) = 1;
CREATE VIEW minutes_ AS SELECT truck, window_start, window_end, COUNT(*) AS c, MAX(temp) AS hi, SUM(cost) AS cost FROM TABLE(TUMBLE(TABLE trucks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY truck, window_start, window_end;
CREATE TABLE cubed (s TIMESTAMP(3), truck STRING, zone STRING, level_ BIGINT, warm BIGINT, c BIGINT, cost DECIMAL(38, 2)) WITH ('connector' = 'kafka', 'topic' = 'cubed', 'value.format' = 'json');
CREATE TABLE rolled (what STRING, k STRING, c BIGINT, mean DOUBLE, PRIMARY KEY (what, k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'rolled', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE open_doors (s TIMESTAMP(3), e TIMESTAMP(3), zone STRING, trucks BIGINT, open_trucks BIGINT, states BIGINT, share DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'open_doors', 'value.format' = 'json');
CREATE TABLE too_warm (truck STRING, zone STRING, temp DOUBLE, max_temp DOUBLE, PRIMARY KEY (truck, zone) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'too_warm', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE worst_of_minute (s TIMESTAMP(3), place BIGINT, truck STRING, hi DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'worst_of_minute', 'value.format' = 'json');
CREATE TABLE visits (truck STRING, s TIMESTAMP(3), e TIMESTAMP(3), zones STRING, first_zone STRING, last_zone STRING) WITH ('connector' = 'kafka', 'topic' = 'visits', 'value.format' = 'json');
CREATE TABLE edges_of_minute (s TIMESTAMP(3), truck STRING, opened DOUBLE, closed DOUBLE, change_ DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'edges_of_minute', 'value.format' = 'json');
CREATE TABLE only_warm (truck STRING, zone STRING, PRIMARY KEY (truck, zone) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'only_warm', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE both_states (truck STRING, PRIMARY KEY (truck) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'both_states', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE never_open (truck STRING, rows_ BIGINT, PRIMARY KEY (truck) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'never_open', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE above_mean (truck STRING, hi DOUBLE, PRIMARY KEY (truck) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'above_mean', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE changes_ (truck STRING, was STRING, now_ STRING, seconds_ INT) WITH ('connector' = 'kafka', 'topic' = 'changes_', 'value.format' = 'json');
CREATE TABLE held (truck STRING, ts TIMESTAMP(3), temp DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'held', 'value.format' = 'json');
CREATE TABLE quartiles (zone STRING, med DOUBLE, p90 DOUBLE, outer_ ARRAY<DOUBLE>, weighted DOUBLE, PRIMARY KEY (zone) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'quartiles', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE costs (zone STRING, total DECIMAL(38, 2), mean DECIMAL(38, 6), per_n DOUBLE, high_ DECIMAL(8, 2), PRIMARY KEY (zone) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'costs', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE common_size (c BIGINT, trucks STRING, PRIMARY KEY (c) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'common_size', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE busiest_minutes (truck STRING, place BIGINT, s TIMESTAMP(3), cost DECIMAL(38, 2), PRIMARY KEY (truck, place) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'busiest_minutes', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO cubed
SELECT window_start, truck, zone, GROUPING_ID(truck, zone), COUNT(*) FILTER (WHERE temp > 8), COUNT(*), SUM(cost) FROM TABLE(TUMBLE(TABLE trucks, DESCRIPTOR(ts), INTERVAL '2' MINUTE)) GROUP BY window_start, window_end, CUBE (truck, zone);
INSERT INTO rolled
SELECT CASE WHEN GROUPING(zone) = 1 AND GROUPING(state) = 1 THEN 'all' WHEN GROUPING(state) = 1 THEN 'zone' ELSE 'zone and state' END, COALESCE(zone, '-') || '/' || COALESCE(state, '-'), COUNT(*), AVG(temp) FROM newest GROUP BY ROLLUP (zone, state);
INSERT INTO open_doors
SELECT window_start, window_end, zone, COUNT(DISTINCT truck), COUNT(DISTINCT truck) FILTER (WHERE door), COUNT(DISTINCT CASE WHEN temp IS NOT NULL THEN state END), ROUND(CAST(COUNT(*) FILTER (WHERE door) AS DOUBLE) / COUNT(*), 3) FROM TABLE(HOP(TABLE trucks, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '2' MINUTE)) GROUP BY zone, window_start, window_end HAVING COUNT(*) > 1;
INSERT INTO too_warm
SELECT n.truck, n.zone, n.temp, d.max_temp FROM newest AS n JOIN depots AS d ON n.truck = d.truck WHERE n.temp > d.max_temp AND n.zone IN (SELECT zone FROM trucks WHERE door GROUP BY zone HAVING COUNT(*) >= 2);
INSERT INTO worst_of_minute
SELECT window_start, place, truck, hi FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY hi DESC, truck) AS place FROM minutes_) WHERE place BETWEEN 1 AND 2;
INSERT INTO visits
SELECT truck, window_start, window_end, LISTAGG(DISTINCT zone, '>'), MIN(zone), MAX(zone) FROM TABLE(SESSION(TABLE trucks PARTITION BY truck, DESCRIPTOR(ts), INTERVAL '40' SECOND)) GROUP BY truck, window_start, window_end;
INSERT INTO edges_of_minute
SELECT window_start, truck, MIN(temp), MAX(temp), MAX(temp) - MIN(temp) FROM TABLE(CUMULATE(TABLE trucks, DESCRIPTOR(ts), INTERVAL '30' SECOND, INTERVAL '1' MINUTE)) WHERE temp IS NOT NULL GROUP BY truck, window_start, window_end HAVING MAX(temp) - MIN(temp) > 1;
INSERT INTO only_warm
SELECT truck, zone FROM trucks WHERE temp > 8 EXCEPT SELECT truck, zone FROM trucks WHERE temp < -10 AND zone = 'rear';
INSERT INTO both_states
SELECT truck FROM trucks WHERE state = 'idle' INTERSECT SELECT truck FROM trucks WHERE state = 'moving';
INSERT INTO never_open
SELECT truck, COUNT(*) FROM trucks WHERE truck NOT IN (SELECT truck FROM trucks WHERE door AND temp > 12 AND truck IS NOT NULL) GROUP BY truck;
INSERT INTO above_mean
SELECT truck, MAX(temp) FROM trucks GROUP BY truck HAVING MAX(temp) > (SELECT AVG(temp) + 1 FROM trucks);
INSERT INTO changes_
SELECT truck, was, state, TIMESTAMPDIFF(SECOND, since, ts) FROM (SELECT truck, state, ts, LAG(state) OVER w AS was, LAG(ts) OVER w AS since FROM trucks WINDOW w AS (PARTITION BY truck ORDER BY ts)) WHERE was IS DISTINCT FROM state;
INSERT INTO held
SELECT truck, ts, temp FROM trucks WHERE temp IS NOT NULL QUALIFY temp > 8 AND LAG(temp, 1) OVER (PARTITION BY truck ORDER BY ts) > 8 AND LAG(temp, 2, CAST(0 AS DOUBLE)) OVER (PARTITION BY truck ORDER BY ts) <= 8;
INSERT INTO quartiles
SELECT zone, PERCENTILE(temp, 0.5), PERCENTILE(temp, 0.9) FILTER (WHERE NOT door), PERCENTILE(temp, ARRAY[0.25, 0.75]), PERCENTILE(temp, 0.5, n) FROM trucks WHERE n > 0 GROUP BY zone;
INSERT INTO costs
SELECT zone, SUM(cost), AVG(cost), CAST(SUM(cost * n) AS DOUBLE) / NULLIF(SUM(n), 0), MAX(cost) FROM trucks GROUP BY zone;
INSERT INTO common_size
SELECT c, MIN(truck) || '-' || MAX(truck) FROM (SELECT truck, COUNT(*) AS c FROM newest GROUP BY truck) GROUP BY c;
INSERT INTO busiest_minutes
SELECT truck, place, window_start, cost FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY truck ORDER BY cost DESC, window_start) AS place FROM minutes_) WHERE place <= 2;
