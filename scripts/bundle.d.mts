/** Types of bundle.mjs, for tests that build a part of the product. */
export function bundle(root: string, into: string, inputs?: readonly string[]): Promise<void>;
