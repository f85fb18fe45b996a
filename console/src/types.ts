/**
 * What the node says, as the console reads it: the one place that imports from the node's source, and types alone. What
 * comes over the console port is of the same build, so it is taken at its word.
 */
export type * from "../../src/node/http/admin.ts";
