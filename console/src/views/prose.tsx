/**
 * Text of a model, as text: paragraphs, fenced and inline code, bold. It makes elements and never HTML, so that nothing a
 * model writes is more than text; links and pictures stay what was written.
 */
import type { JSX } from "preact";

export type Block = { readonly kind: "code" | "text"; readonly text: string };

/** Splits at fences; one that is not closed yet, because the answer is still coming, runs to the end. */
export function blocksOf(text: string): readonly Block[] {
  const blocks: Block[] = [];
  let kind: Block["kind"] = "text";
  let lines: string[] = [];
  const flush = (): void => {
    const joined = lines.join("\n");
    if (joined.trim() !== "") blocks.push({ kind, text: kind === "code" ? joined : joined.trim() });
    lines = [];
  };
  for (const line of text.split("\n")) {
    if (/^\s*```/.test(line)) {
      flush();
      kind = kind === "code" ? "text" : "code";
    } else lines.push(line);
  }
  flush();
  return blocks;
}

export function Prose({ text }: { readonly text: string }): JSX.Element {
  return (
    <div class="prose">
      {blocksOf(text).map((block, index) =>
        block.kind === "code" ? (
          <pre key={index} tabIndex={0}>
            <code>{block.text}</code>
          </pre>
        ) : (
          block.text.split(/\n{2,}/).map((paragraph, at) => (
            <p key={`${index} ${at}`}>
              <Inline text={paragraph} />
            </p>
          ))
        ),
      )}
    </div>
  );
}

/** A piece of a sentence, also of the node's own ones: they have names of tiers in backticks. */
export function Inline({ text }: { readonly text: string }): JSX.Element {
  const parts = text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/).map((part, index) => {
    if (part.length > 2 && part.startsWith("`")) return <code key={index}>{part.slice(1, -1)}</code>;
    if (part.length > 4 && part.startsWith("**")) return <strong key={index}>{part.slice(2, -2)}</strong>;
    return part;
  });
  return <>{parts}</>;
}
