/** The host sees the prompt, of necessity; it must see no more than that, and everybody must be told. */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fromUtf8 } from "../../src/base/bytes.ts";
import { readRequest } from "../../src/tunnel/http.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import {
  answerSealed,
  attackedMesh,
  type AttackedMesh,
  call,
  chatResponse,
  clientOf,
  openAsk,
  prompt,
  type RawExchange,
  type RawPeer,
  relayHandler,
} from "../support/raw-peer.ts";

const head = ["x-sealmesh-from", "x-sealmesh-id", "x-sealmesh-time", "x-sealmesh-to", "x-sealmesh-v"];

/** What the caller's program is, and where: in no request. */
function tracesOf(client: TestNode): readonly string[] {
  return [client.dataDir, new URL(client.apiUrl).port, hostname(), "undici", "node-fetch", "127.0.0.1", "localhost"];
}

async function sealedExchange(mesh: AttackedMesh, route: "direct" | "relay") {
  const host: RawPeer = await mesh.raw({ role: "host", models: ["scripted"] });
  const exchanges: RawExchange[] = [];
  const serve: typeof host.handlers.http = async (stream, reader) => {
    const exchange = await openAsk(reader, host.key);
    exchanges.push(exchange);
    await answerSealed(stream, exchange, chatResponse("fine"));
  };
  host.handlers.http = serve;
  host.handlers.relayed = async (stream, reader, from) => {
    await reader.frame(100);
    await serve(stream, reader, from);
  };
  if (route === "direct") return { host, exchanges, client: await clientOf(mesh, [host]) };
  const relay = await mesh.raw();
  await relay.meet(host);
  const toHost = await relay.dial(host, "sealmesh/1");
  relay.handlers.relay = relayHandler(() => Promise.resolve(toHost));
  relay.announcements = () => [host.own(), relay.own()];
  const client = await mesh.start("client", { join: [relay.invite], route });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  return { host, exchanges, client };
}

describe("E7: the opened request", () => {
  it.each(["direct", "relay"] as const)("E7: is the prompt, two headers, and the head: no more (%s)", async (route) => {
    const { exchanges, client, host } = await sealedExchange(attackedMesh(), route);
    const body = prompt({ temperature: 0.5, x_unknown: [1] });
    expect((await call(client, body)).content).toBe("fine");
    expect(exchanges).toHaveLength(1);
    const { opened, request } = exchanges[0] as RawExchange;
    expect([request.method, request.path]).toEqual(["POST", "/v1/chat/completions"]);
    expect(JSON.parse(fromUtf8(request.body))).toEqual(body);

    const headers = new Map(request.headers);
    const signed = route === "relay" ? ["x-sealmesh-sig"] : [];
    expect([...headers.keys()].toSorted()).toEqual(["accept", "content-type", "host", ...head, ...signed].toSorted());
    expect([headers.get("accept"), headers.get("content-type")]).toEqual(["*/*", "application/json"]);
    expect(headers.get("host")).toBe("sealmesh");
    // who asks is an endpoint id, and that is all of it
    expect(headers.get("x-sealmesh-from")).toBe(client.endpointId);
    expect(headers.get("x-sealmesh-to")).toBe(host.id);
    expect(headers.get("x-sealmesh-id")).toMatch(/^[0-9a-f]{32}$/);
    expect(headers.get("x-sealmesh-time")).toMatch(/^[0-9]{13}$/);
    if (route === "relay") expect(headers.get("x-sealmesh-sig")).toMatch(/^[A-Za-z0-9+/]{86}==$/);
    // as bytes: these lines, the framing and the body
    const text = fromUtf8(opened.plaintext);
    const lines = [
      ...request.headers.map(([name, value]) => `${name}: ${value}`),
      `content-length: ${request.body.length}`,
      "connection: close",
    ];
    const [first, ...rest] = text.slice(0, text.indexOf("\r\n\r\n")).split("\r\n");
    expect(first).toBe("POST /v1/chat/completions HTTP/1.1");
    expect(rest.toSorted()).toEqual(lines.toSorted());
    expect(text.slice(text.indexOf("\r\n\r\n") + 4)).toBe(fromUtf8(request.body));
    // what these are is known by now, and a short name could stand in random digits by chance
    const random = ["from", "to", "id", "time", "sig"].map((name) => headers.get(`x-sealmesh-${name}`) ?? "");
    const legible = random.reduce((left, value) => left.replaceAll(value, ""), text);
    expect(tracesOf(client).filter((trace) => legible.includes(trace))).toEqual([]);
  });

  it("E7: in the clear it is the prompt and the two headers", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ kind: "old", role: "host", models: ["scripted"] });
    const seen: { headers: readonly (readonly [string, string])[]; body: Uint8Array }[] = [];
    host.handlers.http = async (stream, reader) => {
      seen.push(await readRequest(reader));
      await stream.write(chatResponse("fine"));
      await stream.finish();
    };
    const client = await clientOf(mesh, [host]);
    expect((await call(client)).content).toBe("fine");
    const [request] = seen;
    expect(request?.headers.map(([name]) => name).toSorted()).toEqual(["accept", "content-type", "host"]);
    const text = JSON.stringify(request?.headers) + fromUtf8(request?.body ?? new Uint8Array(0));
    expect([...tracesOf(client), client.endpointId].filter((trace) => text.includes(trace))).toEqual([]);
  });
});

describe("E7: what the product says", () => {
  const page = (name: string): string =>
    readFileSync(join(import.meta.dirname, "../..", name), "utf8").replaceAll(/\s+/g, " ");

  it("E7: README and SECURITY say that the host sees prompt and answer, and what sealing adds", () => {
    const readme = page("README.md");
    expect(readme).toMatch(/Not protected: the host sees your prompt/);
    const security = page("SECURITY.md");
    expect(security).toMatch(/the host that answers \| everything: prompt, answer, who asks/);
    expect(security).toMatch(/Sealing does not protect from the machine that runs the model/);
    expect(security).toMatch(
      /Between two nodes with a direct connection QUIC, or TLS 1\.3 on the direct path, already encrypts\. Sealing adds:/,
    );
  });

  it("E7: and neither claims that a host cannot see it", () => {
    for (const text of [page("README.md"), page("SECURITY.md")]) {
      expect(text).not.toMatch(
        /end[- ]to[- ]end|zero[- ]knowledge|hidden from the host|nobody can (?:read|see)|the host (?:cannot|never) (?:see|read)/i,
      );
    }
  });
});
