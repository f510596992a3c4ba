// A multipart upload that will not be completed, and how it goes.

import type { S3Connection } from './s3-client.ts';

/** How long cleaning up may take: somebody may be waiting for an interrupted command to end. */
export const abortMs = 15_000;

/** A part that was on its way when the upload was aborted can outlive it: look, and abort again. */
export async function forgetUpload(
  { client, sdk }: S3Connection,
  upload: { Bucket: string; Key: string; UploadId: string },
): Promise<void> {
  const options = { abortSignal: AbortSignal.timeout(abortMs) };
  for (let left = true; left; ) {
    await client.send(new sdk.AbortMultipartUploadCommand(upload), options);
    left = await client.send(new sdk.ListPartsCommand(upload), options).then(
      () => true,
      () => false,
    );
  }
}
