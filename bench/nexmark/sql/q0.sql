{{template "source" .}}
CREATE TABLE results (auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3), extra STRING){{template "append" .}}
INSERT INTO results SELECT auction, bidder, price, `dateTime`, extra FROM bid;
