/** `sealmesh service`: a node that the service manager of this machine starts, keeps up and ends. The work is in service/. */
import { realpathSync } from "node:fs";
import type { Command as Commander } from "commander";
import { MeshError } from "../../base/errors.ts";
import { programFile } from "../../base/package.ts";
import type { CommandGroup, NamedCommand } from "../command.ts";
import { printJson, printNote } from "../output.ts";
import type { InstallOptions } from "../service/install.ts";
import type { Scope } from "../service/systemd.ts";

interface ServiceFlags {
  readonly user?: boolean;
  readonly system?: boolean;
  readonly root?: string;
  readonly for?: "systemd" | "launchd";
  readonly json?: boolean;
  /** The command and its flags. */
  readonly words?: readonly string[];
}

const manual =
  "secrets among the flags, such as invites, are never in the unit: they go into files of 0600 that systemd hands over";

const install: NamedCommand = {
  name: "install",
  summary: "make a node a service, and start it",
  description:
    "Writes a unit of systemd that runs serve, client or relay with these flags, enables and starts it, and says each thing that " +
    `it does. Without --user or --system: the machine's for root, else this user's. ${manual[0]?.toUpperCase()}${manual.slice(1)}. ` +
    "Run it again to change the flags.",
  examples: [
    { what: "a host of this machine, at every start", line: "sudo sealmesh service install serve --engine auto" },
    { what: "a client of this user", line: "sealmesh service install --user client --join-file invite.txt" },
  ],
  addFlags(command) {
    addScope(command);
    command.option("--root <directory>", "write below this directory, for an image of another machine; starts nothing");
    addWords(command);
  },
  run: async (given) => {
    const { install: perform } = await import("../service/install.ts");
    const done: string[] = [];
    const flags = given as ServiceFlags;
    perform({ ...(await placeOf(flags)), words: flags.words ?? [], program: ownProgram(), say: sayer(flags, done) });
    if (flags.json) printJson({ done });
    else if (flags.root === undefined) printNote("see it with: sealmesh status, and: sealmesh doctor");
    return 0;
  },
};

const uninstall: NamedCommand = {
  name: "uninstall",
  summary: "end the service and remove it",
  description:
    "Ends the service, removes its unit and the files with its secrets. The data directory stays, and with it the node's " +
    "identity and pins: remove it yourself, if nobody shall be this node again.",
  examples: [{ what: "this user's", line: "sealmesh service uninstall --user" }],
  addFlags(command) {
    addScope(command);
    command
      .option("--root <directory>", "remove below this directory; ends nothing")
      .option("--json", "one JSON document");
  },
  run: async (given) => {
    const { uninstall: perform } = await import("../service/install.ts");
    const done: string[] = [];
    const flags = given as ServiceFlags;
    const place = await placeOf(flags);
    const found = perform({ ...place, say: sayer(flags, done) });
    if (flags.json) printJson({ done });
    else if (!found) printNote(`there is no service of sealmesh here (${place.scope})`);
    else printNote("the data directory stays");
    return 0;
  },
};

const print: NamedCommand = {
  name: "print",
  summary: "print the unit of a service",
  description:
    "Prints what `install` would write for systemd, or an agent for launchd on macOS, which is installed by hand and has not yet " +
    "run on hardware. Changes nothing. What belongs into files is said on stderr.",
  examples: [
    { what: "look at it first", line: "sealmesh service print --system serve --engine auto" },
    {
      what: "on macOS",
      line: "sealmesh service print client --join-file invite.txt > ~/Library/LaunchAgents/org.sealmesh.node.plist",
    },
  ],
  addFlags(command) {
    addScope(command);
    command.option("--for <manager>", "systemd or launchd (default: that of this machine)");
    addWords(command);
  },
  run: async (given) => {
    const flags = given as ServiceFlags;
    const manager = flags.for ?? (process.platform === "darwin" ? "launchd" : "systemd");
    if (manager !== "systemd" && manager !== "launchd") {
      throw new MeshError("E_USAGE", `--for takes systemd or launchd, not "${String(manager)}"`);
    }
    const { text, notes } = manager === "systemd" ? await unitText(flags) : await agentText(flags);
    if (flags.json) printJson({ manager, text, notes });
    else {
      process.stdout.write(text);
      for (const note of notes) printNote(`note: ${note}`);
    }
    return 0;
  },
};

interface Printed {
  readonly text: string;
  readonly notes: readonly string[];
}

async function unitText(flags: ServiceFlags): Promise<Printed> {
  const { unitFile, unitFor } = await import("../service/install.ts");
  const place = await placeOf(flags);
  const { unit, secrets } = unitFor({ ...place, words: flags.words ?? [], program: ownProgram() });
  const files = secrets.map(({ credential, path }) => `put what ${credential.flag} gave into ${path}, mode 0600`);
  return { text: unit, notes: [`its place is ${unitFile(place)}`, ...files] };
}

async function agentText(flags: ServiceFlags): Promise<Printed> {
  const [{ servicePlan }, { agentLabel, launchdAgent }] = await Promise.all([
    import("../service/plan.ts"),
    import("../service/launchd.ts"),
  ]);
  const plan = servicePlan(flags.words ?? []);
  const secrets = plan.credentials.map(({ from, flag }) => {
    if (from.kind === "file") return { flag, path: from.path };
    throw new MeshError(
      "E_USAGE",
      `${flag} would be in the agent, where others read it: put it into a file, for ${flag}-file`,
    );
  });
  const place = `~/Library/LaunchAgents/${agentLabel}.plist`;
  const notes = [
    `its place is ${place}; start it with: launchctl bootstrap gui/$(id -u) ${place}`,
    "not yet run on hardware",
  ];
  return { text: launchdAgent({ program: ownProgram(), plan, secrets }), notes };
}

function addScope(command: Commander): void {
  command.option("--user", "a service of this user").option("--system", "a service of the machine");
}

function addWords(command: Commander): void {
  command
    .option("--json", "one JSON document")
    .argument(
      "[command...]",
      "serve, client or relay with its flags (default: serve, with what the configuration file says)",
    )
    // what stands behind the command is the node's
    .passThroughOptions()
    .hook("preAction", (self) => void self.setOptionValue("words", self.args));
}

/** @throws E_USAGE */
async function placeOf({
  user,
  system,
  root,
}: ServiceFlags): Promise<Pick<InstallOptions, "scope" | "root" | "configHome">> {
  if (user && system) throw new MeshError("E_USAGE", "give --user or --system, not both");
  const scope: Scope = user ? "user" : system || process.getuid?.() === 0 ? "system" : "user";
  const { configFolder } = await import("../../node/config-place.ts");
  return { scope, root: root ?? "/", configHome: configFolder() };
}

/** What runs us: this Node with this installation. @throws E_CONFIG a copy that npm may remove at any time */
function ownProgram(): readonly string[] {
  const main = realpathSync(programFile("cli/main"));
  if (/[\\/]_npx[\\/]/.test(main)) {
    throw new MeshError(
      "E_CONFIG",
      "npx's copy of sealmesh may be gone tomorrow: npm install -g sealmesh, and run that",
    );
  }
  return [process.execPath, main];
}

function sayer({ json }: ServiceFlags, done: string[]): (sentence: string) => void {
  return (sentence) => {
    done.push(sentence);
    if (!json) printNote(sentence);
  };
}

export const service: CommandGroup = {
  description:
    "A node that is started with the machine, or with this user, and kept up. It is ready when /readyz of its console port " +
    "says so. docs/operations.md has the rest: upgrades, backups, logs, containers.",
  examples: [...install.examples, ...print.examples.slice(0, 1), ...uninstall.examples],
  commands: [install, uninstall, print],
};
