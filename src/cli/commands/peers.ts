/** `sealmesh peers`: who is in the mesh, as a running node of this machine sees it, and all about one of them. */
import { MeshError } from "../../base/errors.ts";
import type { PeerStatus, Status } from "../../node/status.ts";
import { type Command, takesWord } from "../command.ts";
import { addSessionFlags } from "../local-node.ts";
import type { Paint } from "../output.ts";
import { inOrder, peerPage, peersHead, peerTable, refusalLines } from "../peer-text.ts";
import { wrapped } from "../table.ts";
import { addWatchFlags, show, type WatchFlags } from "../watch.ts";

interface PeersFlags extends WatchFlags {
  readonly peer?: string;
}

export const peers: Command = {
  description:
    "Asks a node that runs on this machine who is in its mesh: name, role, models, round trip, the way a prompt would take " +
    "and whether it would be sealed, what each host has proven, and why one is refused. With an id, or a name, all that is " +
    "known of that peer.",
  examples: [
    { what: "all of them", line: "sealmesh peers" },
    { what: "one, by the first digits of its id or by its name", line: "sealmesh peers 677edd9c7a" },
    { what: "as they come and go", line: "sealmesh peers --watch" },
    { what: "for programs", line: "sealmesh peers --json" },
  ],
  addFlags: (command) =>
    addWatchFlags(
      addSessionFlags(
        takesWord(command, "peer", "[peer]", "an endpoint id, its first digits (four at least), or a name"),
      ),
    ),
  run: async (given) => {
    const flags = given as PeersFlags;
    const { peer } = flags;
    if (peer === undefined) {
      return await show(flags, { document: (status) => ({ peers: status.peers }), text: listText });
    }
    return await show(flags, {
      document: (status) => peerNamed(status, peer),
      text: (status, paint, width) => peerPage(peerNamed(status, peer), paint, width),
    });
  },
};

/** @throws E_INPUT nobody, or several, go by that */
function peerNamed({ peers: all }: Status, what: string): PeerStatus {
  const meant = all.filter(({ endpoint_id: id, hostname }) => {
    return hostname === what || (what.length >= 4 && id.startsWith(what.toLowerCase()));
  });
  const [one] = meant;
  if (one && meant.length === 1) return one;
  if (!one) throw new MeshError("E_INPUT", `no peer has the id or the name "${what}": see \`sealmesh peers\``);
  const ids = meant.map(({ id }) => id).join(", ");
  throw new MeshError("E_INPUT", `${meant.length} peers go by "${what}": ${ids}. Give one of these ids`);
}

function listText({ peers: all }: Status, paint: Paint, width: number): string {
  const ordered = inOrder(all);
  const lines = [paint("bold", peersHead(ordered))];
  if (ordered.length === 0) return [...lines, "Others join with an invite: sealmesh invite"].join("\n");
  lines.push(peerTable(ordered, { paint, width }));
  const refusals = refusalLines(ordered).flatMap((line) => wrapped(line, width - 2));
  if (refusals.length > 0) lines.push("", ...refusals.map((line) => `  ${line}`));
  return [...lines, "", paint("dim", "All about one: sealmesh peers ID")].join("\n");
}
