/**
 * The node's session token in this page. It comes behind `#session=` of the link that the node prints, is kept for this
 * tab alone, and leaves the address bar before anything else happens. Without it the console only reads.
 */
import { useEffect, useState } from "preact/hooks";

/** none: read-only · unchecked: not tried yet · valid · expired: the node has another one, as after a restart. */
export type Session = "none" | "unchecked" | "valid" | "expired";

const place = "sealmesh-session";
const form = /^#session=([A-Za-z0-9_-]{43})$/;

let token: string | null = null;
let standing: Session = "none";
const listeners = new Set<() => void>();

/** Takes the token out of the address bar. Called once, before the first view. */
export function takeSession(): void {
  const [, given] = form.exec(location.hash) ?? [];
  if (given !== undefined) {
    sessionStorage.setItem(place, given);
    history.replaceState(null, "", "#/mesh");
  }
  token = sessionStorage.getItem(place);
  standing = token === null ? "none" : "unchecked";
  // the same tab may be given the link of a node that was started anew
  addEventListener("hashchange", () => {
    if (!form.test(location.hash)) return;
    takeSession();
    tell();
    dispatchEvent(new HashChangeEvent("hashchange"));
    void checkSession();
  });
}

/** The header that carries the token; none without one. */
export function sessionHeader(): Readonly<Record<string, string>> {
  return token === null || standing === "expired" ? {} : { authorization: `Bearer ${token}` };
}

/** The node has said whether the token is right. */
export function sessionIs(right: boolean): void {
  if (token === null) return;
  const now = right ? "valid" : "expired";
  if (now === standing) return;
  standing = now;
  tell();
}

/** Asks the node about the token, also one that was wrong before: at the start, and whenever a node is there again. */
export async function checkSession(): Promise<void> {
  if (token === null) return;
  const answer = await fetch("/api/session", { headers: { authorization: `Bearer ${token}` } }).catch(() => undefined);
  await answer?.body?.cancel();
  if (answer) sessionIs(answer.status !== 401);
}

export function useSession(): Session {
  const [shown, setShown] = useState(standing);
  useEffect(() => {
    const look = (): void => setShown(standing);
    look();
    listeners.add(look);
    return () => void listeners.delete(look);
  }, []);
  return shown;
}

function tell(): void {
  for (const listener of listeners) listener();
}
