/** Settings of policy: what hosts must show, and what our invites ask others to demand. Rows for settings.ts. */
import { defaults } from "../defaults.ts";
import type { Setting } from "./setting.ts";

const group = "What hosts must show:";

export const demandSettings: readonly Setting[] = [
  {
    group,
    flag: "requireEncryption",
    syntax: "--require-encryption",
    variable: "REQUIRE_ENCRYPTION",
    key: "policy.require_encryption",
    form: "yes",
    askersOnly: true,
    doc: "never ask a host that takes prompts in the clear only, such as an old mesh-llm node",
  },
  {
    group,
    flag: "requireHardened",
    syntax: "--require-hardened",
    variable: "REQUIRE_HARDENED",
    key: "policy.require_hardened",
    form: "yes",
    askersOnly: true,
    doc:
      "ask only hosts that say, signed, that they are closed to other programs of their machine: their own word, which " +
      "proves nothing (docs/hardening.md)",
  },
  {
    group,
    flag: "requireAttestedHosts",
    syntax: "--require-attested-hosts [tier]",
    variable: "REQUIRE_ATTESTED_HOSTS",
    key: "policy.require_attested_hosts",
    askersOnly: true,
    doc:
      "ask only hosts whose evidence reaches this tier: key, pinned, vendor or measured (without a tier: key); none lifts " +
      "what the configuration file demands",
  },
  {
    group,
    flag: "allowHosts",
    syntax: "--allow-hosts <id>",
    variable: "ALLOW_HOSTS",
    key: "policy.allow_hosts",
    form: "list",
    repeated: true,
    askersOnly: true,
    doc: "ask only these hosts: whole endpoint ids, with commas between them; may be repeated",
  },
  {
    group,
    flag: "acceptUnchallenged",
    syntax: "--accept-unchallenged",
    variable: "ACCEPT_UNCHALLENGED",
    key: "policy.accept_unchallenged",
    form: "yes",
    askersOnly: true,
    doc:
      "with --require-attested-hosts=key: take the evidence of nodes that answer no challenge, such as mesh-llm; it may be " +
      "a copy",
  },
  {
    group,
    flag: "allowBuilds",
    syntax: "--allow-builds <list>",
    variable: "ALLOW_BUILDS",
    key: "policy.allow_builds",
    form: "words",
    repeated: true,
    doc:
      "ask only hosts that say, signed, that they run a build of this signed list: a file or an https address; may be " +
      "repeated. Its signers are named by --build-keys",
  },
  {
    group,
    flag: "buildKeys",
    syntax: "--build-keys <key>",
    variable: "BUILD_KEYS",
    key: "policy.build_keys",
    form: "words",
    repeated: true,
    doc:
      "key whose lists of builds count, or a file with such keys; may be repeated. Newer lists that they sign are also " +
      "taken from peers, and passed on",
  },
  {
    group,
    flag: "trustRoots",
    syntax: "--trust-roots <file>",
    key: "policy.roots",
    repeated: true,
    adds: true,
    doc: "certificates of makers (PEM or DER) that may end a chain of evidence; may be repeated",
  },
  {
    group,
    flag: "inviteRequires",
    syntax: "--invite-requires <what>",
    variable: "INVITE_REQUIRES",
    form: "list",
    repeated: true,
    doc:
      "what nodes that join by this node's invites must demand of hosts at least: encryption, hardened, key, pinned, " +
      "vendor or measured; may be repeated",
  },
  {
    group: "file",
    key: "invite.require_attested_hosts",
    doc: "as --invite-requires with a tier, where that is not given",
  },
  {
    group: "file",
    key: "invite.require_encryption",
    doc: "as --invite-requires encryption, where that is not given",
  },
  { group: "file", key: "invite.require_hardened", doc: "as --invite-requires hardened, where that is not given" },
  { group: "file", key: "policy.owners", doc: "owners, one of whom must own a host (docs/owners.md)" },
  { group: "file", key: "policy.keys", doc: "fingerprints of attested keys that count as pinned for every node" },
  {
    group: "file",
    key: "policy.evidence_max_age",
    time: true,
    doc: "how old evidence may be",
    standard: `${defaults.evidenceMaxAgeMs / 1_000} s`,
  },
  {
    group: "file",
    key: "policy.evidence_ahead",
    time: true,
    doc: "how far its time may lie ahead of this machine's clock",
    standard: `${defaults.evidenceAheadMs / 1_000} s`,
  },
  {
    group: "file",
    key: "policy.sigstore_root",
    doc: "trusted_root.json of the Sigstore whose bundles on lists of builds count",
  },
  { group: "file", key: "policy.sigstore_issuer", doc: "who vouches for the identity that signs such a bundle" },
  { group: "file", key: "policy.sigstore_identity", doc: "that identity; a last * stands for any ending" },
  {
    group: "file",
    key: "challenge.interval",
    time: true,
    doc: "how often a host whose proof is needed is challenged again",
    standard: `${defaults.challengeIntervalMs / 1_000} s`,
  },
];
