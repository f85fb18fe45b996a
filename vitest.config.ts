import { defineConfig } from "vitest/config";

/** `fast` needs no built product; `process` starts real nodes from dist/, one file at a time on a small machine. */
export default defineConfig({
  test: {
    reporters: ["default", "./scripts/count-reporter.mjs"],
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
