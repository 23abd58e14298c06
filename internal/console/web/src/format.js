// Numbers, durations and times as text. An unknown value is a dash.
const none = '–';
const known = (n) => n !== null && n !== undefined && Number.isFinite(n);
const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

export const count = (n) => (known(n) ? whole.format(n) : none);

// 1.2 k, 3.4 M: three significant digits.
export function short(n) {
  if (!known(n)) return none;
  const a = Math.abs(n);
  if (a < 1000) return a < 10 && a % 1 ? n.toFixed(1) : n.toFixed(0);
  for (const [size, unit] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
    if (a >= size * 0.9995) return (n / size).toFixed(a / size < 9.995 ? 2 : a / size < 99.95 ? 1 : 0) + ' ' + unit;
  }
  return n.toFixed(0);
}

export const rate = (n) => (known(n) ? short(n) + '/s' : none);

export function ms(n) {
  if (!known(n) || n === 0) return none;
  if (n < 1000) return n.toFixed(n < 10 ? 1 : 0) + ' ms';
  return seconds(n / 1000);
}

export function seconds(s) {
  if (!known(s)) return none;
  if (s < 1) return (s * 1000).toFixed(0) + ' ms';
  if (s < 60) return s.toFixed(s < 10 ? 1 : 0) + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min ' + Math.floor(s % 60) + ' s';
  if (s < 86400) return Math.floor(s / 3600) + ' h ' + Math.floor((s % 3600) / 60) + ' min';
  return Math.floor(s / 86400) + ' d ' + Math.floor((s % 86400) / 3600) + ' h';
}

// The same in a single unit, for narrow places.
export function about(s) {
  if (!known(s)) return none;
  if (s < 60) return seconds(s);
  return s < 100 ? s.toFixed(0) + ' s' : s < 6000 ? (s / 60).toFixed(0) + ' min' : s < 172800 ? (s / 3600).toFixed(0) + ' h' : (s / 86400).toFixed(0) + ' d';
}

export function ago(millis) {
  if (!known(millis)) return none;
  if (millis < 1500) return 'now';
  return seconds(Math.round(millis / 1000)).replace('.0', '') + ' ago';
}

export function bytes(n) {
  if (!known(n)) return none;
  if (n < 1024) return n + ' B';
  if (n < 1 << 20) return (n / 1024).toFixed(1) + ' KiB';
  if (n < 1 << 30) return (n / (1 << 20)).toFixed(1) + ' MiB';
  return (n / (1 << 30)).toFixed(1) + ' GiB';
}

// A measured value with at most six significant digits.
export function value(v) {
  if (!known(v)) return none;
  const a = Math.abs(v);
  if (a >= 1e6 || (a > 0 && a < 1e-4)) return v.toPrecision(4);
  return String(Number(v.toPrecision(6)));
}

// The same with a fixed number of decimals, for columns of changing values.
export function steady(v) {
  if (!known(v)) return none;
  const a = Math.abs(v);
  if (a >= 1e6 || (a > 0 && a < 1e-4)) return v.toPrecision(4);
  return v.toFixed(a >= 1000 ? 1 : a >= 10 ? 2 : 3);
}

const two = (n) => String(n).padStart(2, '0');

export function clock(millis, fraction = true) {
  if (!known(millis) || millis <= 0) return none;
  const d = new Date(millis);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}` + (fraction ? '.' + String(d.getMilliseconds()).padStart(3, '0') : '');
}

// The time alone if it is today, otherwise date and time.
export const stamp = (millis) => (known(millis) && new Date(millis).toDateString() === new Date().toDateString() ? clock(millis) : moment(millis));

export function moment(millis) {
  if (!known(millis) || millis <= 0) return none;
  const d = new Date(millis);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(millis)}`;
}

// UCUM unit codes and their usual spelling.
const units = { Cel: '°C', '[degF]': '°F', K: 'K', '%': '%', 'm/s': 'm/s', 'm/s2': 'm/s²', 'W/m2': 'W/m²', ug: 'µg', 'ug/m3': 'µg/m³', '[ppm]': 'ppm', '[ppb]': 'ppb', Ohm: 'Ω' };
export const unit = (u) => units[u] ?? u;

export const plural = (n, one, many = one + 's') => `${count(n)} ${n === 1 ? one : many}`;
