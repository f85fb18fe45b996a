/** `sealmesh models`: the models of the mesh, and who would answer them. */
import type { Status } from "../../node/status.ts";
import type { Command } from "../command.ts";
import { addSessionFlags } from "../local-node.ts";
import { askable, contextOf, type MeshModel, modelsOf, routesOf, sealingsOf, tiersOf } from "../model-list.ts";
import { counted, type Paint } from "../output.ts";
import { type Cell, type Column, tableOf } from "../table.ts";
import { addWatchFlags, show, type WatchFlags } from "../watch.ts";

export const models: Command = {
  description:
    "Asks a node that runs on this machine for the models of its mesh: how many hosts serve each and how many of them may be " +
    "asked, the context, and how a prompt would travel to them. Where hosts differ, all that may happen is listed.",
  examples: [
    { what: "all of them", line: "sealmesh models" },
    { what: "for programs, with the hosts of each", line: "sealmesh models --json" },
  ],
  addFlags: (command) => addWatchFlags(addSessionFlags(command)),
  run: async (given) =>
    await show(given as WatchFlags, {
      document: (status) => ({
        models: modelsOf(status).map((model) => ({ ...model, context: contextOf(model) ?? null })),
      }),
      text: listText,
    }),
};

const columns: readonly Column[] = [
  { head: "model", least: 12 },
  { head: "may be asked" },
  { head: "context", drop: 1 },
  { head: "route" },
  { head: "prompts" },
  { head: "proven" },
];

function listText(status: Status, paint: Paint, width: number): string {
  const all = modelsOf(status);
  if (all.length === 0) {
    return `${paint("bold", "no models")}\nThey come with the hosts of the mesh: sealmesh peers. This machine's: sealmesh serve`;
  }
  const refused = all.filter((model) => askable(model).length === 0);
  return [
    paint("bold", counted(all.length, "model")),
    tableOf(columns, all.map(modelCells), { paint, width }),
    "",
    paint("dim", `Who would be asked, and why: sealmesh explain ${(refused[0] ?? all[0])?.id ?? ""}`),
  ].join("\n");
}

function modelCells(model: MeshModel): readonly Cell[] {
  const [may, all] = [askable(model).length, model.hosts.length];
  const here = model.hosts.some(({ this_node: own }) => own) ? ", this node too" : "";
  const context = contextOf(model);
  const hosts = all === 1 && here !== "" ? "this node" : `${may} of ${counted(all, "host")}${here}`;
  const sealing = sealingsOf(model);
  const tiers = tiersOf(model);
  return [
    model.id,
    may === 0 ? { text: hosts, style: "red" } : hosts,
    context === undefined ? "-" : String(context),
    routesOf(model).join("/") || "-",
    {
      text: sealing.join("/") || "-",
      style: sealing.includes("plain") ? "yellow" : sealing.length > 0 ? "green" : "dim",
    },
    { text: tiers.join("/") || "-", style: tiers.length > 0 && !tiers.includes("none") ? "green" : "dim" },
  ];
}
