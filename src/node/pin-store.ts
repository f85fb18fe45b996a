/** The pins of this node on disk: pins.json in the data directory. What a pin means is for policy/pins.ts. */
import { decodePinBook, emptyPinBook, encodePinBook, type PinBook } from "../policy/pins.ts";
import { type SharedContent, SharedFile, type SharedFileOptions } from "./shared-file.ts";

const pins: SharedContent<PinBook> = {
  empty: emptyPinBook,
  decode: decodePinBook,
  encode: encodePinBook,
  says: "which attested keys were pinned",
};

/** Used by the running node and by `sealmesh trust` at the same time. */
export class PinStore {
  readonly #file: SharedFile<PinBook>;

  /** @throws E_STATE the file is there and cannot be used */
  constructor(path: string, options: SharedFileOptions = {}) {
    this.#file = new SharedFile(path, pins, options);
  }

  /** As of half a second ago at most. */
  get book(): PinBook {
    return this.#file.value;
  }

  /** As SharedFile.update(). @throws E_STATE · whatever `change` throws */
  update(change: (book: PinBook) => PinBook): void {
    this.#file.update(change);
  }
}
