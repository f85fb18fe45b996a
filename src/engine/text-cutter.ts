/**
 * Between the tokens of a model and the text that leaves it: holds back what may become a stop string or half a
 * character, and cuts at the first stop string. Pure.
 */

export interface Cut {
  /** May leave now. */
  readonly text: string;
  /** A stop string has been seen; nothing may follow. */
  readonly stopped: boolean;
}

export interface TextCutter {
  /** Takes the next text. */
  push(text: string): Cut;
  /** What was held back, when the model ends by itself. */
  flush(): string;
}

/** @param stops none empty; the earliest match in the text wins, and is not part of it */
export function textCutter(stops: readonly string[]): TextCutter {
  let held = "";
  return {
    push(text) {
      held += text;
      let at = -1;
      for (const stop of stops) {
        const found = held.indexOf(stop);
        if (found !== -1 && (at === -1 || found < at)) at = found;
      }
      if (at !== -1) {
        const out = held.slice(0, at);
        held = "";
        return { text: out, stopped: true };
      }
      const keep = Math.max(0, ...stops.map((stop) => overlap(held, stop)));
      const out = held.slice(0, held.length - keep);
      held = held.slice(held.length - keep);
      return { text: out, stopped: false };
    },
    flush() {
      const out = held;
      held = "";
      return out;
    },
  };
}

/** Length of the longest end of `text` with which `stop` begins. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}

/**
 * Whether text ends in what may be half a character: the decoder writes U+FFFD for the bytes that it has so far. A real
 * U+FFFD looks the same, so callers wait for a few tokens only.
 */
export function endsInHalfCharacter(text: string): boolean {
  return text.endsWith("\uFFFD");
}
