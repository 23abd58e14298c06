// Walks the console of a running weir in a real browser: node walk.mjs URL FOLDER. Screenshots go to the folder.
// It expects 10,000 devices and the two below, a dead letter, an open transaction "walk-open", three versions
// of the subject "walk-value", messages of the MQTT client walk-client, alerts of pump-1 (firing), pump-2 (silenced) and pump-3 (resolved), --console-write.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const [, , base, folder] = process.argv;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const evil = '<img src=x onerror=alert(1)>';
const rtl = 'מד־טמפרטורה';
const problems = [];
const check = (ok, what) => { if (!ok) problems.push(what); };

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, bypassCSP: false, reducedMotion: 'reduce' });
const page = await context.newPage();
page.setDefaultTimeout(15000);
const requests = { all: 0, outside: [] };
context.on('request', (r) => {
  requests.all++;
  if (new URL(r.url()).hostname !== '127.0.0.1') requests.outside.push(r.url());
});
page.on('dialog', (d) => { problems.push('a dialog opened: ' + d.message()); d.dismiss(); });
page.on('pageerror', (e) => problems.push('error on the page: ' + e.message));
page.on('console', (m) => { if (m.type() === 'error') problems.push('console: ' + m.text()); });

const see = async (path, title) => {
  await page.goto(base + '/#/' + path);
  await page.getByRole('heading', { level: 1, name: title }).waitFor();
};
const shot = (name) => page.screenshot({ path: `${folder}/${name}.png` });

// audit runs axe-core in the page's own world, past its policy, as a browser extension would.
const session = await context.newCDPSession(page);
async function audit(name) {
  const run = `(() => { ${axe}; return axe.run(document, { resultTypes: ['violations'] }).then((r) => JSON.stringify(r.violations)); })()`;
  const { result, exceptionDetails } = await session.send('Runtime.evaluate', { expression: run, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) { problems.push(`axe on ${name}: ${exceptionDetails.exception?.description}`); return; }
  for (const v of JSON.parse(result.value)) {
    if (v.impact === 'serious' || v.impact === 'critical') problems.push(`axe on ${name}: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | ')}`);
  }
}

// poll waits until a function of the page returns a new value.
async function poll(what, look, seconds = 10) {
  const first = JSON.stringify(await page.evaluate(look));
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await page.waitForTimeout(150)) {
    if (JSON.stringify(await page.evaluate(look)) !== first) return;
  }
  problems.push(`${what} is not updated`);
}

async function step(name, work) {
  const began = Date.now();
  try { await work(); } catch (e) { problems.push(`${name}: ${e.message.split('\n').slice(0, 4).join(' ')}`); await shot('failed-' + name).catch(() => {}); }
  console.log(`${name} ${Date.now() - began} ms`);
}

await step('overview', async () => {
  await see('overview', 'Overview');
  await page.locator('.figure-value').first().waitFor();
  await poll('the overview', () => document.querySelector('.lead').textContent);
  check((await page.locator('.plot canvas').count()) === 3, `expected three charts, got ${await page.locator('.plot canvas').count()}`);
  await page.waitForTimeout(2000);
  await shot('overview');
  await audit('overview');
});

await step('devices', async () => {
  await see('devices', 'Devices');
  await page.locator('.device-row .id a').first().waitFor();
  await page.getByRole('table', { name: 'Devices' }).waitFor();
  const total = () => page.evaluate(() => Number(document.querySelector('.tabs b').textContent.replace(/\D/g, '')));
  for (const end = Date.now() + 60000; Date.now() < end && (await total()) < 10002; await page.waitForTimeout(250));
  check((await total()) >= 10002, `expected 10,002 devices, got ${await total()}`);
  await poll('a sparkline', () => [...document.querySelectorAll('.device-row .spark path')].slice(0, 40).map((p) => p.getAttribute('d')).join(), 30);
  await shot('devices');
  await audit('devices');

  const began = Date.now();
  await page.locator('.device-list').evaluate((l) => { l.scrollTop = l.scrollHeight; });
  await page.waitForFunction(() => { const rows = [...document.querySelectorAll('.device-row')]; return rows.length > 5 && rows.every((r) => !r.classList.contains('waiting')) && rows.some((r) => Number(r.dataset.row) > 9990); });
  const took = Date.now() - began;
  check(took < 1500, `scrolling to the end of the list took ${took} ms`);
  check((await page.locator('.device-row').count()) < 120, 'rows that are not visible are rendered');
  // Frames while the list is scrolled from top to bottom.
  const slowest = await page.locator('.device-list').evaluate((l) => new Promise((done) => {
    let [n, last, worst] = [0, performance.now(), 0];
    const next = () => {
      const now = performance.now();
      worst = Math.max(worst, now - last);
      last = now;
      l.scrollTop = (n / 60) * l.scrollHeight;
      if (n++ < 60) requestAnimationFrame(next); else done(worst);
    };
    requestAnimationFrame(next);
  }));
  console.log(`slowest frame of scrolling 10,000 devices: ${slowest.toFixed(0)} ms`);
  check(slowest < 700, `a frame of scrolling took ${slowest.toFixed(0)} ms`);

  await page.keyboard.press('/');
  await page.keyboard.type('device-0777');
  await page.locator('[role="status"]', { hasText: /^1 match$|^\d+ matches$/ }).first().waitFor();
  await page.waitForFunction(() => document.querySelector('.device-row .id')?.textContent === 'device-0777');
  await page.locator('.device-row .id a').first().focus();
  await page.getByRole('searchbox').fill('');
  await page.waitForFunction(() => document.querySelectorAll('.device-row').length > 10);
  await page.locator('.device-list').evaluate((l) => { l.scrollTop = 0; });
  await page.locator('[data-row="0"] a').focus();
  const row = () => page.evaluate(() => Number(document.activeElement.closest('[data-row]')?.dataset.row ?? -1));
  for (const end = Date.now() + 10000; Date.now() < end && (await row()) < 1; await page.waitForTimeout(200)) await page.keyboard.press('ArrowDown');
  check((await row()) >= 1, 'the arrow keys do not move through the rows');
});

await step('names', async () => {
  for (const id of [evil, rtl]) {
    await page.getByRole('searchbox').fill(id);
    await page.waitForFunction((id) => document.querySelectorAll('.device-row').length === 1 && document.querySelector('.device-row .id').textContent === id, id);
    check((await page.locator('.devices img').count()) === 0, 'a device name was parsed as HTML');
    await shot(id === evil ? 'device-name-html' : 'device-name-rtl');
    await page.locator('.device-row .id a').click();
    await page.getByRole('heading', { level: 1, name: id }).waitFor();
    check((await page.locator('main img').count()) === 0, 'a device name was parsed as HTML on its page');
    await see('devices', 'Devices');
    await page.getByRole('searchbox').waitFor();
  }
});

await step('device', async () => {
  await see('device/device-0001', 'device-0001');
  await page.locator('.plot canvas').first().waitFor();
  check((await page.locator('.plot canvas').count()) >= 5, 'a sensor has no chart');
  await poll('a device', () => [...document.querySelectorAll('.big.inline')].map((b) => b.textContent), 20);
  await shot('device');
  await audit('device');
});

await step('pipelines', async () => {
  await see('pipelines', 'Pipelines');
  await page.getByRole('link', { name: 'device-stats', exact: true }).first().click();
  await page.getByRole('heading', { level: 1, name: 'device-stats' }).waitFor();
  await page.locator('.graph .node').first().waitFor();
  check((await page.locator('.graph .node.topic').count()) >= 2, 'source or sink is missing in the graph');
  await page.locator('.graph .edge text', { hasText: '/s' }).first().waitFor();
  await page.locator('.graph .edge text', { hasText: 'lag' }).first().waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll('.graph .edge')].every((e) => /\/s/.test(e.textContent)));
  await poll('the graph', () => [...document.querySelectorAll('.edge text')].map((t) => t.textContent));
  await page.getByRole('region', { name: /Newest records/ }).waitFor();
  await poll('the stream', () => document.querySelector('table.records tbody').textContent);
  await shot('pipeline');
  await audit('pipeline');
  await page.locator('.node.source[role="button"]').click();
  await page.getByRole('region', { name: 'Newest records of sensor_data_tx' }).waitFor();
  await page.getByRole('button', { name: 'Chart' }).click();
  await page.locator('.plot canvas').waitFor();
  await page.waitForTimeout(2500);
  await shot('pipeline-chart');
  await page.getByRole('button', { name: 'Tasks' }).click();
  await page.getByRole('region', { name: 'Tasks' }).waitFor();
  await page.getByRole('button', { name: 'SQL', exact: true }).click();
  await page.locator('pre.sql', { hasText: 'INSERT INTO' }).waitFor();
});

await step('sql', async () => {
  await see('sql', 'SQL');
  const field = page.getByRole('textbox', { name: 'SQL' });
  await page.locator('.verdict.ok').waitFor();
  const right = await field.inputValue();
  await field.fill(right.replace('COUNT(*) AS readings', 'COUNT(*) AS readings, AVG(valu)'));
  const said = page.getByRole('alert').filter({ hasText: /Line 18, column \d+/ });
  await said.waitFor();
  check(await page.locator('.sql-back li.wrong').textContent() === '18', 'the line of the error is not marked');
  check((await page.locator('.wrong-mark').count()) === 1, 'the position of the error is not marked');
  await shot('sql-error');
  await audit('sql with an error');
  await field.fill(right);
  await page.locator('.verdict.ok').waitFor();
  await page.getByRole('button', { name: /^Preview Ctrl/ }).click();
  await page.getByRole('region', { name: 'Rows' }).waitFor();
  check((await page.locator('table.records tbody tr').count()) > 3, 'the preview has no rows');
  await shot('sql-preview');
  await page.getByRole('button', { name: 'Chart' }).click();
  await page.locator('.plot canvas').waitFor();
  await page.getByRole('button', { name: 'Explain' }).click();
  await page.locator('pre.plan', { hasText: 'Scan readings' }).waitFor();
  await audit('sql');
});

await step('topics', async () => {
  await see('topics', 'Topics');
  await page.getByRole('link', { name: 'sensor_data_tx' }).waitFor();
  await poll('the list of topics', () => document.querySelector('tbody').textContent);
  await shot('topics');
  await audit('topics');
  await page.getByRole('link', { name: 'sensor_data_tx' }).click();
  await page.getByRole('button', { name: /^Record / }).first().click();
  await page.locator('pre.payload', { hasText: '"device_id"' }).waitFor();
  await shot('topic');
  await audit('topic');
  await page.getByLabel('From').selectOption('time');
  await page.locator('[role="status"]', { hasText: '100 records' }).waitFor();
  await page.getByLabel('From').selectOption('offset');
  await page.getByRole('spinbutton', { name: 'Offset' }).fill('3');
  await page.getByLabel('Partition').selectOption('0');
  await page.waitForFunction(() => document.querySelector('table.records tbody tr td:nth-child(3)')?.textContent === '3');
  await page.getByLabel('From').selectOption('end');
  await page.getByLabel('Partition').selectOption('');
  await page.getByRole('searchbox').fill(evil);
  await page.waitForFunction((id) => [...document.querySelectorAll('table.records tbody tr')].length > 0 && [...document.querySelectorAll('table.records tbody tr')].every((r) => r.textContent.includes(id)), evil);
  await page.getByRole('button', { name: 'Partitions' }).click();
  await page.locator('.scroll[aria-label="Partitions"]').waitFor();
});

await step('letters', async () => {
  await see('letters', 'Dead letters');
  await page.locator('button.link').first().click();
  await page.locator('pre.hex').waitFor();
  check(/6e 6f 20 72 65 61 64 69/.test(await page.locator('pre.hex').textContent()), 'the hex dump lacks the bytes of “no readi…”');
  check((await page.locator('.reason').textContent()).length > 10, 'the reason is missing');
  await shot('letters');
  await audit('letters');
  await page.getByRole('button', { name: 'Replay…' }).click();
  await page.getByRole('dialog').waitFor();
  await audit('replay confirmation');
  await page.getByRole('button', { name: /^Replay \d+ dead letter/ }).click();
  await page.locator('.done', { hasText: 'replayed' }).waitFor();
  await page.locator('.tag', { hasText: 'replayed' }).first().waitFor();
  await shot('letters-replayed');
});

await step('ingest', async () => {
  await see('ingest', 'Ingest');
  const messages = page.getByRole('region', { name: 'Messages', exact: true });
  await messages.getByText('walk/pump-9/temperature').first().waitFor();
  await messages.getByText('21.5').first().waitFor();
  await messages.getByText(evil).first().waitFor();
  await page.getByRole('region', { name: 'MQTT clients' }).getByText('walk-client').waitFor();
  await shot('ingest');
  await audit('ingest');
});

await step('transactions', async () => {
  await see('transactions', 'Transactions');
  const row = page.getByRole('row').filter({ hasText: 'walk-open' });
  await row.waitFor();
  await shot('transactions');
  await audit('transactions');
  await row.getByRole('button', { name: 'Abort…' }).click();
  await page.getByRole('button', { name: 'Abort', exact: true }).click();
  await page.locator('.done', { hasText: 'Aborted' }).waitFor({ timeout: 30000 });
  await row.waitFor({ state: 'detached' });
});

// The broker of the walk loses no markers, so the server's answers are given here.
await step('hanging transaction', async () => {
  const hanging = {
    transactional_id: '', producer_id: 2002, producer_epoch: 174, state: 'Hanging', hanging: true, age_seconds: 4210, timeout_seconds: 0,
    partitions: [{ topic: 'readings', partition: 3, first_offset: 17, last_stable_offset: 17, high_watermark: 60, behind: 43 }],
  };
  let outcome = 'unknown';
  let committed = null;
  await page.route('**/api/transactions', (route) => route.fulfill({ json: { open: committed ? [] : [hanging], unchecked: null } }));
  await page.route('**/api/transactions/hanging?*', (route) => route.fulfill({
    json: { ...hanging, evidence: { outcome }, explained: outcome === 'committed' ? 'COMMIT marker in readings-0 at offset 9' : 'no partition has a marker of this transaction' },
  }));
  await page.route('**/api/transactions/commit', (route) => { committed = route.request().postDataJSON(); return route.fulfill({ json: hanging }); });
  await see('transactions', 'Transactions');
  const finish = page.getByRole('button', { name: 'Finish…' });
  await finish.click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('Nothing shows how it ended').waitFor();
  if (await dialog.getByRole('button').count() !== 1) throw new Error('an unknown outcome must not offer an end');
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  outcome = 'committed';
  await finish.click();
  await dialog.getByText('COMMIT marker in readings-0').waitFor();
  await shot('hanging-transaction');
  await audit('hanging transaction');
  await dialog.getByRole('button', { name: 'Commit', exact: true }).click();
  await page.locator('.done', { hasText: 'Committed' }).waitFor();
  await finish.waitFor({ state: 'detached' });
  if (committed.producer_id !== 2002 || committed.producer_epoch !== 174) throw new Error('committed ' + JSON.stringify(committed));
  await page.unrouteAll({ behavior: 'wait' });
});

await step('audit', async () => {
  await see('audit', 'Audit');
  await page.getByRole('cell', { name: 'transactional-id', exact: true }).first().waitFor();
  await page.getByLabel('Kind').selectOption('command');
  await page.getByRole('cell', { name: 'up', exact: true }).waitFor();
  await shot('audit');
  await audit('audit');
  await page.getByRole('searchbox').fill('no such entry');
  await page.getByText('Nothing matches.').waitFor();
});

await step('schemas', async () => {
  await see('schemas', 'Schemas');
  await shot('schemas');
  await audit('schemas');
  await page.getByRole('link', { name: 'walk-value' }).click();
  await page.getByRole('heading', { level: 1, name: 'walk-value' }).waitFor();
  const reads = page.locator('.readers div');
  await reads.filter({ hasText: 'Version 3 can read data of version 2' }).getByText('no', { exact: true }).waitFor();
  check((await page.locator('.diff > span').evaluateAll((l) => l.filter((s) => s.textContent.includes('"unit"')).map((s) => s.className).join())) === 'added', 'the new field is not marked');
  const lines = await page.locator('.diff').evaluate((d) => d.getBoundingClientRect().height);
  check(lines > 300, `the diff is only ${lines} px high`);
  await page.getByLabel('From').selectOption('1');
  await page.locator('label', { hasText: /^to/ }).locator('select').selectOption('2');
  await reads.filter({ hasText: 'Version 2 can read data of version 1' }).getByText('yes', { exact: true }).waitFor();
  await shot('schema');
  await audit('schema');
});

await step('alerts', async () => {
  await see('alerts', 'Alerts');
  const rows = page.locator('.scroll[aria-label="Alerts"] tbody tr');
  const shown = (state, text) => rows.filter({ hasText: text }).filter({ hasText: state }).first().waitFor();
  await shown('firing', 'pump-1 is too hot');
  await shown('silenced', 'pump-2 is too hot');
  await shown('resolved', 'pump-3 is too hot');
  await page.locator('.scroll[aria-label="Silences"]', { hasText: 'under repair' }).waitFor();
  await shot('alerts');
  await audit('alerts');
  await page.getByRole('button', { name: /resolved/ }).click();
  await page.waitForFunction(() => document.querySelectorAll('.scroll[aria-label="Alerts"] tbody tr').length === 1);
  await page.keyboard.press('/');
  await page.keyboard.type('no such alert');
  await page.getByText('No matching alerts.').waitFor();
});

await step('dark', async () => {
  await page.getByRole('button', { name: 'Switch to the dark theme' }).click();
  for (const [path, title] of [['overview', 'Overview'], ['devices', 'Devices'], ['pipelines/device-stats', 'device-stats'], ['sql', 'SQL'], ['letters', 'Dead letters']]) {
    await see(path, title);
    await page.waitForTimeout(700);
    await shot('dark-' + path.replace('/', '-'));
    await audit('dark ' + path);
  }
});

await step('phone', async () => {
  await page.setViewportSize({ width: 390, height: 844 });
  for (const path of ['overview', 'devices', 'device/device-0001', 'pipelines', 'pipelines/device-stats', 'sql', 'topics', 'topic/sensor_data_tx', 'letters', 'transactions', 'schemas', 'alerts', 'ingest']) {
    await page.goto(base + '/#/' + path);
    await page.waitForTimeout(450);
    const wide = await page.evaluate(() => document.scrollingElement.scrollWidth);
    check(wide <= 390, `${path} is ${wide} px wide on a phone`);
    await shot('phone-' + path.replace('/', '-'));
  }
  await audit('phone');
  await page.route('**/api/info', async (r) => r.fulfill({ json: { ...await (await r.fetch()).json(), user: 'alice-with-a-long-name@factory.example', role: 'operator' } }));
  for (const width of [320, 390, 820, 1360]) {
    await page.setViewportSize({ width, height: 844 });
    await see('transactions', 'Transactions');
    await page.reload();
    await page.getByRole('button', { name: 'Sign out' }).waitFor();
    const wide = await page.evaluate(() => document.scrollingElement.scrollWidth);
    check(wide <= width, `with a user, the page is ${wide} px wide at ${width}`);
    await shot('signed-in-' + width);
  }
  await page.unroute('**/api/info');
});

check(requests.outside.length === 0, 'requests left 127.0.0.1: ' + requests.outside.join(' '));
check(requests.all > 30, 'no requests were recorded');
await browser.close();
if (problems.length) {
  console.error(problems.join('\n'));
  process.exit(1);
}
