/** fast-check as tests use it: a search that has failed looks for a smaller case within bounds, since no limit of vitest reaches it. */
import fc from "fast-check";

/** From the first case on; SEALMESH_FUZZ_RUNS asks for a long search. */
const searchMs = process.env["SEALMESH_FUZZ_RUNS"] === undefined ? 300_000 : 3_600_000;
fc.configureGlobal({ interruptAfterTimeLimit: searchMs, markInterruptAsFailure: true });

export { fc };
