// The SDK's advice about versions of Node does not reach stderr, and the environment stays as it is.

import { expect, test, vi } from 'vitest';
import { connectS3, s3Failure } from '../../src/store/s3-client.ts';

test('a client is made without a warning, and without a trace in the environment', async () => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  vi.stubEnv('AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED', undefined);
  const before = { ...process.env };
  const { client } = await connectS3({ endpoint: 'http://127.0.0.1:1', region: 'here' });
  client.destroy();
  expect(warn).not.toHaveBeenCalled();
  expect(process.env).toEqual(before);
  vi.unstubAllEnvs();
});

test('a profile beside keys: nothing is said of it, and one that is not there is named', async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'key');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'secret');
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', '/dev/null');
  vi.stubEnv('AWS_CONFIG_FILE', '/dev/null');
  const warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
  try {
    const connection = await connectS3({ endpoint: 'http://127.0.0.1:9', profile: 'nosuch' });
    const error: unknown = await connection.client.config.credentials().catch((one: unknown) => one);
    connection.client.destroy();
    expect(await s3Failure(error, 'cannot list', connection)).toMatchObject({
      code: 'permission',
      message: 'cannot list: no credentials found by the profile "nosuch"',
      hint: expect.stringContaining('~/.aws/credentials'),
    });
    expect(warned.mock.calls).toEqual([]);
  } finally {
    vi.unstubAllEnvs();
    warned.mockRestore();
  }
});
