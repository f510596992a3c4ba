import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Args, readArgs } from '../../src/cli/args.ts';
import { commandOf, commands } from '../../src/cli/commands.ts';
import { imageFrom, pathFrom, Positionals } from '../../src/cli/names.ts';
import { type OptionName, optionNamed, options } from '../../src/cli/options.ts';
import { imageSizeFrom, orderOfObjectSize, sizeFrom } from '../../src/cli/values.ts';

const read = (line: string): Args => readArgs(line.split(' '));
const usage = expect.objectContaining({ code: 'usage' });
const invalid = expect.objectContaining({ code: 'invalid' });

describe('a command line', () => {
  test('takes options before, between and behind the words, in every spelling', () => {
    for (const line of ['-p a diff x', 'diff -pa x', 'diff x --pool a', 'diff x --pool=a', 'diff --pool a -- x']) {
      const args = read(line);
      expect(args.positionals).toEqual(['diff', 'x']);
      expect(args.text('pool')).toBe('a');
    }
  });

  test('one dash is a word: standard input or output', () => {
    expect(read('import-diff - vm').positionals).toEqual(['import-diff', '-', 'vm']);
    expect(read('export-diff vm --path -').text('path')).toBe('-');
  });

  test('short flags may stand together, the last may take a value', () => {
    const args = read('ls -lp volumes');
    expect(args.has('long')).toBe(true);
    expect(args.text('pool')).toBe('volumes');
    expect(read('ls -p=volumes').text('pool')).toBe('=volumes'); // so it is with rbd
  });

  test.each([
    ['diff --pool a --pool b', 'cannot be specified more than once'],
    ['diff --pool', 'is missing'],
    ['diff --pool --snap x', 'is missing'],
    ['diff --pool=', 'should follow immediately after the equal sign'],
    ['diff --whole-object=1', 'does not take any arguments'],
    ['diff -y', "unrecognised option '-y'"],
  ])('%s is refused in words of rbd', (line, text) => {
    expect(() => read(line)).toThrow(
      expect.objectContaining({ code: 'usage', message: expect.stringContaining(text) }),
    );
  });

  test('an empty name is none, as with rbd: a script writes --from-snap "$last" the first time, too', () => {
    const args = readArgs([
      'diff',
      '--from-snap',
      '',
      '--snap',
      '',
      '--pool',
      '',
      '-p',
      'volumes',
      '--sparse-size',
      '',
    ]);
    expect(args.given()).toEqual(['pool', 'sparse-size']);
    expect(args.text('from-snap')).toBe(null);
    expect(args.text('pool')).toBe('volumes');
  });

  test('an option that may be repeated is', () => {
    expect(read('create --image-feature a --image-feature=b,c').texts('image-feature')).toEqual(['a', 'b,c']);
  });

  test('options of Ceph pass through, with the word behind them as the value', () => {
    const args = read('ls --rbd-cache=false --debug_rbd 20 volumes --no-mon-config x');
    expect(args.foreign).toEqual(['--rbd-cache=false', '--debug_rbd', '20', '--no-mon-config']);
    expect(args.positionals).toEqual(['ls', 'volumes', 'x']);
    expect(read('ls --mon_host a').text('mon-host')).toBe('a');
  });

  test('every value that is written comes back', () => {
    const names = (Object.keys(options) as OptionName[]).filter((name) => options[name].value !== undefined);
    const value = fc.string({ minLength: 1 }).filter((text) => !text.startsWith('-'));
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(fc.constantFrom(...names), value), { selector: ([name]) => name }),
        (given) => {
          const spaced = readArgs(given.flatMap(([name, text]) => [`--${name}`, text]));
          const joined = readArgs(given.map(([name, text]) => `--${name}=${text}`));
          for (const [name, text] of given) {
            expect(spaced.text(name)).toBe(text);
            expect(joined.text(name)).toBe(text);
          }
        },
      ),
    );
  });
});

describe('the tables', async () => {
  const loaded = await Promise.all(commands.map(async (entry) => ({ entry, ...(await entry.load()) })));

  test('no two options share a name', () => {
    const names = Object.entries(options).flatMap(([name, { alias }]) => [name, ...(alias ?? [])]);
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
    for (const [name, { alias }] of Object.entries(options))
      for (const one of alias ?? []) expect(optionNamed(one)).toBe(name);
  });

  test('every option is used, and no command has one twice', () => {
    const used = new Set<OptionName>(['help', 'version', ...loaded.flatMap(({ command }) => command.options)]);
    expect((Object.keys(options) as OptionName[]).filter((name) => !used.has(name))).toEqual([]);
    for (const { command } of loaded) expect(new Set(command.options).size).toBe(command.options.length);
  });

  test('every example of the help is a command line that can be read', async () => {
    for (const { command: shown } of loaded) {
      expect(shown.examples).not.toEqual([]);
      for (const [line] of shown.examples) {
        const args = readArgs(line.split(/ [|<>] /u)[0]?.split(' ') ?? []);
        const named = (await commandOf(args.positionals)?.entry.load())?.command;
        expect(args.given().filter((name) => !named?.options.includes(name))).toEqual([]);
        expect(args.foreign).toEqual([]);
      }
    }
  });
});

describe('names', () => {
  const image = (line: string, rules = {}) => {
    const args = readArgs(line === '' ? [] : line.split(' '));
    return imageFrom(args, new Positionals(args), rules);
  };

  test.each([
    ['a/i@s', { pool: 'a', image: 'i', snap: 's' }],
    ['-p a i --snap s', { pool: 'a', image: 'i', snap: 's' }],
    ['--image i -p a --snap s', { pool: 'a', image: 'i', snap: 's' }],
    ['--image a/n/i@s', { pool: 'a', namespace: 'n', image: 'i', snap: 's' }],
    ['--namespace n a/i', { pool: 'a', namespace: 'n', image: 'i' }],
    ['i', { pool: null, namespace: '', image: 'i', snap: null }],
  ])('%s', (line, named) => {
    expect(image(line)).toMatchObject(named);
  });

  test('a spec beats the options: so it is with rbd', () => {
    expect(image('-p b --snap t a/i@s')).toMatchObject({ pool: 'a', image: 'i', snap: 's' });
  });

  test('--image leaves the positionals to the others', () => {
    const args = readArgs(['--image', 'i', 'file']);
    const positionals = new Positionals(args);
    expect(imageFrom(args, positionals).image).toBe('i');
    expect(pathFrom(args, positionals)).toBe('file');
  });

  test('what is missing, too much or badly named is refused as invalid', () => {
    expect(() => image('')).toThrow(invalid);
    expect(() => image('i@s', { snap: 'none' })).toThrow(invalid);
    expect(() => image('i', { snap: 'must' })).toThrow(invalid);
    expect(() => image('--namespace a/b i')).toThrow(invalid);
    expect(() => image('-p a@b i', { rules: 'new' })).toThrow(invalid);
    expect(() => image('--snap a@b i', { rules: 'newSnap' })).toThrow(invalid);
    expect(() => pathFrom(readArgs([]), new Positionals(readArgs([])))).toThrow(invalid);
  });

  test('a word that was taken for the value of an unknown option is named', () => {
    const args = readArgs(['--unknown', 'i']);
    expect(() => imageFrom(args, new Positionals(args))).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('--unknown=VALUE') }),
    );
  });
});

describe('values', () => {
  test.each([
    ['4096', 4096],
    ['+5', 5],
    ['007', 7],
    ['10B', 10],
    ['4K', 4096],
    ['10G', 10 * 2 ** 30],
    ['10GB', 10 * 2 ** 30],
    ['10Gi', 10 * 2 ** 30],
    ['0', 0],
  ])('%s is a size', (text, bytes) => {
    expect(sizeFrom(text)).toBe(bytes);
  });

  test.each(['', ' 5', '-1', '1.5G', '0x10', '10g', '10GiB', '10Q', '16E', '99999999999999999999'])(
    '%j is none',
    (text) => {
      expect(sizeFrom(text)).toBe(null);
    },
  );

  test('the size of an image is in MiB unless it says otherwise', () => {
    expect(imageSizeFrom('8')).toBe(8 << 20);
    expect(imageSizeFrom('8B')).toBe(8);
  });

  test('an object size becomes the nearest power of two', () => {
    expect(orderOfObjectSize('21M')).toBe(24);
    expect(orderOfObjectSize('3000')).toBe(12);
    expect(orderOfObjectSize('64M')).toBe(null);
  });

  test('a value that cannot be read is a usage error that says what is expected', () => {
    expect(() => read('resize --size big').value('size', imageSizeFrom)).toThrow(usage);
  });
});
