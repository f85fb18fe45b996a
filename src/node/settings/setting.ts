/**
 * What a setting is: one row for all of its names, its default and its sentence. From these rows come the flags of `serve`,
 * `client` and `relay`, what is looked for in variables, credentials and the configuration file (given.ts), `sealmesh config
 * show` and docs/config.md. What a value means, and whether it is right, is for config.ts; a file's types are config-file.ts's.
 */
import type { Flags } from "../config.ts";

/**
 * How a value is written in a variable.
 *   text   as it is
 *   yes    1, true, 0 or false
 *   list   several, with commas or blanks between them
 *   words  several, with blanks between them: each may have commas
 *   one    as it is; the flag and the file take several
 */
export type Form = "text" | "yes" | "list" | "words" | "one";

/** Heads in the help of `serve`, in its order; "file": there is no flag. */
export const groups = [
  "Models:",
  "Joining a mesh:",
  "Finding a mesh:",
  "This machine:",
  "Network:",
  "What hosts must show:",
  "Owners:",
  "Output:",
  "file",
] as const;
export type Group = (typeof groups)[number];

export interface Setting {
  readonly group: Group;
  /** As the parser of flags names it; undefined: only the file has it. */
  readonly flag?: keyof Flags;
  /** As a command line has it: "--bind <host:port>". */
  readonly syntax?: string;
  /** Section and name in the file: "network.bind". */
  readonly key?: string;
  /** Without SEALMESH_. */
  readonly variable?: string;
  /** Whole name of one that other programs read too; ours goes first. */
  readonly standardVariable?: string;
  /** Name of the file in $CREDENTIALS_DIRECTORY that is taken where neither flag nor variable names one. */
  readonly credential?: string;
  /** @default "text" */
  readonly form?: Form;
  /** The flag may be given several times. */
  readonly repeated?: true;
  /** The flag says no to something that is on: `--no-lan`. */
  readonly negated?: true;
  /** Only `serve` has the flag. */
  readonly serveOnly?: true;
  /** It means something only to a node that asks: a relay refuses the flag, and passes over the rest. */
  readonly askersOnly?: true;
  /** All places that say something count together. */
  readonly adds?: true;
  /** The file has a time: read into ms. */
  readonly time?: true;
  /** Its value is shown to nobody. */
  readonly secret?: true;
  /** What it does, for people: the sentence of the help and of the page. */
  readonly doc: string;
  /** What holds where nobody says anything; undefined: nothing does. */
  readonly standard?: string;
}

/** "--bind" of "--bind <host:port>". */
export function flagName({ syntax }: Setting): string | undefined {
  return syntax?.split(" ", 1)[0];
}

/** "SEALMESH_BIND". */
export function variableName({ variable }: Setting): string | undefined {
  return variable === undefined ? undefined : `SEALMESH_${variable}`;
}

/** "[network] bind". */
export function fileName({ key }: Setting): string | undefined {
  const [section, name] = key?.split(".") ?? [];
  return name === undefined ? undefined : `[${section}] ${name}`;
}
