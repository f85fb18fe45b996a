/** The routes that list models: all of the mesh for this machine, our own for a peer. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { MeshError } from "../../base/errors.ts";
import { withoutControls } from "../../wire/gossip.ts";
import { sendJson } from "./write.ts";

/** Model time stamps are required by the type, and there is no creation time to tell. */
const modelCreated = 0;

export function listModels(response: ServerResponse, models: readonly string[]): void {
  sendJson(response, { object: "list", data: models.map(modelObject) });
}

/** @param encoded as it stands in the path; names have slashes, which clients encode or leave */
export function showModel(response: ServerResponse, encoded: string, models: readonly string[]): void {
  const wanted = decodeName(encoded);
  if (!models.includes(wanted)) throw unknownModel(wanted, models);
  sendJson(response, modelObject(wanted));
}

export function unknownModel(model: string, known: readonly string[]): MeshError {
  const there = known.length > 0 ? `it serves: ${known.slice(0, 20).join(", ")}` : "it serves none at the moment";
  return new MeshError("E_MODEL", `the mesh does not serve the model "${repeated(model)}"; ${there}`, {
    param: "model",
  });
}

/** @throws E_METHOD, with the header that names the right one */
export function allowMethod(request: IncomingMessage, response: ServerResponse, method: string): void {
  if (request.method === method) return;
  response.setHeader("allow", method);
  throw new MeshError("E_METHOD", `this path takes ${method}, not ${request.method}`);
}

/** Longest text of a caller's that a message repeats. */
const repeatedCharacters = 100;

export function repeated(text: string): string {
  const start = withoutControls(text.slice(0, repeatedCharacters));
  return text.length > repeatedCharacters ? `${start}…` : start;
}

function modelObject(id: string): object {
  return { id, object: "model", created: modelCreated, owned_by: "sealmesh" };
}

/** @throws E_INPUT a part that is no percent-encoded text */
export function decodeName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new MeshError("E_INPUT", "the model's name is not properly encoded", { param: "model" });
  }
}
