// `npm run screenshots`: pictures of the console and of a terminal for the README, into docs/images/. They are those that the
// browser test takes of a real mesh of six processes (test/browser/console.test.ts), and screens of a new user's first hour
// (test/e2e/terminal.test.ts); this runs both and picks some. Needs Chromium, swtpm and tmux.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { terminalPicture } from "./terminal-picture.mjs";

const root = join(import.meta.dirname, "..");
const taken = join(root, ".test-results/screenshots");
const shown = join(root, "docs/images");

/** Name of the picture that was taken -> name of the picture in the docs. */
const picked = {
  "mesh-light": "console-mesh-light",
  "wide-dark-mesh": "console-mesh-dark",
  "chat-light": "console-chat-light",
  "wide-dark-peer-0": "console-peer-dark",
  "policy-light": "console-policy-light",
  "phone-dark-mesh": "console-phone-mesh",
  "phone-light-chat": "console-phone-chat",
};
const mostBytes = 150_000;
/** Screen that was kept -> title of its picture. */
const screens = { chat: "sealmesh chat", client: "sealmesh client, with its live view" };
const terminal = { kept: join(root, ".test-results/terminal"), columns: 100 };

for (const folder of [taken, terminal.kept]) rmSync(folder, { recursive: true, force: true });
const vitest = join(root, "node_modules/vitest/vitest.mjs");
const args = [vitest, "run", "--project", "process", "test/browser/console.test.ts", "test/e2e/terminal.test.ts"];
const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" });
if (status !== 0) {
  console.error("a test has failed: no picture was changed");
  process.exit(1);
}
mkdirSync(shown, { recursive: true });
for (const [from, to] of Object.entries(picked)) {
  const target = join(shown, `${to}.png`);
  copyFileSync(join(taken, `${from}.png`), target);
  const { size } = statSync(target);
  console.log(
    `docs/images/${to}.png  ${Math.ceil(size / 1_000)} kB${size > mostBytes ? ", more than it should have" : ""}`,
  );
}
for (const [name, title] of Object.entries(screens)) {
  const screen = readFileSync(join(terminal.kept, `${name}.ansi`), "utf8");
  writeFileSync(join(shown, `terminal-${name}.svg`), terminalPicture(screen, { columns: terminal.columns, title }));
  console.log(`docs/images/terminal-${name}.svg`);
}
