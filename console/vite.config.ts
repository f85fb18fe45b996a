/**
 * How the console is built: into hashed files that need no inline script or style, so that the strictest CSP holds. Called
 * by scripts/build.mjs, which says where to.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vite";

/** Questions for the demo model: it answers these, word for word, and little else (models/README.md). */
const suggested = [
  "What is sealmesh?",
  "Who can read my prompt?",
  "What does a relay see?",
  "Can a host prove what it runs?",
  "What happens when a host fails?",
];

const demo = JSON.parse(readFileSync(join(import.meta.dirname, "../models/demo.json"), "utf8")) as {
  readonly questions: readonly { readonly question: string }[];
};
for (const one of suggested) {
  if (!demo.questions.some(({ question }) => question === one)) throw new Error(`the demo model does not know: ${one}`);
}

export default defineConfig({
  root: import.meta.dirname,
  logLevel: "warn",
  define: { __DEMO_QUESTIONS__: JSON.stringify(suggested) },
  build: {
    target: "es2022",
    outDir: "../dist/console",
    emptyOutDir: true,
    // a data: URL would need a hole in the CSP, and so would the polyfill's inline script
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
