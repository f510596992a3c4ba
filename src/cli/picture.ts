// A picture of where in an image the changes are, in characters.

import type { ChangeMap } from '../ops/change-map.ts';
import { bytesText } from './print.ts';

export interface PictureOptions {
  columns: number;
  /** Block characters; else plain ASCII. */
  unicode: boolean;
}

const most = { rows: 8, columns: 100 };

/** Lines of the image's bytes from start to end; '' for an image without bytes. */
export function picture(map: ChangeMap, { columns, unicode }: PictureOptions): string {
  if (map.end === 0) return '';
  const shades = unicode ? '░▒▓█' : '.:+#';
  const zero = unicode ? '·' : '-';
  const label = 9;
  const width = Math.max(16, Math.min(most.columns, columns) - label - 4);
  // A small image has no more parts than sectors.
  const parts = Math.max(1, Math.min(width * most.rows, Math.floor(map.end / 512)));
  const rows = Math.ceil(parts / width);
  const perRow = Math.ceil(parts / rows);
  const cells = map.parts(perRow * rows).map(({ data, zero: zeros }) => {
    if (data > 0) return shades[Math.min(shades.length - 1, Math.floor(data * shades.length))] ?? '';
    return zeros > 0 ? zero : ' ';
  });
  const lines = Array.from({ length: rows }, (_, row) => {
    const start = bytesText(Math.floor((map.end / rows) * row)).padStart(label);
    return `${start} |${cells.slice(row * perRow, (row + 1) * perRow).join('')}|\n`;
  });
  const cell = bytesText(Math.round(map.end / (perRow * rows)));
  const legend = `one character is ${cell}: data ${shades[0]} little to ${shades.at(-1)} all of it, ${zero} zeros\n`;
  return `${lines.join('')}${' '.repeat(label)}  ${legend}`;
}
