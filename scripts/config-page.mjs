// docs/config.md: every setting, from the table in src/node/settings/ and the types of src/node/config-file.ts. What stands around the
// tables is written here.
import { code, fromProduct, prose, row } from "./product.mjs";

/** What a section of the file is about, in the order of the page. */
const sections = {
  node: "This node",
  mesh: "Joining a mesh",
  engine: "What `serve` offers",
  api: "The OpenAI API port",
  console: "The console port",
  network: "The network",
  relay: "What is carried for others",
  discovery: "Finding a mesh, and being found: [discovery.md](discovery.md)",
  policy: "What hosts must show: [policy.md](policy.md)",
  challenge: "How often hosts are challenged",
  invite: "What members who join by our invites must demand",
  models: "Models that are downloaded",
  telemetry: "What a collector of telemetry is told",
  attest: "How this machine proves itself: [attestation.md](attestation.md)",
  owner: "Owners: [owners.md](owners.md)",
  hardening: "What the process does to itself: [hardening.md](hardening.md)",
};

/** The page's text. */
export async function configPage(root) {
  const { settings, flagName, variableName, fileKeys } = await fromProduct(root, {
    "node/settings/settings.ts": ["settings"],
    "node/settings/setting.ts": ["flagName", "variableName"],
    "node/config-file.ts": ["fileKeys"],
  });
  const takes = fileKeys();
  const known = new Set(settings.flatMap(({ key }) => (key ? [key.split(".")[0]] : [])));
  const missing = [...known].filter((section) => !(section in sections));
  if (missing.length > 0) throw new Error(`scripts/config-page.mjs has no sentence for [${missing.join("], [")}]`);
  const standardOf = ({ standard, form, negated, doc }) =>
    standard !== undefined && !doc.includes(standard)
      ? prose(standard)
      : (standard ?? (form === "yes" ? `${negated === true}` : ""));
  const cells = (setting) => [
    code(flagName(setting) && setting.syntax),
    code(variableName(setting)),
    standardOf(setting),
    prose(setting.doc) + (setting.credential ? ` (credential ${code(setting.credential)})` : ""),
  ];
  const present = Object.entries(sections).filter(([section]) => known.has(section));
  const tables = present.map(([section, title]) => {
    const rows = settings.filter(({ key }) => key?.startsWith(`${section}.`));
    const lines = rows.map((setting) => {
      const name = setting.key.split(".")[1];
      return row([code(name), prose(takes.get(setting.key) ?? ""), ...cells(setting)]);
    });
    return `### \`[${section}]\`

${title}.

| in the file | it takes | flag | variable | default | what it does |
|---|---|---|---|---|---|
${lines.join("")}`;
  });
  const others = settings.filter(({ key }) => key === undefined).map((setting) => row(cells(setting)));
  return `# Configuration

Made by \`npm run generate\` from \`src/node/settings/\`, \`src/node/config-file.ts\` and \`scripts/config-page.mjs\`; do not edit.

A node needs no configuration file. What is said more than once counts in this order: a flag, its \`SEALMESH_*\` variable, a
credential of the service manager, the file, the default. \`sealmesh config show\` lists what is set here and where each value comes
from; \`--all\` has the defaults too, \`--json\` is for programs. Three settings add up instead: \`--join\` with \`SEALMESH_JOIN\`
and \`--join-file\`, and \`--trust-roots\` with \`[policy] roots\`.

## The file

\`config.toml\` in the platform's place (\`~/.config/sealmesh\` on Linux, \`~/Library/Application Support/sealmesh\` on macOS,
\`%APPDATA%\\sealmesh\` on Windows), or what \`--config FILE\` or \`SEALMESH_CONFIG\` names; \`none\` reads none. A service manager that
sets \`$CONFIGURATION_DIRECTORY\` says where it is instead. \`sealmesh config path\` prints the place. It is read once, at the start.

A name that is not known ends the start, with the name that was probably meant: a policy that is misspelt must not be one that is not
there. So do a value of the wrong type, and a file that others can change. One file may be for several nodes of a machine: a relay and a
client pass over what only other kinds of node need. Paths are read from the file's folder on.

\`\`\`toml
[node]
name = "kitchen"

[engine]
urls = ["http://127.0.0.1:11434/v1"]

[api]
port = 9337

[policy]
require_encryption = true
\`\`\`

## Secrets

No secret stands in the file: the settings that end in \`_file\`, and \`tls_key\`, name a file that has it. \`SEALMESH_JOIN\` may hold
invites. What systemd hands over with \`LoadCredential=\` is taken from \`$CREDENTIALS_DIRECTORY\` by the names in the tables
("credential"), without any further setting. \`sealmesh config show\` prints none of them.

A command line can be read by other users of the machine: \`--join\` is there for a first try, \`--join-file\` for everything else.

## Directories of a service manager

\`$STATE_DIRECTORY\` is the data directory and \`$CONFIGURATION_DIRECTORY\` the place of the file, where systemd sets them, unless a flag
or variable says otherwise. Nothing of a node is in \`$RUNTIME_DIRECTORY\`.

## Settings

Variables that are lists have blanks or commas between their parts; \`yes\` and \`no\` are \`1\` and \`0\`.

${tables.join("\n")}
### Not in the file

| flag | variable | default | what it does |
|---|---|---|---|
${others.join("")}
The data directory and the file itself are not in the file, because commands that read no file must find the same ones.
\`--no-hardening\` has no variable: what a starter leaves behind must not open a node.
`;
}
