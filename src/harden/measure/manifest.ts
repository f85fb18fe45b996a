/**
 * The canonical text that a digest is made of: one line a file, sorted, free of anything that depends on where or how the
 * package was installed. Knows no file system. docs/measurement.md has the layout for those who make it by other means.
 *
 *   sealmesh build manifest 1 LF
 *   platform linux-x64 LF
 *   <64 hex digits, or a word> SP SP <key> LF        sorted by key, then by digest, bytewise; no line twice
 */
import { createHash } from "node:crypto";

export type ManifestKind = "build" | "runtime" | "engine";

export interface ManifestEntry {
  /** SHA-256 as 64 hex digits, or what stands there instead of one: see {@link Word}. */
  readonly digest: string;
  /** "name@version/path" of a file. Printable ASCII; everything else, and "%", is percent-encoded. */
  readonly key: string;
}

/**
 * Lines without a digest. The last five make a manifest that no healthy installation has: what could not be measured must
 * never look like what was.
 *
 *   dependency   "<package> <name asked for> <package found>": which package a name leads to
 *   version      "<part> <version>" of the runtime
 *   missing      "<package> <name asked for>": a dependency that is not optional and not there
 *   link         a symbolic link inside a package: Node would load from where it leads
 *   unreadable   a file or folder that could not be read
 *   special      neither file nor folder nor link
 *   incomplete   "-": more than is measured
 */
export type Word = "dependency" | "version" | "missing" | "link" | "unreadable" | "special" | "incomplete";

/** @returns the whole text, of ASCII alone; its SHA-256 is the digest */
export function manifestText(kind: ManifestKind, platform: string, entries: readonly ManifestEntry[]): string {
  const lines = canonical(entries).map(({ digest, key }) => `${digest}  ${key}\n`);
  return `sealmesh ${kind} manifest 1\nplatform ${escaped(platform)}\n${lines.join("")}`;
}

/** @returns 64 hex digits */
export function manifestDigest(kind: ManifestKind, platform: string, entries: readonly ManifestEntry[]): string {
  return createHash("sha256")
    .update(manifestText(kind, platform, entries))
    .digest("hex");
}

/** Sorted, and each line once: one package may be installed at several places. */
export function canonical(entries: readonly ManifestEntry[]): readonly ManifestEntry[] {
  const sorted = entries.toSorted((a, b) => order(a.key, b.key) || order(a.digest, b.digest));
  return sorted.filter(({ digest, key }, index) => {
    const before = sorted[index - 1];
    return before?.key !== key || before.digest !== digest;
  });
}

/** Keys that stand in one of them alone, or with another digest; sorted. */
export function differingKeys(a: readonly ManifestEntry[], b: readonly ManifestEntry[]): readonly string[] {
  const lines = (entries: readonly ManifestEntry[]): ReadonlyMap<string, string> =>
    new Map(entries.map(({ digest, key }) => [`${digest}  ${key}`, key]));
  const [left, right] = [lines(a), lines(b)];
  const alone = [
    ...[...left].filter(([line]) => !right.has(line)),
    ...[...right].filter(([line]) => !left.has(line)),
  ].map(([, key]) => key);
  return [...new Set(alone)].toSorted(order);
}

/** So that no name of a file can end a line, or look like another one. */
export function escaped(text: string): string {
  return text.replace(/[^\x21-\x24\x26-\x7e]/gu, (character) =>
    [...new TextEncoder().encode(character)].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join(""),
  );
}

/** Of ASCII text this is the order of its bytes. */
function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
