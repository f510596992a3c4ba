// Random histories of an image, and a plain byte array that tells what each version must read as.

import fc from 'fast-check';
import type { WritableImage } from '../../../src/image/port.ts';

export type Step =
  | { do: 'write'; at: number; bytes: number; value: number }
  | { do: 'zero'; at: number; bytes: number }
  | { do: 'resize'; size: number }
  | { do: 'snapshot' }
  | { do: 'remove'; which: number }
  | { do: 'rollback'; which: number }
  | { do: 'reopen' };

/** Steps on an image of at most `most` bytes; positions prefer the borders of objects. */
export function steps(most: number, objectBytes: number): fc.Arbitrary<Step[]> {
  const anywhere = fc.nat(most - 1);
  const atBorder = fc
    .tuple(fc.nat(most / objectBytes - 1), fc.constantFrom(0, 0, 0, 512, objectBytes / 2, objectBytes - 1))
    .map(([object, inside]) => object * objectBytes + inside);
  const at = fc.oneof(anywhere, atBorder);
  const bytes = fc.oneof(
    fc.integer({ min: 1, max: 2 * objectBytes }),
    fc.constantFrom(512, objectBytes / 2, objectBytes, 3 * objectBytes),
  );
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 10,
      arbitrary: fc.record({ do: fc.constant('write' as const), at, bytes, value: fc.integer({ min: 1, max: 255 }) }),
    },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('zero' as const), at, bytes }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('resize' as const), size: at }) },
    { weight: 5, arbitrary: fc.constant({ do: 'snapshot' as const }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('remove' as const), which: fc.nat(100) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('rollback' as const), which: fc.nat(100) }) },
    { weight: 1, arbitrary: fc.constant({ do: 'reopen' as const }) },
  );
  return fc.array(step, { minLength: 1, maxLength: 60 });
}

/** What the image must be: the head, and by name (oldest first) its snapshots. */
export class Bytes {
  head: Uint8Array;
  readonly snapshots = new Map<string, Uint8Array>();
  #made = 0;

  constructor(size: number) {
    this.head = new Uint8Array(size);
  }

  /** The step as it applies here (inside the image, naming a snapshot), already done; null when there is nothing to do. */
  apply(step: Step): Applied | null {
    const names = [...this.snapshots.keys()];
    switch (step.do) {
      case 'write':
      case 'zero': {
        const bytes = Math.min(step.bytes, this.head.length - step.at);
        if (bytes <= 0) return null;
        this.head.fill(step.do === 'write' ? step.value : 0, step.at, step.at + bytes);
        return { ...step, bytes };
      }
      case 'resize': {
        const head = new Uint8Array(step.size);
        head.set(this.head.subarray(0, step.size));
        this.head = head;
        return step;
      }
      case 'snapshot': {
        const name = `s${++this.#made}`;
        this.snapshots.set(name, this.head.slice());
        return { do: 'snapshot', name };
      }
      case 'remove':
      case 'rollback': {
        const name = names[step.which % Math.max(1, names.length)];
        if (name === undefined) return null;
        if (step.do === 'rollback') this.head = this.snapshots.get(name)!.slice();
        else this.snapshots.delete(name);
        return { do: step.do, name };
      }
      case 'reopen':
        return step;
    }
    return step satisfies never;
  }
}

export type Applied =
  | Extract<Step, { do: 'write' | 'zero' | 'resize' | 'reopen' }>
  | { do: 'snapshot' | 'remove' | 'rollback'; name: string };

/** Does a step to a real image; `reopen` is the caller's. */
export async function perform(image: WritableImage, step: Exclude<Applied, { do: 'reopen' }>): Promise<void> {
  switch (step.do) {
    case 'write':
      return image.write(step.at, new Uint8Array(step.bytes).fill(step.value));
    case 'zero':
      return image.writeZeroes(step.at, step.bytes);
    case 'resize':
      return image.resize(step.size);
    case 'snapshot':
      return image.createSnapshot(step.name);
    case 'remove':
      return image.removeSnapshot(step.name);
    case 'rollback':
      return image.rollback(step.name);
  }
  return step satisfies never;
}
