/** `sealmesh explain`: which hosts a running node of this machine would use, which not, and why. */
import { MeshError } from "../../base/errors.ts";
import { isRecord } from "../../base/json.ts";
import type { ExplainedHost, ExplainReport } from "../../node/attestation-report.ts";
import { type Command, takesWord } from "../command.ts";
import { addSessionFlags, askConsole, consoleUrl, type SessionFlags } from "../local-node.ts";
import { type Paint, paintFor, printJson, printLine, refusedExit } from "../output.ts";
import { policyText } from "../policy-text.ts";
import { widthOf, wrapped } from "../table.ts";

/** The node may have to ask the hosts first, ms. */
const answerMs = 30_000;

interface ExplainFlags extends SessionFlags {
  readonly what: string;
  readonly json?: boolean;
}

export const explain: Command = {
  description:
    "Asks a node that runs on this machine about a model, or about a peer (its endpoint id, or the first 10 digits and " +
    "more): which hosts may be asked, which are refused, and why. Ends with 0 when somebody may be asked, with 77 when all " +
    "are refused, and with 69 when nobody has the model.",
  examples: [
    { what: "all hosts of a model", line: "sealmesh explain Qwen3-8B" },
    { what: "one peer, for programs", line: "sealmesh explain 677edd9c7a --json" },
  ],
  addFlags: (command) =>
    addSessionFlags(takesWord(command, "what", "<what>", "a model, or a peer's endpoint id")).option(
      "--json",
      "the node's own JSON document",
    ),
  async run(given) {
    const flags = given as unknown as ExplainFlags;
    const report = await fetchReport(flags);
    if (report.hosts.length === 0) throw nobody(flags.what);
    if (flags.json) printJson(report);
    else printLine(reportText(report));
    return report.hosts.some(({ allowed }) => allowed) ? 0 : refusedExit;
  },
};

/** @throws E_NO_HOST nobody has it · as {@link askConsole} */
async function fetchReport(flags: ExplainFlags): Promise<ExplainReport> {
  const document = await askConsole(flags, `/api/explain/${encodeURIComponent(flags.what)}`, answerMs);
  if (document === undefined) throw nobody(flags.what);
  if (isExplanation(document)) return document;
  throw new MeshError("E_UNREACHABLE", `what answers at ${consoleUrl(flags).origin} is no console of a sealmesh node`);
}

function nobody(what: string): MeshError {
  return new MeshError("E_NO_HOST", `no host of the mesh serves "${what}", and no peer has that id`);
}

/** Enough to know our own document; it is only printed. */
function isExplanation(value: unknown): value is ExplainReport {
  return isRecord(value) && "policy" in value && Array.isArray(value["hosts"]) && value["hosts"].every(isRecord);
}

function reportText({ what, kind, policy, hosts }: ExplainReport): string {
  const paint = paintFor(process.stdout);
  const allowed = hosts.filter((host) => host.allowed).length;
  const title =
    kind === "peer" ? `peer ${what}` : `${what}: ${allowed} of ${hosts.length} ${plural(hosts.length)} may be asked`;
  return [
    paint("bold", title),
    ...wrapped(`this node demands ${policyText(policy)}`, widthOf(process.stdout)).map((line) => paint("dim", line)),
    ...hosts.flatMap((host) => ["", ...hostLines(host, paint)]),
  ].join("\n");
}

function plural(count: number): string {
  return count === 1 ? "host" : "hosts";
}

function hostLines(
  { endpoint_id: id, this_node: own, hostname, allowed, tier, text }: ExplainedHost,
  paint: Paint,
): readonly string[] {
  const name = own ? "this node" : (hostname ?? "no name");
  const verdict = allowed ? paint("green", "may be asked") : paint("red", "refused");
  const proven = tier === null ? "" : `, tier ${tier}`;
  const room = widthOf(process.stdout) - 2;
  return [`${id.slice(0, 10)}  ${name}  ${verdict}${proven}`, ...wrapped(text, room).map((line) => `  ${line}`)];
}
