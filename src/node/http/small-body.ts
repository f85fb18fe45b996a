/** The JSON text that comes with a write to the console port: short, and named as what it is. */
import { concat, fromUtf8 } from "../../base/bytes.ts";
import { MeshError } from "../../base/errors.ts";

/**
 * A form or an image of another page cannot say `application/json` without asking first, so a body that does not is refused,
 * although Origin and session token were looked at before.
 *
 * @throws E_INPUT longer than `maxBytes`, of another type, or no text
 */
export async function smallBody(request: Request, maxBytes: number): Promise<string> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of request.body ?? []) {
    length += piece.length;
    if (length > maxBytes) throw new MeshError("E_INPUT", `the body has more than ${maxBytes} bytes`);
    pieces.push(piece);
  }
  if (length > 0 && !/^application\/json *(?:;|$)/i.test(request.headers.get("content-type") ?? "")) {
    throw new MeshError("E_INPUT", "the body is sent with the header content-type: application/json, and is JSON");
  }
  try {
    return fromUtf8(concat(pieces));
  } catch (cause) {
    throw new MeshError("E_INPUT", "the body is no UTF-8", { cause });
  }
}
