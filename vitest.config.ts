import { defineConfig } from "vitest/config";
import { StuckReporter } from "./test/support/stuck-reporter.ts";

/** What carries prompts, sealed or through relays: run once more on each transport of real sockets. */
const onEachTransport = [
  "test/integration/{main-path,behind-a-relay,two-relays,relay-alone,moving-on}.test.ts",
  "test/security/{answer-cut-by-relay,answer-cut-to-provoke-retry,chunk-reordered-by-relay,envelope-redirected}.test.ts",
  "test/security/{envelope-replayed,observer-on-the-way,prompt-by-another-way,relay-abused}.test.ts",
];

/** `fast` needs no built product; `process` starts real nodes from dist/, one file at a time on a small machine. */
export default defineConfig({
  test: {
    reporters: ["default", new StuckReporter(), "./scripts/count-reporter.mjs"],
    // whoever runs the tests may have settings of their own
    env: { SEALMESH_CONFIG: "none" },
    projects: [
      {
        extends: true,
        test: {
          name: "fast",
          include: ["test/{unit,docs,vectors,compliance,integration,security,errors,fuzz}/**/*.test.ts"],
          testTimeout: 15_000,
          // much of it waits: one worker for each core, also on a small machine
          maxWorkers: 2,
        },
      },
      ...["iroh", "direct-tls"].map((transport) => ({
        extends: true as const,
        test: {
          name: transport,
          include: onEachTransport,
          env: { SEALMESH_TEST_TRANSPORT: transport },
          testTimeout: 15_000,
          maxWorkers: 2,
        },
      })),
      {
        extends: true,
        test: {
          name: "process",
          include: ["test/{e2e,browser,package}/**/*.test.ts"],
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
