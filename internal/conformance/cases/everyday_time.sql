-- The calendar of a plant in its own time zone: shifts, days, ages, pauses and durations.
SET 'table.local-time-zone' = 'America/New_York';
CREATE TABLE runs (machine STRING, state STRING, ms BIGINT, n INT, installed DATE, opens TIME(0), ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE) WITH ('connector' = 'kafka', 'topic' = 'runs', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE repairs (machine STRING, began TIMESTAMP(3), ended TIMESTAMP(3), WATERMARK FOR began AS began) WITH ('connector' = 'kafka', 'topic' = 'repairs', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE VIEW local_runs AS SELECT machine, state, n, ts, CAST(ts AS TIMESTAMP(3)) AS lt, CAST(ts AS DATE) AS d FROM runs;
CREATE VIEW pauses AS SELECT machine, state, ts, LAG(ts) OVER w AS before, LAG(state, 1, 'none') OVER w AS was FROM runs WINDOW w AS (PARTITION BY machine ORDER BY ts);
CREATE TABLE shifts (d DATE, shift STRING, runs BIGINT, machines BIGINT, PRIMARY KEY (d, shift) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'shifts', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE written_times (machine STRING, here STRING, there STRING, tokyo STRING, short_ STRING, y BIGINT, q BIGINT, w BIGINT, dow BIGINT, doy BIGINT) WITH ('connector' = 'kafka', 'topic' = 'written_times', 'value.format' = 'json');
CREATE TABLE borders (machine STRING, day_ TIMESTAMP(3), week_ TIMESTAMP(3), month_ TIMESTAMP(3), quarter_ TIMESTAMP(3), next_hour TIMESTAMP(3), next_day DATE) WITH ('connector' = 'kafka', 'topic' = 'borders', 'value.format' = 'json');
CREATE TABLE moved (machine STRING, later_ TIMESTAMP(3), earlier TIMESTAMP(3), due TIMESTAMP(3), opens TIME(0), year_on DATE) WITH ('connector' = 'kafka', 'topic' = 'moved', 'value.format' = 'json');
CREATE TABLE ages (machine STRING, days_ INT, months_ INT, years_ INT, weeks_ INT, fresh BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 'ages', 'value.format' = 'json');
CREATE TABLE idle_minutes (machine STRING, ts TIMESTAMP_LTZ(3), seconds_ INT, minutes_ INT, was STRING) WITH ('connector' = 'kafka', 'topic' = 'idle_minutes', 'value.format' = 'json');
CREATE TABLE time_in_state (machine STRING, state STRING, seconds_ BIGINT, visits BIGINT, PRIMARY KEY (machine, state) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'time_in_state', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE local_days (d STRING, machine STRING, c BIGINT, first_ STRING, last_ STRING) WITH ('connector' = 'kafka', 'topic' = 'local_days', 'value.format' = 'json');
CREATE TABLE so_far_today (e STRING, c BIGINT, total BIGINT, machines BIGINT) WITH ('connector' = 'kafka', 'topic' = 'so_far_today', 'value.format' = 'json');
CREATE TABLE overlapping (machine STRING, began TIMESTAMP(3), in_night BOOLEAN, minutes_ INT, whole STRING) WITH ('connector' = 'kafka', 'topic' = 'overlapping', 'value.format' = 'json');
CREATE TABLE hourly_peak (h TIMESTAMP(3), busiest BIGINT, quietest BIGINT, minutes_ BIGINT) WITH ('connector' = 'kafka', 'topic' = 'hourly_peak', 'value.format' = 'json');
CREATE TABLE per_weekday (dow BIGINT, hours STRING, c BIGINT, PRIMARY KEY (dow) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'per_weekday', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE recent (machine STRING, n INT, lt STRING) WITH ('connector' = 'kafka', 'topic' = 'recent', 'value.format' = 'json');
INSERT INTO shifts
SELECT d, shift, COUNT(*), COUNT(DISTINCT machine) FROM (SELECT d, machine, CASE WHEN EXTRACT(HOUR FROM ts) BETWEEN 6 AND 13 THEN 'early' WHEN HOUR(ts) >= 14 AND HOUR(ts) < 22 THEN 'late' ELSE 'night' END AS shift FROM local_runs) GROUP BY d, shift;
INSERT INTO written_times
SELECT machine, DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm:ss.SSS'), CONVERT_TZ(DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm:ss'), 'America/New_York', 'Europe/Berlin'), CONVERT_TZ(CAST(TO_TIMESTAMP(FROM_UNIXTIME(ms / 1000)) AS STRING), 'America/New_York', 'Asia/Tokyo'), FROM_UNIXTIME(ms / 1000, 'yy-M-d H:mm'), EXTRACT(YEAR FROM ts), QUARTER(ts), WEEK(CAST(ts AS DATE)), DAYOFWEEK(CAST(ts AS DATE)), EXTRACT(DOY FROM ts) FROM runs;
INSERT INTO borders
SELECT machine, FLOOR(lt TO DAY), FLOOR(lt TO WEEK), FLOOR(lt TO MONTH), FLOOR(lt TO QUARTER), CEIL(lt TO HOUR), CEIL(d TO MONTH) FROM local_runs;
INSERT INTO moved
SELECT machine, CAST(ts AS TIMESTAMP(3)) + INTERVAL '1 02:30' DAY TO MINUTE, CAST(ts AS TIMESTAMP(3)) - INTERVAL '1-1' YEAR TO MONTH, TIMESTAMPADD(MINUTE, n, CAST(ts AS TIMESTAMP(3))), opens + INTERVAL '90' MINUTE, installed + INTERVAL '1' YEAR FROM runs;
INSERT INTO ages
SELECT machine, TIMESTAMPDIFF(DAY, CAST(installed AS TIMESTAMP(3)), CAST(ts AS TIMESTAMP(3))), TIMESTAMPDIFF(MONTH, CAST(installed AS TIMESTAMP(3)), CAST(ts AS TIMESTAMP(3))), TIMESTAMPDIFF(YEAR, installed, CAST(ts AS DATE)), TIMESTAMPDIFF(WEEK, installed, CAST(ts AS DATE)), installed > CAST(ts AS DATE) - INTERVAL '90' DAY FROM runs WHERE installed IS NOT NULL;
INSERT INTO idle_minutes
SELECT machine, ts, TIMESTAMPDIFF(SECOND, before, ts), TIMESTAMPDIFF(MINUTE, before, ts), was FROM pauses WHERE before IS NULL OR TIMESTAMPDIFF(SECOND, before, ts) > 600;
INSERT INTO time_in_state
SELECT machine, was, SUM(TIMESTAMPDIFF(SECOND, before, ts)), COUNT(*) FROM pauses WHERE was <> 'none' GROUP BY machine, was;
INSERT INTO local_days
SELECT DATE_FORMAT(window_start, 'yyyy-MM-dd'), machine, COUNT(*), CAST(MIN(lt) AS STRING), CAST(MAX(lt) AS STRING) FROM TABLE(TUMBLE(TABLE local_runs, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY window_start, window_end, machine;
INSERT INTO so_far_today
SELECT CAST(window_end AS STRING), COUNT(*), SUM(n), COUNT(DISTINCT machine) FROM TABLE(CUMULATE(TABLE runs, DESCRIPTOR(ts), INTERVAL '8' HOUR, INTERVAL '1' DAY)) GROUP BY window_start, window_end;
INSERT INTO overlapping
SELECT machine, began, (began, ended) OVERLAPS (CAST(FLOOR(began TO DAY) AS TIMESTAMP(3)) + INTERVAL '22' HOUR, INTERVAL '8' HOUR), TIMESTAMPDIFF(MINUTE, began, ended), CASE WHEN ended < began THEN 'impossible' WHEN CAST(began AS DATE) = CAST(ended AS DATE) THEN 'one day' ELSE 'overnight' END FROM repairs;
INSERT INTO hourly_peak
SELECT window_start, MAX(c), MIN(c), COUNT(*) FROM TABLE(TUMBLE((SELECT window_time AS t, COUNT(*) AS c FROM TABLE(TUMBLE(TABLE runs, DESCRIPTOR(ts), INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, window_time), DESCRIPTOR(t), INTERVAL '1' HOUR)) GROUP BY window_start, window_end;
INSERT INTO per_weekday
SELECT DAYOFWEEK(d), MIN(DATE_FORMAT(lt, 'HH')) || '-' || MAX(DATE_FORMAT(lt, 'HH')), COUNT(*) FROM local_runs GROUP BY DAYOFWEEK(d);
INSERT INTO recent
SELECT machine, n, CAST(lt AS STRING) FROM local_runs WHERE ts >= TO_TIMESTAMP_LTZ(1772900000, 0) AND lt < TIMESTAMP '2026-03-08 12:00:00' AND EXTRACT(MINUTE FROM lt) <> 30;
