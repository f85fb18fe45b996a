/** Signed lists of known builds, good ones and others, for tests. */
import { fromHex } from "../../src/base/bytes.ts";
import { type Identity, identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { buildListText } from "../../src/node/build-lists.ts";
import {
  type BuildList,
  buildListSigningBytes,
  encodeBuildList,
  encodeSignedBuildList,
  type ListedBuild,
} from "../../src/wire/builds.ts";
import { everyDoor, type Posture } from "../../src/wire/posture.ts";

export const dayMs = 86_400_000;
export const digestA: string = "a1".repeat(32);
export const digestB: string = "b2".repeat(32);

/** A posture of a host that says it runs this build, and nothing else of itself. */
export function postureTelling(build: string | undefined): Posture {
  return {
    platform: "linux",
    doors: everyDoor("unknown"),
    hardening: true,
    engine: "external",
    scrubbed: [],
    confidentialVm: undefined,
    build,
    runtime: undefined,
  };
}

/** A key that signs lists; its id is the key as hex. */
export function listKey(): Identity {
  return identityFrom(newIdentitySeed());
}

export function listed(digest: string, change: Partial<ListedBuild> = {}): ListedBuild {
  return {
    version: "1.2.3",
    platform: "linux-x64",
    digest,
    notBeforeMs: undefined,
    expiresMs: undefined,
    revoked: false,
    ...change,
  };
}

/** In force from a minute ago on, for a day. */
export function listOf(builds: readonly ListedBuild[], change: Partial<BuildList> = {}): BuildList {
  const now = Date.now();
  return {
    seq: BigInt(now),
    issuedAtMs: now,
    notBeforeMs: now - 60_000,
    expiresMs: now + dayMs,
    builds,
    note: undefined,
    ...change,
  };
}

/** SignedBuildList by `key`. */
export function signedList(key: Identity, list: BuildList): Uint8Array {
  const signed = encodeBuildList(list);
  const signature = key.sign(buildListSigningBytes(signed));
  return encodeSignedBuildList({ signed, seal: { kind: "key", key: fromHex(key.id, 32), signature } });
}

/** The same as the text of a file. */
export function signedListText(key: Identity, list: BuildList): string {
  return buildListText(signedList(key, list));
}
