CREATE TABLE batches (device STRING, n INT, note STRING) WITH ('connector'='kafka','scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset','topic'='batches','format'='json','json.ignore-parse-errors'='true');
CREATE TABLE strict (device STRING, n INT, note STRING) WITH ('connector'='kafka','scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset','topic'='strict','format'='json');
CREATE TABLE rows_out (device STRING, n INT, note STRING) WITH ('connector'='kafka','topic'='rows_out','format'='json');
CREATE TABLE strict_out (device STRING, n INT, note STRING) WITH ('connector'='kafka','topic'='strict_out','format'='json');
INSERT INTO rows_out SELECT device, n, note FROM batches;
INSERT INTO strict_out SELECT device, n, note FROM strict WHERE n <> 13;
