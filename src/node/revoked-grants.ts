/**
 * Grants of other members that they have taken back, as heard in their records: revoked-grants.json in the data directory,
 * or somebody put out could come back with a restart of ours. Only what a member says of its own grants gets here; whether
 * it is a member is for admission.ts.
 */
import { type EndpointId, endpointId } from "../base/brand.ts";
import { MeshError } from "../base/errors.ts";
import { countOf, isRecord } from "../base/json.ts";
import type { GrantId } from "../wire/admission.ts";
import { grantId } from "../wire/admission.ts";
import { defaults } from "./defaults.ts";
import { readOwn, unusable, writeAtomic } from "./own-files.ts";

interface Heard {
  readonly issuer: EndpointId;
  readonly grant: GrantId;
  /** Links of the issuer's credential: 1 for whoever made the mesh. */
  readonly depth: number;
}

export class RevokedGrants {
  readonly #path: string;
  /** By issuer and grant, first heard first. */
  readonly #heard: Map<string, Heard>;
  #isKept = true;

  /** @throws E_STATE the file is there and cannot be used */
  constructor(path: string) {
    this.#path = path;
    this.#heard = new Map(read(path).map((one) => [keyOf(one.issuer, one.grant), one]));
  }

  get size(): number {
    return this.#heard.size;
  }

  has(issuer: EndpointId, grant: GrantId): boolean {
    return this.#heard.has(keyOf(issuer, grant));
  }

  /**
   * @param depth links of the issuer's credential
   * @returns whether there was something new among them; it is on disk after the next {@link keep}
   */
  hear(issuer: EndpointId, depth: number, grants: readonly GrantId[]): boolean {
    const news = grants.filter((grant) => !this.has(issuer, grant));
    if (news.length === 0) return false;
    for (const grant of news) this.#heard.set(keyOf(issuer, grant), { issuer, grant, depth });
    const own = [...this.#heard.values()].filter((one) => one.issuer === issuer);
    for (const one of own.slice(0, Math.max(0, own.length - defaults.revocations.perIssuer))) this.#forget(one);
    for (let excess = this.#heard.size - defaults.revocations.total; excess > 0; excess -= 1) this.#forgetOne();
    if (!news.some((grant) => this.has(issuer, grant))) return false; // none of it has stayed
    this.#isKept = false;
    return true;
  }

  /** Not at once, because a member may change its mind with every gossip. @throws E_STATE; tried again by the next call */
  keep(): void {
    if (this.#isKept) return;
    writeAtomic(this.#path, `${JSON.stringify({ version: 1, revoked: [...this.#heard.values()] })}\n`);
    this.#isKept = true;
  }

  /**
   * Those who come late in the chain are many and free to make: they must not push out what earlier members have said. Among
   * those that come equally late, whoever says most loses of it first, and at last whoever spoke last.
   */
  #forgetOne(): void {
    const depth = Math.max(...[...this.#heard.values()].map((one) => one.depth));
    const lateComers = new Map<EndpointId, Heard[]>();
    for (const one of this.#heard.values()) {
      if (one.depth !== depth) continue;
      const said = lateComers.get(one.issuer);
      if (said) said.push(one);
      else lateComers.set(one.issuer, [one]);
    }
    const most = Math.max(...[...lateComers.values()].map(({ length }) => length));
    const last = [...lateComers.values()].findLast(({ length }) => length === most)?.at(-1);
    if (last) this.#forget(last);
  }

  #forget({ issuer, grant }: Heard): void {
    this.#heard.delete(keyOf(issuer, grant));
  }
}

function keyOf(issuer: EndpointId, grant: GrantId): string {
  return `${issuer} ${grant}`;
}

function read(path: string): readonly Heard[] {
  const text = readOwn(path);
  if (text === undefined) return [];
  try {
    const json: unknown = JSON.parse(text);
    if (!isRecord(json) || json["version"] !== 1 || !Array.isArray(json["revoked"])) {
      throw new MeshError("E_INPUT", "it is not such a list");
    }
    return json["revoked"].map(heardFrom).slice(-defaults.revocations.total);
  } catch (cause) {
    // going on without it would let in again whom others have put out
    const what = "is damaged. It says which invites other members have taken back; restore it, or move it away";
    throw unusable(path, what, cause);
  }
}

function heardFrom(json: unknown): Heard {
  if (!isRecord(json)) throw new MeshError("E_INPUT", "an entry is no object");
  const depth = countOf(json["depth"]);
  if (depth === undefined) throw new MeshError("E_INPUT", "an entry has no depth");
  return { issuer: endpointId(String(json["issuer"])), grant: grantId(String(json["grant"])), depth };
}
