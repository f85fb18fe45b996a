/** Types of trace-loading.mjs. */
export function traceFlags(out: string): string[];
export function loadedFiles(out: string): string[];
