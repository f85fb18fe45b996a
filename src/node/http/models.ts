/** The routes that list models: all of the mesh for this machine, our own for a peer. */
import { MeshError } from "../../base/errors.ts";
import { withoutControls } from "../../wire/gossip.ts";
import type { Asking, Reply } from "./lanes.ts";

/** Model time stamps are required by the type, and there is no creation time to tell. */
const modelCreated = 0;

/** In whose words a model is shown. */
export type ModelForm = "openai" | "anthropic";

export function listModels(reply: Reply, models: readonly string[], form: ModelForm): void {
  const data = models.map((id) => modelObject(id, form));
  const ends = { has_more: false, first_id: models[0] ?? null, last_id: models.at(-1) ?? null };
  reply.json(form === "openai" ? { object: "list", data } : { data, ...ends });
}

/** @param encoded as it stands in the path; names have slashes, which clients encode or leave */
export function showModel(reply: Reply, encoded: string, models: readonly string[], form: ModelForm): void {
  const wanted = decodeName(encoded);
  if (!models.includes(wanted)) throw unknownModel(wanted, models);
  reply.json(modelObject(wanted, form));
}

export function unknownModel(model: string, known: readonly string[]): MeshError {
  const there = known.length > 0 ? `it serves: ${known.slice(0, 20).join(", ")}` : "it serves none at the moment";
  return new MeshError("E_MODEL", `the mesh does not serve the model "${repeated(model)}"; ${there}`, {
    param: "model",
  });
}

/** @throws E_METHOD, with the header that names the right one */
export function allowMethod(asking: Asking, reply: Reply, method: string): void {
  if (asking.method === method) return;
  reply.setHeader("allow", method);
  throw new MeshError("E_METHOD", `this path takes ${method}, not ${asking.method}`);
}

/** Longest text of a caller's that a message repeats. */
const repeatedCharacters = 100;

export function repeated(text: string): string {
  const start = withoutControls(text.slice(0, repeatedCharacters));
  return text.length > repeatedCharacters ? `${start}…` : start;
}

function modelObject(id: string, form: ModelForm): object {
  if (form === "openai") return { id, object: "model", created: modelCreated, owned_by: "sealmesh" };
  return { type: "model", id, display_name: id, created_at: new Date(modelCreated).toISOString() };
}

/** @throws E_INPUT a part that is no percent-encoded text */
export function decodeName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new MeshError("E_INPUT", "the model's name is not properly encoded", { param: "model" });
  }
}
