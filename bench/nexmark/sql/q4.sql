{{template "source" .}}
CREATE TABLE results (id BIGINT, final BIGINT, PRIMARY KEY (id) NOT ENFORCED){{template "upsert" .}}
INSERT INTO results
SELECT Q.category, AVG(Q.final) FROM (
  SELECT MAX(B.price) AS final, A.category FROM auction A, bid B
  WHERE A.id = B.auction AND B.`dateTime` BETWEEN A.`dateTime` AND A.expires GROUP BY A.id, A.category) Q
GROUP BY Q.category;
