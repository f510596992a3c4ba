// A new image whose space is taken at once: zeros are written to all of it.

import { interruption } from '../bytes/errno.ts';
import type { Cluster, CreateOptions, Progress } from '../image/port.ts';
import type { ImageSpec } from '../image/spec.ts';
import { madeWhole } from './half-made.ts';
import { Window } from './window.ts';

const pieceBytes = 4 << 20;
const piecesAtOnce = 8;

/** All or nothing. */
export const createThick = (
  cluster: Cluster,
  spec: ImageSpec,
  options: CreateOptions,
  { signal, onProgress }: { signal: AbortSignal; onProgress: Progress },
): Promise<void> =>
  madeWhole(
    cluster,
    spec,
    async (half) => {
      await cluster.create(half, options);
      const image = await cluster.openToWrite(half);
      const window = new Window(piecesAtOnce);
      try {
        const zeros = new Uint8Array(pieceBytes);
        for (let offset = 0; offset < options.size; offset += pieceBytes) {
          await window.room();
          if (signal.aborted) throw interruption(signal);
          onProgress(offset, options.size);
          const data = zeros.subarray(0, Math.min(pieceBytes, options.size - offset));
          window.start(1, () => image.write(offset, data));
        }
        await window.drain();
        await image.flush();
        onProgress(options.size, options.size);
      } finally {
        await window.settled();
        await image.close();
      }
    },
    { signal },
  );
