import './style.css';
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { signal } from '@preact/signals';
import { html } from './html.js';
import { frames, get, link, locked, open, post, trouble } from './api.js';
import { route, to } from './route.js';
import { ThemeSwitch } from './theme-switch.js';
import { clock, short } from './format.js';
import { Overview } from './pages/overview.js';
import { Devices, Device } from './pages/devices.js';
import { Pipelines } from './pages/pipelines.js';
import { Editor } from './pages/editor.js';
import { Topics, Topic } from './pages/topics.js';
import { Letters } from './pages/letters.js';
import { Transactions } from './pages/transactions.js';
import { Schemas } from './pages/schemas.js';
import { Alerts } from './pages/alerts.js';
import { Ingest } from './pages/ingest.js';
import { Audit } from './pages/audit.js';

export const info = signal(null);

// name, title, icon, badge
const nav = [
  ['overview', 'Overview', 'M2.500 11.500h3l2-6 4 10 2.300-7 1.200 3h2.500'],
  ['devices', 'Devices', 'M6 3.500h8v13H6zM9 14h2', (o) => o.devices.late + o.devices.silent],
  ['ingest', 'Ingest', 'M10 3v9M6.500 8.500L10 12l3.500-3.500M3 12v4.500h14V12'],
  ['pipelines', 'Pipelines', 'M3 5h4v4H3zM13 3h4v4h-4zM13 12h4v4h-4zM7 7h3V5h3M10 7v7h3'],
  ['sql', 'SQL', 'M6 6l-3.500 4L6 14M14 6l3.500 4L14 14M11.500 4l-3 12'],
  ['topics', 'Topics', 'M3 5h14M3 10h14M3 15h9'],
  ['letters', 'Dead letters', 'M3 5h14v10H3zM3 5.500l7 5.500 7-5.500', (o) => o.dead_letters],
  ['transactions', 'Transactions', 'M4 7h11l-3-3M16 13H5l3 3'],
  ['schemas', 'Schemas', 'M5 3h7l3 3v11H5zM8 9h4M8 12h4'],
  ['alerts', 'Alerts', 'M10 3a4.500 4.500 0 0 1 4.500 4.500c0 4 1.500 5 1.500 6H4c0-1 1.500-2 1.500-6A4.500 4.500 0 0 1 10 3zM8.500 16.500h3'],
  ['audit', 'Audit', 'M10 2.500l6 2.500v4.500c0 4-2.500 6.500-6 8-3.500-1.500-6-4-6-8V5zM7.500 10l2 2 3.500-4'],
];
const pages = {
  overview: Overview, devices: Devices, device: Device, pipelines: Pipelines, sql: Editor, topics: Topics, topic: Topic,
  letters: Letters, transactions: Transactions, schemas: Schemas, alerts: Alerts, ingest: Ingest, audit: Audit,
};
const parents = { device: 'devices', topic: 'topics' };

function Nav() {
  const here = parents[route.value.name] ?? route.value.name;
  const now = frames.overview.value;
  return html`
    <nav aria-label="Pages">
      ${nav.filter(([name]) => name !== 'audit' || info.value?.audit).map(([name, title, icon, badge]) => {
    const n = now && badge ? badge(now) : 0;
    return html`<a key=${name} href=${to(name)} aria-current=${here === name ? 'page' : undefined}>
          <svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true"><path d=${icon} /></svg>
          <span>${title}</span>${n > 0 ? html`<em class="badge">${short(n)}</em>` : null}
        </a>`;
  })}
    </nav>`;
}

function Link() {
  const is = link.value;
  const words = { live: 'live', connecting: 'connecting', lost: 'disconnected' };
  const means = { live: 'live data', connecting: 'connecting to weir', lost: 'weir does not respond' };
  const broker = trouble.value?.who === 'broker';
  const lost = trouble.value?.who === 'weir';
  return html`<span class=${'link ' + (broker || lost ? 'lost' : is)} role="status" title=${broker ? 'the broker does not respond' : means[lost ? 'lost' : is]}><i aria-hidden="true"></i>${words[broker || lost ? 'lost' : is]}</span>`;
}

// Says that the page's figures are outdated, and since when.
function Banner() {
  const t = trouble.value;
  if (!t) return null;
  const who = t.who === 'weir' ? 'Weir has not responded' : 'The broker has not responded';
  return html`<div class="banner" role="alert"><b>${who}${t.since ? ` since ${clock(t.since, false)}` : ''}.</b> ${t.since ? 'The figures on this page are from that time.' : 'This page has no figures yet.'}${t.why ? html` <span class="why">${t.why}</span>` : null}</div>`;
}

function Shell() {
  const { name } = route.value;
  const Current = pages[name];
  useEffect(() => {
    const [, title] = nav.find(([n]) => n === (parents[name] ?? name)) ?? [];
    document.title = (title ? title + ' · ' : '') + 'Weir';
    document.getElementById('title')?.focus({ preventScroll: true });
    document.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
    scrollTo(0, 0);
  }, [name, route.value.argument]);
  const at = info.value;
  return html`
    <a class="skip" href="#title" onClick=${(e) => { e.preventDefault(); document.getElementById('title')?.focus(); }}>Skip to the page</a>
    <div class="shell">
      <aside>
        <div class="brand"><img src="/icon.svg" alt="" width="26" height="26" /><b>weir</b><${Link} /><${ThemeSwitch} /></div>
        <${Nav} />
        <footer>${at ? html`<span class="mono" title="Kafka">${at.brokers?.join(', ')}</span><span>${at.write ? 'read-write' : 'read-only'} · ${at.version}</span>${at.user ? html`<span class="who"><bdi>${at.user}</bdi> · ${at.role}</span><button onClick=${leave}>Sign out</button>` : null}` : null}</footer>
      </aside>
      <main class=${trouble.value ? 'stale' : ''}><${Banner} />${Current ? html`<${Current} key=${name + '/' + route.value.argument} argument=${route.value.argument} params=${route.value.params} info=${at} />`
    : html`<h1 id="title" tabindex="-1">Page “${name}” not found</h1><p><a href=${to('overview')}>Go to the overview</a></p>`}</main>
    </div>`;
}

async function leave() {
  await post('logout', {}).catch(() => {});
  location.reload();
}

const refused = signal(''); // why the user who has logged in may not see anything

// One logs in as a user with a password, or with a token.
function Login() {
  const [name, setName] = useState('');
  const [secret, set] = useState('');
  const [error, fail] = useState(refused.value);
  const enter = async (e) => {
    e.preventDefault();
    try {
      await post('login', name ? { user: name, password: secret } : { token: secret });
      locked.value = false;
      begin();
    } catch (problem) {
      fail(problem.message);
      set('');
    }
  };
  return html`
    <main class="login">
      <form onSubmit=${enter}>
        <img src="/icon.svg" alt="" width="40" height="40" />
        <h1>Weir</h1>
        <label for="user">User</label>
        <input id="user" type="text" value=${name} onInput=${(e) => setName(e.target.value)} autocomplete="username" autocapitalize="none" spellcheck="false" autofocus />
        <label for="password">Password or token</label>
        <input id="password" type="password" value=${secret} onInput=${(e) => set(e.target.value)} autocomplete="current-password" />
        ${error ? html`<p class="trouble" role="alert">${error}</p>` : null}
        <button type="submit" class="primary" disabled=${!secret}>Sign in</button>
        <p class="hint">Leave the user empty for a token. An administrator adds users with <code>weir users add</code>.</p>
      </form>
    </main>`;
}

const App = () => (locked.value ? html`<${Login} />` : html`<${Shell} />`);

async function begin() {
  try {
    info.value = await get('info');
    open();
  } catch (e) {
    if (e.status === 403) { refused.value = e.message; locked.value = true; } else if (e.status !== 401) { link.value = 'lost'; setTimeout(begin, 2000); }
  }
}

addEventListener('keydown', (e) => {
  if (e.key !== '/' || e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName)) return;
  const search = document.querySelector('input.search');
  if (search) { e.preventDefault(); search.focus(); }
});

render(html`<${App} />`, document.getElementById('app'));
begin();
