{{template "source" .}}
CREATE TABLE results (auction BIGINT, price BIGINT){{template "append" .}}
INSERT INTO results SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0;
