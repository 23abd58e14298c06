// Dark or light: the system's theme until the user chooses one.
import { signal } from '@preact/signals';
import { html } from './html.js';

const dark = matchMedia('(prefers-color-scheme: dark)');
const current = () => document.documentElement.dataset.theme ?? (dark.matches ? 'dark' : 'light');

export const theme = signal(current());
dark.addEventListener('change', () => { theme.value = current(); });

export function ThemeSwitch() {
  const next = theme.value === 'dark' ? 'light' : 'dark';
  const change = () => {
    document.documentElement.dataset.theme = next;
    try { localStorage.setItem('theme', next); } catch { /* kept until the page is closed */ }
    theme.value = next;
  };
  return html`<button type="button" class="icon-button" onClick=${change} aria-label=${`Switch to the ${next} theme`} title=${`Switch to the ${next} theme`}>
    <svg viewBox="0 0 20 20" width="16" height="16" aria-hidden="true">
      ${theme.value === 'dark'
    ? html`<circle cx="10" cy="10" r="3.6" /><path d="M10 1.800v2M10 16.200v2M1.800 10h2M16.200 10h2M4.200 4.200l1.400 1.400M14.400 14.400l1.400 1.400M4.200 15.800l1.400-1.400M14.400 5.600l1.400-1.400" />`
    : html`<path d="M16.800 12.200A7.200 7.200 0 0 1 7.800 3.200a7.200 7.200 0 1 0 9 9z" />`}
    </svg>
  </button>`;
}
