/**
 * The pins of this node on disk: pins.json in the data directory. The running node and `sealmesh trust` use it at the same
 * time (book-file.ts). What a pin means is for policy/pins.ts.
 */
import { decodePinBook, emptyPinBook, encodePinBook, type PinBook } from "../policy/pins.ts";
import { BookFile, type BookFileOptions, type BookForm } from "./book-file.ts";

const pinBooks: BookForm<PinBook> = {
  encode: encodePinBook,
  decode: decodePinBook,
  empty: emptyPinBook,
  says: "which attested keys were pinned",
  of: "pins",
};

export class PinStore extends BookFile<PinBook> {
  /** @throws E_STATE the file is there and cannot be used */
  constructor(path: string, options: BookFileOptions = {}) {
    super(path, pinBooks, options);
  }
}
