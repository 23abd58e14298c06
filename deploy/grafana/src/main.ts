// Writes dashboards/*.json, or, with --check, fails if they are out of date.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { flink } from './flink.js';
import { kafka } from './kafka.js';
import { weir } from './weir.js';

const folder = join(dirname(fileURLToPath(import.meta.url)), '..', 'dashboards');
const made = new Map(Object.entries({ weir, kafka, flink }).map(([name, d]) => [`${name}.json`, JSON.stringify(d, null, 1) + '\n']));
if (process.argv.includes('--check')) {
  const files = readdirSync(folder);
  if (files.length !== made.size || files.some((f) => readFileSync(join(folder, f), 'utf8') !== made.get(f))) {
    console.error('deploy/grafana/dashboards is out of date: run make dashboards, and commit the result');
    process.exit(1);
  }
} else {
  for (const [file, text] of made) writeFileSync(join(folder, file), text);
}
