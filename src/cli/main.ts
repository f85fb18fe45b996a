#!/usr/bin/env node
/**
 * The `sealmesh` command: ends the process, the only place that does. A command that runs a node begins here: the
 * process is started afresh without what its starter has left it, closes itself, and only then loads anything else.
 */
import { fileURLToPath } from "node:url";
import { hardenSelf } from "../harden/harden.ts";
import { everyStep, type HardeningReport, noStep } from "../harden/report.ts";
import { startAfresh } from "../harden/start.ts";
import { configFile } from "../node/config-place.ts";
import { flushOutput, formatFromArguments, reportError } from "./output.ts";

/** The commands whose process holds prompts, or as a relay sees who asks whom and holds the key of a member. */
const nodeCommands: readonly (string | undefined)[] = ["serve", "client", "relay"];

const words = process.argv.slice(2);
const forHelp = words.includes("--help") || words.includes("-h");

let hardening: HardeningReport | undefined;
let failure: { readonly thrown: unknown } | undefined;
try {
  if (nodeCommands.includes(words[0]) && !forHelp) hardening = await closeProcess();
} catch (thrown) {
  failure = { thrown };
}
const fail = (thrown: unknown): number => reportError(thrown, formatFromArguments(words));
process.on("uncaughtException", (thrown) => process.exit(fail(thrown)));
process.on("unhandledRejection", (thrown) => process.exit(fail(thrown)));
const exitCode = failure ? fail(failure.thrown) : await (await import("./program.ts")).runProgram(words, hardening);
await flushOutput();
process.exit(exitCode);

/**
 * Returns in the process that stays, and nowhere else. What is wanted is found in the arguments without a parser, which may
 * err only where the report then says what was not done.
 */
async function closeProcess(): Promise<HardeningReport> {
  const wanted = !words.includes("--no-hardening");
  const file = wanted ? configFile(valueOf("--config")) : undefined;
  let steps = wanted ? everyStep : noStep;
  if (file !== undefined) {
    const { hardeningSteps, readConfigFile } = await import("../node/config-file.ts");
    steps = hardeningSteps(wanted, readConfigFile(file));
  }
  const { scrubbed } = startAfresh({ file: fileURLToPath(import.meta.url), words, steps });
  return hardenSelf({ wanted, steps, scrubbed, keys: true });
}

/** Of the last such flag, as the parser takes it later. */
function valueOf(flag: string): string | undefined {
  const at = words.findLastIndex((word) => word === flag || word.startsWith(`${flag}=`));
  return at === -1 ? undefined : words[at] === flag ? words[at + 1] : words[at]?.slice(flag.length + 1);
}
