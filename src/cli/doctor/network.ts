/** Checks of `sealmesh doctor`: ports of this machine, its local network, and the iroh relays that are set. */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { isMeshError, systemCode, toMeshError } from "../../base/errors.ts";
import { defaults } from "../../node/defaults.ts";
import { fetchBounded } from "../../node/fetch-bounded.ts";
import { counted } from "../output.ts";
import { type Check, check, fail, type Finding, ok, skip, warn } from "./check.ts";
import type { DoctorContext } from "./context.ts";

// ---- ports

export interface PortSeen {
  readonly what: "API" | "console" | "UDP";
  readonly port: number;
  /** Undefined: it is free; else the system's code. */
  readonly held: string | undefined;
  /** It belongs to the node that runs here. */
  readonly ours: boolean;
}

export const ports: Check = check("ports", lookAtPorts, judgePorts);

async function lookAtPorts({ config, running, consolePort }: DoctorContext): Promise<readonly PortSeen[]> {
  if (running) {
    // it answers there, so they are its own
    const own = [
      { what: "API" as const, port: running.status.api_port },
      { what: "console" as const, port: consolePort },
    ];
    return own.flatMap(({ what, port }) => (port ? { what, port, held: "EADDRINUSE", ours: true } : []));
  }
  const usual = { api: { host: "127.0.0.1", port: defaults.apiPort }, bind: defaults.bind };
  const { api, bind } = isMeshError(config) ? usual : config;
  const colon = bind.lastIndexOf(":");
  const udp = { host: bind.slice(0, colon).replaceAll(/[[\]]/g, ""), port: Number(bind.slice(colon + 1)) };
  const looks = [
    ...(api ? [{ what: "API" as const, port: api.port, held: () => heldTcp(api.host, api.port) }] : []),
    { what: "console" as const, port: consolePort ?? 0, held: () => heldTcp("127.0.0.1", consolePort ?? 0) },
    { what: "UDP" as const, port: udp.port, held: () => heldUdp(udp.host, udp.port) },
  ];
  // port 0 is whichever is free
  const wanted = looks.filter(({ port }) => port !== 0);
  return await Promise.all(
    wanted.map(async ({ what, port, held }) => ({ what, port, held: await held(), ours: false })),
  );
}

function heldTcp(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (cause) => resolve(systemCode(cause)));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

function heldUdp(address: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    socket.once("error", (cause) => {
      socket.close();
      resolve(systemCode(cause));
    });
    socket.bind({ address, port, exclusive: true }, () => socket.close(() => resolve(undefined)));
  });
}

const flagOf = { API: "--port", console: "--console", UDP: "--bind" } as const;

export function judgePorts(seen: readonly PortSeen[]): Finding {
  const foreign = seen.find(({ held, ours }) => held !== undefined && !ours);
  if (foreign) {
    const { what, port, held } = foreign;
    const why = held === "EADDRINUSE" ? "another program has it" : `it cannot be used (${held})`;
    return fail(
      "E_PORT",
      `${what} port ${port}: ${why}`,
      `stop that program, or take another port with ${flagOf[what]}`,
    );
  }
  const text = seen.map(
    ({ what, port, held }) => `${what} ${port} ${held === undefined ? "free" : "held by our node"}`,
  );
  return ok(text.length > 0 ? text.join(", ") : "none is set: all are of the system's choice");
}

// ---- local network

export interface InterfaceSeen {
  readonly name: string;
  /** Why multicast DNS cannot be used there; undefined: it can. */
  readonly why: string | undefined;
}

/** RFC 6762. */
const multicastDns = "224.0.0.251";
/** Containers and virtual machines add dozens. */
const mostInterfaces = 8;

export const localNetwork: Check = check("local-network", lookAtNetwork, judgeNetwork);

async function lookAtNetwork(): Promise<readonly InterfaceSeen[]> {
  const outside = Object.entries(networkInterfaces()).flatMap(([name, all = []]) => {
    const found = all.find(({ family, internal }) => family === "IPv4" && !internal);
    return found ? [{ name, address: found.address }] : [];
  });
  return await Promise.all(
    outside.slice(0, mostInterfaces).map(async ({ name, address }) => ({ name, why: await multicastWhy(address) })),
  );
}

function multicastWhy(address: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket({ type: "udp4", reuseAddr: true });
    const end = (why?: string): void => void socket.close(() => resolve(why));
    socket.once("error", (cause) => end(systemCode(cause)));
    socket.bind(0, address, () => {
      try {
        socket.addMembership(multicastDns, address);
        socket.setMulticastInterface(address);
        end();
      } catch (cause) {
        end(systemCode(cause));
      }
    });
  });
}

export function judgeNetwork(seen: readonly InterfaceSeen[]): Finding {
  const names = seen.map(({ name }) => name).join(", ");
  const invites = "peers on other machines are reached by --advertise or an iroh relay; invites work either way";
  if (seen.length === 0) return warn("no network but this machine's own", "connect it, or use this machine alone");
  const working = seen.filter(({ why }) => why === undefined);
  if (working.length === 0) return warn(`multicast DNS cannot be used on ${names} (${seen[0]?.why})`, invites);
  // that others hear it, too, only an answer of theirs can show
  return ok(`multicast DNS works on ${working.map(({ name }) => name).join(", ")}, as far as this machine can tell`);
}

// ---- iroh relays

export interface RelaySeen {
  readonly host: string;
  /** Why it was not reached; undefined: it answers. */
  readonly why: string | undefined;
}

/** Longest wait for one, ms. */
const relayMs = 3_000;
const relayBytes = 65_536;

export const irohRelays: Check = check("iroh-relays", lookAtRelays, judgeRelays);

async function lookAtRelays(
  { config }: DoctorContext,
  signal: AbortSignal,
): Promise<readonly RelaySeen[] | "none" | "default"> {
  const set = isMeshError(config) ? "none" : config.irohRelays;
  if (typeof set === "string") return set;
  return await Promise.all(
    set.map(async (text) => {
      const url = new URL(text);
      try {
        await fetchBounded(url, { maxBytes: relayBytes, ms: relayMs, signal });
        return { host: url.host, why: undefined };
      } catch (thrown) {
        return { host: url.host, why: toMeshError(thrown).message };
      }
    }),
  );
}

export function judgeRelays(seen: readonly RelaySeen[] | "none" | "default"): Finding {
  if (seen === "none") return skip("none is set; peers without a direct way need one, or a member that carries");
  if (seen === "default") return skip("the public ones of iroh are set; they are not asked by name");
  const away = seen.filter(({ why }) => why !== undefined);
  const [first] = away;
  const todo = "check the address in [network] iroh_relays, and whether a firewall lets HTTPS out";
  if (first && away.length === seen.length) return fail("E_RELAY", first.why ?? "", todo);
  if (first) return warn(`${away.length} of ${seen.length} do not answer: ${first.why}`, todo);
  return ok(
    `${counted(seen.length, "iroh relay")} answer${seen.length === 1 ? "s" : ""}: ${seen.map(({ host }) => host).join(", ")}`,
  );
}
