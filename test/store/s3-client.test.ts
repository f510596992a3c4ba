// The SDK's advice about versions of Node does not reach stderr, and the environment stays as it is.

import { expect, test, vi } from 'vitest';
import { connectS3 } from '../../src/store/s3-client.ts';

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
