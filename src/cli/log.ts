/** Where a node's log goes: JSON lines on stdout for programs, calm lines on stderr for people. */
import { type EndpointId, shortId } from "../base/brand.ts";
import type { Log, LogEvent, LogLevel } from "../base/log.ts";
import { withoutControls } from "../wire/gossip.ts";
import { counted, type Paint, paintFor, printLine, printNote, printSoon } from "./output.ts";

/** {time, level, event, ...}: time is ISO 8601 in UTC. What says that something is wrong is not kept back. */
export const jsonLog: Log = {
  write(level, event) {
    const time = new Date();
    const line = (): string => JSON.stringify({ time: time.toISOString(), level, ...event });
    if (level === "warn" || level === "error") printLine(line());
    else printSoon(line);
  },
};

/** Tells what a person wants to know; `debug` is left out, progress of loading is node-process.ts's. */
export function prettyLog(): Log {
  const paint = paintFor(process.stderr);
  return {
    write(level, event) {
      const line = level === "debug" ? undefined : logLine(new Date(), level, event, paint);
      if (line !== undefined) printNote(line);
    },
  };
}

/** Undefined: nothing that a person wants to know. */
export function logLine(time: Date, level: LogLevel, event: LogEvent, paint: Paint): string | undefined {
  const text = sentence(event);
  if (text === undefined) return undefined;
  return `${paint("dim", time.toTimeString().slice(0, 8))} ${marked(level, withoutControls(text), paint)}`;
}

function marked(level: LogLevel, text: string, paint: Paint): string {
  switch (level) {
    case "debug":
    case "info":
      return text;
    case "warn":
      return `${paint("yellow", "warning:")} ${text}`;
    case "error":
      return `${paint("red", "error:")} ${text}`;
  }
}

function sentence(entry: LogEvent): string | undefined {
  switch (entry.event) {
    case "node-started":
    case "engine-loading":
    case "model-downloading":
      return undefined;
    case "node-draining":
      return `stopping: ${counted(entry.exchanges, "request")} may finish; a second signal stops at once`;
    case "node-stopped":
      return "stopped";
    case "peer-joined":
      return joinedText(entry);
    case "peer-left":
      return `${short(entry.peer)} ${leaving[entry.reason]}`;
    case "peer-refused":
      return `${short(entry.peer)} was refused: ${entry.what}${leftOut(entry)}`;
    case "join-failed":
      return `could not join ${short(entry.peer)}: ${entry.what}`;
    case "mesh-created":
      return "no mesh was found: this node begins one";
    case "mesh-found":
      return `found a mesh ${places[entry.source]}: joined ${short(entry.peer)}`;
    case "mesh-not-found":
      return "no mesh was found so far; looking again every half minute";
    case "mesh-not-joined":
      return `${short(entry.peer)} is listed, but was not joined: ${unjoined[entry.why]}`;
    case "mesh-listed":
      return `this mesh can be found ${places[entry.source]}${entry.invite_only ? ", and joined with an invite" : ""}`;
    case "mesh-not-listed":
      return `this mesh cannot be found ${places[entry.source]} for now: ${entry.what}`;
    case "mesh-findable":
      return "whoever finds this mesh is a member of it; --invite-only asks for an invite";
    case "mesh-open":
      return "this mesh is open: anybody who has this node's address is a member";
    case "admitted":
      return `admitted to the mesh ${entry.mesh} as ${entry.role} by ${short(entry.by)}`;
    case "member-admitted":
      return `${short(entry.peer)} was admitted as ${entry.role} by invite ${entry.grant.slice(0, 8)}`;
    case "admission-refused":
      return `${short(entry.peer)} was not admitted: ${entry.reason}${leftOut(entry)}`;
    case "invite-revoked":
      return `invite ${entry.grant.slice(0, 8)} was taken back, and with it ${counted(entry.admitted, "member")}`;
    case "record-conflict":
      return `${short(entry.peer)} signed two records with one number: does another node use a copy of its key?`;
    case "build-list-taken":
      return `list of builds ${entry.seq} of ${entry.signer} taken (${entry.origin}): ${counted(entry.builds, "build")}, ${entry.revoked} revoked`;
    case "build-list-not-in-force":
      return `list of builds ${entry.seq} of ${entry.signer} does not hold now: nothing on it is accepted`;
    case "build-list-refused":
      return `a list of builds from ${entry.from} was not taken: ${entry.what}`;
    case "build-list-not-read":
      return `no list of builds: ${entry.what} What was known before counts until it expires.`;
    case "host-pinned":
      return `${short(entry.peer)} showed its ${entry.kind} key ${entry.key} for the first time: pinned`;
    case "pin-confirmed":
      return `you confirmed the ${entry.kind} key ${entry.key} of ${short(entry.peer)}`;
    case "pins-forgotten":
      return `you had ${short(entry.peer)} forgotten, and ${counted(entry.pins, "pin")} with it`;
    case "host-distrusted":
      return `${short(entry.peer)} is no longer trusted: ${distrust[entry.reason]}`;
    case "host-trusted":
      return `${short(entry.peer)} is trusted again`;
    case "build-measured":
      return entry.what === "" ? undefined : `this installation is not whole: ${entry.what}`;
    case "build-changed":
      return `${counted(entry.files, "file")} on disk differ from what this node runs (${entry.what}); if that was you, restart it`;
    case "claim-signed":
      return `owner ${entry.owner} has signed for this node until ${entry.expires}`;
    case "claim-not-renewed":
      return `the owner's claim was not renewed: ${entry.what}`;
    case "owners-not-read":
      return `${entry.what} What stood there before counts on.`;
    case "key-rotated":
      return `the inference key is now ${entry.fingerprint}`;
    case "exchange-asked":
      return askedText(entry);
    case "exchange-answered":
      return `answered ${short(entry.peer)} ${entry.whole ? "in" : "in part, broken off after"} ${entry.ms} ms`;
    case "evidence-not-made":
      return `no evidence of this machine (${entry.kind}): ${entry.what}`;
    case "telemetry-not-sent":
      return `spans were not sent: ${entry.what}. The last ones are kept, and tried again; this is said once.`;
    case "state-not-kept":
      return `${entry.what} It is kept in memory only, and tried again.`;
    case "exchange-refused":
      return `refused an exchange of ${short(entry.peer)} (${entry.code})`;
    case "relay-carried":
      return `carried ${entry.bytes} sealed bytes between ${short(entry.from)} and ${short(entry.to)}`;
    case "engine-up":
      return `${entry.engine} is up: ${entry.models.join(", ") || "no models yet"}`;
    case "engine-down":
      return `${entry.engine} is down: ${entry.what}`;
    case "engine-other":
      return `${entry.engine} answers as ${entry.found}, not as ${entry.expected}; it is used as what it is`;
    case "model-downloaded":
      return `${entry.model} is whole, SHA-256 ${entry.sha256} ${checkedText[entry.checked_by]}`;
  }
}

function joinedText({ peer, role, sealed }: Extract<LogEvent, { event: "peer-joined" }>): string {
  const joined = `${role} ${short(peer)} joined`;
  if (role !== "host") return joined; // nobody sends it prompts
  return sealed ? `${joined}, prompts to it are sealed` : `${joined}, without a record of its key so far`;
}

function askedText(entry: Extract<LogEvent, { event: "exchange-asked" }>): string {
  const { model, status, host, sealed, route, ms, code } = entry;
  const by = host === undefined ? "nobody" : route === "local" ? "this node" : `${short(host)} (${route})`;
  const how = sealed === "true" ? ", sealed" : sealed === "false" ? ", in the clear" : "";
  return `${model || "a request"}: ${status}${code ? ` ${code}` : ""} by ${by}${how}, ${ms} ms`;
}

/** Behind a SHA-256: with whose word it is the right one. */
export const checkedText = {
  given: "as you gave it",
  "hugging-face": "as Hugging Face says",
  nobody: "by our own count: nobody has said what it must be; #sha256=HEX behind the address would",
} as const;

const leaving = { left: "left", lost: "was lost", expired: "was not heard of for too long" } as const;

const places = { nostr: "through Nostr relays", lan: "on the local network" } as const;

const unjoined = {
  "needs-invite": "its mesh is joined only with an invite",
  "demands-more": "its mesh demands more of hosts than this node does",
} as const;

const distrust = {
  "challenge-missed": "its key has left three challenges unanswered",
  "challenge-failed": "its key answered a challenge with a signature that does not hold",
  "pin-changed": "its key is not the one that was pinned",
} as const;

function leftOut({ left_out: more = 0 }: { readonly left_out?: number }): string {
  return more === 0 ? "" : ` (and ${more} more like it since the last such line)`;
}

function short(id: EndpointId): string {
  return shortId(id);
}
