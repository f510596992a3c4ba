// How rbd prints: tables, json and xml from one tree, sizes and times as text.

import { nameToBytes } from '../bytes/text.ts';

/** What is printed as json or xml. An item of a list has a name, which xml shows and json does not. */
export type Tree = string | number | boolean | { fields: readonly Field[] } | { items: readonly Field[] };
export type Field = readonly [name: string, value: Tree];

/** Fields that are null are left out. */
export const object = (...fields: (Field | null)[]): Tree => ({ fields: fields.filter((field) => field !== null) });
/** A list whose items all have the same name. */
export const list = (item: string, values: readonly Tree[]): Tree => ({ items: values.map((value) => [item, value]) });
/** A field that is there only if it has a value. */
export const optional = (name: string, value: Tree | null): Field | null => (value === null ? null : [name, value]);

export function toJson(tree: Tree, pretty: boolean): string {
  return `${JSON.stringify(plainValue(tree), null, pretty ? 4 : 0)}\n`;
}

/** As rbd's formatter: one space of indentation, and an empty line at the end when it is pretty. */
export function toXml(name: string, tree: Tree, pretty: boolean): string {
  const text = xmlElement(name, tree, pretty ? '' : null);
  return `${text}\n`;
}

/** A list that is the whole output, printed item by item: what `toJson` and `toXml` make of one. */
export function listPrinter(
  format: 'json' | 'xml',
  root: string,
  itemName: string,
  pretty: boolean,
): { item(tree: Tree): string; end(): string } {
  let count = 0;
  const line = pretty ? '\n' : '';
  if (format === 'xml') {
    const open = (): string => (count++ === 0 ? `<${root}>${line}` : '');
    return {
      item: (tree) => open() + xmlElement(itemName, tree, pretty ? ' ' : null),
      end: () => `${open()}</${root}>${line}\n`,
    };
  }
  return {
    item(tree) {
      const text = JSON.stringify([plainValue(tree)], null, pretty ? 4 : 0);
      return (count++ === 0 ? '[' : ',') + text.slice(1, pretty ? -2 : -1);
    },
    end: () => (count === 0 ? '[]\n' : `${line}]\n`),
  };
}

function plainValue(tree: Tree): unknown {
  if (typeof tree !== 'object') return tree;
  if ('items' in tree) return tree.items.map(([, value]) => plainValue(value));
  return Object.fromEntries(tree.fields.map(([name, value]) => [name, plainValue(value)]));
}

/** `indent` null: all on one line. */
function xmlElement(name: string, tree: Tree, indent: string | null): string {
  const [before, after] = indent === null ? ['', ''] : [indent, '\n'];
  if (typeof tree !== 'object') return `${before}<${name}>${xmlText(String(tree))}</${name}>${after}`;
  const inner = indent === null ? null : `${indent} `;
  const children = ('items' in tree ? tree.items : tree.fields).map(([field, value]) =>
    xmlElement(field, value, inner),
  );
  return `${before}<${name}>${after}${children.join('')}${before}</${name}>${after}`;
}

const xmlEscapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };
const xmlText = (text: string): string => text.replace(/[&<>"']/gu, (character) => xmlEscapes[character] ?? character);

export interface Column {
  title: string;
  align: 'left' | 'right';
}

/** In bytes, as rbd counts: a name with other letters than ASCII ones shifts what follows. */
const widthOf = (cell: string): number => (ascii.test(cell) ? cell.length : nameToBytes(cell).length);
const ascii = /^[\0-\x7f]*$/;

/** Columns two spaces apart, all padded, the last as well; titles to the left. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map((column, i) =>
    rows.reduce((most, row) => Math.max(most, widthOf(row[i] ?? '')), column.title.length),
  );
  const line = (cells: readonly string[], header: boolean): string =>
    `${columns
      .map((column, i) => {
        const cell = cells[i] ?? '';
        const padding = ' '.repeat((widths[i] ?? 0) - widthOf(cell));
        return column.align === 'right' && !header ? padding + cell : cell + padding;
      })
      .join('  ')}\n`;
  const titles = columns.map((column) => column.title);
  return line(titles, true) + rows.map((row) => line(row, false)).join('');
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** `8 MiB`, `1.5 GiB`, `512 B`: as Ceph prints bytes, in about three digits. */
export function bytesText(bytes: number): string {
  let index = 0;
  while (index < units.length - 1 && bytes >= 1024 ** (index + 1)) index++;
  const value = bytes / 1024 ** index;
  const unit = units[index] ?? '';
  if (Number.isInteger(value)) return `${value} ${unit}`;
  // As many decimals as fit into three characters, or none.
  for (const decimals of [2, 1]) {
    const text = `${value.toFixed(decimals)} ${unit}`;
    if (text.length <= 7) return text;
  }
  return `${value.toFixed(0)} ${unit}`;
}

/** Local time as C's `ctime` has it: `Sun Nov 22 10:15:24 2026`. */
export function timeText(ms: number): string {
  const time = new Date(ms);
  const day = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'][time.getDay()];
  const month = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'][time.getMonth()];
  const two = (n: number): string => String(n).padStart(2, '0');
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  return `${day} ${month} ${String(time.getDate()).padStart(2)} ${clock} ${time.getFullYear()}`;
}

/** A time of a repository, which are all in UTC: `2026-11-22 10:15:24Z`. `iso` is as `Date.toISOString` has it. */
export const utcText = (iso: string): string => `${iso.slice(0, 19).replace('T', ' ')}Z`;

/** How long ago that was, in one unit: `5 m`, `7 h`, `12 d`. */
export function ageText(iso: string, nowMs: number): string {
  const seconds = Math.max(0, Math.floor((nowMs - Date.parse(iso)) / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 2 * 3600) return `${Math.floor(seconds / 60)} m`;
  return seconds < 2 * 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}
