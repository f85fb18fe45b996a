/**
 * `sealmesh invite`: has the node of this machine make invites, and take them back. The node keeps count of them; this only
 * asks it, with the session token of its data directory.
 */
import { MeshError } from "../../base/errors.ts";
import { isRecord, type Json } from "../../base/json.ts";
import { secondsOf } from "../../node/config-kinds.ts";
import { defaults } from "../../node/defaults.ts";
import type { InviteDocument, MadeInviteDocument } from "../../node/http/invites.ts";
import { type MemberRole, memberRoles } from "../../wire/admission.ts";
import { type Command, type CommandGroup, type NamedCommand, takesWord } from "../command.ts";
import { addSessionFlags, askConsole, consoleUrl, neededSession, type SessionFlags } from "../local-node.ts";
import { counted, paintFor, printJson, printLine, printNote } from "../output.ts";
import { tableOf, widthOf } from "../table.ts";

/** A node answers at once, or it is stuck. */
const answerMs = 5_000;
const daySeconds = 86_400;

interface InviteFlags extends SessionFlags {
  readonly json?: boolean;
}

interface MakeFlags extends InviteFlags {
  readonly expires?: string;
  readonly uses?: string;
  readonly role?: string;
  readonly note?: string;
  /** false: --no-delegate. */
  readonly delegate?: boolean;
}

const make: Pick<Command, "addFlags" | "run"> = {
  addFlags: (command) => {
    command
      .option("--expires <time>", "how long it admits, such as 30m, 12h or 7d (default: 7d)")
      .option("--uses <n>", "nodes that it admits (default: no limit)")
      .option(
        "--role <role>",
        "what they may do: client (ask), host (ask, answer, carry) or relay (default: as this node)",
      )
      .option("--no-delegate", "they may not invite others")
      .option("--note <text>", "whom it is for, for your own list");
    addSessionFlags(command).option("--json", "one JSON document");
  },
  run: async (given) => {
    const flags = given as MakeFlags;
    const body = JSON.stringify(wishFrom(flags));
    const document = await asked(flags, "/api/invites", { method: "POST", body });
    if (!isMade(document)) throw strange(flags);
    if (flags.json) printJson(document);
    else {
      printLine(document.token);
      printNote(document.invite ? madeText(document.invite) : openText);
    }
    return 0;
  },
};

const list: NamedCommand = {
  name: "list",
  summary: "show the invites of a node",
  description: "Shows the invites that a node of this machine has issued, and how many nodes each has admitted.",
  examples: [{ what: "with the nodes that each has admitted", line: "sealmesh invite list --json" }],
  addFlags: (command) => {
    addSessionFlags(command).option("--json", "one JSON document");
  },
  run: async (given) => {
    const flags = given as InviteFlags;
    const document = await asked(flags, "/api/invites");
    if (!isRecord(document) || !isInvites(document["invites"])) throw strange(flags);
    const { invites } = document;
    if (flags.json) printJson(document);
    else if (invites.length > 0) printLine(inviteTable(invites));
    else printNote("this node has issued no invites");
    return 0;
  },
};

interface RevokeFlags extends InviteFlags {
  readonly id: string;
}

const revoke: NamedCommand = {
  name: "revoke",
  summary: "take an invite back",
  description:
    "Takes an invite back: nobody joins by it any more, and whoever did is no member from now on, with all whom they have " +
    "invited. Members that are connected hear it at once, others when they next meet one who has heard it.",
  examples: [{ what: "by the first digits of its id", line: "sealmesh invite revoke 3fa9c1d2" }],
  addFlags: (command) => {
    takesWord(command, "id", "<id>", "id of the invite, or its first digits, four at least");
    addSessionFlags(command).option("--json", "one JSON document");
  },
  run: async (given) => {
    const flags = given as unknown as RevokeFlags;
    // what else it may be is for the node to say; here it must only stay inside of the path
    if (!/^[0-9a-f]{1,32}$/.test(flags.id)) {
      throw new MeshError("E_USAGE", "an invite is named by its id, or by the first digits of it, four at least");
    }
    const document = await asked(flags, `/api/invites/${flags.id}`, { method: "DELETE" });
    if (document === undefined) {
      throw new MeshError("E_INPUT", `this node has issued no invite ${flags.id}: see \`sealmesh invite list\``);
    }
    if (!isRecord(document) || !isInvite(document["invite"])) throw strange(flags);
    if (flags.json) printJson(document);
    else {
      printLine(inviteTable([document["invite"]]));
      printNote(`taken back; ${counted(document["invite"].used_by.length, "node")} admitted by it lost membership`);
    }
    return 0;
  },
};

export const invite: CommandGroup = {
  description:
    "Makes an invite to the mesh of the node that runs on this machine. An invite is a secret until it is used up or expired: " +
    "whoever has it can join. One for each person or machine can be taken back by itself; what the node shows at its start " +
    "is one for all.",
  examples: [
    {
      what: "for one machine that asks and does nothing else",
      line: "sealmesh invite --uses 1 --role client --no-delegate",
    },
    { what: "for a team, for a day", line: "sealmesh invite --uses 20 --expires 1d --note team" },
    { what: "who was admitted", line: "sealmesh invite list" },
    { what: "put out whom an invite has admitted", line: "sealmesh invite revoke ID" },
  ],
  alone: make,
  commands: [list, revoke],
};

/** @throws E_INPUT there is no session token for this node · as askConsole() */
async function asked(
  flags: InviteFlags,
  path: string,
  request: { readonly method?: "POST" | "DELETE"; readonly body?: string } = {},
): Promise<unknown> {
  const typed = request.body === undefined ? {} : { "content-type": "application/json" };
  return await askConsole(flags, path, answerMs, { ...request, headers: { ...neededSession(flags), ...typed } });
}

function strange(flags: InviteFlags): MeshError {
  return new MeshError("E_UNREACHABLE", `what answers at ${consoleUrl(flags).origin} is no console of a sealmesh node`);
}

/** What is asked of the node; it checks the rest. @throws E_USAGE */
function wishFrom({ expires, uses, role, note, delegate }: MakeFlags): Json {
  return {
    ...(expires === undefined ? {} : { expires_seconds: secondsFrom(expires) }),
    ...(uses === undefined ? {} : { uses: usesFrom(uses) }),
    ...(role === undefined ? {} : { role: roleFrom(role) }),
    ...(note === undefined ? {} : { note }),
    ...(delegate === false ? { delegable: false } : {}),
  };
}

function secondsFrom(text: string): number {
  const days = /^([1-9][0-9]{0,3})d$/.exec(text)?.[1];
  const seconds = days === undefined ? secondsOf(text) : Number(days) * daySeconds;
  if (seconds !== undefined && seconds > 0 && seconds <= defaults.inviteMaxMs / 1_000) return seconds;
  throw new MeshError("E_USAGE", `--expires takes a time such as 30m, 12h or 7d, a year at most, not "${text}"`);
}

function usesFrom(text: string): number {
  const most = defaults.invites.admissions;
  if (/^[1-9][0-9]{0,5}$/.test(text) && Number(text) <= most) return Number(text);
  throw new MeshError("E_USAGE", `--uses takes a number from 1 to ${most}, not "${text}"`);
}

function roleFrom(text: string): MemberRole {
  const role = memberRoles.find((known) => known === text);
  if (role !== undefined) return role;
  throw new MeshError("E_USAGE", `--role takes one of ${memberRoles.join(", ")}, not "${text}"`);
}

// ---- what the node says, as far as it is printed

function isMade(value: unknown): value is MadeInviteDocument {
  if (!isRecord(value) || typeof value["token"] !== "string") return false;
  return value["invite"] === null || isInvite(value["invite"]);
}

function isInvites(value: unknown): value is readonly InviteDocument[] {
  return Array.isArray(value) && value.every(isInvite);
}

function isInvite(value: unknown): value is InviteDocument {
  return isRecord(value) && typeof value["id"] === "string" && Array.isArray(value["used_by"]);
}

// ---- what is printed

const openText = "this mesh is open: anybody who has this node's address is a member, and no invite can be taken back";

const allowed: Readonly<Record<MemberRole, string>> = {
  client: "ask",
  host: "ask, answer and carry",
  relay: "carry",
};

function madeText({ id, role, delegable, uses, expires }: InviteDocument): string {
  const whom = uses === null ? "every node that has it" : counted(uses, "node");
  const invites = delegable ? "may invite others" : "may not invite others";
  return [
    `invite ${shortGrant(id)}: admits ${whom} until ${timeOf(expires)}; who joins may ${allowed[role]}, and ${invites}`,
    `a secret until then; \`sealmesh invite revoke ${shortGrant(id)}\` takes it back`,
  ].join("\n");
}

function inviteTable(invites: readonly InviteDocument[]): string {
  const rows = invites.map(({ id, state, role, delegable, uses, used_by: usedBy, expires, note, standing }) => [
    shortGrant(id),
    state,
    role,
    delegable ? "yes" : "no",
    `${usedBy.length} of ${uses ?? "any"}`,
    timeOf(expires),
    usedBy.length === 0
      ? "-"
      : usedBy
          .map(({ endpoint_id: endpoint }) => endpoint.slice(0, 10))
          .slice(0, shownNodes)
          .join(","),
    note ?? (standing ? "shown by the node itself" : "-"),
  ]);
  const heads = [
    { head: "id" },
    { head: "state" },
    { head: "role" },
    { head: "may invite", drop: 2 },
    { head: "admitted" },
    { head: "expires (UTC)" },
    { head: "nodes", drop: 1 },
    { head: "note", least: 10 },
  ];
  return tableOf(heads, rows, { paint: paintFor(process.stdout), width: widthOf(process.stdout) });
}

/** Nodes that a row names; `--json` has all. */
const shownNodes = 3;

/** Enough to name one of a thousand. */
function shortGrant(id: string): string {
  return id.slice(0, 8);
}

function timeOf(iso: string): string {
  return iso.slice(0, 16).replace("T", " ");
}
