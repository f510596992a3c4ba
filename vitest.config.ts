import { defineConfig } from 'vitest/config';

// Suites that load a cluster run after the others, so that nothing quick waits for them or times out beside them.
const cluster = ['test/interop/**/*.test.ts', 'test/random/**/*.test.ts'];

export default defineConfig({
  test: {
    testTimeout: 120_000,
    hookTimeout: 300_000,
    pool: 'forks',
    globalSetup: ['test/global-setup.ts'],
    projects: [
      {
        extends: true,
        test: { name: 'quick', include: ['test/**/*.test.ts'], exclude: cluster, sequence: { groupOrder: 0 } },
      },
      { extends: true, test: { name: 'cluster', include: cluster, sequence: { groupOrder: 1 } } },
    ],
  },
});
