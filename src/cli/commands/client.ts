/** `sealmesh client`: a node that asks, and carries sealed bytes for others; it serves no models of its own. */
import type { Command } from "../command.ts";
import { addNodeFlags, type NodeProcessFlags } from "../node-flags.ts";

export const client: Command = {
  description:
    "Joins a mesh and offers all its models at http://127.0.0.1:9337/v1, for any OpenAI client. Each prompt is sealed to " +
    "the host that answers it. The invite that it prints admits further nodes. SIGTERM or Control-C lets running " +
    "requests finish, then leaves the mesh; a second one stops at once.",
  examples: [
    { what: "join with the invite that a node printed", line: "sealmesh client --join-file invite.txt" },
    { what: "the same, with the invite in the environment", line: 'SEALMESH_JOIN="$(cat invite.txt)" sealmesh client' },
    { what: "never connect to hosts directly", line: "sealmesh client --join-file invite.txt --route relay" },
    {
      what: "ask only hosts for whose key a maker vouches that you trust",
      line: "sealmesh client --join-file invite.txt --require-attested-hosts=vendor --trust-roots maker.pem",
    },
    {
      what: "let other machines ask through this one, with a key and over TLS",
      line: "sealmesh client --join-file invite.txt --listen 0.0.0.0:9337 --api-key-file keys --tls-cert cert.pem --tls-key key.pem",
    },
    { what: "ask", line: "curl http://127.0.0.1:9337/v1/models" },
  ],
  addFlags: addNodeFlags,
  async run(given, hardening) {
    const { runNode } = await import("../node-process.ts");
    return await runNode("client", given as Partial<NodeProcessFlags>, hardening);
  },
};
