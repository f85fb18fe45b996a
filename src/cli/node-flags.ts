/** The flags that `serve`, `client` and `relay` share, as node/config.ts takes them. Defaults are the node's own. */
import { type Command as Commander, Option } from "commander";
import { defaults } from "../node/defaults.ts";
import { repeated } from "./command.ts";
import type { OutputFormat } from "./output.ts";
import type { Flags } from "../node/config.ts";

/** Flags of a node process: the node's own, and how the process shows itself. */
export interface NodeProcessFlags extends Flags {
  readonly logFormat: OutputFormat;
  readonly plain?: boolean;
  readonly stopWithStdin?: boolean;
}

/** Where meshes are looked for, and listed; `discover` has them too. */
export function addFindingPlaces(command: Commander): void {
  command
    .addOption(
      new Option(
        "--nostr-relay <url>",
        "Nostr relay for listings; may be repeated; none: no relay is asked (default: those of mesh-llm)",
      ).argParser(repeated),
    )
    .option("--no-lan", "do not look on the local network, and tell nothing there");
}

export function addNodeFlags(command: Commander): void {
  command
    .optionsGroup("Joining a mesh:")
    .addOption(
      new Option(
        "--join <token>",
        "invite of a node to join; may be repeated. Other users of this machine can read a " +
          "command line: prefer --join-file or SEALMESH_JOIN",
      ).argParser(repeated),
    )
    .option("--join-file <file>", "file with invites, one a line")
    .option("--name <name>", "name of this node, for people")
    .option(
      "--open-mesh",
      "make or use an open mesh: anybody who has a node's address is a member of it, nodes of mesh-llm too (docs/admission.md)",
    );
  command
    .optionsGroup("Finding a mesh:")
    .option(
      "--discover [name]",
      "join the mesh of this name, or one for everybody; a host that finds none begins one and lists it, a client looks on",
    )
    .option("--auto", "the same, without a name: the best mesh for everybody")
    .option("--publish", "list this node's mesh, so that others find it")
    .option("--mesh-name <name>", "name under which the mesh is listed and looked for; whoever finds it is a member")
    .option("--invite-only", "with --publish or --mesh-name: the mesh can be found, and joined only with an invite")
    .option("--region <text>", "where this mesh is, for people that read its listing");
  addFindingPlaces(command);
  command
    .optionsGroup("This machine:")
    .option("--port <port>", `port of the OpenAI API on 127.0.0.1; 0 picks a free one (default: ${defaults.apiPort})`)
    .option(
      "--listen <host:port>",
      "address and port of the OpenAI API, instead of --port; one that other machines reach needs --api-key-file, and " +
        "--tls-cert with --tls-key, or --insecure-http",
    )
    .option("--api-key-file <file>", "file with the keys that callers of the OpenAI API must show, one a line")
    .option("--tls-cert <file>", "PEM certificate (chain) of the OpenAI API, which then speaks HTTPS only")
    .option("--tls-key <file>", "PEM private key of that certificate")
    .option(
      "--insecure-http",
      "let other machines use the OpenAI API without TLS: keys and prompts can be read on the way",
    )
    .addOption(
      new Option(
        "--api-name <name>",
        "a further name under which the OpenAI API may be called, such as that of a proxy in front; may be repeated",
      ).argParser(repeated),
    )
    .option("--console <port>", `port of the console, which answers /api/status (default: ${defaults.consolePort})`)
    .option("--headless", "no console")
    .option(
      "--data-dir <directory>",
      "where the node keeps its identity and its pins (default: the platform's place for state)",
    )
    .option(
      "--config <file>",
      "settings that no flag and no SEALMESH_* variable gives, as TOML; none: no file (default: the platform's place)",
    )
    .option(
      "--no-hardening",
      "for debugging: leave this process open to debuggers, core files and what its starter set; peers are told " +
        "(docs/hardening.md)",
    );
  command
    .optionsGroup("Network:")
    .option("--bind <host:port>", `UDP socket for peers (default: ${defaults.bind}, a port of the system's choice)`)
    .addOption(
      new Option(
        "--advertise <host:port>",
        "address under which others reach this node, told to them in place of its own: of a router that passes a port " +
          "on; may be repeated",
      ).argParser(repeated),
    )
    .addOption(
      new Option(
        "--relay <url>",
        "iroh relay for peers without a direct address: a URL, none or default (the public " +
          "ones of iroh); may be repeated (default: none)",
      ).argParser(repeated),
    )
    .option(
      "--route <route>",
      "how hosts are asked: auto (direct, else through a relay), direct or relay (default: auto)",
    )
    .option("--no-relay-traffic", "do not carry sealed bytes for other members")
    .option(
      "--relay-rate <megabytes>",
      `what is carried for other members in a second; one of them gets half (default: ${defaults.relayRate})`,
    )
    .option(
      "--relay-streams <n>",
      `streams carried for them at a time; one of them gets half (default: ${defaults.relayStreamsTotal})`,
    )
    .option("--pad", "pad requests before they are sealed, so that their size tells less on the way");
  command
    .optionsGroup("What hosts must show:")
    .option(
      "--require-encryption",
      "never ask a host that takes prompts in the clear only, such as an old mesh-llm node",
    )
    .option(
      "--require-hardened",
      "ask only hosts that say, signed, that they are closed to other programs of their machine: their own word, which " +
        "proves nothing (docs/hardening.md)",
    )
    .option(
      "--require-attested-hosts [tier]",
      "ask only hosts whose evidence reaches this tier: key, pinned, vendor or measured (without a tier: key); none " +
        "lifts what the configuration file demands",
    )
    .addOption(
      new Option(
        "--allow-hosts <id>",
        "ask only these hosts: whole endpoint ids, with commas between them; may be repeated",
      ).argParser(repeated),
    )
    .option(
      "--accept-unchallenged",
      "with --require-attested-hosts=key: take the evidence of nodes that answer no challenge, such as mesh-llm; it may " +
        "be a copy",
    )
    .addOption(
      new Option(
        "--allow-builds <list>",
        "ask only hosts that say, signed, that they run a build of this signed list: a file or an https address; may be " +
          "repeated. Its signers are named by --build-keys",
      ).argParser(repeated),
    )
    .addOption(
      new Option(
        "--build-keys <key>",
        "key whose lists of builds count, or a file with such keys; may be repeated. Newer lists that they sign are also " +
          "taken from peers, and passed on",
      ).argParser(repeated),
    )
    .addOption(
      new Option(
        "--trust-roots <file>",
        "certificates of makers (PEM or DER) that may end a chain of evidence; may be repeated",
      ).argParser(repeated),
    )
    .addOption(
      new Option(
        "--invite-requires <what>",
        "what nodes that join by this node's invites must demand of hosts at least: encryption, hardened, key, pinned, " +
          "vendor or measured; may be repeated",
      ).argParser(repeated),
    );
  command
    .optionsGroup("Owners:")
    .option("--owner-key <file>", "owner's key that signs that this node is theirs, of `sealmesh owner init`")
    .option("--owner-passphrase-file <file>", "file whose first line is the passphrase of that key")
    .addOption(
      new Option("--trust-owner <id>", "owner whose nodes are trusted; may be repeated (docs/owners.md)").argParser(
        repeated,
      ),
    )
    .option(
      "--trust-policy <policy>",
      "what is asked of peers: off, prefer-owned (what was revoked is refused, hosts of known owners come first), " +
        "require-owned or allowlist (only nodes of trusted owners) (default: prefer-owned)",
    );
  command
    .optionsGroup("Output:")
    .addOption(
      new Option("--log-format <format>", "pretty, or json: one object a line on stdout, among them the ready line")
        .choices(["pretty", "json"])
        .default("pretty"),
    )
    .option("--plain", "no live view in a terminal: one line for each event, as elsewhere")
    .addOption(new Option("--debug-tap <file>").hideHelp())
    .addOption(new Option("--stop-with-stdin").hideHelp());
}
