/** How much of a conversation goes along with the next question. Pure. */
export interface Message {
  readonly role: "user" | "assistant";
  readonly content: string;
}

/** Where a model does not say how much it takes, tokens. */
const usualContext = 8_192;
/** Turns at most: a conversation on this page is short. */
const mostTurns = 24;

/**
 * The last turns that leave room for an answer: as many messages from the end as fit into about a third of the context, at
 * four characters a token. The newest is always there.
 * @param contextLength tokens; null: the model does not say
 */
export function lastTurns(messages: readonly Message[], contextLength: number | null): readonly Message[] {
  let room = (contextLength ?? usualContext) * 1.3;
  let from = messages.length;
  while (from > 0 && messages.length - from < mostTurns) {
    room -= messages[from - 1]?.content.length ?? 0;
    if (room < 0 && from < messages.length) break;
    from -= 1;
  }
  // a history that begins with an answer has no question to it
  while (from < messages.length - 1 && messages[from]?.role === "assistant") from += 1;
  return messages.slice(from);
}
