/** Buttons, what can be copied, and the dialog that asks before something is done. */
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { messageOf } from "../api.ts";
import { Icon } from "./icon.tsx";

/** Shows text in one line, and puts it on the clipboard. */
export function Copyable(props: {
  readonly text: string;
  readonly label: string;
  readonly shown?: string;
}): JSX.Element {
  const { text, label, shown = text } = props;
  return (
    <span class="copyable">
      <code title={text}>{shown}</code>
      <CopyButton text={text} label={label} />
    </span>
  );
}

/** @param label what is copied, for those who do not see where the button stands */
export function CopyButton(props: {
  readonly text: string;
  readonly label: string;
  readonly wide?: boolean;
}): JSX.Element {
  const { text, label, wide = false } = props;
  const [done, setDone] = useState<"" | "copied" | "failed">("");
  useEffect(() => {
    if (done === "") return undefined;
    const timer = setTimeout(() => setDone(""), 2_000);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = (): void => {
    navigator.clipboard.writeText(text).then(
      () => setDone("copied"),
      () => setDone("failed"),
    );
  };
  const word = done === "copied" ? "Copied" : done === "failed" ? "Select and copy it" : wide ? "Copy" : "";
  return (
    <button type="button" class={wide ? "button" : "button bare"} onClick={copy} aria-label={`Copy ${label}`}>
      <Icon name={done === "copied" ? "pass" : "copy"} />
      <span role="status">{word}</span>
    </button>
  );
}

/** An id: its beginning, in letters that are easy to compare, and the whole of it on the clipboard. */
export function Id({ id, whole = false }: { readonly id: string; readonly whole?: boolean }): JSX.Element {
  return <Copyable text={id} label="the id" shown={whole ? id : id.slice(0, 10)} />;
}

export interface ConfirmProps {
  readonly title: string;
  readonly children: ComponentChildren;
  /** What the button that does it says. */
  readonly verb: string;
  readonly danger?: boolean;
  /** Does it; what it throws is shown, and the dialog stays. */
  readonly act: () => Promise<void>;
  readonly close: () => void;
}

/** Asks before something is done. Escape and Cancel leave everything as it is. */
export function Confirm({ title, children, verb, danger = false, act, close }: ConfirmProps): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  const [state, setState] = useState<"asking" | "doing" | { readonly failed: string }>("asking");
  useEffect(() => dialog.current?.showModal(), []);
  const go = (): void => {
    setState("doing");
    act().then(close, (thrown: unknown) => setState({ failed: messageOf(thrown) }));
  };
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby={heading} onClose={close}>
      <h2 id={heading}>{title}</h2>
      <div class="dialog-text">{children}</div>
      {typeof state === "object" && (
        <p class="notice bad" role="alert">
          {state.failed}
        </p>
      )}
      <div class="actions">
        <button type="button" class="button" onClick={() => dialog.current?.close()}>
          Cancel
        </button>
        <button
          type="button"
          class={danger ? "button danger" : "button primary"}
          disabled={state === "doing"}
          onClick={go}
        >
          {verb}
        </button>
      </div>
    </dialog>
  );
}
