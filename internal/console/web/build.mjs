// Builds the page into ../dist, or, with --check, fails where dist is not what the sources make.
import { build } from 'esbuild';
import { cpSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, '..', 'dist');
const check = process.argv.includes('--check');
const out = check ? mkdtempSync(join(tmpdir(), 'weir-console-')) : dist;

if (!check) rmSync(dist, { recursive: true, force: true });
const result = await build({
  entryPoints: { app: join(here, 'src/main.js') },
  absWorkingDir: here,
  bundle: true,
  minify: true,
  metafile: true,
  format: 'esm',
  target: ['es2022'],
  legalComments: 'none',
  entryNames: '[name]-[hash]',
  outdir: join(out, 'assets'),
  logLevel: 'warning',
});
const made = Object.keys(result.metafile.outputs).map((f) => basename(f));
const page = readFileSync(join(here, 'src/index.html'), 'utf8')
  .replace('app.js', made.find((f) => f.endsWith('.js')))
  .replace('app.css', made.find((f) => f.endsWith('.css')));
writeFileSync(join(out, 'index.html'), page);
for (const f of ['icon.svg', 'theme.js', 'licenses.txt']) cpSync(join(here, 'src', f), join(out, f));

if (check) {
  const list = (dir) => (existsSync(dir) ? readdirSync(dir, { recursive: true }).filter((f) => f.includes('.')).sort() : []);
  const want = list(out);
  const same = want.join() === list(dist).join() && want.every((f) => readFileSync(join(out, f)).equals(readFileSync(join(dist, f))));
  rmSync(out, { recursive: true });
  if (!same) {
    console.error('internal/console/dist is not what internal/console/web makes: run make console, and commit internal/console/dist');
    process.exit(1);
  }
}
