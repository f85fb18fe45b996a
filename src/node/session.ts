/**
 * The session token of a running node: who can read the file `session` in its data directory may make invites at its console
 * port, change pins, read the log, ask models and stop the node. Other programs that can reach the port may look at its
 * status, and no more. New at each start.
 *
 *   session  0600  two lines: the console's URL, and the token
 *
 * The URL is there so that a command never shows the token to another program, on another port of this machine.
 */
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { equal, toBase64Url, utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { readOwn, writeAtomic } from "./own-files.ts";

export interface Session {
  /** @param authorization the header of that name, if there is one. Takes as long whether much or little of it is right. */
  allows(authorization: string | undefined): boolean;
  /** The file goes, too. */
  close(): void;
}

export interface KnownSession {
  /** Such as "http://127.0.0.1:3131". */
  readonly consoleUrl: string;
  /** 43 characters: 32 random bytes. */
  readonly token: string;
}

/** @throws E_STATE it cannot be written */
export function openSession(directory: string, consoleUrl: string): Session {
  const path = join(directory, "session");
  const token = toBase64Url(new Uint8Array(randomBytes(32)));
  const expected = utf8(bearer(token));
  writeAtomic(path, `${consoleUrl}\n${token}\n`, false); // of this run of the node
  return {
    allows: (authorization) => authorization !== undefined && equal(utf8(authorization), expected),
    close: () => rmSync(path, { force: true }),
  };
}

/** @throws E_SESSION no token, or another one: that of an earlier start, for example */
export function checkSession(authorization: string | undefined, session: Pick<Session, "allows">): void {
  if (session.allows(authorization)) return;
  const why =
    authorization === undefined
      ? "this is for those who have the node's session token, and the request shows none"
      : "the session token is not that of the node that runs now: each start has a new one";
  throw new MeshError("E_SESSION", why);
}

/** Undefined: no node with a console runs there, or none has ended as it should. @throws E_STATE others can read the file */
export function readSession(directory: string): KnownSession | undefined {
  const text = readOwn(join(directory, "session"));
  const [consoleUrl, token] = text?.split("\n") ?? [];
  if (consoleUrl === undefined || token === undefined || !URL.canParse(consoleUrl)) return undefined;
  return /^[A-Za-z0-9_-]{43}$/.test(token) ? { consoleUrl, token } : undefined;
}

/** The value of an Authorization header. */
export function bearer(token: string): string {
  return `Bearer ${token}`;
}
