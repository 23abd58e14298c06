CREATE TABLE a (k STRING, v INT) WITH ('connector'='kafka','scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset','topic'='a','format'='json');
CREATE TABLE strict (v INT, m MAP<STRING, INT>, l ARRAY<MAP<STRING, INT>>) WITH ('connector'='kafka','topic'='strict','format'='json');
CREATE TABLE dropping (v INT, m MAP<STRING, INT>, l ARRAY<MAP<STRING, INT>>) WITH ('connector'='kafka','topic'='dropping','format'='json','json.map-null-key.mode'='DROP');
CREATE TABLE named (v INT, m MAP<STRING, INT>, l ARRAY<MAP<STRING, INT>>) WITH ('connector'='kafka','topic'='named','format'='json','json.map-null-key.mode'='LITERAL','json.map-null-key.literal'='none');
CREATE TABLE texts (v INT, t STRING) WITH ('connector'='kafka','topic'='texts','format'='json');
INSERT INTO strict SELECT v, MAP[k, v], ARRAY[MAP['x', v, k, v]] FROM a;
INSERT INTO dropping SELECT v, MAP[k, v], ARRAY[MAP['x', v, k, v]] FROM a;
INSERT INTO named SELECT v, MAP[k, v], ARRAY[MAP['x', v, k, v]] FROM a;
INSERT INTO texts SELECT v, CAST(MAP[k, v] AS STRING) FROM a;
