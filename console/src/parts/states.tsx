/** What stands where there is nothing to show yet: loading, nothing there, not allowed, failed. */
import type { ComponentChildren, JSX } from "preact";
import type { Loaded } from "../api.ts";
import type { Session } from "../session.ts";

export function Loading({ what }: { readonly what: string }): JSX.Element {
  return (
    <div class="placeholder" role="status">
      <span class="pulse" aria-hidden="true" />
      {`Loading ${what} …`}
    </div>
  );
}

export function Empty({
  title,
  children,
}: {
  readonly title: string;
  readonly children: ComponentChildren;
}): JSX.Element {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      <div>{children}</div>
    </div>
  );
}

export function Failure({ message, again }: { readonly message: string; readonly again: () => void }): JSX.Element {
  return (
    <div class="notice bad" role="alert">
      <p>{message}</p>
      <button type="button" class="button" onClick={again}>
        Try again
      </button>
    </div>
  );
}

/** Loading, failed, or the value; an old value stays while a new one is asked. */
export function Shown<T>(props: {
  readonly asked: Loaded<T> & { readonly again: () => void };
  readonly what: string;
  readonly children: (value: T) => JSX.Element;
}): JSX.Element {
  const { asked, what, children } = props;
  return (
    <>
      {asked.state === "failed" && <Failure message={asked.error.message} again={asked.again} />}
      {asked.value === undefined ? asked.state === "loading" && <Loading what={what} /> : children(asked.value)}
    </>
  );
}

/** @param todo what it would be good for, such as "To chat" */
export function NeedsSession({
  session,
  todo,
}: {
  readonly session: Session;
  readonly todo: string;
}): JSX.Element | null {
  if (session === "valid" || session === "unchecked") return null;
  return (
    <div class="notice calm">
      <p>
        {session === "expired"
          ? "The node was started anew, and its link is another one now. "
          : "This page only reads. "}
        {todo}, open the link that <code>sealmesh console</code> prints.
      </p>
    </div>
  );
}
