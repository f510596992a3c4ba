// Who may act on a thing at one time: many that share it, or one alone; in the order in which they came.

interface Line {
  sharing: number;
  alone: boolean;
  waiting: { alone: boolean; start: () => void }[];
}

/** One line of waiting for each key; a key that nobody holds takes no memory. */
export class Turns<Key> {
  readonly #lines = new Map<Key, Line>();

  /** Runs `action` beside others that share `key`, never beside one that is alone. */
  async shared<T>(key: Key, action: () => Promise<T>): Promise<T> {
    return this.#run(key, false, action);
  }

  /** Runs `action` while nobody else has `key`. */
  async alone<T>(key: Key, action: () => Promise<T>): Promise<T> {
    return this.#run(key, true, action);
  }

  async #run<T>(key: Key, alone: boolean, action: () => Promise<T>): Promise<T> {
    let line = this.#lines.get(key);
    if (line === undefined) this.#lines.set(key, (line = { sharing: 0, alone: false, waiting: [] }));
    const { waiting } = line;
    if (line.alone || waiting.length > 0 || (alone && line.sharing > 0)) {
      // who ends a turn counts the next one in, so that nobody slips in between
      await new Promise<void>((start) => waiting.push({ alone, start }));
    } else if (alone) line.alone = true;
    else line.sharing += 1;
    try {
      return await action();
    } finally {
      if (alone) line.alone = false;
      else line.sharing -= 1;
      this.#next(key, line);
    }
  }

  #next(key: Key, line: Line): void {
    for (let first = line.waiting[0]; first !== undefined; first = line.waiting[0]) {
      if (line.alone || (first.alone && line.sharing > 0)) return;
      line.waiting.shift();
      if (first.alone) line.alone = true;
      else line.sharing += 1;
      first.start();
    }
    if (!line.alone && line.sharing === 0) this.#lines.delete(key);
  }
}
