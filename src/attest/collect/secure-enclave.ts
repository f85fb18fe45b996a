/**
 * Makes `secure-enclave` evidence on a Mac with Apple's chip: the reference's blob, signed by a key in the Secure Enclave.
 * What it says of the machine is measured (apple/facts.ts); that the key is in the chip, nobody else can check. Not yet
 * run on Apple hardware: tests run it against a library that stands in for Apple's.
 */
import { toBase64 } from "../../base/bytes.ts";
import { unlessLate, withDeadline } from "../../base/deadline.ts";
import { MeshError } from "../../base/errors.ts";
import type { EvidenceItem } from "../evidence.ts";
import { signReferenceBlob } from "../kinds/secure-enclave.ts";
import { type EnclaveKey, openEnclaveKey } from "./apple/enclave-key.ts";
import { type Machine, type Posture, readMachine, readPosture, runCommand } from "./apple/facts.ts";
import { appleLibraries, loadSecurityFramework } from "./apple/security-framework.ts";
import type {
  Collector,
  CollectorCall,
  CollectorKind,
  CollectorSettings,
  EvidenceRequest,
  KeyLife,
} from "./collector.ts";

/** Longest wait for macOS and its chip, ms. What was asked goes on all the same. */
const answerMs = 30_000;
/** What a tool did not say, or is not there to say, is asked for again after so long, ms. */
const measureAgainMs = 240_000;
/** Longest wait for what is under way at the end, ms. */
const closeMs = 2_000;
/** Things that wait for the chip: one that hangs keeps its place. */
const maxRunning = 16;

export const secureEnclaveCollector: CollectorKind = {
  kind: "secure-enclave",
  wanted: ({ appleLibraries: libraries }) => process.platform === "darwin" || libraries !== undefined,
  create: (settings) => new SecureEnclaveCollector(settings),
};

class SecureEnclaveCollector implements Collector {
  readonly kind = "secure-enclave";
  /** A blob has no place for one: an answered challenge takes its part. */
  readonly takesNonce = false;
  readonly #settings: CollectorSettings;
  readonly #running = new Set<Promise<unknown>>();
  #machine: Promise<AppleMachine> | undefined;
  #measured: { readonly posture: Posture; readonly atMs: number } | undefined;
  #opening: Promise<EnclaveKey> | undefined;
  #key: EnclaveKey | undefined;
  #closed = false;

  constructor(settings: CollectorSettings) {
    this.#settings = settings;
  }

  get keyLife(): KeyLife | undefined {
    return this.#key?.life;
  }

  collect(request: EvidenceRequest, call?: CollectorCall): Promise<EvidenceItem> {
    return this.#run(async (key, { chip, model, memoryBytes }) => {
      const { endpointId, inferenceKey, measurement = "", issuedAtMs } = request;
      const { sip, secureBoot, rdmaDisabled } = await this.#measure();
      const attestation = {
        chipName: chip,
        hardwareModel: model,
        memoryBytes,
        // a blob knows no "unknown"
        sip: sip === true,
        secureBoot: secureBoot === true,
        rdmaDisabled: rdmaDisabled === true,
        endpointId,
        inferenceKey: toBase64(inferenceKey),
        attestedKey: toBase64(key.point),
        binaryHash: measurement,
        timestamp: new Date(issuedAtMs).toISOString().replace("Z", "000000+00:00"),
      };
      const evidence = await signReferenceBlob(attestation, (message) => key.sign(message));
      return { kind: this.kind, version: 1, evidence, collateral: [], issuedAtMs };
    }, call);
  }

  sign(message: Uint8Array, call?: CollectorCall): Promise<Uint8Array> {
    return this.#run((key) => key.sign(message), call);
  }

  async close(): Promise<void> {
    this.#closed = true;
    // what is under way uses the key; a call that hangs may have it until the process ends
    if ((await unlessLate(Promise.allSettled(this.#running), closeMs)) === "late") return;
    this.#key?.release();
    this.#key = undefined;
  }

  async #run<T>(
    use: (key: EnclaveKey, machine: AppleMachine) => Promise<T>,
    { signal }: CollectorCall = {},
  ): Promise<T> {
    if (this.#closed) throw new MeshError("E_CLOSED", "the node is stopping");
    if (this.#running.size >= maxRunning) {
      throw new MeshError("E_BUSY", "the Secure Enclave has too much to do", { retryAfterSeconds: 1 });
    }
    const work = (async (): Promise<T> => {
      this.#machine ??= this.#identify();
      const machine = await this.#machine;
      return use(await this.#open(), machine);
    })();
    this.#running.add(work);
    const forget = (): boolean => this.#running.delete(work);
    work.then(forget, forget);
    return withDeadline(work, { what: "the Secure Enclave's answer", ms: answerMs, signal });
  }

  async #identify(): Promise<AppleMachine> {
    const { runCommand: run = runCommand } = this.#settings;
    const machine = await readMachine(run);
    const { chip } = machine;
    // asked again next time: a tool may only have been slow
    if (chip === undefined) this.#machine = undefined;
    if (chip === undefined || !chip.includes("Apple")) {
      throw new MeshError(
        "E_CONFIG",
        "this machine has no chip of Apple's, and so no Secure Enclave that could be used",
      );
    }
    return { ...machine, chip };
  }

  /** Once, and now and then again as long as something of it is unknown. */
  async #measure(): Promise<Posture> {
    const { runCommand: run = runCommand } = this.#settings;
    const before = this.#measured;
    const isWhole = before && !Object.values(before.posture).includes(undefined);
    if (before && (isWhole || performance.now() - before.atMs < measureAgainMs)) return before.posture;
    const posture = await readPosture(run);
    this.#measured = { posture, atMs: performance.now() };
    return posture;
  }

  /** One for all: two that opened at once would make two keys. */
  #open(): Promise<EnclaveKey> {
    this.#opening ??= this.#openOnce().catch((thrown: unknown) => {
      this.#opening = undefined;
      throw thrown;
    });
    return this.#opening;
  }

  async #openOnce(): Promise<EnclaveKey> {
    const { appleLibraries: libraries = appleLibraries, enclaveKey } = this.#settings;
    const framework = await loadSecurityFramework(libraries);
    this.#key = await openEnclaveKey(framework, enclaveKey);
    return this.#key;
  }
}

interface AppleMachine extends Machine {
  readonly chip: string;
}
