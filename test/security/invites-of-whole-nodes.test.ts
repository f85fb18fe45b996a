/** Invites that must not admit, between whole nodes: what the parts refuse (invite-*.test.ts) holds when they are wired. */
import { afterEach, expect, it, vi } from "vitest";
import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from "../../src/base/bytes.ts";
import { bearerKeyOf, signGrant } from "../../src/crypto/admission.ts";
import { identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { grantId } from "../../src/wire/admission.ts";
import { admit, type ClosedMesh, closedMesh, inviteOf, isMember, revoke } from "../support/closed-mesh.ts";
import { rejectsWith } from "../support/expect-code.ts";
import { grantedBy } from "../support/members.ts";
import { eventually, temporaryDirectory, type TestNode } from "../support/mesh.ts";

afterEach(() => void vi.useRealTimers());

const joining = (mesh: ClosedMesh, token: string, dataDir = temporaryDirectory()): Promise<TestNode> =>
  mesh.start("client", { join: [token], dataDir });

/** Members that the founder counts. */
const admitted = (node: TestNode): number => node.status().peers.length;

it("an expired one admits nobody: the joiner does not start, and its issuer says no to who asks all the same", async () => {
  const mesh = closedMesh();
  const founder = await mesh.start("client");
  const { token } = await inviteOf(founder, { expires_seconds: 60 });
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 61_000 });
  await rejectsWith("E_INVITE", joining(mesh, token));
  await rejectsWith("E_INVITE", admit(await mesh.stranger(), token));
  expect(admitted(founder)).toBe(0);
});

it("one that was taken back admits nobody, and says so", async () => {
  const mesh = closedMesh();
  const founder = await mesh.start("client");
  const { token, id } = await inviteOf(founder);
  await revoke(founder, id);
  await rejectsWith("E_INVITE", joining(mesh, token));
  expect(founder.events).toContainEqual(expect.objectContaining({ event: "admission-refused", reason: "revoked" }));
  expect(admitted(founder)).toBe(0);
});

it("one for a single node admits that one, again after its restart, and no other", async () => {
  const mesh = closedMesh();
  const founder = await mesh.start("client");
  const { token } = await inviteOf(founder, { uses: 1, role: "client" });
  const dataDir = temporaryDirectory();
  const first = await joining(mesh, token, dataDir);
  await eventually("it is a member", () => isMember(founder, first.endpointId));
  await rejectsWith("E_INVITE", joining(mesh, token));
  await first.stop(0);
  const again = await joining(mesh, token, dataDir);
  await eventually("it is a member again", () => isMember(founder, again.endpointId));
  expect(again.status().mesh).toMatchObject({ role: "client", why: null });
});

it("one that was made up, in the founder's name or with its grant, admits nobody", async () => {
  const mesh = closedMesh();
  const founder = await mesh.start("client");
  const { token } = await inviteOf(founder, { role: "client" });
  const { grant } = grantedBy(token);
  const seed = newIdentitySeed();
  const forger = identityFrom(newIdentitySeed());
  const bearerSeed = newIdentitySeed();
  const made = signGrant(forger, {
    ...grant,
    role: "host",
    bearer: bearerKeyOf(bearerSeed),
    id: grantId("ab".repeat(16)),
  });
  for (const ours of [
    { bearer: toBase64Url(seed) },
    { grant: toBase64Url(made.bytes), bearer: toBase64Url(bearerSeed) },
    { grant: undefined, bearer: undefined },
  ]) {
    const json = JSON.parse(fromUtf8(fromBase64Url(token)));
    const forged = toBase64Url(utf8(JSON.stringify({ ...json, sealmesh: { ...json.sealmesh, ...ours } })));
    const outcome = await joining(mesh, forged).then(
      (node) => node.status().mesh,
      () => undefined,
    );
    // without a grant it is the invite of an open mesh, which this one is not: such a node runs, and is nobody here
    if (outcome) expect(outcome.mode).toBe("open");
  }
  await eventually("it was refused", () => founder.events.some(({ event }) => event === "peer-refused"));
  expect(admitted(founder)).toBe(0);
});

it("a member without the right to invite cannot be made to: neither by its operator nor by who asks it", async () => {
  const mesh = closedMesh();
  const founder = await mesh.start("client");
  const { token } = await inviteOf(founder, { delegable: false });
  const member = await joining(mesh, token);
  expect(member.mayInvite).toBe(false);
  expect(() => member.invite()).toThrow();
  await expect(inviteOf(member)).rejects.toThrow("without the right to invite");
  // with an invite of the founder's, which it does not know
  const other = await mesh.member(founder);
  await eventually("the founder tells where it is", () => isMember(founder, member.endpointId));
  await other.meet(founder);
  const entries = other.heard.flatMap(({ announcements }) => announcements);
  const address = entries.find(({ id }) => id === member.endpointId)?.address;
  if (!address) throw new Error("no address");
  await rejectsWith("E_INVITE", admit(await mesh.stranger(), token, address));
});

it("a refused stranger that knocks without end has a few lines of the log, and no more", async () => {
  const mesh = closedMesh();
  const founder = await mesh.start("client");
  const raw = await mesh.stranger();
  for (let round = 0; round < 40; round += 1) await expect(raw.meet(founder)).rejects.toThrow();
  const lines = founder.events.filter(({ event }) => event === "peer-refused");
  expect(lines).toHaveLength(5);
  expect(lines[0]).toMatchObject({ peer: raw.id, what: "it shows no credential, and this mesh is invite-only" });
});

it("a dead one beside a good one keeps nobody out, and costs the good one a single use", async () => {
  const mesh = closedMesh();
  const founder = await mesh.start("client");
  const dead = await inviteOf(founder);
  await revoke(founder, dead.id);
  const good = await inviteOf(founder, { uses: 1 });
  const node = await mesh.start("client", { join: [dead.token, good.token] });
  await eventually("it is a member", () => isMember(founder, node.endpointId));
});

it("a node that was never admitted, and is started without an invite, says so and ends", async () => {
  const mesh = closedMesh();
  const founder = await mesh.start("client");
  const { token } = await inviteOf(founder);
  await founder.stop(0);
  const dataDir = temporaryDirectory();
  const first = await joining(mesh, token, dataDir);
  expect(first.status().mesh.role).toBeNull();
  await first.stop(0);
  await rejectsWith("E_INVITE", mesh.start("client", { dataDir }));
});
