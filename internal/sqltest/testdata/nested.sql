CREATE TABLE events (id INT, place ROW<lat DOUBLE, name STRING>, tags ARRAY<STRING>, attrs MAP<STRING, INT>)
WITH ('connector' = 'kafka', 'topic' = 'events', 'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE results (id INT, lat DOUBLE, name STRING, tag STRING, n INT, m INT, c INT, back ROW<a INT, b ARRAY<INT>>, again MAP<STRING, INT>, tags ARRAY<STRING>) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
INSERT INTO results SELECT id, place.lat, UPPER(events.place.name), tags[1], CARDINALITY(tags), attrs['x'], CARDINALITY(attrs), ROW(id, ARRAY[id, id + 1]), MAP['k', id], tags FROM events;
