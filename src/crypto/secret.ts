/**
 * Secret bytes in one erasable object: no toString or JSON form, hidden from inspect by a private field, wiped when their owner is done. What cannot be
 * wiped is what the JavaScript engine or a native library copied on the way; nothing here claims otherwise.
 */
import { MeshError } from "../base/errors.ts";
import { sodium } from "./sodium.ts";

export class SecretBytes {
  readonly #bytes: Uint8Array;
  #wiped = false;

  /** @param bytes moved: the secret owns them from now on */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The bytes, borrowed for one call. @throws E_CLOSED after wipe() */
  get bytes(): Uint8Array {
    if (this.#wiped) throw new MeshError("E_CLOSED", "this key has been erased");
    return this.#bytes;
  }

  get wiped(): boolean {
    return this.#wiped;
  }

  wipe(): void {
    this.#wiped = true;
    sodium.sodium_memzero(this.#bytes);
  }

  toJSON(): string {
    return "[secret]";
  }

  toString(): string {
    return "[secret]";
  }
}
