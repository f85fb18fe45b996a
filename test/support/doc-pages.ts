/** The project's pages, taken apart: fences, headings, links, words in code. For test/docs/, which holds them to the product. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./processes.ts";

export interface Fence {
  /** What stands behind the three ticks, such as "console host node". */
  readonly info: string;
  /** Of its first line of text, from 1. */
  readonly line: number;
  readonly lines: readonly string[];
}

export interface Page {
  /** From the package's root on. */
  readonly path: string;
  readonly text: string;
  readonly fences: readonly Fence[];
  /** Each piece of inline code outside of fences, and its line. */
  readonly code: readonly { readonly text: string; readonly line: number }[];
  /** Targets of links and pictures, outside of fences and code. */
  readonly links: readonly { readonly target: string; readonly line: number }[];
  /** What a link's `#` may name. */
  readonly anchors: ReadonlySet<string>;
}

/** README, SECURITY, ARCHITECTURE and all of docs/. */
export const pages: readonly Page[] = [
  "README.md",
  "SECURITY.md",
  "ARCHITECTURE.md",
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
].map(pageOf);

function pageOf(path: string): Page {
  const text = readFileSync(join(root, path), "utf8");
  const fences: Fence[] = [];
  const outside: string[] = [];
  let open: { info: string; line: number; lines: string[] } | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    const [, info] = /^```(.*)$/.exec(line) ?? [];
    if (open) {
      if (info === undefined) open.lines.push(line);
      else {
        fences.push(open);
        open = undefined;
      }
      outside.push("");
    } else {
      if (info !== undefined) open = { info, line: index + 2, lines: [] };
      outside.push(info === undefined ? line : "");
    }
  }
  if (open) throw new Error(`${path}:${open.line}: a fence without an end`);
  const code: { text: string; line: number }[] = [];
  const links: { target: string; line: number }[] = [];
  for (const [index, line] of outside.entries()) {
    const rest = line.replaceAll(/(`+)(.+?)\1(?!`)/g, (_all, _ticks, inside: string) => {
      code.push({ text: inside.trim(), line: index + 1 });
      return "code";
    });
    for (const [, target = ""] of rest.matchAll(/\]\(([^()\s]+(?:\([^()]*\))?)\)/g))
      links.push({ target, line: index + 1 });
  }
  return { path, text, fences, code, links, anchors: anchorsOf(outside) };
}

/** As GitHub makes them of headings. */
function anchorsOf(lines: readonly string[]): ReadonlySet<string> {
  const seen = new Map<string, number>();
  const anchors = new Set<string>();
  for (const line of lines) {
    const [, heading] = /^#{1,6} (.+)$/.exec(line) ?? [];
    if (heading === undefined) continue;
    const plain = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const slug = plain.replaceAll(/[^\p{L}\p{N}_ -]/gu, "").replaceAll(" ", "-");
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  return anchors;
}

/** A `sealmesh` command that stands on a page: its words, as a shell would hand them over. */
export interface CommandLine {
  readonly words: readonly string[];
  readonly shown: string;
}

/**
 * The commands in a line of a shell. Handles what the pages use: quotes, comments, variables before a command, `$( )` and
 * redirects, `;`, `|` and `&&`. A word in angle brackets or capitals stands for any value.
 */
/** Not commands: the first lines of texts that are hashed. */
const labels: ReadonlySet<string> = new Set(["sealmesh build manifest 1", "sealmesh engine manifest 1"]);

export function commandsIn(line: string): readonly CommandLine[] {
  const found: CommandLine[] = [];
  // three blanks or a comment begin what is said about the line
  const said = line.replace(/^\$ /, "").replace(/\s{3,}.*$|\s+# .*$/, "");
  for (const part of said.replaceAll(/<([\w ./-]+)>/g, "VALUE").split(/\s*(?:&&|\|\||;|\||`)\s*|\$\(|\)/)) {
    const match = /^(?:[A-Z_]+=(?:"[^"]*"|\S*)\s+)*(?:npx )?sealmesh(?:\s+(.*))?$/.exec(part.trim());
    if (!match || labels.has(part.trim())) continue;
    const rest = (match[1] ?? "").replace(/\s*\d?>>?\s*\S+/g, "");
    const words = [...rest.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
      ([, double, single, bare]) => double ?? single ?? bare ?? "",
    );
    found.push({ words, shown: part.trim() });
  }
  return found;
}

/** Lines of a fence as a shell reads them: those that end in a backslash go on. None where it says that it is text. */
export function shellLines({ info, lines }: Fence): readonly string[] {
  if (info === "text") return [];
  const joined = lines
    .join("\n")
    .replaceAll(/\\\n\s*/g, " ")
    .split("\n");
  return info.startsWith("console") ? joined.filter((line) => line.startsWith("$ ")) : joined;
}
