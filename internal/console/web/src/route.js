// The page's location: #/name/argument?key=value.
import { signal } from '@preact/signals';

function parse() {
  const [path, search = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, ...rest] = path.split('/');
  let argument = rest.join('/');
  try { argument = decodeURIComponent(argument); } catch { /* keep it undecoded */ }
  return { name: name || 'overview', argument, params: new URLSearchParams(search) };
}

export const route = signal(parse());
addEventListener('hashchange', () => { route.value = parse(); });

export const to = (name, argument) => '#/' + name + (argument === undefined ? '' : '/' + encodeURIComponent(argument));
