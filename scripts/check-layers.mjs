// Holds the source to its layers: a file imports from layers below its own, or from its own folder. Also: each outside
// package has one home, pure folders have no network, and a few properties are read in one place only. The console takes
// from the node's source the types of its console port, and nothing that runs.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const root = join(import.meta.dirname, "..");
const source = join(root, "src");

/** Folder or file below src/ -> rank. Equal ranks are siblings and do not import one another. */
const ranks = {
  base: 0,
  wire: 1,
  crypto: 2,
  attest: 3,
  policy: 4,
  transport: 4,
  discovery: 4,
  openai: 4,
  harden: 4,
  tunnel: 5,
  mesh: 6,
  engine: 6,
  "exchange.ts": 7,
  node: 8,
  cli: 9,
  sdk: 9,
};

/** Outside package -> where it may be imported. */
const homes = {
  "@bufbuild/protobuf": ["wire/"],
  "sodium-native": ["crypto/"],
  "@number0/iroh": ["transport/iroh.ts"],
  "eventsource-parser": ["openai/"],
  "node-llama-cpp": ["engine/"],
  "@huggingface/jinja": ["engine/"],
  hono: ["node/http/"],
  "@hono/node-server": ["node/http/"],
  commander: ["cli/"],
  koffi: ["attest/collect/", "harden/platform/"],
  "smol-toml": ["node/config-file.ts"],
  ws: ["discovery/nostr-relay.ts"],
  "@noble/secp256k1": ["discovery/nostr-event.ts"],
  "multicast-dns": ["discovery/mdns.ts"],
  "@sigstore/bundle": ["policy/sigstore.ts"],
  "@sigstore/verify": ["policy/sigstore.ts"],
  "@sigstore/protobuf-specs": ["policy/sigstore.ts"],
};

const network = new Set(["node:net", "node:http", "node:https", "node:http2", "node:tls", "node:dgram", "node:dns"]);
const withoutNetwork = ["wire/", "crypto/", "attest/", "policy/", "mesh/", "exchange.ts"];
/** node:http is allowed for its table of status texts; collecting evidence may talk to a TPM over TCP. */
const networkAllowed = ["tunnel/http.ts", "attest/collect/"];

/** Text -> the only files or folders that may contain it. */
const onlyIn = [
  [/\bprocess\.env\b/, ["node/config.ts", "node/config-place.ts", "harden/", "cli/output.ts"]],
  [/\bprocess\.exit\(/, ["cli/main.ts", "engine/llama-child.ts"]],
  [/[\w)\]]\.buffer\b/, ["base/bytes.ts"]],
  [/\bimport\.meta\b/, ["base/package.ts", "cli/main.ts", "engine/llama-package.ts"]],
];

const importPattern = /(?:(?<=[\s}])from\s*|\b(?:import|requirePackage)\s*\(\s*|^\s*import\s+)(["'])([^"']+)\1/gm;

/** What the console is made with, and its one file that looks at the node's source: at this file alone. */
const consolePackages = ["preact", "preact/hooks", "eventsource-parser", "uqr"];
const consoleTypes = { from: "console/src/types.ts", to: "src/node/http/admin.ts" };

const complaints = [];
const complain = (file, what) => complaints.push(`src/${file}: ${what}`);
const isIn = (file, places) =>
  places.some((place) => file === place || (place.endsWith("/") && file.startsWith(place)));
const layerOf = (file) => file.split("/")[0];

for (const entry of readdirSync(source, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !entry.name.endsWith(".ts")) continue;
  const path = join(entry.parentPath, entry.name);
  const file = relative(source, path);
  const text = readFileSync(path, "utf8");
  const rank = ranks[layerOf(file)];
  if (rank === undefined) complain(file, "belongs to no layer; add its folder to scripts/check-layers.mjs");
  for (const [, , name] of text.matchAll(importPattern)) {
    if (name.startsWith(".")) checkLayer(file, rank, relative(source, join(dirname(path), name)));
    else checkPackage(file, name);
  }
  for (const [pattern, places] of onlyIn) {
    if (pattern.test(text) && !isIn(file, places) && !file.startsWith("wire/gen/")) {
      complain(file, `${pattern.source} belongs into ${places.join(" or ")} alone`);
    }
  }
}

function checkLayer(file, rank, target) {
  if (layerOf(target) === layerOf(file)) return;
  const targetRank = ranks[layerOf(target)];
  if (targetRank === undefined || targetRank >= rank) {
    complain(file, `imports ${target}, which is not below it`);
  }
}

function checkPackage(file, name) {
  if (network.has(name) && isIn(file, withoutNetwork) && !isIn(file, networkAllowed))
    complain(file, `${name}: no network here`);
  if (name.startsWith("node:")) return;
  const owner = Object.keys(homes).find((known) => name === known || name.startsWith(`${known}/`));
  if (owner === undefined) complain(file, `${name} has no home in scripts/check-layers.mjs`);
  else if (!isIn(file, homes[owner])) complain(file, `${name} belongs into ${homes[owner].join(" or ")}`);
}

for (const entry of readdirSync(join(root, "console/src"), { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !/\.tsx?$/.test(entry.name)) continue;
  const path = join(entry.parentPath, entry.name);
  const file = relative(root, path);
  const text = readFileSync(path, "utf8");
  for (const [, , name] of text.matchAll(importPattern)) {
    const target = name.startsWith(".") ? relative(root, join(dirname(path), name)) : undefined;
    const isOwn = target ? target.startsWith("console/src/") : consolePackages.includes(name);
    if (!isOwn && !(file === consoleTypes.from && target === consoleTypes.to)) {
      complaints.push(
        `${file}: imports ${name}; the console has ${consolePackages.join(", ")}, and types from ${consoleTypes.from}`,
      );
    }
  }
  if (file === consoleTypes.from && /^(import|export)(?! type\b)/m.test(text)) {
    complaints.push(`${file}: takes types alone`);
  }
}

for (const complaint of complaints) console.error(complaint);
process.exit(complaints.length > 0 ? 1 : 0);
