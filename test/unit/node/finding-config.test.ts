/** What the flags of finding ask for, alone and together. */
import { describe, expect, it } from "vitest";
import { resolveConfig, type Flags, type NodeConfig } from "../../../src/node/config.ts";
import { isMet } from "../../../src/node/finding-config.ts";
import { defaults } from "../../../src/node/defaults.ts";
import { settingsFrom } from "../../../src/node/config-file.ts";
import { expectCode } from "../../support/expect-code.ts";

const finding = (mode: NodeConfig["mode"], flags: Flags): NodeConfig["finding"] => resolveConfig(mode, flags).finding;

describe("the flags of finding", () => {
  it("leave a node alone that has none of them", () => {
    expect(finding("serve", {})).toBeUndefined();
    expect(finding("client", { lan: true, nostrRelay: ["none"] })).toBeUndefined();
  });

  it("--publish lists at once and looks for nobody", () => {
    expect(finding("serve", { publish: true })).toMatchObject({ publishes: true, publishesAtOnce: true, looks: false });
  });

  it("--auto looks first, without a name, and on the usual relays", () => {
    expect(finding("serve", { auto: true })).toMatchObject({
      looks: true,
      name: undefined,
      publishesAtOnce: false,
      creates: true,
      nostrRelays: defaults.nostrRelays,
      lan: true,
    });
  });

  it.each<Flags>([{ discover: "team" }, { meshName: "team" }, { auto: true, meshName: "team" }])(
    "%o looks for the name, and lists it when it creates the mesh",
    (flags) => {
      expect(finding("serve", flags)).toMatchObject({
        looks: true,
        name: "team",
        publishes: true,
        publishesAtOnce: false,
      });
    },
  );

  it("let a client look, and create and list nothing", () => {
    expect(finding("client", { discover: true })).toMatchObject({ looks: true, creates: false, publishes: false });
  });

  it("--invite-only lists a mesh and joins none", () => {
    const config = finding("serve", { meshName: "club", inviteOnly: true });
    expect(config).toMatchObject({ inviteOnly: true, looks: false, publishes: true, publishesAtOnce: true });
  });

  it("--nostr-relay none and --no-lan switch off one way each", () => {
    expect(finding("serve", { auto: true, nostrRelay: ["none"] })).toMatchObject({ nostrRelays: [], lan: true });
    expect(finding("serve", { auto: true, lan: false, nostrRelay: ["ws://127.0.0.1:7"] })).toMatchObject({
      nostrRelays: ["ws://127.0.0.1:7"],
      lan: false,
    });
  });

  it.each<[string, NodeConfig["mode"], Flags]>([
    ["a client that lists", "client", { publish: true }],
    ["--invite-only alone", "serve", { inviteOnly: true }],
    ["--invite-only with --discover", "serve", { meshName: "x", inviteOnly: true, discover: "x" }],
    ["two names", "serve", { meshName: "x", discover: "y" }],
    ["a name with control characters", "serve", { meshName: "a\u001bb" }],
    ["a name that is too long", "serve", { discover: "x".repeat(65) }],
    ["nowhere to look", "serve", { auto: true, lan: false, nostrRelay: ["none"] }],
    ["a relay that is no WebSocket", "serve", { auto: true, nostrRelay: ["https://relay.example.org"] }],
    ["a relay with a password", "serve", { auto: true, nostrRelay: ["wss://a:b@relay.example.org"] }],
    ["too many relays", "serve", { auto: true, nostrRelay: Array.from({ length: 11 }, (_, n) => `ws://r${n}`) }],
  ])("refuse %s", (_what, mode, flags) => {
    expectCode("E_USAGE", () => finding(mode, flags));
  });

  it("stand below [discovery] in the file", () => {
    const text = '[discovery]\ndiscover = "team"\nnostr_relays = ["wss://r.example.org"]\nlan = false\n';
    expect(settingsFrom(text, "file").discovery).toEqual({
      discover: "team",
      nostr_relays: ["wss://r.example.org"],
      lan: false,
    });
    expectCode("E_CONFIG", () => settingsFrom('[discovery]\nlan = "no"\n', "file"));
  });
});

describe("a mesh's demands", () => {
  const own = { requireAttested: "pinned", requireEncryption: true, requireHardened: false } as const;
  it("are met by the same and by more, and not by less", () => {
    expect(isMet({ attested: "key", encryption: true }, own)).toBe(true);
    expect(isMet({ attested: "pinned", encryption: false }, own)).toBe(true);
    expect(isMet({ attested: "vendor", encryption: true }, own)).toBe(false);
    expect(isMet({ attested: undefined, encryption: false, hardened: true }, own)).toBe(false);
    expect(isMet({ attested: undefined, encryption: true }, { ...own, requireEncryption: false })).toBe(false);
  });
});
