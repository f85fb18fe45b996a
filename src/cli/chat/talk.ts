/** What is said around an answer: the line under it, the document for programs, and what a chat begins with. Pure. */
import { tiers } from "../../attest/verdict.ts";
import type { Status } from "../../node/status.ts";
import { askable, type MeshModel, modelsOf, routesOf, sealingsOf, tiersOf } from "../model-list.ts";
import { counted } from "../output.ts";
import { millisecondsText, travelledText } from "../words.ts";
import type { Answer } from "./answer.ts";

/** "gpu-box 677edd9c7a, direct, sealed, proven: nothing; 42 tokens, first after 85 ms" */
export function answerLine(answer: Answer, peers: Status["peers"]): string {
  const { completionTokens: tokens, firstTokenMs, finishReason, stopped } = answer;
  const parts = [
    ...(tokens === null ? [] : [counted(tokens, "token")]),
    ...(firstTokenMs === null ? [] : [`first after ${millisecondsText(firstTokenMs)}`]),
    ...(stopped ? ["stopped"] : []),
    ...(finishReason === "length" ? ["cut off at the most tokens"] : []),
  ];
  return [travelText(answer, peers), parts.join(", ")].filter((part) => part !== "").join("; ");
}

function travelText({ host, route, sealed, tier, evidence, attempts }: Answer, peers: Status["peers"]): string {
  if (host === null || (route !== "direct" && route !== "relay" && route !== "local")) return "";
  const named = peers.find(({ endpoint_id: id }) => id === host)?.hostname ?? null;
  const short = host.slice(0, 10);
  const sealing = sealed === "true" ? "sealed" : sealed === "local" ? "local" : "plain";
  const known = tiers.find((one) => one === tier);
  const kind = evidence ?? undefined;
  const text = travelledText({ host: named ? `${named} ${short}` : short, route, sealing, tier: known, kind });
  return attempts !== null && attempts > 1 ? `${text}, ${attempts} hosts tried` : text;
}

/** For programs: the answer, and all that is known of its way. */
export function answerDocument(model: string, answer: Answer): object {
  const { text, finishReason, host, sealed, route, tier, evidence, attempts, requestId, ms, ...counts } = answer;
  return {
    model: answer.model ?? model,
    answer: text,
    finish_reason: finishReason,
    host,
    route,
    sealed,
    tier,
    evidence,
    attempts,
    request_id: requestId,
    prompt_tokens: counts.promptTokens,
    completion_tokens: counts.completionTokens,
    first_token_ms: counts.firstTokenMs === null ? null : Math.round(counts.firstTokenMs),
    ms: Math.round(ms),
  };
}

/** Who would answer a model now, in a line. */
export function modelLine(model: MeshModel): string {
  const may = askable(model).length;
  if (may === 0) return `${model.id}: none of its hosts may be asked; sealmesh explain ${model.id} says why`;
  const ways = [routesOf(model), sealingsOf(model)].map((words) => words.join(" or "));
  const [tier] = tiersOf(model).toReversed();
  const proven = tier === undefined ? [] : [tier === "none" ? "proven: nothing" : `proven: ${tier} or more`];
  if (model.hosts.every(({ this_node: own }) => own)) return `${model.id}: this node, local`;
  return `${model.id}: ${may} of ${counted(model.hosts.length, "host")} may be asked, ${[...ways, ...proven].join(", ")}`;
}

/** The models with the numbers that `/model` takes. */
export function modelLines(status: Status, current: string | undefined): readonly string[] {
  const models = modelsOf(status);
  if (models.length === 0) return ["no models: they come with the hosts of the mesh"];
  return models.map((model, index) => {
    return `${String(index + 1).padStart(3)}  ${modelLine(model)}${model.id === current ? "  (this one)" : ""}`;
  });
}
