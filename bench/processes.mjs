// Processes of the bench: each says when it is ready with one JSON line on stdout, and none outlives the bench, however it ends.
import { fork, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const root = join(import.meta.dirname, "..");
export const mainFile = join(root, "dist/cli/main.js");

const readyMs = 30_000;
/** A node leaves within a second; one that is profiled writes its profile first. */
const stopMs = 15_000;
const children = new Set();
const directories = new Set();

/** What is set for whoever runs the bench does not reach its processes. */
export function cleanEnvironment() {
  const kept = Object.entries(process.env).filter(([name]) => !/^(SEALMESH|NODE_|SSL_)/.test(name));
  return { ...Object.fromEntries(kept), SEALMESH_CONFIG: "none" };
}

/**
 * Starts `node <words>` and waits for its ready line.
 * @returns {pid, ready: that line, stop()}
 * @throws  Error with what it said when it ends before
 */
export async function startNode(words, { env = cleanEnvironment(), isReady = (line) => line?.event === "ready" } = {}) {
  const child = spawn(process.execPath, words, { cwd: root, env, stdio: ["pipe", "pipe", "pipe"] });
  keep(child);
  child.stdin.on("error", () => undefined);
  let said = "";
  const hear = (text) => (said = `${said}${text}\n`.slice(-4_000));
  child.stderr.setEncoding("utf8").on("data", hear);
  const ready = new Promise((resolve, reject) => {
    const lines = createInterface({ input: child.stdout });
    lines.on("line", (text) => {
      const line = parsed(text);
      if (!isReady(line, text)) return hear(text);
      resolve(line);
      // a node writes a line for each exchange: to read them one by one would take a core from what is measured
      lines.close();
      child.stdout.setEncoding("utf8").on("data", hear).resume();
    });
    child.once("close", () => reject(new Error(`it ended before it was ready: node ${words.join(" ")}\n${said}`)));
    setTimeout(
      () => reject(new Error(`not ready in ${readyMs} ms: node ${words.join(" ")}\n${said}`)),
      readyMs,
    ).unref();
  });
  const line = await ready;
  return { pid: child.pid, ready: line, said: () => said, stop: () => stopped(child) };
}

/** The load generator, or another script that takes commands over IPC: `ask` sends one and waits for its figures. */
export function startHelper(file) {
  const child = fork(resolve(import.meta.dirname, file), {
    env: cleanEnvironment(),
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  keep(child);
  return {
    pid: child.pid,
    ask: (command) =>
      new Promise((resolve, reject) => {
        const onExit = () => reject(new Error(`${file} has ended`));
        child.once("exit", onExit);
        child.once("message", ({ figures, error }) => {
          child.off("exit", onExit);
          if (error === undefined) resolve(figures);
          else reject(new Error(error));
        });
        child.send(command);
      }),
  };
}

/** An empty directory that is removed at the end. */
export function tempDir() {
  const directory = mkdtempSync(join(tmpdir(), "sealmesh-bench-"));
  directories.add(directory);
  return directory;
}

/** Kills what runs and removes what was written. */
export function cleanUp() {
  for (const child of children) child.kill("SIGKILL");
  for (const directory of directories) rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}

/** The same at the end of this process, whatever ends it. */
export function cleanUpAtExit() {
  process.on("exit", cleanUp);
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ]) {
    process.on(signal, () => process.exit(code));
  }
}

function keep(child) {
  children.add(child);
  child.once("exit", () => children.delete(child));
}

/** As a user would end it, and by force if that takes long. */
async function stopped(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), stopMs);
  await ended;
  clearTimeout(timer);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
