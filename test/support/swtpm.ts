/**
 * A TPM 2.0 emulator (swtpm) with its own maker: a certificate authority that vouches for the endorsement keys of the
 * TPMs made under it. Everything is below one temporary directory; nothing outside it is read or written.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Why TPM tests cannot run here; undefined when they can. */
export const swtpmMissing: string | undefined = ["swtpm", "swtpm_setup", "swtpm_localca"].some(
  (program) => spawnSync(program, ["--version"]).error,
)
  ? "swtpm is not installed: apt-get install -y swtpm swtpm-tools"
  : undefined;
if (swtpmMissing !== undefined) console.warn(`TPM tests are skipped: ${swtpmMissing}`);

/** A maker of TPMs. */
export interface TpmMaker {
  /** Self-signed root, DER. */
  readonly root: Uint8Array;
  /** What signs the TPMs' certificates, under the root, DER. */
  readonly intermediate: Uint8Array;
  /** Builds a TPM and switches it on; with certificates for its RSA and P-384 keys unless told otherwise. */
  makeTpm(options?: { readonly certified?: boolean }): Promise<Swtpm>;
  /** Switches off all its TPMs and removes its directory. */
  close(): Promise<void>;
}

export interface Swtpm {
  /** HOST:PORT, the same after every {@link reboot}. */
  readonly place: string;
  /** The emulator's process, for SIGSTOP and SIGCONT. */
  readonly pid: () => number;
  /** Switches it off and on: what is not in its permanent memory is gone. */
  reboot(): Promise<void>;
  close(): Promise<void>;
}

export async function startTpmMaker(): Promise<TpmMaker> {
  const directory = mkdtempSync(join(tmpdir(), "sealmesh-swtpm-"));
  const authority = join(directory, "ca");
  mkdirSync(authority);
  const file = (name: string, lines: readonly string[]): string => {
    writeFileSync(join(directory, name), `${lines.join("\n")}\n`);
    return join(directory, name);
  };
  const localca = file("localca.conf", [
    `statedir = ${authority}`,
    `signingkey = ${authority}/signkey.pem`,
    `issuercert = ${authority}/issuercert.pem`,
    `certserial = ${authority}/certserial`,
  ]);
  const setup = file("setup.conf", [
    "create_certs_tool = /usr/bin/swtpm_localca",
    `create_certs_tool_config = ${localca}`,
    `create_certs_tool_options = ${file("options", [])}`,
    "active_pcr_banks = sha256",
  ]);
  const tpms: Swtpm[] = [];
  const build = async (certified: boolean): Promise<Swtpm> => {
    const state = mkdtempSync(join(directory, "tpm-"));
    const common = ["--tpm2", "--tpmstate", state, "--config", setup, "--overwrite"];
    await run("swtpm_setup", [...common, ...(certified ? ["--create-ek-cert", "--ecc"] : [])]);
    const tpm = await switchOn(state);
    tpms.push(tpm);
    return tpm;
  };
  // the authority comes into being with the first TPM
  let first: Swtpm | undefined = await build(true);
  return {
    root: derOf(join(authority, "swtpm-localca-rootca-cert.pem")),
    intermediate: derOf(join(authority, "issuercert.pem")),
    makeTpm: async ({ certified = true } = {}) => {
      const made = certified ? first : undefined;
      if (made) first = undefined;
      return made ?? build(certified);
    },
    close: async () => {
      await Promise.all(tpms.map((tpm) => tpm.close()));
      rmSync(directory, { recursive: true });
    },
  };
}

function derOf(path: string): Uint8Array {
  const base64 = /-----BEGIN CERTIFICATE-----([^-]+)-----END/.exec(readFileSync(path, "utf8"))?.[1] ?? "";
  return new Uint8Array(Buffer.from(base64, "base64"));
}

async function switchOn(state: string): Promise<Swtpm> {
  let { child, port } = await start(state);
  const close = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGCONT"); // one that was stopped would not end
    child.kill("SIGTERM");
    await gone;
  };
  return {
    place: `127.0.0.1:${port}`,
    pid: () => child.pid ?? 0,
    reboot: async () => {
      await close();
      ({ child, port } = await start(state, port));
    },
    close,
  };
}

/** @param wanted port of before; without it a free one */
async function start(state: string, wanted?: number): Promise<{ child: ChildProcess; port: number }> {
  for (let left = 20; left > 0; left -= 1) {
    const port = wanted ?? (await freePort());
    const child = spawn(
      "swtpm",
      [
        "socket",
        "--tpm2",
        `--tpmstate=dir=${state}`,
        `--server=type=tcp,port=${port},bindaddr=127.0.0.1`,
        `--ctrl=type=unixio,path=${state}/control`,
        "--flags=not-need-init,startup-clear",
      ],
      { stdio: "ignore" },
    );
    if (await listens(child, port)) return { child, port };
  }
  throw new Error("swtpm does not start");
}

/** Until its port answers, or its process has ended: then somebody else has the port. */
async function listens(child: ChildProcess, port: number): Promise<boolean> {
  while (child.exitCode === null && child.signalCode === null) {
    const answers = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => setTimeout(resolve, 5, false));
    });
    if (answers) return true;
  }
  return false;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
