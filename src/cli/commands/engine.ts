/** `sealmesh engine`: the embedded engine, which is no part of the package: fetch it, look at it, take it away. */
import type { Command as Commander } from "commander";
import { dataDirArguments, dataDirFrom } from "../../node/config.ts";
import { type EngineState, engineState, installEngine, removeEngine } from "../../node/engine-install.ts";
import type { CommandGroup, NamedCommand } from "../command.ts";
import { labelled, paintFor, printJson, printLine } from "../output.ts";
import { progressBar, sizeText } from "../progress.ts";

interface EngineFlags {
  readonly json?: boolean;
  readonly dataDir?: string;
}

const addFlags = (command: Commander): Commander =>
  command
    .option("--json", "one JSON document")
    .option("--data-dir <directory>", "of the node (default: the platform's place for state)");

const install: NamedCommand = {
  name: "install",
  summary: "fetch the embedded engine",
  description:
    "Fetches what `serve --model` needs to run a model by itself: node-llama-cpp and its libraries for this platform, some " +
    "85 MB, by npm and from the registry that npm uses here. It goes into a folder of its own in the data directory; " +
    "nothing is compiled, and no script of a package is run. One that is there is replaced.",
  examples: [{ what: "once, before the first model", line: "sealmesh engine install" }],
  addFlags,
  async run(given) {
    const { json = false, dataDir } = given as EngineFlags;
    const bar = progressBar({ shown: true });
    let state: EngineState;
    try {
      const what = "fetching the embedded engine";
      bar.show({ what, done: 0, total: undefined, unit: "bytes" });
      state = await installEngine(dataDirFrom(dataDir), {
        onProgress: (done) => bar.show({ what, done, total: undefined, unit: "bytes" }),
      });
    } finally {
      bar.clear();
    }
    return say(state, json, dataDirFrom(dataDir));
  },
};

const status: NamedCommand = {
  name: "status",
  summary: "say whether there is one, and where",
  description:
    "Says which embedded engine a node of this data directory would use, and what is in the engine's own folder.",
  examples: [{ what: "for people", line: "sealmesh engine status" }],
  addFlags,
  async run(given) {
    const { json = false, dataDir } = given as EngineFlags;
    return say(engineState(dataDirFrom(dataDir)), json, dataDirFrom(dataDir));
  },
};

const remove: NamedCommand = {
  name: "remove",
  summary: "delete it from the data directory",
  description:
    "Deletes the engine's own folder from the data directory. One that npm installed beside the package stays.",
  examples: [{ what: "free its 85 MB", line: "sealmesh engine remove" }],
  addFlags,
  async run(given) {
    const { json = false, dataDir } = given as EngineFlags;
    const removed = removeEngine(dataDirFrom(dataDir));
    if (json) printJson({ removed });
    else printLine(removed ? "the embedded engine was deleted" : "there was none in the data directory");
    return 0;
  },
};

export const engine: CommandGroup = {
  description:
    "The embedded engine runs GGUF files in a process of this node. It is fetched apart from the package, because it is ten " +
    "times as large; whoever serves the models of another program does not need it.",
  examples: [
    { what: "fetch it", line: "sealmesh engine install" },
    { what: "is it there?", line: "sealmesh engine status --json" },
  ],
  commands: [install, status, remove],
};

function say(state: EngineState, json: boolean, dataDir: string): number {
  const { place, version, folder, installed } = state;
  if (json) {
    printJson(state);
    return 0;
  }
  const paint = paintFor(process.stdout);
  const used = {
    package: [`node-llama-cpp ${version ?? ""}, beside this package`],
    folder: [`node-llama-cpp ${version ?? ""}, in the data directory`],
    none: ["none", `fetch it with: sealmesh engine install${dataDirArguments(dataDir)}`],
  }[place];
  const held = installed ? `${sizeText(installed.bytes)} in ${folder}` : `nothing in ${folder}`;
  printLine([labelled("engine", used, paint), labelled("folder", [held], paint)].join("\n"));
  return 0;
}
