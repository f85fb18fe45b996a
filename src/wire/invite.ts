/**
 * Invite token: base64url, without padding, of the JSON of an EndpointAddress (protocol.md §4). It holds no secret;
 * whoever knows it knows where to knock. People paste it, so every way to get it wrong has its own sentence.
 */
import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { type EndpointAddress, addressJson, decodeAddress } from "./address.ts";
import { limits } from "./limits.ts";

/** Members of ours inside the token's JSON; reference nodes ignore them (wire.md §1). */
export interface InviteExtra {
  readonly sealmesh?: object;
}

export function encodeInvite(address: EndpointAddress, extra: InviteExtra = {}): string {
  const { sealmesh } = extra;
  return toBase64Url(
    utf8(JSON.stringify({ ...addressJson(address), ...(sealmesh === undefined ? {} : { sealmesh }) })),
  );
}

/**
 * @param token as pasted; white space around it is ignored
 * @throws      E_INVITE with a sentence that says what is wrong with it
 */
export function decodeInvite(token: string): EndpointAddress {
  const text = token.trim();
  const complaint = complaintAbout(text);
  if (complaint !== undefined) throw new MeshError("E_INVITE", complaint);

  let bytes: Uint8Array;
  try {
    bytes = fromBase64Url(text);
  } catch (cause) {
    throw new MeshError("E_INVITE", "the invite is cut off or damaged: its last character is not possible", { cause });
  }
  try {
    JSON.parse(fromUtf8(bytes));
  } catch (cause) {
    const opens = bytes[0] === 0x7b;
    const sentence = opens
      ? "the invite is cut off or damaged: it starts well, but its content is not complete"
      : "this is not an invite: it does not hold an address";
    throw new MeshError("E_INVITE", sentence, { cause });
  }
  try {
    return decodeAddress(bytes);
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new MeshError("E_INVITE", `the invite holds no usable address: ${detail}`, { cause });
  }
}

/** What can be told from the characters alone; undefined when they could be an invite. */
function complaintAbout(text: string): string | undefined {
  if (text === "") return "the invite is empty";
  if (text.length > limits.tokenBytes) {
    return `an invite has at most ${limits.tokenBytes} characters, this has ${text.length}`;
  }
  if (/^[0-9a-f]{64}$/i.test(text)) return "this is an endpoint id, not an invite: it does not say where the node is";
  if (text.startsWith("{")) return "this is the content of an invite, not its text: paste the token as it was printed";
  if (/^[a-z]+:\/\//i.test(text)) return "this is a URL, not an invite";
  if (/\s/.test(text)) return "the invite has a space or a line break inside: paste it as one word";
  if (text.includes("=")) return "the invite has padding (=), which a token never has";
  if (/[+/]/.test(text)) return "the invite is in the wrong alphabet: a token has - and _ instead of + and /";
  if (!/^[A-Za-z0-9_-]+$/.test(text))
    return "the invite has characters that no token has; was a quote or a dot copied too?";
  if (text.length % 4 === 1) return "the invite is cut off: no token has this length";
  return undefined;
}
