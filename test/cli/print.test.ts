import { describe, expect, test } from 'vitest';
import { picture } from '../../src/cli/picture.ts';
import { bytesText, list, listPrinter, object, optional, table, timeText, toJson, toXml } from '../../src/cli/print.ts';
import { backupLines, progressLine, terminalProgress } from '../../src/cli/progress.ts';
import { ChangeMap } from '../../src/ops/change-map.ts';

describe('what is printed', () => {
  test.each([
    [0, '0 B'],
    [512, '512 B'],
    [1234567, '1.2 MiB'],
    [8 << 20, '8 MiB'],
    [1.5 * 2 ** 30, '1.5 GiB'],
    [12345, '12 KiB'],
    [2 ** 40, '1 TiB'],
    [2 ** 53, '8 PiB'],
  ])('%d bytes are %s, as Ceph says it', (bytes, text) => {
    expect(bytesText(bytes)).toBe(text);
  });

  test('a time is as ctime has it', () => {
    expect(timeText(new Date(2026, 0, 2, 3, 4, 5).getTime())).toBe('Fri Jan  2 03:04:05 2026');
  });

  test('a table pads every column, the last as well', () => {
    const columns = [
      { title: 'ID', align: 'right' },
      { title: 'NAME', align: 'left' },
    ] as const;
    expect(
      table(columns, [
        ['1', 'a'],
        ['100', 'longer'],
      ]),
    ).toBe('ID   NAME  \n  1  a     \n100  longer\n');
  });

  const tree = object(
    ['name', 'a<b'],
    optional('none', null),
    ['list', list('item', [1, true])],
    ['no', list('x', [])],
  );

  test('json and xml come from one tree', () => {
    expect(toJson(tree, false)).toBe('{"name":"a<b","list":[1,true],"no":[]}\n');
    expect(toXml('root', tree, false)).toBe(
      '<root><name>a&lt;b</name><list><item>1</item><item>true</item></list><no></no></root>\n',
    );
    expect(toXml('root', tree, true)).toContain(' <list>\n  <item>1</item>\n');
  });
});

test('a list that is printed item by item is printed as the whole would be', () => {
  for (const pretty of [false, true]) {
    for (const count of [0, 1, 3]) {
      const items = Array.from({ length: count }, (_, i) => object(['offset', i], ['exists', 'true']));
      const inParts = (format: 'json' | 'xml'): string => {
        const printer = listPrinter(format, 'extents', 'extent', pretty);
        return items.map((item) => printer.item(item)).join('') + printer.end();
      };
      expect(inParts('json')).toBe(toJson(list('extent', items), pretty));
      expect(inParts('xml')).toBe(toXml('extents', list('extent', items), pretty));
    }
  }
});

describe('progress', () => {
  test('says what it knows, and no more', () => {
    expect(progressLine('Importing', 1 << 20, null, 0)).toBe('Importing: (1 MiB)');
    expect(progressLine('Exporting', 256 << 20, 1 << 30, 2000)).toBe(
      'Exporting: 25% (256 MiB of 1 GiB, 128 MiB/s, 0:06 left)',
    );
    expect(progressLine('Exporting', 0, 0, 0)).toContain('100%');
    // What there is no room for is left out as a whole.
    const long = (width: number): string => progressLine('Exporting', 256 << 20, 1 << 30, 2000, width);
    expect(long(54)).toBe('Exporting: 25% (256 MiB of 1 GiB, 0:06 left)');
    expect(long(40)).toBe('Exporting: 25% (0:06 left)');
    expect(long(20)).toBe('Exporting: 25%');
  });

  test('says of a backup what it reads, finds and stores, of one image and of all, as far as there is room', () => {
    const mib = 1 << 20;
    const nothing = { bytesRead: 0, bytesChanged: 0, bytesStored: 0 };
    const from = { ...nothing, reached: 0, size: 1 << 30, inAll: null };
    const at = { ...from, reached: 256 * mib, bytesRead: 128 * mib, bytesChanged: 100 * mib, bytesStored: 32 * mib };
    expect(backupLines('Backing up vm', at, from, 2000, 90)).toEqual([
      'Backing up vm: 25% (128 MiB read, 32 MiB stored, 100 MiB changed, 64 MiB/s, 0:06 left)',
    ]);
    expect(backupLines('Backing up vm', at, from, 2000, 79)).toEqual([
      'Backing up vm: 25% (128 MiB read, 32 MiB stored, 64 MiB/s, 0:06 left)',
    ]);
    const all = { bytesRead: 1 << 30, bytesChanged: 1 << 30, bytesStored: 512 * mib };
    const inAll = { ...all, images: 7, done: 1, elapsedMs: 4000 };
    expect(backupLines('Backing up volumes/vm-2', { ...at, inAll }, from, 2000, 79)).toEqual([
      'Backing up volumes/vm-2: 25% (128 MiB read, 32 MiB stored, 64 MiB/s, 0:06 left)',
      'In all: 1 of 7 images (1 GiB read, 512 MiB stored, 256 MiB/s, 0:19 left)',
    ]);
    // One that goes on at the half: what is left is told by what was done since.
    const resumed = { ...from, reached: 512 * mib };
    const [line] = backupLines('Backing up vm', { ...resumed, reached: 768 * mib }, resumed, 2000, 90);
    expect(line).toContain('75% ');
    expect(line).toContain('0:02 left');
  });

  test('takes two lines away again', () => {
    let written = '';
    const progress = terminalProgress({
      task: 'Backing up vm',
      write: (text) => void (written += text),
      columns: () => 80,
      nowMs: () => 0,
    });
    const moved = { bytesRead: 1, bytesChanged: 1, bytesStored: 1 };
    progress.backup({ ...moved, reached: 1, size: 2, inAll: { ...moved, images: 2, done: 0, elapsedMs: 0 } });
    expect(written.startsWith('\rBacking up vm: 50% ')).toBe(true);
    expect(written).toContain('\x1b[K\nIn all: 0 of 2 images ');
    expect(written.endsWith('\x1b[K\r\x1b[1A')).toBe(true);
    written = '';
    progress.clear();
    expect(written).toBe('\r\x1b[K\n\x1b[K\r\x1b[1A');
  });

  test('writes over one line that fits the terminal, ten times a second at most, and leaves a summary', () => {
    let written = '';
    let nowMs = 0;
    const progress = terminalProgress({
      task: 'Exporting image',
      write: (text) => void (written += text),
      columns: () => 20,
      nowMs: () => nowMs,
    });
    progress.update(1, 100);
    progress.update(2, 100);
    nowMs = 3000;
    progress.update(50, 100);
    progress.finish('exported it');
    const lines = written.split('\r').filter((line) => line !== '');
    expect(lines).toHaveLength(3);
    for (const line of lines.slice(0, 2)) expect(line.replace('\x1b[K', '').length).toBeLessThan(20);
    expect(lines[2]).toBe('\x1b[Kexported it in 3.0 s\n');
  });
});

describe('the picture of an image', () => {
  const draw = (map: ChangeMap, columns = 29): string[] => picture(map, { columns, unicode: false }).split('\n');

  test('shows data by its share, zeros, and nothing', () => {
    const map = new ChangeMap(16 * 8 * 512);
    map.addData(0, 512);
    map.addZero(512, 512);
    map.addData(3 * 512, 100);
    expect(draw(map)[0]).toBe('      0 B |#- .            |');
  });

  test('is as wide as the terminal at most, and a small image is no larger than its sectors', () => {
    const map = new ChangeMap(1 << 40);
    map.addData(2 ** 39, 2 ** 39);
    const lines = draw(map, 60);
    expect(lines.slice(0, 8).every((line) => line.length <= 60)).toBe(true);
    expect(lines[3]).toMatch(/\| +\|$/u);
    expect(lines[4]).toMatch(/\|#+\|$/u);
    expect(draw(new ChangeMap(512))).toHaveLength(3);
    expect(picture(new ChangeMap(0), { columns: 80, unicode: true })).toBe('');
  });
});
