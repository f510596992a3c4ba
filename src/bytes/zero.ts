// Which bytes are zero. The code is JavaScript, as threads scan as well.

export { isZero, zeroRuns } from './zero-scan.js';
