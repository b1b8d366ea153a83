-- Tables, joins, transactions, aggregates, windows, recursive queries, JSON, views, triggers, on a database file.
.headers on
.mode column
PRAGMA journal_mode = DELETE;
PRAGMA foreign_keys = ON;
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, city TEXT);
CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL CHECK (price > 0));
CREATE TABLE sale (id INTEGER PRIMARY KEY, customer REFERENCES customer, product REFERENCES product, amount INTEGER, day TEXT);
CREATE TABLE log (what TEXT);
CREATE INDEX sale_day ON sale (day, product);
CREATE TRIGGER note AFTER DELETE ON sale BEGIN INSERT INTO log VALUES ('deleted ' || old.id); END;
INSERT INTO customer (name, city) VALUES ('Ada', 'London'), ('Grace', 'New York'), ('Zoë', 'Zürich'), ('Linus', NULL);
INSERT INTO product (name, price) VALUES ('bolt', 0.25), ('nut', 0.125), ('hammer', 19.99), ('saw', 24.5);
BEGIN;
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 19999)
INSERT INTO sale (customer, product, amount, day)
  SELECT 1 + i * 7 % 3, 1 + i * 13 % 4, 1 + i * 31 % 17, date('2024-01-01', (i % 366) || ' days') FROM n;
COMMIT;
SELECT customer.name, city, count(*) AS sales, sum(amount * price) AS total, round(avg(amount), 4) AS mean
  FROM customer JOIN sale ON customer.id = customer JOIN product ON product.id = product
  GROUP BY customer HAVING total > 100 ORDER BY total DESC;
SELECT customer.name, sale.id IS NULL AS nothing_bought FROM customer LEFT JOIN sale ON customer.id = customer GROUP BY customer.id;
BEGIN;
DELETE FROM sale WHERE day < '2024-06-01';
SELECT count(*) AS inside FROM sale;
ROLLBACK;
SELECT count(*) AS after_rollback, (SELECT count(*) FROM log) AS logged FROM sale;
SAVEPOINT s;
UPDATE product SET price = price * 1.1 WHERE name LIKE '%a%';
RELEASE s;
SELECT name, printf('%.3f', price) AS price, typeof(price), hex(name), length(name) FROM product;
SELECT month, product, total, rank() OVER (PARTITION BY month ORDER BY total DESC) AS place, sum(total) OVER (PARTITION BY product ORDER BY month) AS running
  FROM (SELECT substr(day, 1, 7) AS month, product.name AS product, sum(amount) AS total FROM sale JOIN product ON product.id = product GROUP BY 1, 2)
  WHERE month < '2024-04' ORDER BY month, place, product;
CREATE VIEW busy AS SELECT day, count(*) AS n FROM sale GROUP BY day;
SELECT day, n FROM busy ORDER BY n DESC, day LIMIT 3;
SELECT upper('grüße'), replace('abcabc', 'b', '-'), substr('memory', -3), instr('linear', 'ea'), quote(x'00ff'), coalesce(NULL, 7), 7 / 2, 7 % -3, 1e300 * 1e10, 9223372036854775807 + 1;
SELECT json_extract('{"a": [1, {"b": "é"}]}', '$.a[1].b') AS j, json_group_array(name) AS names FROM product;
INSERT INTO sale (customer, product) VALUES (99, 1);
INSERT INTO product (name, price) VALUES ('free', 0);
INSERT INTO customer (name) VALUES ('Ada');
SELECT * FROM nowhere;
DELETE FROM sale WHERE id % 5000 = 0;
SELECT group_concat(what, ', ') AS logged FROM log;
EXPLAIN QUERY PLAN SELECT amount FROM sale WHERE day = '2024-02-29' AND product = 2;
.mode csv
SELECT id, name, city FROM customer ORDER BY name DESC;
VACUUM;
PRAGMA integrity_check;
.mode list
SELECT sqlite_version(), page_count FROM pragma_page_count;
