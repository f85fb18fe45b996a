/**
 * A TPM 2.0 as requests and responses of whole byte strings: the kernel's /dev/tpmrm0, which gives every opener its own
 * keys and sessions, or a TCP port such as swtpm's, which does not. What the bytes mean is for commands.ts.
 *
 * A command cannot be taken back, so there is no signal to stop one. After a deadline or a broken answer nobody knows
 * what the next bytes belong to: the device is dead from then on and must be opened anew.
 */
import { type FileHandle, open } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { concat, view } from "../../../base/bytes.ts";
import { withDeadline } from "../../../base/deadline.ts";
import { MeshError, toMeshError } from "../../../base/errors.ts";

/** Longest command and response: TPMs have buffers of 4096 bytes. */
const messageBytes = 4_096;
/** tag u16 | size u32 | code u32. */
const headBytes = 10;

export interface TpmDeviceOptions {
  /** Longest wait for the connection, ms. @default 10_000 */
  readonly connectMs?: number;
  /** Longest wait for one response, ms: an RSA key in a slow chip takes many seconds. @default 60_000 */
  readonly responseMs?: number;
}

export interface TpmDevice {
  /**
   * Sends one command and waits for its response. Calls that overlap wait for one another.
   *
   * @param command whole, at most 4096 bytes; moved
   * @returns       whole response, as long as its size field says
   * @throws        E_TIMEOUT · E_LOST the device has gone, or was given up before · E_WIRE no TPM's answer
   */
  transmit(command: Uint8Array): Promise<Uint8Array>;
  /** Never waits for a TPM that hangs. */
  close(): Promise<void>;
}

/** How bytes get to a TPM and back, one command at a time. */
export interface TpmPipe {
  exchange(command: Uint8Array): Promise<Uint8Array>;
  /** Lets go of it; an exchange that is under way may fail or stay open. */
  release(): void;
}

/** The part of a file that is used here. */
export type TpmFile = Pick<FileHandle, "read" | "write" | "close">;

/**
 * @param place absolute path of a device file, or HOST:PORT
 * @throws      E_CONFIG neither of these, or not there, or not ours to open · E_TIMEOUT
 */
export async function openTpm(place: string, options: TpmDeviceOptions = {}): Promise<TpmDevice> {
  const pipe = place.startsWith("/") ? filePipe(await openFile(place)) : await openTcp(place, options);
  return tpmDevice(pipe, options);
}

/** One command in flight, each with its deadline, over any pipe. */
export function tpmDevice(pipe: TpmPipe, { responseMs = 60_000 }: TpmDeviceOptions = {}): TpmDevice {
  let dead = false;
  let last: Promise<unknown> = Promise.resolve();
  const giveUp = (): void => {
    if (dead) return;
    dead = true;
    pipe.release();
  };
  const exchange = async (command: Uint8Array): Promise<Uint8Array> => {
    if (dead) throw new MeshError("E_LOST", "the connection to the TPM was given up");
    try {
      const response = await withDeadline(pipe.exchange(command), { what: "the TPM's answer", ms: responseMs });
      if (response.length < headBytes || view(response).readUInt32BE(2) !== response.length) {
        throw new MeshError("E_WIRE", "what answers is no TPM 2.0");
      }
      return response;
    } catch (thrown) {
      giveUp();
      throw toMeshError(thrown, "E_LOST");
    }
  };
  return {
    transmit: (command) => {
      const answer = last.then(() => exchange(command));
      last = answer.catch(() => undefined);
      return answer;
    },
    close: async () => giveUp(),
  };
}

async function openFile(path: string): Promise<TpmFile> {
  try {
    return await open(path, "r+");
  } catch (cause) {
    throw new MeshError("E_CONFIG", `the TPM ${path} cannot be opened; the group "tss" may use it on most systems`, {
      cause,
    });
  }
}

/** A TPM's device file: one write is one command, one read its whole response. */
export function filePipe(file: TpmFile): TpmPipe {
  return {
    exchange: async (command) => {
      const { bytesWritten } = await file.write(command, 0, command.length, null);
      // the driver takes all or nothing; the rest in a second write would be another command
      if (bytesWritten !== command.length) throw new MeshError("E_LOST", "the TPM took only a part of a command");
      const buffer = new Uint8Array(messageBytes);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
      return buffer.subarray(0, bytesRead);
    },
    release: () => {
      // waits for a read that hangs in the driver, so nobody waits for it
      file.close().catch(() => undefined);
    },
  };
}

async function openTcp(place: string, { connectMs = 10_000 }: TpmDeviceOptions): Promise<TpmPipe> {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/.exec(place);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || port < 1 || port > 65_535) {
    throw new MeshError("E_CONFIG", "a TPM is given as the path of its device or as HOST:PORT");
  }
  const socket = connect({ host, port, noDelay: true });
  try {
    await withDeadline(connected(socket), { what: "connecting to the TPM", ms: connectMs });
  } catch (thrown) {
    socket.destroy();
    throw toMeshError(thrown, "E_CONFIG");
  }
  return socketPipe(socket);
}

function connected(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
}

/** A TPM's byte stream: the size field of a response says where it ends. */
function socketPipe(socket: Socket): TpmPipe {
  let received: Uint8Array = new Uint8Array(0);
  let waiting: { resolve: (response: Uint8Array) => void; reject: (reason: Error) => void } | undefined;
  let ended: MeshError | undefined;
  const end = (reason: MeshError): void => {
    ended ??= reason;
    socket.destroy();
    waiting?.reject(ended);
    waiting = undefined;
  };
  socket.on("error", (cause) => end(new MeshError("E_LOST", "the connection to the TPM broke", { cause })));
  socket.on("close", () => end(new MeshError("E_LOST", "the TPM closed the connection")));
  socket.on("data", (chunk: Uint8Array) => {
    received = concat([received, chunk]);
    const size = received.length < headBytes ? headBytes : view(received).readUInt32BE(2);
    if (waiting === undefined || size < headBytes || size > messageBytes || received.length > size) {
      end(new MeshError("E_WIRE", "what answers is no TPM 2.0"));
    } else if (received.length === size) {
      waiting.resolve(received);
      waiting = undefined;
      received = new Uint8Array(0);
    }
  });
  return {
    exchange: (command) =>
      new Promise((resolve, reject) => {
        if (ended) return reject(ended);
        waiting = { resolve, reject };
        socket.write(command);
      }),
    release: () => end(new MeshError("E_LOST", "the connection to the TPM was given up")),
  };
}
