// Syntax highlighting for Flink SQL.
import { html } from './html.js';

const words = new Set(('ADD ALL AND ANY AS ASC BEGIN BETWEEN BIGINT BINARY BOOLEAN BY BYTES CASE CAST CHAR COLUMN COMMENT CONSTRAINT CREATE CROSS CUBE CUMULATE CURRENT DATE DAY DECIMAL DEFAULT DESC DESCRIPTOR DISTINCT '
  + 'DOUBLE DROP ELSE END ENFORCED EXCEPT EXECUTE EXISTS EXTRACT FALSE FETCH FILTER FIRST FLOAT FOLLOWING FOR FROM FULL GROUP GROUPING HAVING HOP HOUR IF IN INNER INSERT INT INTEGER INTERSECT INTERVAL INTO IS JOIN KEY LAST '
  + 'LATERAL LEFT LIKE LIMIT MAP METADATA MINUTE MONTH NATURAL NOT NULL NULLS OF OFFSET ON OR ORDER OUTER OVER PARTITION PERIOD PRECEDING PRIMARY RANGE RIGHT ROW ROWS SECOND SELECT SESSION SET SETS SIZE SMALLINT STATEMENT '
  + 'STRING SYSTEM_TIME TABLE TEMPORARY THEN TIME TIMESTAMP TIMESTAMP_LTZ TINYINT TO TRUE TUMBLE UNBOUNDED UNION UNNEST USING VALUES VARBINARY VARCHAR VIEW VIRTUAL WATERMARK WHEN WHERE WITH WITHOUT YEAR ZONE').split(' '));

const token = /(--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|('(?:[^']|'')*'?)|(`[^`]*`?)|(\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b)|([A-Za-z_][A-Za-z0-9_]*)|([\s\S])/g;

// highlight returns the text as elements; it never parses it as HTML.
export function highlight(text) {
  const out = [];
  let plain = '';
  const flush = () => { if (plain) { out.push(plain); plain = ''; } };
  for (const m of text.matchAll(token)) {
    const kind = m[1] ? 'c' : m[2] ? 's' : m[3] ? 'q' : m[4] ? 'n' : m[5] && words.has(m[5].toUpperCase()) ? 'k' : '';
    if (!kind) { plain += m[0]; continue; }
    flush();
    out.push(html`<span class=${'sql-' + kind}>${m[0]}</span>`);
  }
  flush();
  return out;
}
