/**
 * The commands, in the order of the help: of each its name, one line about it, and where it is. That is all the help of `sealmesh`
 * needs: a file is loaded when its command is asked for. A new command is one file in commands/, which exports it by its
 * name, and one line here.
 */
import type { Command, CommandGroup } from "./command.ts";

export interface ListedCommand {
  readonly name: string;
  /** One line, for the list of commands. */
  readonly summary: string;
  readonly load: () => Promise<Command | CommandGroup>;
}

export const commands: readonly ListedCommand[] = [
  listed("serve", "offer the models of this machine to a mesh", () => import("./commands/serve.ts")),
  listed("client", "use the models of a mesh from this machine", () => import("./commands/client.ts")),
  listed("relay", "carry sealed bytes for members of a mesh", () => import("./commands/relay.ts")),
  listed("stop", "stop the node of this machine", () => import("./commands/stop.ts")),
  listed("chat", "talk with a model of the mesh", () => import("./commands/chat.ts")),
  listed("models", "show the models of the mesh", () => import("./commands/models.ts")),
  listed("peers", "show who is in the mesh", () => import("./commands/peers.ts")),
  listed("status", "show a running node and its peers", () => import("./commands/status.ts")),
  listed("console", "print the link to the console, or open it", () => import("./commands/console.ts")),
  listed("logs", "show what a running node has logged", () => import("./commands/logs.ts")),
  listed("explain", "say who would be asked, who not, and why", () => import("./commands/explain.ts")),
  listed("invite", "invite others to the mesh of a running node", () => import("./commands/invite.ts")),
  listed("discover", "list the meshes that can be found from here", () => import("./commands/discover.ts")),
  listed("verify", "check a host's evidence again, offline", () => import("./commands/verify.ts")),
  listed("trust", "see and change which attested keys hosts have", () => import("./commands/trust.ts")),
  listed("owner", "sign that nodes are yours, trust owners, revoke them", () => import("./commands/owner.ts")),
  listed("builds", "make and check signed lists of known builds", () => import("./commands/builds.ts")),
  listed("measure", "print the digests of this installation", () => import("./commands/measure.ts")),
  listed("pull", "download a model", () => import("./commands/pull.ts")),
  listed("engine", "fetch, look at or remove the embedded engine", () => import("./commands/engine.ts")),
  listed("doctor", "check what a node needs on this machine, and say what to do", () => import("./commands/doctor.ts")),
  listed("service", "run a node as a service of this machine", () => import("./commands/service.ts")),
  listed("config", "show the settings and their origins", () => import("./commands/config.ts")),
  listed(
    "completion",
    "print a script that completes commands and flags in a shell",
    () => import("./commands/completion.ts"),
  ),
  listed("demo", "see a sealed answer travel, on this machine alone", () => import("./commands/demo.ts")),
  listed("version", "print the version", () => import("./commands/version.ts")),
];

function listed<Name extends string>(
  name: Name,
  summary: string,
  file: () => Promise<Readonly<Record<Name, Command | CommandGroup>>>,
): ListedCommand {
  return { name, summary, load: async () => (await file())[name] };
}
