/**
 * Somebody asks who may not: a member that was admitted to carry alone, or one whose credential is revoked. The host says
 * so under the seal, directly and through relays, and no engine hears of it.
 */
import { describe, expect, it } from "vitest";
import type { EndpointId } from "../../src/base/brand.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { limits } from "../../src/wire/limits.ts";
import { encodeFrame, StreamReader } from "../../src/wire/frame.ts";
import { encodeRelayedOpen } from "../../src/wire/relay.ts";
import { bytesSource, encodeRequest, encodeResponse } from "../../src/tunnel/http.ts";
import { type AnsweringHost, answeringHost, direct, newAsker } from "../support/answering.ts";
import { askerOf } from "../support/asking.ts";
import { eventually } from "../support/mesh.ts";
import {
  answerSealed,
  attackedMesh,
  chatResponse,
  openAsk,
  type RawAnswer,
  type RawRequest,
  readAnswer,
  relayHandler,
  sealAsk,
} from "../support/raw-peer.ts";

const why = "this node was admitted to carry, not to ask";
const relay = newAsker().id;

/** A host that lets nobody ask. */
async function scene(
  mayAsk: (asker: EndpointId, credential: Uint8Array | undefined) => string | undefined = () => why,
) {
  const served: EndpointId[] = [];
  const judged: (Uint8Array | undefined)[] = [];
  const host = await answeringHost({
    mayAsk: (asker, credential) => {
      judged.push(credential);
      return mayAsk(asker, credential);
    },
    serve: (_request, asker) => {
      served.push(asker);
      return bytesSource(encodeResponse(200, {}, utf8("fine")));
    },
  });
  return { host, served, judged };
}

/** Through a relay, signed. */
async function askRelayed(
  host: AnsweringHost,
  request: RawRequest = {},
): Promise<{ answer: Promise<RawAnswer>; ended: Promise<{ how: string }> }> {
  const { parts } = host;
  const asker = newAsker();
  const sealed = sealAsk(asker, parts.identity.id, parts.keys.current.publicKey, request, true);
  const { ours, ended } = await host.open({ kind: "relayed", relay });
  await ours.write(encodeFrame(encodeRelayedOpen({ hops: 1 })));
  await ours.write(sealed.bytes);
  await ours.finish();
  const answer = readAnswer(new StreamReader(ours), sealed);
  answer.catch(() => undefined);
  return { answer, ended };
}

describe("who may not ask", () => {
  it("is told so under the seal, through a relay", async () => {
    const { host, served } = await scene();
    const { answer, ended } = await askRelayed(host);
    const { status, text } = await answer;
    expect([status, text]).toEqual([503, expect.stringContaining('"code":"refused"')]);
    expect(text).toContain(why);
    expect((await ended).how).toBe("E_REFUSED");
    expect(served).toEqual([]);
  });

  it("and on its own connection, sealed or plain", async () => {
    const { host, served, judged } = await scene();
    expect((await host.ask(newAsker())).status).toBe(503);
    const { ours, ended } = await host.open(direct(newAsker().id));
    await ours.write(encodeRequest({ method: "POST", path: "/v1/chat/completions", headers: [], body: utf8("{}") }));
    expect(
      await new StreamReader(ours)
        .readAll(limits.errorBodyBytes, "the answer")
        .then((bytes) => new TextDecoder().decode(bytes)),
    ).toMatch(/^HTTP\/1.1 503 .*"code":"refused"/s);
    expect((await ended).how).toBe("whole");
    expect(judged).toEqual([undefined, undefined]);
    expect(served).toEqual([]);
  });

  it("is judged by the credential that it sends along, byte for byte", async () => {
    const { host, served, judged } = await scene((_asker, credential) => (credential?.[0] === 7 ? undefined : why));
    const credential = new Uint8Array(300).fill(7);
    expect((await (await askRelayed(host, { head: { credential } })).answer).status).toBe(200);
    expect((await (await askRelayed(host, { head: { credential: credential.fill(8) } })).answer).status).toBe(503);
    expect(judged.map((bytes) => bytes?.length)).toEqual([300, 300]);
    expect(served).toHaveLength(1);
  });

  it("is not even judged before it has shown who it is, or with a credential beyond the bound", async () => {
    const { host, served, judged } = await scene(() => undefined);
    const forged = await askRelayed(host, { sign: () => new Uint8Array(64) });
    expect((await forged.ended).how).toBe("E_OPEN");
    const long = await askRelayed(host, { head: { credential: new Uint8Array(limits.credentialBytes + 1) } });
    expect((await long.ended).how).toBe("E_WIRE");
    expect([judged, served]).toEqual([[], []]);
  });
});

describe("an asker", () => {
  it("sends its credential under the seal through relays, and to nobody directly", async () => {
    const mesh = attackedMesh();
    const credential = new Uint8Array(200).fill(5);
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const between = await mesh.raw();
    await between.meet(host);
    between.announcements = () => [between.entryOf(host.id), between.own()];
    between.handlers.relay = relayHandler(() => between.dial(host, "sealmesh/1"));
    const heard: (Uint8Array | undefined)[] = [];
    host.handlers.http = async (stream, reader) => {
      const exchange = await openAsk(reader, host.key);
      heard.push(exchange.head?.credential);
      await answerSealed(stream, exchange, chatResponse("fine"));
    };
    host.handlers.relayed = async (stream, reader, from) => {
      await reader.frame(limits.relayFrameBytes);
      await host.handlers.http?.(stream, reader, from);
    };
    const known = { credential: () => credential };
    const behind = await askerOf(mesh.network, [between], { route: "relay", ...known });
    await eventually("it knows the host", () => behind.parts.mesh.peer(host.id) !== undefined);
    expect((await behind.ask()).response.status).toBe(200);
    const beside = await askerOf(mesh.network, [host], known);
    expect((await beside.ask()).response.status).toBe(200);
    expect(heard).toEqual([credential, undefined]);
    expect(between.couldRead("BQUFBQUFBQUF")).toBe(false);
  });

  it("that one host refuses asks the next: nothing was done", async () => {
    const mesh = attackedMesh();
    const hosts = await Promise.all([0, 1].map(() => mesh.raw({ role: "host", models: ["scripted"] })));
    const [first, second] = hosts.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    const refusal = { error: { message: why, type: "server_error", code: "refused", param: null } };
    const refusing = encodeResponse(503, { "content-type": "application/json" }, utf8(JSON.stringify(refusal)));
    if (first) first.handlers.http = async (s, r) => answerSealed(s, await openAsk(r, first.key), refusing);
    if (second)
      second.handlers.http = async (s, r) => answerSealed(s, await openAsk(r, second.key), chatResponse("fine"));
    const asker = await askerOf(mesh.network, hosts);
    const { attempts } = await asker.ask();
    expect(attempts.map(({ host, outcome, processed }) => [host, outcome, processed])).toEqual([
      [first?.id, "E_REFUSED", "no"],
      [second?.id, "answered", "yes"],
    ]);
  });
});
