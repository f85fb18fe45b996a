/**
 * A Chromium of this machine, driven by Playwright, for tests of the console; and what a page did that it must not: errors
 * in its console, and requests to another place than the node's. Without a Chromium the tests that need it are skipped, and
 * counted.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { root } from "./processes.ts";

const names = ["chromium", "chromium-browser", "google-chrome"];
const executablePath = names.map((name) => `/usr/bin/${name}`).find((path) => existsSync(path));

/** Why browser tests cannot run here; undefined when they can. */
export const chromiumMissing: string | undefined =
  executablePath === undefined ? "there is no Chromium: apt-get install -y chromium" : undefined;
if (chromiumMissing !== undefined) console.warn(`browser tests are skipped: ${chromiumMissing}`);

/** Without a display, a graphics card or a word to anybody; with an empty profile of its own. */
export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    ...(executablePath === undefined ? {} : { executablePath }),
    headless: true,
    args: [
      ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** What a page has done so far. */
export interface Watched {
  readonly page: Page;
  /** What stands in the browser's console as an error or a warning, and uncaught errors. */
  readonly errors: readonly string[];
  /** Answers that were errors: "503 POST /v1/chat/completions". */
  readonly failures: readonly string[];
  /** Origins that were asked for anything. */
  readonly origins: ReadonlySet<string>;
}

export async function openPage(browser: Browser, options: BrowserContextOptions = {}): Promise<Watched> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const errors: string[] = [];
  const failures: string[] = [];
  const origins = new Set<string>();
  page.on("console", (message) => {
    // the browser's own word for an answer that is an error; those are in `failures`
    const isAnswer = message.text().startsWith("Failed to load resource");
    if (["error", "warning"].includes(message.type()) && !isAnswer) errors.push(message.text());
  });
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("request", (request) => origins.add(new URL(request.url()).origin));
  page.on("response", (response) => {
    const path = new URL(response.url()).pathname;
    if (response.status() >= 400) failures.push(`${response.status()} ${response.request().method()} ${path}`);
  });
  return { page, errors, failures, origins };
}

/** How much wider than the window the page is, px. */
export async function overflowOf(page: Page): Promise<number> {
  const wider = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
  return Math.max(0, Number(wider)); // room that is kept for a scroll bar counts as narrower
}

const axeSource = readFileSync(join(root, "node_modules/axe-core/axe.min.js"), "utf8");

interface AxeViolation {
  readonly id: string;
  readonly impact: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
}

/**
 * Serious and critical faults that axe-core finds in the page as it is, one line each.
 * @param rules these alone, such as "color-contrast" for what another theme can change. @default all
 */
export async function faultsOf(page: Page, rules?: readonly string[]): Promise<readonly string[]> {
  if (!(await page.evaluate("'axe' in window"))) await page.evaluate(axeSource);
  // what fades in would be judged by colours that are there for a moment
  await page.evaluate(
    "Promise.all(document.getAnimations().map((one) => one.effect.getTiming().iterations === Infinity || one.finished))",
  );
  const options = JSON.stringify(rules ? { runOnly: rules } : {});
  const run = `axe.run(document, ${options}).then(({ violations }) => violations)`;
  const violations = (await page.evaluate(run)) as AxeViolation[];
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary}`),
    );
}
