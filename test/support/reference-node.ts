/**
 * A node of mesh-llm's draft of sealing (pull request #433): field 36 and no record, one key for the life of the process,
 * random nonces, no keep-alives, whatever order of chunks, plaintext to peers that show no key. Built from protocol.md §7
 * with tweetnacl; see old-node.ts for the rest.
 */
import { randomBytes } from "node:crypto";
import nacl from "tweetnacl";
import type { ByteStream } from "../../src/base/stream.ts";
import type { Transport } from "../../src/transport/transport.ts";
import { asWhole, OldNode, type OldNodeOptions, quic } from "./old-node.ts";
import {
  encodeRequest,
  type Entry,
  frameOf,
  Incoming,
  readRequest,
  readResponse,
  type WireRequest,
  type WireResponse,
} from "./old-node-wire.ts";

const envelopeByte = 0xe1;
/** One read of a reference host from its API port, which becomes one chunk. */
const chunkBytes = 65_536;

export interface ReferenceAnswer extends WireResponse {
  /** Whether the answer came sealed. */
  readonly sealed: boolean;
  /** Chunks of a sealed answer: their nonces, and the length of what each held. */
  readonly chunks: readonly { readonly nonce: Buffer; readonly length: number }[];
}

export class ReferenceNode extends OldNode {
  readonly #key = nacl.box.keyPair();

  static override async start(options: OldNodeOptions = {}): Promise<ReferenceNode> {
    return new ReferenceNode(await quic(), options);
  }

  protected constructor(transport: Transport, options: OldNodeOptions) {
    super(transport, options);
  }

  get publicKey(): string {
    return Buffer.from(this.#key.publicKey).toString("base64");
  }

  override own(change: Partial<Entry> = {}): Entry {
    return super.own({ version: "0.65.1+skippy.20260504.kv.2", key: this.publicKey, ...change });
  }

  protected override known(entry: Entry): Entry {
    return entry; // 36 to 38 are relayed by the reference, and believed from anybody
  }

  /** Sealed when the peer shows a key that can be used, in the clear without a word when not (protocol.md §7.5). */
  async ask(to: string, request: Partial<WireRequest>): Promise<ReferenceAnswer> {
    const key = Buffer.from(this.peers.get(to)?.key ?? "", "base64");
    if (key.length !== 32) return { ...(await this.askPlain(to, request)), sealed: false, chunks: [] };
    const ephemeral = nacl.box.keyPair();
    const nonce = randomBytes(24);
    const plaintext = encodeRequest(asWhole(request));
    const envelope = {
      model: (JSON.parse(request.body || "{}") as { model?: string }).model ?? "",
      ephemeral_public_key: Buffer.from(ephemeral.publicKey).toString("base64"),
      ciphertext: Buffer.concat([nonce, nacl.box(plaintext, nonce, key, ephemeral.secretKey)]).toString("base64"),
    };
    const stream = await this.open(to, 0x04, Buffer.of(envelopeByte), Buffer.from(JSON.stringify(envelope)));
    await stream.finish();
    const incoming = new Incoming(stream);
    if ((await incoming.byte()) !== envelopeByte) throw new Error("the answer is not sealed");
    if (!(await incoming.exactly(32)).equals(key)) throw new Error("the header names another key");
    const chunks: { nonce: Buffer; length: number }[] = [];
    const opened: Uint8Array[] = [];
    for (;;) {
      const length = (await incoming.exactly(4)).readUInt32LE(0);
      if (length === 0) break;
      if (length < 24 || length > 16_777_216) throw new Error(`a chunk of ${length} bytes`);
      const box = await incoming.exactly(length);
      const bytes = nacl.box.open(box.subarray(24), box.subarray(0, 24), key, ephemeral.secretKey);
      if (!bytes) throw new Error("a chunk does not open");
      chunks.push({ nonce: box.subarray(0, 24), length: bytes.length });
      opened.push(bytes);
    }
    return { ...readResponse(Buffer.concat(opened)), sealed: true, chunks };
  }

  protected override async answerHttp(stream: ByteStream, incoming: Incoming): Promise<void> {
    const first = await incoming.byte();
    if (first === undefined) return;
    if (first !== envelopeByte) {
      incoming.putBack(first);
      return await super.answerHttp(stream, incoming);
    }
    const envelope = JSON.parse((await incoming.rest()).toString("utf8")) as Record<string, string>;
    const { ephemeral_public_key: theirs = "", ciphertext = "", model } = envelope;
    if (model === undefined) throw new Error("the model is missing: members are required");
    const ephemeral = strictBase64(theirs);
    const box = strictBase64(ciphertext);
    const plaintext = nacl.box.open(box.subarray(24), box.subarray(0, 24), ephemeral, this.#key.secretKey);
    if (!plaintext) throw new Error("it does not open"); // no answer on any failure
    const request = await readRequest(new Incoming(bytesStream(plaintext)));
    this.got.push({ how: "sealed", request, envelope });
    await stream.write(Buffer.concat([Buffer.of(envelopeByte), this.#key.publicKey]));
    for await (const piece of this.serve(request)) {
      for (let at = 0; at < piece.length; at += chunkBytes) {
        const nonce = randomBytes(24);
        const sealed = nacl.box(piece.subarray(at, at + chunkBytes), nonce, ephemeral, this.#key.secretKey);
        await stream.write(frameOf(Buffer.concat([nonce, sealed])));
      }
    }
    await stream.write(Buffer.alloc(4));
    await stream.finish();
  }
}

/** With padding only, as the reference reads it. */
function strictBase64(text: string): Buffer {
  const bytes = Buffer.from(text, "base64");
  if (bytes.toString("base64") !== text) throw new Error("not base64 of the standard form");
  return bytes;
}

/** A stream that gives `bytes` and ends. */
function bytesStream(bytes: Uint8Array): ByteStream {
  let rest: Uint8Array | undefined = bytes;
  const done = (): Promise<void> => Promise.resolve();
  return {
    read: () => {
      const piece = rest;
      rest = undefined;
      return Promise.resolve(piece);
    },
    write: done,
    finish: done,
    abort: () => undefined,
    aborted: new AbortController().signal,
  };
}
