/** What can go wrong between us and a TPM: played by stand-ins, since a real one does none of it on demand. */
import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { withPrimary } from "../../../src/attest/collect/tpm/commands.ts";
import { filePipe, openTpm, type TpmDevice, tpmDevice, type TpmFile } from "../../../src/attest/collect/tpm/device.ts";
import { attestationTemplate } from "../../../src/attest/collect/tpm/keys.ts";
import { tpm2Collector } from "../../../src/attest/collect/tpm2.ts";
import { rejectsWith } from "../../support/expect-code.ts";
import { attestationArea, sized, softwareKey } from "../../support/tpm-forger.ts";

const servers: Server[] = [];
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(servers.splice(0).map((server) => once(server.close(), "close")));
});

/** A TCP port where `serve` answers every command. @returns HOST:PORT */
async function port(serve: (socket: Socket, command: Buffer) => void): Promise<string> {
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.on("data", (command) => serve(socket, command));
  }).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A response with a code and a body. */
function response(code: number, body: Uint8Array = new Uint8Array(0)): Buffer {
  const head = Buffer.alloc(10);
  head.writeUInt16BE(0x8001);
  head.writeUInt32BE(10 + body.length, 2);
  head.writeUInt32BE(code, 6);
  return Buffer.concat([head, body]);
}

const command = Uint8Array.from([0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8]);

describe("over TCP", () => {
  test("a response may come in pieces", async () => {
    const whole = response(0, Buffer.alloc(200, 5));
    const place = await port((socket) => {
      for (const piece of [whole.subarray(0, 3), whole.subarray(3, 11), whole.subarray(11)]) {
        setImmediate(() => socket.write(piece));
      }
    });
    const device = await openTpm(place);
    expect(Buffer.from(await device.transmit(command))).toEqual(whole);
    await device.close();
  });

  test("commands that overlap are sent one after the other", async () => {
    let inFlight = 0;
    const place = await port((socket, bytes) => {
      inFlight += bytes.length / command.length;
      expect(inFlight).toBe(1);
      setImmediate(() => {
        inFlight -= 1;
        socket.write(response(0));
      });
    });
    const device = await openTpm(place);
    await Promise.all([1, 2, 3].map(() => device.transmit(command)));
    await device.close();
  });

  test.each([
    ["a size beyond every TPM's buffer", Buffer.from("8001000010010000", "hex"), "E_WIRE"],
    ["a size below its own head", Buffer.from("80010000000900000000", "hex"), "E_WIRE"],
    ["two responses", Buffer.concat([response(0), response(0)]), "E_WIRE"],
    ["text", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"), "E_WIRE"],
  ] as const)("%s is no TPM", async (_what, bytes, code) => {
    const place = await port((socket) =>
      socket.write(bytes.length < 10 ? Buffer.concat([bytes, Buffer.alloc(4)]) : bytes),
    );
    const device = await openTpm(place);
    await rejectsWith(code, device.transmit(command));
    await rejectsWith("E_LOST", device.transmit(command));
  });

  test("a connection that ends in the middle is lost", async () => {
    const device = await openTpm(await port((socket) => socket.end(response(0).subarray(0, 5))));
    await rejectsWith("E_LOST", device.transmit(command));
  });

  test("after a deadline nothing more is sent", async () => {
    let commands = 0;
    const place = await port(() => {
      commands += 1;
    });
    const device = await openTpm(place, { responseMs: 20 });
    await Promise.all([
      rejectsWith("E_TIMEOUT", device.transmit(command)),
      rejectsWith("E_LOST", device.transmit(command)),
    ]);
    expect(commands).toBe(1);
  });

  test.each(["", "tpm", "host:0", "host:65536", "[::1]", "relative/path", "a b:1"])(
    "%j is no place of a TPM",
    (place) => rejectsWith("E_CONFIG", openTpm(place)),
  );

  test("where nobody listens it says so", async () => {
    const place = await port(() => undefined);
    await Promise.all(servers.splice(0).map((server) => once(server.close(), "close")));
    await rejectsWith("E_CONFIG", openTpm(place));
    const asked = tpm2Collector.create({ tpm: place }).sign(new Uint8Array(1));
    await expect(asked).rejects.toMatchObject({ code: "E_CONFIG", message: expect.stringContaining("ECONNREFUSED") });
  });
});

describe("a device file", () => {
  /** A driver that answers every write, and takes at most `takes` bytes of one. */
  function driver(takes = Infinity): { file: TpmFile; written: Buffer[]; closed: () => boolean } {
    const written: Buffer[] = [];
    let closed = false;
    const file = {
      write: async (bytes: Uint8Array) => {
        written.push(Buffer.from(bytes));
        return { bytesWritten: Math.min(bytes.length, takes), buffer: bytes };
      },
      read: async (buffer: Uint8Array) => {
        buffer.set(response(0, Buffer.from("abc")));
        return { bytesRead: 13, buffer };
      },
      close: async () => {
        closed = true;
      },
    };
    return { file: file as unknown as TpmFile, written, closed: () => closed };
  }

  test("gets a command in one write and gives its response in one read", async () => {
    const { file, written, closed } = driver();
    const device = tpmDevice(filePipe(file));
    expect(Buffer.from(await device.transmit(command))).toEqual(response(0, Buffer.from("abc")));
    expect(written).toEqual([Buffer.from(command)]);
    await device.close();
    expect(closed()).toBe(true);
  });

  test("that takes half of a command gets no other half", async () => {
    const { file, written, closed } = driver(5);
    await rejectsWith("E_LOST", tpmDevice(filePipe(file)).transmit(command));
    expect(written).toHaveLength(1);
    expect(closed()).toBe(true);
  });

  test("that is not there is E_CONFIG", () => rejectsWith("E_CONFIG", openTpm("/dev/no-such-tpm")));
});

describe("commands", () => {
  const area = attestationArea(softwareKey());
  const made = response(0, Buffer.concat([Buffer.from("80000000", "hex"), withSize(sized(area))]));

  /** @param answers responses in turn; @returns the codes of the commands that came */
  function scripted(answers: readonly Buffer[]): { device: TpmDevice; codes: string[] } {
    const codes: string[] = [];
    const left = [...answers];
    const device = tpmDevice({
      exchange: async (bytes) => {
        codes.push(Buffer.from(bytes).toString("hex", 8, 10));
        return left.shift() ?? response(0x101);
      },
      release: () => undefined,
    });
    return { device, codes };
  }

  test.each([0x922, 0x908, 0x90a, 0x920])("code %i asks to send it again", async (busy) => {
    const { device, codes } = scripted([response(busy), response(busy), made, response(0)]);
    await withPrimary(device, attestationTemplate, async ({ handle }) => expect(handle).toBe(0x8000_0000));
    expect(codes).toEqual(["0131", "0131", "0131", "0165"]);
  });

  test("a TPM that is always busy is given up", async () => {
    const { device, codes } = scripted(Array.from({ length: 50 }, () => response(0x922)));
    await rejectsWith(
      "E_CONFIG",
      withPrimary(device, attestationTemplate, async () => undefined),
    );
    expect(codes).toHaveLength(20);
  });

  test("a key is flushed whatever its user does", async () => {
    const { device, codes } = scripted([made, response(0)]);
    const failing = withPrimary(device, attestationTemplate, () => Promise.reject(new Error("no")));
    await expect(failing).rejects.toThrow("no");
    expect(codes).toEqual(["0131", "0165"]);
  });

  test("a key whose public area cannot be read is flushed too", async () => {
    const strange = response(0, Buffer.concat([Buffer.from("80000001", "hex"), withSize(sized(Buffer.alloc(20)))]));
    const { device, codes } = scripted([strange, response(0)]);
    await rejectsWith(
      "E_WIRE",
      withPrimary(device, attestationTemplate, async () => undefined),
    );
    expect(codes).toEqual(["0131", "0165"]);
  });

  test("a refusal names the command and the code", async () => {
    const { device } = scripted([response(0x9a2)]);
    const refused = withPrimary(device, attestationTemplate, async () => undefined);
    await expect(refused).rejects.toThrow("the TPM refuses CreatePrimary with code 0x9a2");
  });
});

/** Parameters of a response with sessions. */
function withSize(parameters: Uint8Array): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(parameters.length);
  return Buffer.concat([size, parameters]);
}
