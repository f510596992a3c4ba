// What changed between two versions of an image: object maps, then exact extents, then the zeros among them.
//
//   planDiff        which versions; which objects, if their maps can be trusted      nothing is read but metadata
//   changedExtents  which bytes                                                      still nothing
//   diffStream      which of those are zero                                          reads what changed
//
// Each step only narrows the one before.

export { changedExtents } from './diff-extents.ts';
export { type DiffPlan, type PlanOptions, planDiff } from './diff-plan.ts';
export { type DiffProgress, diffStream, type StreamOptions } from './diff-stream.ts';
