/** What must hold in every stream of the Responses API (engines.md §4.4), whoever made it. */
import type { ResponseStreamEvent, ResponseOutputItem } from "openai/resources/responses/responses";
import { expect } from "vitest";

/**
 * The types of the events, once their numbers, items and texts have been found consistent. Item by item: parallel calls may
 * be told one after the other or side by side.
 */
export function checkedTypes(events: readonly ResponseStreamEvent[]): readonly string[] {
  expect(events.slice(0, 2).map(({ type }) => type)).toEqual(["response.created", "response.in_progress"]);
  expect(events.map((event) => "sequence_number" in event && event.sequence_number)).toEqual([...events.keys()]);
  const items = new Map<number, Item>();
  const done: ResponseOutputItem[] = [];
  for (const event of events) {
    if (event.type === "response.output_item.added") {
      expect(event.output_index).toBe(items.size);
      items.set(event.output_index, { id: idOf(event.item), texts: new Map() });
    } else if (event.type === "response.output_item.done") {
      expect(idOf(event.item)).toBe(items.get(event.output_index)?.id);
      done.push(event.item);
    } else if ("output_index" in event && "item_id" in event) {
      const item = items.get(event.output_index);
      expect(event.item_id).toBe(item?.id);
      if (item) checkText(item, event);
    }
  }
  const last = events.at(-1);
  if (last?.type !== "response.completed" && last?.type !== "response.incomplete") {
    throw new Error(`the stream ends with ${last?.type}`);
  }
  const created = events[0];
  expect(created?.type === "response.created" && created.response.id).toBe(last.response.id);
  expect(withoutParsed(done)).toEqual(withoutParsed(last.response.output));
  const place = (event: ResponseStreamEvent, at: number): number =>
    "output_index" in event ? event.output_index : at < 2 ? -1 : events.length;
  const placed = events.map((event, at) => ({ type: event.type, place: place(event, at) }));
  return placed.toSorted((a, b) => a.place - b.place).map(({ type }) => type);
}

/** An item while it is being told. */
interface Item {
  readonly id: string;
  /** Deltas so far, by the part that they belong to. */
  readonly texts: Map<string, string>;
}

/** What `.done` says is what the deltas said. */
function checkText(item: Item, event: ResponseStreamEvent): void {
  const [, kind, step] = /^response\.(.*)\.(delta|done)$/.exec(event.type) ?? [];
  if (kind === undefined) return;
  const content = "content_index" in event ? event.content_index : "summary_index" in event ? event.summary_index : 0;
  const part = `${kind} ${content}`;
  if (step === "delta" && "delta" in event) {
    item.texts.set(part, (item.texts.get(part) ?? "") + String(event.delta));
    return;
  }
  const text = "text" in event ? event.text : "arguments" in event ? event.arguments : undefined;
  const said = text ?? ("refusal" in event ? event.refusal : undefined);
  if (said !== undefined) expect(said).toBe(item.texts.get(part) ?? "");
}

function idOf(item: ResponseOutputItem): string {
  return "id" in item && typeof item.id === "string" ? item.id : "none";
}

/** The client's helpers add what they parsed to the objects that they hand out. */
function withoutParsed(items: readonly ResponseOutputItem[]): unknown {
  return JSON.parse(
    JSON.stringify(items, (key, value: unknown) => (key.startsWith("parsed") ? undefined : value)),
  ) as unknown;
}
