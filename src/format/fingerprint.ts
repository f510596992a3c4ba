// Arithmetic of fingerprints: sums of 32-byte little-endian numbers modulo 2^256. Spec: formats/archive/spec.md

import { RbdeltaError } from '../error.ts';

export const sumBytes = 32;

/** The fingerprint of an image of zeros; a new one each time, as sums may be changed in place. */
export const zeroSum = (): Uint8Array => new Uint8Array(sumBytes);

/** a + b modulo 2^256, as a new number. */
export const addSums = (a: Uint8Array, b: Uint8Array): Uint8Array => {
  const sum = zeroSum();
  let carry = 0;
  for (let at = 0; at < sumBytes; at++) {
    carry += a[at]! + b[at]!;
    sum[at] = carry;
    carry >>= 8;
  }
  return sum;
};

/** a - b modulo 2^256, as a new number. */
export const subtractSums = (a: Uint8Array, b: Uint8Array): Uint8Array => {
  const difference = zeroSum();
  let borrow = 0;
  for (let at = 0; at < sumBytes; at++) {
    borrow += a[at]! - b[at]!;
    difference[at] = borrow;
    borrow >>= 8;
  }
  return difference;
};

/** As manifests have it: the 32 bytes in their order, in hex. */
export const sumToHex = (sum: Uint8Array): string => Buffer.from(sum.buffer, sum.byteOffset, sumBytes).toString('hex');

/** The opposite of `sumToHex`; `corrupt` for what is not 64 hex digits in lower case. `name` says where it stood. */
export const sumFromHex = (hex: string, name = 'a fingerprint'): Uint8Array => {
  if (!/^[0-9a-f]{64}$/.test(hex)) {
    throw new RbdeltaError('corrupt', `${name} must be 64 hex digits, not ${JSON.stringify(hex.slice(0, 80))}`);
  }
  return new Uint8Array(Buffer.from(hex, 'hex'));
};
