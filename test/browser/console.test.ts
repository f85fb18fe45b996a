/**
 * The console in a real browser, against a real mesh (support/console-mesh.ts): every view shows what is so, changes as it
 * changes, and does what its buttons say. Through all of it: no error in the browser's console, no request to another
 * place than the node, no fault that axe-core calls serious. Writes a picture of every view to .test-results/screenshots.
 */
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { get, type IncomingMessage } from "node:http";
import { join } from "node:path";
import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { chromiumMissing, faultsOf, launchBrowser, openPage, overflowOf, type Watched } from "../support/browser.ts";
import { consoleLink, type ConsoleMesh, refusedModel, slowModel, startConsoleMesh } from "../support/console-mesh.ts";
import { startHost, until } from "../support/e2e.ts";
import { type NodeProcess, root, runCommand, startProcess } from "../support/processes.ts";
import { swtpmMissing } from "../support/swtpm.ts";

const pictures = join(root, ".test-results/screenshots");
const demo = JSON.parse(readFileSync(join(root, "models/demo.json"), "utf8")) as {
  readonly questions: readonly { readonly question: string; readonly answer: string }[];
};
const question = "Who can read my prompt?";
const answer = demo.questions.find((one) => one.question === question)?.answer ?? "";

const missing = chromiumMissing ?? swtpmMissing ?? (process.platform === "linux" ? undefined : "this needs Linux");

describe.skipIf(missing !== undefined)("the console", () => {
  let mesh: ConsoleMesh;
  let browser: Browser;
  let watched: Watched;
  let page: Page;
  const opened: Watched[] = [];
  /** Answers that are errors, and are meant to be. */
  const expected: string[] = [];

  beforeAll(async () => {
    mkdirSync(pictures, { recursive: true });
    [mesh, browser] = await Promise.all([startConsoleMesh(), launchBrowser()]);
    watched = await open({ colorScheme: "light" });
    ({ page } = watched);
    await page.goto(consoleLink(mesh.desk));
  }, 150_000);

  afterAll(async () => {
    await browser?.close();
    await mesh?.close();
  });

  afterEach(() => {
    for (const { errors, failures, origins } of opened) {
      expect(errors).toEqual([]);
      expect(failures.filter((one) => !expected.includes(one))).toEqual([]);
      // that of the node it came from
      expect(origins.size, [...origins].join()).toBeLessThanOrEqual(1);
    }
  });

  async function open(options: Parameters<typeof openPage>[1]): Promise<Watched> {
    const one = await openPage(browser, options);
    opened.push(one);
    return one;
  }

  const row = ({ ready }: NodeProcess): Locator => page.locator(`tr[data-peer="${ready.endpoint_id}"]`);
  const show = async (view: string, at: Page = page): Promise<void> => {
    await at.evaluate(`location.hash = "#/${view}"`);
    await at.locator("h1").waitFor();
  };
  const showPeer = async (node: NodeProcess): Promise<void> => {
    await show(`peer/${node.ready.endpoint_id}`);
    await page.getByRole("heading", { level: 1, name: /box|mac|laptop/ }).waitFor();
  };
  const picture = (name: string, at: Page = page): Promise<Buffer> =>
    at.screenshot({ path: join(pictures, `${name}.png`) });
  /** Waits for a text that is there, or will be. */
  const reads = (locator: Locator, text: string | RegExp): Promise<void> =>
    locator.filter({ hasText: text }).first().waitFor();

  it("shows who is there, how a prompt would travel and what is proven, in a picture and in a list", async () => {
    expect(await page.evaluate("location.hash")).toBe("#/mesh");
    await reads(row(mesh.gpuBox), /gpu-box.*not asked yet/);
    await page.getByText("3 hosts have not been asked for evidence lately.").waitFor();
    await page.getByRole("button", { name: "Ask now" }).click();
    await reads(row(mesh.gpuBox), /gpu-box.*host.*direct.*sealed.*tier vendor.*demo/);
    await reads(row(mesh.studioMac), /studio-mac.*host.*through edge-relay.*sealed.*tier vendor/);
    await reads(row(mesh.oldLaptop), /old-laptop.*host.*direct.*refused.*no proof/);
    await reads(row(mesh.relay), /edge-relay.*relay.*direct/);
    for (const spoken of [
      /gpu-box tier vendor · demo, host, sealed, direct/,
      /studio-mac tier vendor · .*, host, sealed, through a relay/,
      /old-laptop no proof · .*, host, refused, direct/,
      /edge-relay relay, direct/,
      /desk this node/,
    ]) {
      await page.locator(".picture").getByRole("link", { name: spoken }).waitFor();
    }
    const words = await page.locator(".picture .word").allTextContents();
    expect(words.toSorted()).toEqual(["refused", "sealed", "sealed, relayed"]);
    await page.getByText("4 peers, 3 hosts, 4 models; 1 host refused").waitFor();
    await picture("mesh-light");
  });

  it("shows a host that joins, and that leaves, without being asked", async () => {
    const before = await page.evaluate("performance.timeOrigin");
    const guest = await startHost("guest-model", {}, mesh.relay);
    await reads(row(guest.node), /host.*direct.*not asked yet.*guest-model/);
    await page.getByText("5 peers, 4 hosts, 5 models").waitFor();
    await guest.node.stop();
    await row(guest.node).waitFor({ state: "detached" });
    const changes = await page.locator(".changes").textContent();
    expect(changes).toMatch(/left.*joined/);
    expect(await page.evaluate("performance.timeOrigin")).toBe(before);
    await guest.engine.kill();
  });

  it("shows a peer with every factor of its evidence and its sentence", async () => {
    await showPeer(mesh.gpuBox);
    await reads(page.locator(".notice.good"), /may be asked.*sealed.*tpm2/s);
    await page.locator("[data-factor]").first().waitFor();
    const factors = await page.locator("[data-factor]").allTextContents();
    expect(factors).toHaveLength(12);
    expect(factors.find((text) => text.includes("chain"))).toMatch(/pass.*up to a root that you trust/);
    for (const text of factors) expect(text).toMatch(/(pass|fail|unknown|stale).+\?.+\.$/);
    await reads(page.locator(".facts").first(), /Route.*direct/s);
    await page.getByRole("row", { name: /demo.*512/ }).waitFor();
    await picture("peer-light");
  });

  it("pins the key of a host after it was shown, and forgets it", async () => {
    const pins = async (): Promise<string> =>
      (await runCommand(["trust", "list", "--json", "--data-dir", mesh.desk.dataDir])).stdout;
    const key = (await mesh.desk.status()).peers.find(({ hostname }) => hostname === "gpu-box")?.attestation
      .fingerprint;
    await page.getByRole("button", { name: "Confirm this key" }).click();
    const dialog = page.getByRole("dialog", { name: "Is this the key of gpu-box?" });
    expect(await dialog.locator("[data-fingerprint]").getAttribute("data-fingerprint")).toBe(key);
    await picture("pin-light");
    expect(await faultsOf(page)).toEqual([]);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Confirm this key" }).click();
    await dialog.getByRole("button", { name: "pin it" }).click();
    await page.getByText("You have confirmed the key that it shows.").waitFor();
    expect(JSON.parse(await pins())).toMatchObject({
      pins: expect.arrayContaining([
        expect.objectContaining({ endpoint_id: mesh.gpuBox.ready.endpoint_id, key, confirmed: true }),
      ]),
    });
    await page.getByRole("button", { name: "Forget" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Forget it" }).click();
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await page.getByText("You have confirmed the key that it shows.").waitFor({ state: "detached" });
    expect(await pins()).not.toContain(`"confirmed":true`);
  });

  it("confirms no key but the one that was shown when it was asked", async () => {
    const { page: other } = await open({});
    const status = await mesh.desk.status();
    let shown = status.peers.find(({ hostname }) => hostname === "gpu-box")?.attestation.fingerprint;
    // a status at a time, and the page comes back for the next
    await other.route("**/api/events", (route) => {
      const peers = status.peers.map((peer) =>
        peer.hostname === "gpu-box"
          ? { ...peer, attestation: { ...peer.attestation, fingerprint: shown, pin: "first-contact" } }
          : peer,
      );
      const body = `event: status\ndata: ${JSON.stringify({ ...status, peers })}\n\n`;
      return route.fulfill({ contentType: "text/event-stream", body });
    });
    await other.goto(consoleLink(mesh.desk));
    await show(`peer/${mesh.gpuBox.ready.endpoint_id}`, other);
    await other.getByRole("button", { name: "Confirm this key" }).click();
    const dialog = other.getByRole("dialog");
    expect(await dialog.locator("[data-fingerprint]").getAttribute("data-fingerprint")).toBe(shown);
    shown = "0".repeat(32);
    await other.getByText("It no longer shows the key that you were comparing. Nothing was confirmed.").waitFor();
    expect(await dialog.count()).toBe(0);
    await other.getByRole("button", { name: "Confirm this key" }).click();
    expect(await dialog.locator("[data-fingerprint]").getAttribute("data-fingerprint")).toBe(shown);
    await other.close();
  });

  it("holds no connection while it is not seen, and says why it may not follow the node", async () => {
    const { page: other } = await open({});
    const turn = (state: "hidden" | "visible"): Promise<unknown> =>
      other.evaluate(
        `Object.defineProperty(document, "visibilityState", { value: "${state}", configurable: true }); ` +
          `document.dispatchEvent(new Event("visibilitychange"))`,
      );
    await other.goto(consoleLink(mesh.desk));
    await other.locator("tr[data-peer]").first().waitFor();
    const left = other.waitForEvent("requestfailed", (request) => request.url().endsWith("/api/events"));
    await turn("hidden");
    await left;
    expected.push("429 GET /api/events");
    const url = new URL("/api/events", consoleLink(mesh.desk));
    const readers = await Promise.all(
      Array.from({ length: 16 }, async () => {
        const asking = get({ host: "127.0.0.1", port: url.port, path: url.pathname, agent: false });
        const [{ statusCode }] = (await once(asking, "response")) as [IncomingMessage];
        return { asking, statusCode };
      }),
    );
    expect(readers.map(({ statusCode }) => statusCode)).toContain(200);
    await turn("visible");
    await other.getByText("The node does not let this page follow it. 16 readers follow these events").waitFor();
    expect(await other.locator("tr[data-peer]").count()).toBeGreaterThan(0);
    for (const { asking } of readers) asking.destroy();
    await other.locator(".banner").waitFor({ state: "detached" });
    await other.close();
  });

  it("says why a host is refused, and what if less were demanded", async () => {
    await showPeer(mesh.oldLaptop);
    await reads(page.locator(".notice.bad"), /It is refused.*--require-attested-hosts=key.*shown no evidence/s);
    await picture("refused-light");
    await show("policy");
    const decision = page.locator(`[data-host="${mesh.oldLaptop.ready.endpoint_id}"]`);
    await reads(decision, /refused.*no-evidence.*shown no evidence/s);
    await page.getByText("2 of 3 hosts").waitFor();
    await picture("policy-light");
    await page.getByLabel("Evidence of tier").selectOption("none");
    await page.getByText("3 of 3 hosts").waitFor();
    await reads(decision, /refused as it is.*sealed/s);
    await page.getByLabel("Evidence of tier").selectOption("measured");
    await page.getByText("0 of 3 hosts").waitFor();
    await page.getByRole("button", { name: "As it is" }).click();
    await page.getByText("2 of 3 hosts").waitFor();
    // it only looked
    expect((await mesh.desk.status()).policy.require_attested_hosts).toBe("key");
  });

  it("chats: a suggested question, its answer, and who gave it, over which route, sealed how, proven how", async () => {
    await show("chat");
    await page.getByLabel("Model").selectOption("demo");
    await page.getByRole("button", { name: question }).click();
    await page.getByText(answer).waitFor();
    await reads(page.locator(".provenance"), /sealed.*tier vendor.*gpu-box directly, proven by tpm2 evidence.*tokens/s);
    expect(await page.locator(".provenance").textContent()).toMatch(
      /\d+ tokens · first after .* in all · .* tokens\/s/,
    );
  });

  it("streams: words come one after the other, and stop when told to", async () => {
    await page.getByLabel("Model").selectOption(slowModel);
    const ask = async (): Promise<Locator> => {
      await page.getByRole("textbox", { name: `Message to ${slowModel}` }).fill("What does a relay do?");
      await page.keyboard.press("Enter");
      return page.locator(".turn").last().locator(".prose");
    };
    const prose = await ask();
    const lengths = new Set<number>();
    await until("it has come in steps", async () => {
      const text = (await prose.count()) > 0 ? await prose.textContent() : "";
      if (text) lengths.add(text.length);
      return lengths.size >= 4;
    });
    await until("its end", async () => (await prose.textContent())?.endsWith("both ends notice.") === true);
    await reads(page.locator(".provenance").last(), /studio-mac through edge-relay/);
    await picture("chat-light");

    await mesh.slowEngine.change({ text: null, tokens: 5_000 });
    const endless = await ask();
    await until(
      "it writes",
      async () => (await endless.count()) > 0 && ((await endless.textContent()) ?? "").length > 40,
    );
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByText("You stopped it.").waitFor();
    await until("the engine is free", async () => (await mesh.slowEngine.seen()).running === 0, 3_000);
    // what was said goes along, and nothing of it is kept outside of this page
    const kept = await page.evaluate("JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage)])");
    expect(kept).not.toContain("relay");
    expect(kept).toMatch(/^\[\[\],\[\["sealmesh-session","[A-Za-z0-9_-]{43}"\]\]\]$/);
  });

  it("tells why nobody may answer, in the chat", async () => {
    expected.push("503 POST /v1/chat/completions");
    await page.getByLabel("Model").selectOption(refusedModel);
    await page.getByRole("textbox").fill("Hello");
    await page.getByRole("button", { name: "Send" }).click();
    await reads(page.locator(".turn").last().getByRole("alert"), /refused.*--require-attested-hosts=key.*no-evidence/);
  });

  it("lists exchanges without content, with how each travelled and what was tried", async () => {
    await show("exchanges");
    const rows = page.locator("tr[data-exchange]");
    await reads(rows, /demo.*gpu-box.*sealed.*direct/);
    await reads(rows, new RegExp(`${slowModel}.*studio-mac.*sealed.*through a relay`));
    await reads(rows, new RegExp(`${refusedModel}.*nobody.*not sent.*refused`));
    expect(await rows.count()).toBe(4);
    await page.getByRole("img", { name: /^Time to first token\. Median .* of 3\.$/ }).waitFor();
    await page.getByRole("img", { name: /^Tokens per second\. Median/ }).waitFor();
    await rows.filter({ hasText: "studio-mac" }).last().getByRole("button").click();
    await reads(page.locator(".detail"), /tier vendor.*tpm2.*studio-mac through edge-relay, sealed: answered/s);
    expect(await page.locator("body").textContent()).not.toContain(question);
    await picture("exchanges-light");
  });

  it("makes an invite that somebody joins by, and takes one back", async () => {
    // of the relay: support/udp-forwarder.ts keeps strangers away from the other one
    const { page: inviting } = await open({ colorScheme: "light" });
    await inviting.goto(consoleLink(mesh.relay));
    await show("invite", inviting);
    await inviting.locator("select[name=role]").selectOption("client");
    await inviting.getByLabel("Note, for you").fill("the kitchen");
    await inviting.getByRole("button", { name: "Make the invite" }).click();
    await inviting.getByRole("img", { name: "The invite as a QR code" }).waitFor();
    expect(await inviting.locator(".countdown").textContent()).toBe("23 hours left");
    const [token = "", command = ""] = await inviting.locator(".command").allTextContents();
    expect(command).toBe(`sealmesh client --join ${token}`);
    await picture("invite-light", inviting);
    await using kitchen = await startProcess(["client", "--join", token, "--name", "kitchen"]);
    const invite = inviting.locator("tr[data-invite]").filter({ hasText: "the kitchen" });
    await reads(invite, /client.*1 of 1.*23 hours left.*used-up/);
    await invite.getByRole("button", { name: "Revoke the kitchen" }).click();
    await reads(inviting.getByRole("dialog"), "the 1 that joined by it are put out of the mesh");
    await inviting.getByRole("button", { name: "Revoke it" }).click();
    await reads(invite, "revoked");
    await until("it is put out", async () => {
      const { peers } = await mesh.relay.status();
      return peers.every(({ endpoint_id: id }) => id !== kitchen.ready.endpoint_id);
    });
    await inviting.close();
  });

  it("only reads without the session, and says how to get the link", async () => {
    const { page: reader } = await open({});
    await reader.goto(new URL("/#/chat", consoleLink(mesh.desk)).href);
    await reader.getByText("open the link that sealmesh console prints").waitFor();
    expect(await reader.getByRole("textbox").isDisabled()).toBe(true);
    await show("invite", reader);
    await reader.getByText("open the link that sealmesh console prints").waitFor();
    expect(await reader.getByRole("button", { name: "Make the invite" }).count()).toBe(0);
    await show(`peer/${mesh.gpuBox.ready.endpoint_id}`, reader);
    await reader.locator("[data-factor]").first().waitFor();
    expect(await reader.getByRole("button", { name: "Confirm this key" }).count()).toBe(0);
    expected.push("401 GET /api/session");
    await reader.goto("about:blank");
    await reader.goto(new URL(`/#session=${"A".repeat(43)}`, consoleLink(mesh.desk)).href);
    await show("invite", reader);
    await reader.getByText("The node was started anew, and its link is another one now.").waitFor();
    await reader.close();
  });

  for (const scheme of ["light", "dark"] as const) {
    it(`has no serious fault for those who do not see it, ${scheme}, and fits a phone`, async () => {
      const phone = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, colorScheme: scheme };
      const [{ page: wide }, { page: narrow }] = [await open({ colorScheme: scheme }), await open(phone)];
      await Promise.all([wide, narrow].map((one) => one.goto(consoleLink(mesh.desk))));
      const peers = [mesh.gpuBox, mesh.oldLaptop, mesh.desk].map(({ ready }) => `peer/${ready.endpoint_id}`);
      for (const view of ["mesh", "chat", "exchanges", "policy", "invite", ...peers]) {
        for (const one of [wide, narrow]) {
          await show(view, one);
          if (view.startsWith("peer"))
            await one
              .getByText(/Checked at|no evidence|This node\./)
              .first()
              .waitFor();
          const shortName = view.startsWith("peer") ? `peer-${peers.indexOf(view)}` : view;
          await picture(`${one === wide ? "wide" : "phone"}-${scheme}-${shortName}`, one);
        }
        // forms and names are the same in both: what differs is colour
        const rules = scheme === "light" ? undefined : ["color-contrast"];
        expect(await faultsOf(wide, rules), view).toEqual([]);
        expect(await overflowOf(narrow), view).toBe(0);
      }
      expect(await faultsOf(narrow)).toEqual([]);
      await Promise.all([wide.close(), narrow.close()]);
    });
  }

  it("shows a host that loses its attestation", async () => {
    await show("mesh");
    await reads(row(mesh.gpuBox), /sealed.*tier vendor/);
    await mesh.tpm.close();
    await row(mesh.gpuBox).getByText("refused").waitFor({ timeout: 40_000 });
    await page
      .locator(".picture")
      .getByRole("link", { name: /gpu-box no proof.*, host, refused/ })
      .waitFor();
    await reads(page.locator(".changes"), /gpu-box is refused now/);
    await showPeer(mesh.gpuBox);
    await reads(page.locator(".notice.bad"), /It is refused.*challenge/s);
  });

  it("can be used with the keyboard alone", async () => {
    await show("mesh");
    await page.reload();
    await page.locator("h1").waitFor();
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.activeElement.textContent")).toBe("Skip to the content");
    await page.keyboard.press("Enter");
    expect(await page.evaluate("document.activeElement.id")).toBe("content");
    const link = page.locator(".picture").getByRole("link", { name: /^studio-mac/ });
    await link.focus();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "studio-mac" }).waitFor();
    expect(await page.evaluate("document.title")).toContain(mesh.studioMac.ready.endpoint_id.slice(0, 10));
  });

  it("says when the node has stopped, keeps what it knew, and is back when the node is", async () => {
    await show("mesh");
    await mesh.desk.stop();
    await page.getByText("The node has stopped.").waitFor();
    await reads(row(mesh.gpuBox), "gpu-box");
    expect(await page.locator("main.old").count()).toBe(1);
    await picture("stopped-light");
    expect(await faultsOf(page)).toEqual([]);
    await mesh.startDesk();
    await page.getByRole("button", { name: /Try/ }).click();
    await page.getByText("The node has stopped.").waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Ask now" }).click();
    await reads(row(mesh.studioMac), /sealed/);
    // its session is another one now, which the page learns from whichever question is answered first
    expected.push("401 GET /api/invites");
    await show("invite");
    await page.getByText("The node was started anew, and its link is another one now.").waitFor();
    await page.evaluate(`location.href = ${JSON.stringify(consoleLink(mesh.desk))}`);
    await show("invite");
    await page.getByRole("button", { name: "Make the invite" }).waitFor();
  });
});
