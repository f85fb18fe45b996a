/** `sealmesh discover`: which meshes can be found from here. Joins none, and needs no running node. */
import { systemClock } from "../../base/clock.ts";
import { MeshError, toMeshError } from "../../base/errors.ts";
import type { Listing } from "../../discovery/discovery.ts";
import { pick, sameName, score } from "../../discovery/listing.ts";
import { discoveryKinds } from "../../discovery/registry.ts";
import { newIdentitySeed } from "../../crypto/identity.ts";
import { type FindingPlaceFlags, findingPlaces } from "../../node/config.ts";
import { defaults } from "../../node/defaults.ts";
import { withoutControls } from "../../wire/gossip.ts";
import { addFindingPlaces } from "../node-flags.ts";
import type { Command } from "../command.ts";
import { counted, paintFor, printJson, printLine, printNote } from "../output.ts";
import { tableOf, widthOf } from "../table.ts";

interface DiscoverFlags extends FindingPlaceFlags {
  readonly name?: string;
  readonly model?: string;
  readonly json?: boolean;
}

/** A look that takes longer says so, ms. */
const progressMs = 2_000;
/** Models that a line of the table names. */
const shownModels = 4;

export const discover: Command = {
  description:
    "Looks on the local network and asks Nostr relays, and lists what is found. Listings are written by strangers: " +
    "nothing in them is checked before a node joins. Relays learn that this machine asks.",
  examples: [
    { what: "everything", line: "sealmesh discover" },
    { what: "meshes of one name", line: "sealmesh discover --name poker-night" },
    { what: "meshes that answer a model, for programs", line: "sealmesh discover --model qwen3-8b --json" },
    { what: "this network only", line: "sealmesh discover --nostr-relay none" },
  ],
  addFlags(command) {
    command
      .option("--name <name>", "only meshes of this name")
      .option("--model <model>", "only meshes that say they answer this model")
      .option("--json", "one JSON document")
      .option("--config <file>", "settings, as for serve; none: no file");
    addFindingPlaces(command);
  },
  async run(given) {
    const flags = given as DiscoverFlags;
    const listings = (await look(flags)).filter(
      ({ serving }) => flags.model === undefined || serving.some((model) => sameName(model, flags.model ?? "")),
    );
    const named = flags.name === undefined ? "" : ` of the name "${flags.name}"`;
    const answering = flags.model === undefined ? "" : ` that answers ${flags.model}`;
    if (listings.length === 0) {
      throw new MeshError("E_NO_HOST", `no mesh${named}${answering} was found`);
    }
    if (flags.json) printJson({ meshes: listings.map(documentOf) });
    else printLine(listingTable(listings));
    return 0;
  },
};

/** Best first. @throws E_USAGE, E_CONFIG · the last failure when nobody could be asked */
async function look({ name, ...flags }: DiscoverFlags): Promise<readonly Listing[]> {
  const settings = findingPlaces(flags);
  const parts = { settings, clock: systemClock, nostrKey: newIdentitySeed(), onTrouble: () => undefined };
  const running = discoveryKinds.filter((kind) => kind.wanted(settings)).map((kind) => kind.start(parts));
  if (running.length === 0) throw new MeshError("E_USAGE", "--nostr-relay none with --no-lan leaves nowhere to look");
  const started = performance.now();
  const progress = setInterval(() => {
    if (!flags.json) printNote(`looking for meshes (${Math.round((performance.now() - started) / 1_000)} s)`);
  }, progressMs);
  try {
    const { signal } = new AbortController();
    const answers = await Promise.allSettled(running.map((one) => one.find({ ms: defaults.findMs, signal, name })));
    const found = answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
    const failures = answers.flatMap((answer) => (answer.status === "rejected" ? [toMeshError(answer.reason)] : []));
    const [failure] = failures;
    if (failure && failures.length === answers.length) throw failure;
    return ranked(found);
  } finally {
    clearInterval(progress);
    await Promise.all(running.map((one) => one.close()));
  }
}

/** Each mesh once, as joining would see it: all names, so each name by itself. */
function ranked(listings: readonly Listing[]): readonly Listing[] {
  const names = new Set(listings.map(({ meshName }) => meshName?.toLowerCase()));
  const picked = [...names].flatMap((name) => pick(listings, { name }));
  return [...new Set(picked)].toSorted((a, b) => score(b, {}) - score(a, {}));
}

/** Text of strangers, for a terminal or a program that prints it. */
function documentOf(listing: Listing): object {
  const { meshName, meshId, endpointId, serving, nodeCount, clientCount, maxClients, region, source, inviteOnly } =
    listing;
  return {
    name: meshName === undefined ? null : withoutControls(meshName),
    mesh_id: meshId ?? null,
    endpoint_id: endpointId,
    serving: serving.map(withoutControls),
    node_count: nodeCount,
    client_count: clientCount,
    max_clients: maxClients,
    region: region === undefined ? null : withoutControls(region),
    source,
    joined: inviteOnly ? "by invite" : "open",
    token: listing.token,
    published_at: new Date(listing.publishedAtMs).toISOString(),
    expires_at: new Date(listing.expiresAtMs).toISOString(),
  };
}

function listingTable(listings: readonly Listing[]): string {
  const paint = paintFor(process.stdout);
  const rows = listings.map(({ meshName, serving, nodeCount, region, source, inviteOnly, endpointId }) => [
    withoutControls(meshName ?? "-"),
    modelsText(serving),
    String(nodeCount),
    withoutControls(region ?? "-"),
    source === "lan" ? "local network" : "Nostr",
    inviteOnly ? "by invite" : "open",
    endpointId.slice(0, 10),
  ]);
  const heads = [
    { head: "name", least: 8 },
    { head: "models", least: 10 },
    { head: "nodes" },
    { head: "region", least: 6, drop: 1 },
    { head: "found" },
    { head: "joined" },
    { head: "listed by", drop: 2 },
  ];
  const width = widthOf(process.stdout);
  const hint = "What listings say is their publishers' word. Join one by its name: sealmesh client --discover NAME";
  return [
    paint("bold", `${counted(listings.length, "listing")} found`),
    tableOf(heads, rows, { paint, width }),
    "",
    hint,
  ].join("\n");
}

function modelsText(models: readonly string[]): string {
  const shown = models.slice(0, shownModels).map(withoutControls).join(", ");
  return models.length > shownModels ? `${shown} and ${models.length - shownModels} more` : shown || "-";
}
