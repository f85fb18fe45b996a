// docs/policy.md: what can be demanded of hosts, and every sentence with which one is refused. The rules are those of
// src/policy/refusals.ts, the times those of src/node/defaults.ts; settings and what stands around them are written here.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { rolldown } from "rolldown";

/** Flag (with its variable), key of the file, and what it does. The first table is what demands, the second the rest. */
const demanding = [
  [
    "--require-attested-hosts [tier]",
    "[policy] require_attested_hosts",
    "Evidence that reaches this tier at least: `key`, `pinned`, `vendor` or `measured`; without a tier `key`. Prompts are then sealed or not sent.",
  ],
  ["--require-encryption", "[policy] require_encryption", "An inference key: prompts are sealed or not sent."],
  [
    "--require-hardened",
    "[policy] require_hardened",
    "The host's own word, signed in its record or in evidence, that other programs of its machine cannot look into it: what that takes on each platform is in [hardening.md](hardening.md). It proves nothing, and lifts no tier. Prompts are then sealed or not sent, because only hosts that seal sign anything.",
  ],
  [
    "--allow-hosts <id>",
    "[policy] allow_hosts",
    "One of these hosts, by whole endpoint ids. Where nothing else is set, every member of the mesh may be asked.",
  ],
  [
    "--allow-builds <list>",
    "[policy] allow_builds",
    "One of the builds of this signed list, a file or an `https` address, by the host's own signed word. Whose lists count, `--build-keys` says: [docs/builds.md](builds.md).",
  ],
  [
    "--trust-policy <policy>",
    "[owner] trust_policy",
    "An owner, of any peer: none is asked for with `off` and `prefer-owned`, any with `require-owned`, a trusted one with `allowlist`. Under each but `off`, what was revoked here is refused: [owners.md](owners.md).",
  ],
  [
    "",
    "[policy] owners",
    "One of these owners: ids of 64 hex digits, as mesh-llm's owner keys have them. The owner must have signed that the host is theirs, and that must not have expired, nor have been revoked here: [owners.md](owners.md).",
  ],
  [
    "--accept-unchallenged",
    "[policy] accept_unchallenged",
    "Weakens `--require-attested-hosts=key` for hosts that speak no challenges, such as mesh-llm: their evidence counts by its own time. It may be a copy, so it is shown as `none` all the same. Beside a higher tier it does nothing, and ends the start.",
  ],
  [
    "--invite-requires <what>",
    "[invite] require_attested_hosts, require_encryption, require_hardened",
    "What others who join by this node's invites must demand at least.",
  ],
];

const supporting = ({ evidenceMaxAgeMs, evidenceAheadMs, evidenceRefreshMs, challengeIntervalMs }) => [
  [
    "",
    "[policy] keys",
    "Fingerprints of attested keys that count as pinned for every node, unless you have confirmed another one for it.",
  ],
  [
    "--build-keys <key>",
    "[policy] build_keys",
    "Keys whose lists of builds count, or files with such keys, four at most. Newer lists that they sign are also taken from peers, and passed on to them.",
  ],
  [
    "",
    "[policy] sigstore_root, sigstore_issuer, sigstore_identity",
    "The one identity whose Sigstore bundles count beside these keys, and the certificate authorities and logs that say so; nothing is fetched.",
  ],
  [
    "--trust-roots <file>",
    "[policy] roots",
    "Makers' certificates that may end a chain. Without one no host reaches `vendor`.",
  ],
  ["", "[policy] evidence_max_age", `How old evidence may be (default: ${seconds(evidenceMaxAgeMs)}).`],
  [
    "",
    "[policy] evidence_ahead",
    `How far its time may lie ahead of this machine's clock (default: ${seconds(evidenceAheadMs)}).`,
  ],
  [
    "",
    "[challenge] interval",
    `How often a host whose proof is needed is challenged again (default: ${seconds(challengeIntervalMs)}).`,
  ],
  ["", "[attest] refresh", `On a host: how often it makes its evidence anew (default: ${seconds(evidenceRefreshMs)}).`],
  [
    "--tpm <place>",
    "[attest] tpm",
    "On a host: the TPM 2.0 that vouches for it, a device or `HOST:PORT` of an emulator.",
  ],
  ["", "[attest] tpm_certificates", "On a host: certificates between its TPM's own and the maker's root."],
  [
    "--software-evidence",
    "[attest] software",
    "On a host, for development: evidence by a key in memory. It reaches no tier and satisfies no demand.",
  ],
];

/** The page's text. */
export async function policyPage(root) {
  const { refusalRules, defaults } = await tables(root);
  const rules = Object.entries(refusalRules).map(([name, { demand, asks, sentence, doNext }]) =>
    row([code(name), demand.replaceAll(/--[a-z-]+|\[policy\] [a-z_]+/g, code), asks, sentence, doNext]),
  );
  const settings = (rows) => rows.map(([flag, key, does]) => row([flag && code(flag), code(key), does])).join("");
  return `# Policy: which hosts may get a prompt

Made by \`npm run generate\` from \`src/policy/refusals.ts\`, \`src/node/defaults.ts\` and \`scripts/policy-page.mjs\`; do not edit.

Policy is what *you* demand of a host before a prompt leaves this machine. It is checked here, for every exchange anew,
before anything is sent: a host that is refused gets no prompt, no part of one, and no stream. No other machine can
loosen it. What cannot be decided is refused: no key, evidence that is too old, a question that nothing has answered.

What each tier of evidence is worth, and what it is not, is in [attestation.md](attestation.md). No demand makes a host
forget what it has read.

## What you can demand

A flag wins over its variable (\`SEALMESH_REQUIRE_ENCRYPTION\` and so on), which wins over the configuration file, which
wins over the default. Only \`--trust-roots\` has no variable, and adds to what the file has.

| flag | in the file | what it asks |
|---|---|---|
${settings(demanding)}
A tier is the least that must be reached, in the order \`key\`, \`pinned\`, \`vendor\`, \`measured\`: a host whose evidence
reaches \`vendor\` satisfies \`pinned\` too, also at the first contact. With several pieces of evidence the best one counts.
\`software\` evidence satisfies nothing.

These say how evidence is judged and made:

| flag | in the file | what it does |
|---|---|---|
${settings(supporting(defaults))}
In the file it looks like this; times are seconds, or such as \`"5m"\`, and paths are read from the file's folder on:

\`\`\`toml
[policy]
require_attested_hosts = "vendor"
roots = ["tpm-makers.pem"]
evidence_max_age = "5m"

[challenge]
interval = 30
\`\`\`

The file is \`config.toml\` in the platform's place (\`~/.config/sealmesh\` on Linux), or what \`--config FILE\` names;
\`--config none\` reads none. It is read once, at the start. A name that is not known, a value of the wrong type, or a link that
leads nowhere ends the start: a policy that is misspelt must not be one that is not there. So does a file that others can change:
one that is not yours or root's, that others may write to, or that lies in such a folder. The same holds for files with roots.

## The stricter one wins

A mesh may say with its invite what its members must demand at least (\`--invite-requires\`). Who joins by such an invite
keeps its own policy where that is stricter, and takes the mesh's where that is: the higher tier, sealed prompts only or
hosts that say that they are hardened if either asks for them. Where the mesh asks for a tier, \`--accept-unchallenged\` has no effect: it would undercut it. An
invite never loosens anything. A refusal names the flag that would ask for the same. The invites that such a member prints ask
for it too. Roots do not come with an invite: every member says itself which makers it trusts. The node that sets
\`--invite-requires\` is not bound by it.

## Every reason for a refusal

Rules are tried in this order, and the first that a host fails is told: in the answer to the caller (503, code \`refused\`),
by \`sealmesh explain\`, in \`/api/status\`. The demand in force stands before the rule, as in
\`--require-attested-hosts=vendor: stale: Its own time is older than allowed.\` Of several pieces of evidence the one that
lacks least is told, but a changed key and a wrong signature before everything else. In braces stands what is filled in.

| rule | demanded by | what it asks | what is said of a refused host | what to do next |
|---|---|---|---|---|
${rules.join("")}
What is lacking is told factor by factor, with the code and the sentence that \`sealmesh verify --json\` has.

When no policy asks for evidence (\`--require-hardened\` asks for it, in case that it contradicts the record), only \`pin-changed\` of the rules about evidence applies, and hosts are not asked for any: it can
only be seen in what a host tells unasked, or after you have looked (\`sealmesh verify ID\`). Status asks nobody either: until a
host was asked, that is what it says (\`not-asked\`).

## When evidence expires

Evidence is judged when an exchange begins. When it expires while an answer is on its way, the answer goes on: it is sealed
to a host that had shown enough when the prompt left, and cutting it would take nothing back. The report of that exchange
then says \`stale\`, and the next exchange needs fresh evidence. Hosts whose proof is needed are asked for new evidence when
half of its greatest age has passed, so this happens only when a host stops making any.

A key that leaves three challenges in a row unanswered counts for nothing until it answers one; a wrong signature has the
same effect at once. Both apply to evidence of every tier.

## Pins

The first time a host proves a key, this node pins it: endpoint id, kind of evidence, fingerprint of the key, and the build
that it names, if it names one. In later sessions the same key counts as \`pinned\`; in the first one it does not, because
whoever answers first is pinned. A session is one run of the node. \`sealmesh trust pin\` confirms a key at once. Pins are in
\`pins.json\` of the data directory; a node that runs takes changes up within a second.

A host that shows another key or another build than the pinned one is refused at every tier, and also where no tier is
demanded. It is refused as well when it shows only evidence of a kind that was not pinned, and none of what was. The refusal
names both fingerprints and the command that accepts the new one, with \`--measurement\` when the host names a build, and with
\`--data-dir\` when this node's is not the usual one; leave nothing of it out, because a pin without a build does not agree with
a host that names one.

| command | what it does |
|---|---|
| \`sealmesh trust list\` | shows all pins, and which of them are confirmed |
| \`sealmesh trust pin ID --kind KIND --key FINGERPRINT [--measurement DIGEST]\` | confirms a key, in place of the pinned one of that kind |
| \`sealmesh trust forget ID\` | forgets a host; its next contact is a first one |
| \`sealmesh trust export\`, \`sealmesh trust import\` | takes pins to another machine of yours; what is confirmed there stays |
`;
}

function code(text) {
  return `\`${text}\``;
}

function row(cells) {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`;
}

function seconds(ms) {
  return `${ms / 1_000} s`;
}

/** The tables as the product has them, bundled with what they import into one module that Node can load. */
async function tables(root) {
  const entry = "sealmesh-policy-tables";
  const source = (file) => JSON.stringify(join(root, "src", file));
  const text = `export { refusalRules } from ${source("policy/refusals.ts")};
export { defaults } from ${source("node/defaults.ts")};`;
  const plugin = {
    name: entry,
    resolveId: (id) => (id === entry ? entry : undefined),
    load: (id) => (id === entry ? text : undefined),
  };
  const build = await rolldown({ input: entry, platform: "node", plugins: [plugin], cwd: root });
  const out = mkdtempSync(join(tmpdir(), "sealmesh-policy-"));
  try {
    const { output } = await build.generate({ format: "esm" });
    const file = join(out, "tables.mjs");
    writeFileSync(file, output[0].code);
    return await import(pathToFileURL(file).href);
  } finally {
    await build.close();
    rmSync(out, { recursive: true, force: true });
  }
}
