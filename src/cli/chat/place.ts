/**
 * Where `sealmesh chat` asks: the API port of the node of this machine, as any program would. Where that port wants a key, or
 * speaks TLS, or listens at another address, the same API behind the console port, with the session of the node's user.
 */
import { MeshError, unlessMeshError } from "../../base/errors.ts";
import type { Status } from "../../node/status.ts";
import { fetchBounded } from "../../node/fetch-bounded.ts";
import { consoleUrl, type SessionFlags, sessionHeaders } from "../local-node.ts";
import type { ChatPlace } from "./answer.ts";

/** A node answers at once, or it is stuck, ms. */
const answerMs = 5_000;
const maxBytes = 16_777_216;

/** @throws E_UNREACHABLE there is none, or not in plain HTTP · E_UNAUTHORIZED it wants a key */
export async function findPlace(flags: SessionFlags, { api_port: port }: Status): Promise<ChatPlace> {
  if (port === null) {
    throw new MeshError("E_UNREACHABLE", "this node is a relay: it asks nobody. Chat through a client or a host");
  }
  const api: ChatPlace = { url: `http://127.0.0.1:${port}`, headers: {} };
  const status = await statusOf(api);
  if (status === 200) return api;
  const headers = unlessMeshError(() => sessionHeaders(flags));
  const behindConsole = headers && { url: consoleUrl(flags).origin, headers };
  if (behindConsole && (await statusOf(behindConsole)) === 200) return behindConsole;
  const session = "Run this as the user of the node, with its --data-dir, so that its session lets you in";
  if (status === 401)
    throw new MeshError("E_UNAUTHORIZED", `the API port ${port} of this node wants a key. ${session}`);
  const why = "it has TLS (--tls-cert), or another address (--listen)";
  throw new MeshError(
    "E_UNREACHABLE",
    `the API port ${port} does not answer on 127.0.0.1 in plain HTTP: ${why}. ${session}`,
  );
}

/** Undefined: nobody there who speaks HTTP. */
async function statusOf({ url, headers }: ChatPlace): Promise<number | undefined> {
  return await fetchBounded(new URL(`${url}/v1/models`), { maxBytes, ms: answerMs, request: { headers } }).then(
    ({ status }) => status,
    () => undefined,
  );
}
