/**
 * The TPM 2.0 commands that evidence needs, and no others. Keys and sessions that a command makes are flushed when their
 * user is done: a TPM without a resource manager has three places.
 *
 *   command  = tag u16 | size u32 | code u32 | handles | [u32 size, authorisations] | parameters
 *   response = tag u16 | size u32 | code u32 | [handle] | [u32 size of the parameters] | parameters | …
 *   tag 8001, or 8002 with authorisations;  authorisation = session u32 | 2B nonce | attributes u8 | 2B password
 *
 * @see TCG TPM 2.0 Library, Part 3: Commands
 */
import { randomBytes } from "node:crypto";
import { concat, empty } from "../../../base/bytes.ts";
import { sleep } from "../../../base/deadline.ts";
import { MeshError } from "../../../base/errors.ts";
import { sized, type TpmReader, tpmReader, u16be, u32be, u8be } from "./bytes.ts";
import type { Credential } from "./credential.ts";
import type { TpmDevice } from "./device.ts";
import {
  algorithm,
  attribute,
  decodePublicArea,
  encodePublicArea,
  hierarchy,
  pcrSelection,
  type PublicArea,
  readPcrSelection,
  structureLimits,
  type Template,
} from "./structures.ts";

const commandCodes = {
  CreatePrimary: 0x131,
  ActivateCredential: 0x147,
  NV_Read: 0x14e,
  PolicySecret: 0x151,
  Quote: 0x158,
  Sign: 0x15d,
  FlushContext: 0x165,
  NV_ReadPublic: 0x169,
  ReadPublic: 0x173,
  StartAuthSession: 0x176,
  GetCapability: 0x17a,
  Hash: 0x17d,
  PCR_Read: 0x17e,
} as const;

/** Response codes that ask to send the command again. */
const busyCodes: readonly number[] = [0x908, 0x90a, 0x920, 0x922]; // yielded, self-test, NV rate, retry
/** 20 tries, 10 to 200 ms apart: about 3 s. */
const tries = 20;

/** The empty password, as an authorisation. */
const passwordSession = 0x4000_0009;
/** Longest piece that NV_Read gives on every chip. */
const nvPieceBytes = 512;
/** What TPM2_Hash takes at once on every chip. */
const hashBytes = 1_024;

interface Command {
  readonly name: keyof typeof commandCodes;
  readonly handles?: readonly number[];
  /** One session per handle that needs an authorisation. */
  readonly sessions?: readonly number[];
  readonly parameters?: readonly Uint8Array[];
}

interface Reply {
  /** 0 = done. */
  readonly code: number;
  /** Behind the response code; with sessions behind the size of the parameters, see {@link parametersOf}. */
  readonly body: TpmReader;
}

/** Sends a command, again while the TPM is busy. */
async function tryCommand(device: TpmDevice, command: Command): Promise<Reply> {
  const { name, handles = [], sessions = [], parameters = [] } = command;
  const authorisations = concat(
    sessions.map((session) => concat([u32be(session), sized(empty), u8be(1), sized(empty)])),
  );
  const body = concat([
    ...handles.map(u32be),
    ...(sessions.length > 0 ? [u32be(authorisations.length), authorisations] : []),
    ...parameters,
  ]);
  const head = [u16be(sessions.length > 0 ? 0x8002 : 0x8001), u32be(10 + body.length), u32be(commandCodes[name])];
  for (let attempt = 1; ; attempt += 1) {
    const reader = tpmReader(await device.transmit(concat([...head, body])));
    reader.take(6);
    const code = reader.u32();
    if (!busyCodes.includes(code) || attempt === tries) return { code, body: reader };
    await sleep(attempt * 10);
  }
}

/** @throws E_CONFIG the TPM refuses */
async function run(device: TpmDevice, command: Command): Promise<TpmReader> {
  const { code, body } = await tryCommand(device, command);
  if (code !== 0) throw refused(command.name, code);
  return body;
}

function refused(name: string, code: number): MeshError {
  return new MeshError("E_CONFIG", `the TPM refuses ${name} with code 0x${code.toString(16).padStart(3, "0")}`);
}

/** The parameters of a response to a command with sessions. */
function parametersOf(body: TpmReader): TpmReader {
  return tpmReader(body.take(body.u32()));
}

/**
 * Throws out all keys and sessions, before the first command. Behind a resource manager there are none; a TPM without
 * one must be ours alone, and what is in it was left there when a process ended in the middle of something.
 *
 * @throws E_CONFIG the TPM refuses · as the device
 */
export async function flushLeftovers(device: TpmDevice): Promise<void> {
  for (const first of [0x8000_0000, 0x0200_0000]) {
    const body = await run(device, { name: "GetCapability", parameters: [u32be(1), u32be(first), u32be(16)] });
    body.take(5); // whether there are more, and what was asked for
    for (let left = body.u32(); left > 0; left -= 1) await flush(device, body.u32());
  }
}

/** Whatever the TPM says: the handle may be gone already. */
async function flush(device: TpmDevice, handle: number): Promise<void> {
  await tryCommand(device, { name: "FlushContext", parameters: [u32be(handle)] });
}

/** A key inside the TPM, and what it shows of it. */
export interface LoadedKey {
  readonly handle: number;
  readonly area: PublicArea;
}

/**
 * Makes a primary key, which is the same one each time as long as its hierarchy has its seed.
 *
 * @param use the key is there until this settles
 * @throws    E_CONFIG the TPM refuses · as `use` and the device
 */
export async function withPrimary<T>(
  device: TpmDevice,
  template: Template & { readonly parent: number },
  use: (key: LoadedKey) => Promise<T>,
): Promise<T> {
  const body = await run(device, {
    name: "CreatePrimary",
    handles: [template.parent],
    sessions: [passwordSession],
    // no password, no data; outside information and PCRs of the creation: none
    parameters: [
      sized(concat([sized(empty), sized(empty)])),
      sized(encodePublicArea(template)),
      sized(empty),
      u32be(0),
    ],
  });
  const handle = body.u32();
  return flushedAfter(device, handle, async () => {
    const area = decodePublicArea(parametersOf(body).sized(structureLimits.publicArea));
    return use({ handle, area });
  });
}

async function flushedAfter<T>(device: TpmDevice, handle: number, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    // a device that has died takes its flush along; what `work` threw says why
    await flush(device, handle).catch(() => undefined);
  }
}

/** @returns undefined when there is no key, or one of a kind that is not spoken here */
export async function readPublic(device: TpmDevice, handle: number): Promise<PublicArea | undefined> {
  const { code, body } = await tryCommand(device, { name: "ReadPublic", handles: [handle] });
  if (code !== 0) return undefined;
  try {
    return decodePublicArea(body.sized(structureLimits.publicArea));
  } catch {
    return undefined;
  }
}

/**
 * Reads an NV index in pieces.
 *
 * @returns undefined when there is none, it is empty, longer than `max`, or not for us to read
 */
export async function readNv(device: TpmDevice, index: number, max: number): Promise<Uint8Array | undefined> {
  const { code, body } = await tryCommand(device, { name: "NV_ReadPublic", handles: [index] });
  if (code !== 0) return undefined;
  const area = tpmReader(body.sized(256));
  area.take(6); // index, name hash
  const attributes = area.u32();
  area.sized(64);
  const size = area.u16();
  if (size === 0 || size > max) return undefined;
  // AUTHREAD: by its own password, which is empty; else by the owner's
  const by = attributes & 0x0004_0000 ? index : hierarchy.owner;
  const pieces: Uint8Array[] = [];
  for (let offset = 0; offset < size; offset += nvPieceBytes) {
    const length = Math.min(nvPieceBytes, size - offset);
    const reply = await tryCommand(device, {
      name: "NV_Read",
      handles: [by, index],
      sessions: [passwordSession],
      parameters: [u16be(length), u16be(offset)],
    });
    if (reply.code !== 0) return undefined;
    pieces.push(parametersOf(reply.body).sized(length));
  }
  return concat(pieces);
}

/**
 * Reads PCRs of the SHA-256 bank; eight at a time, so they may change in between.
 *
 * @param pcrs ascending
 * @returns    32 bytes each, in their order
 * @throws     E_CONFIG the TPM has no such bank or no such PCR
 */
export async function readPcrs(device: TpmDevice, pcrs: readonly number[]): Promise<readonly Uint8Array[]> {
  const values: Uint8Array[] = [];
  while (values.length < pcrs.length) {
    const wanted = pcrs.slice(values.length);
    const body = await run(device, { name: "PCR_Read", parameters: [pcrSelection(wanted)] });
    body.u32(); // counter of changes
    const got = readPcrSelection(body);
    const count = body.u32();
    if (count === 0 || got.length !== count || got.some((pcr, index) => pcr !== wanted[index])) {
      throw new MeshError("E_CONFIG", "the TPM has no SHA-256 bank of PCRs");
    }
    for (let left = count; left > 0; left -= 1) values.push(body.sized(32));
  }
  return values;
}

export interface SignedQuote {
  /** TPMS_ATTEST. */
  readonly quote: Uint8Array;
  /** TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
}

/** @param extraData at most 32 bytes @throws E_CONFIG the TPM refuses */
export async function quote(
  device: TpmDevice,
  key: LoadedKey,
  { extraData, pcrs }: { readonly extraData: Uint8Array; readonly pcrs: readonly number[] },
): Promise<SignedQuote> {
  const body = await run(device, {
    name: "Quote",
    handles: [key.handle],
    sessions: [passwordSession],
    parameters: [sized(extraData), u16be(algorithm.none), pcrSelection(pcrs)],
  });
  const parameters = parametersOf(body);
  return { quote: parameters.sized(structureLimits.quote), signature: parameters.rest() };
}

/**
 * Signs with a restricted key, which signs nothing but what the TPM has hashed itself and found not to look like one of
 * its own statements; the ticket of TPM2_Hash says so.
 *
 * @param message at most 1024 bytes
 * @returns       TPMT_SIGNATURE over SHA-256 of the message
 * @throws        E_CONFIG the TPM refuses, as it does for a message that begins with ff544347 · E_BUG too long
 */
export async function signHashed(device: TpmDevice, key: LoadedKey, message: Uint8Array): Promise<Uint8Array> {
  if (message.length > hashBytes) throw new MeshError("E_BUG", `a TPM signs at most ${hashBytes} bytes at once here`);
  const hashed = await run(device, {
    name: "Hash",
    parameters: [sized(message), u16be(algorithm.sha256), u32be(hierarchy.owner)],
  });
  const digest = hashed.sized(32);
  const ticket = hashed.rest();
  const signed = await run(device, {
    name: "Sign",
    handles: [key.handle],
    sessions: [passwordSession],
    parameters: [sized(digest), u16be(algorithm.none), ticket],
  });
  return parametersOf(signed).rest();
}

export interface ActivateInput {
  readonly attestationKey: LoadedKey;
  readonly endorsementKey: LoadedKey;
  readonly credential: Credential;
}

/**
 * Opens a credential, which the TPM does only when it holds both keys.
 *
 * @returns the secret, or the TPM's response code: 0x1df when the credential is for another attestation key
 */
export async function activateCredential(device: TpmDevice, input: ActivateInput): Promise<Uint8Array | number> {
  const { attestationKey, endorsementKey, credential } = input;
  const activate = async (session: number): Promise<Uint8Array | number> => {
    const { code, body } = await tryCommand(device, {
      name: "ActivateCredential",
      handles: [attestationKey.handle, endorsementKey.handle],
      sessions: [passwordSession, session],
      parameters: [sized(credential.blob), sized(credential.encryptedSeed)],
    });
    return code === 0 ? parametersOf(body).sized(64) : code;
  };
  // "high" templates let a password do; the others ask for a policy that the endorsement hierarchy's password fulfils
  if (endorsementKey.area.attributes & attribute.userWithAuth) return activate(passwordSession);
  return withEndorsementPolicy(device, activate);
}

async function withEndorsementPolicy<T>(device: TpmDevice, use: (session: number) => Promise<T>): Promise<T> {
  const started = await run(device, {
    name: "StartAuthSession",
    handles: [hierarchy.none, hierarchy.none],
    // nonce, no salt, a policy session, no parameter encryption
    parameters: [sized(randomBytes(16)), sized(empty), u8be(1), u16be(algorithm.none), u16be(algorithm.sha256)],
  });
  const session = started.u32();
  return flushedAfter(device, session, async () => {
    await run(device, {
      name: "PolicySecret",
      handles: [hierarchy.endorsement, session],
      sessions: [passwordSession],
      // no nonce, no bound command, no reference, no expiry
      parameters: [sized(empty), sized(empty), sized(empty), u32be(0)],
    });
    return use(session);
  });
}
